"""Actor and critic, each with its optimizer, updated one after the other.

Expected:

[[run]]
artifacts = ["actor", "critic"]
[run.curves]
actor_loss = "actor"
critic_loss = "critic"
"lr/actor_optim" = "actor_rate"
"lr/critic_optim" = "critic_rate"
[run.params]
"actor_optim.lr" = 0.001
"critic_optim.lr" = 0.01
"critic_optim.class" = "RMSprop"
[run.weights]
actor = "actor_weights"
critic = "critic_weights"
"""

import torch
import torch.nn.functional as F
from torch import nn, optim
from truth import digest, tell

torch.manual_seed(1)
actor = nn.Sequential(nn.Linear(4, 8), nn.Tanh(), nn.Linear(8, 2))
critic = nn.Sequential(nn.Linear(4, 8), nn.Tanh(), nn.Linear(8, 1))
actor_optim = optim.Adam(actor.parameters(), lr=1e-3)
critic_optim = optim.RMSprop(critic.parameters(), lr=1e-2)
seen = {"actor": [], "critic": []}
GAMMA = 0.95

for episode in range(8):
    states = torch.randn(16, 4)
    rewards = (states[:, 0] > 0).float()
    dist = torch.distributions.Categorical(logits=actor(states))
    actions = dist.sample()
    values = critic(states).squeeze(-1)
    returns = rewards + GAMMA * values.detach().roll(-1)
    advantage = returns - values.detach()

    actor_loss = -(dist.log_prob(actions) * advantage).mean() - 0.01 * dist.entropy().mean()
    critic_loss = F.smooth_l1_loss(values, returns)

    actor_optim.zero_grad()
    actor_loss.backward()
    actor_optim.step()

    critic_optim.zero_grad()
    critic_loss.backward()
    critic_optim.step()

    seen["actor"].append(actor_loss.item())
    seen["critic"].append(critic_loss.item())

tell(
    **seen,
    actor_rate=[1e-3] * 8,
    critic_rate=[1e-2] * 8,
    actor_weights=digest(actor),
    critic_weights=digest(critic),
)
