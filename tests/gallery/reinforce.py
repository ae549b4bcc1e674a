"""REINFORCE: an agent learns to walk to the right end of a corridor.

Expected:

[[run]]
artifacts = ["model"]
[run.curves]
policy_loss = "losses"
lr = "rates"
[run.params]
"optimizer.class" = "Adam"
"optimizer.lr" = 0.02
"model.parameters" = 58
[run.weights]
model = "weights"
"""

import torch
from torch import nn
from torch.distributions import Categorical
from truth import digest, tell


class Corridor:
    def reset(self):
        self.at, self.time = 2, 0
        return self.state()

    def state(self):
        return nn.functional.one_hot(torch.tensor(self.at), 5).float()

    def step(self, action):
        self.at = max(0, min(4, self.at + (1 if action == 1 else -1)))
        self.time += 1
        return self.state(), float(self.at == 4), self.at == 4 or self.time == 12


class Policy(nn.Module):
    def __init__(self):
        super().__init__()
        self.affine1 = nn.Linear(5, 7)
        self.affine2 = nn.Linear(7, 2)

    def forward(self, x):
        return torch.softmax(self.affine2(torch.relu(self.affine1(x))), dim=-1)


torch.manual_seed(543)
env, policy = Corridor(), Policy()
optimizer = torch.optim.Adam(policy.parameters(), lr=2e-2)
losses, rates = [], []


def finish_episode(log_probs, rewards):
    R, returns = 0.0, []
    for r in rewards[::-1]:
        R = r + 0.9 * R
        returns.insert(0, R)
    returns = torch.tensor(returns)
    policy_loss = [-log_prob * R for log_prob, R in zip(log_probs, returns)]
    optimizer.zero_grad()
    policy_loss = torch.stack(policy_loss).sum()
    policy_loss.backward()
    optimizer.step()
    losses.append(policy_loss.item())
    rates.append(optimizer.param_groups[0]["lr"])


for i_episode in range(15):
    state, done, log_probs, rewards = env.reset(), False, [], []
    while not done:
        m = Categorical(policy(state))
        action = m.sample()
        log_probs.append(m.log_prob(action))
        state, reward, done = env.step(action.item())
        rewards.append(reward)
    finish_episode(log_probs, rewards)
tell(losses=losses, rates=rates, weights=digest(policy))
