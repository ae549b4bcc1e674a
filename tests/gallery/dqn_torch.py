"""DQN: an online network, a frozen copy, a replay buffer, a class around all of it.

Expected:

[[run]]
artifacts = ["model"]
[run.curves]
loss = "losses"
lr = "rates"
[run.params]
"optimizer.class" = "Adam"
"optimizer.lr" = 0.0005
"model.parameters" = 67
[run.weights]
model = "weights"
"""

import random
from collections import deque, namedtuple

import torch
import torch.nn.functional as F
from torch import nn, optim
from truth import digest, tell

Transition = namedtuple("Transition", ("state", "action", "next_state", "reward"))


class QNetwork(nn.Sequential):
    def __init__(self, states, actions, hidden=8):
        super().__init__(nn.Linear(states, hidden), nn.ReLU(), nn.Linear(hidden, actions))


class Agent:
    def __init__(self, lr=5e-4):
        self.qnetwork_local, self.qnetwork_target = QNetwork(4, 3), QNetwork(4, 3)
        self.qnetwork_target.load_state_dict(self.qnetwork_local.state_dict())
        self.optimizer = optim.Adam(self.qnetwork_local.parameters(), lr=lr)
        self.memory = deque(maxlen=100)
        self.losses = []

    def act(self, state, eps):
        if random.random() < eps:
            return random.randrange(3)
        with torch.no_grad():
            return self.qnetwork_local(state).argmax().item()

    def learn(self, batch_size=8, gamma=0.9):
        batch = Transition(*zip(*random.sample(self.memory, batch_size)))
        q_next = self.qnetwork_target(torch.stack(batch.next_state)).max(1).values.detach()
        q_expected = self.qnetwork_local(torch.stack(batch.state)).gather(1, torch.tensor(batch.action).view(-1, 1))
        loss = F.smooth_l1_loss(q_expected, (torch.tensor(batch.reward) + gamma * q_next).unsqueeze(1))
        self.optimizer.zero_grad()
        loss.backward()
        nn.utils.clip_grad_value_(self.qnetwork_local.parameters(), 100)
        self.optimizer.step()
        self.losses.append(loss.item())
        for target, local in zip(self.qnetwork_target.parameters(), self.qnetwork_local.parameters()):
            target.data.copy_(0.05 * local.data + 0.95 * target.data)


random.seed(0)
torch.manual_seed(0)
agent = Agent()
state = torch.randn(4)
for t in range(40):
    action = agent.act(state, eps=max(0.05, 1 - t / 20))
    next_state = torch.randn(4)
    agent.memory.append(Transition(state, action, next_state, float(action == 1)))
    state = next_state
    if len(agent.memory) >= 8 and t % 2:
        agent.learn()
tell(losses=agent.losses, rates=[5e-4] * len(agent.losses), weights=digest(agent.qnetwork_local))
