"""Two agents in a list, each with its network, optimizer and loss.

Expected:

[[run]]
artifacts = ["agents.0.net", "agents.1.net"]
[run.curves]
"agents.0.loss" = "first"
"agents.1.loss" = "second"
"lr/agents.0.opt" = "first_rate"
"lr/agents.1.opt" = "second_rate"
[run.params]
"agents.0.opt.lr" = 0.1
"agents.1.opt.lr" = 0.001
[run.weights]
"agents.0.net" = "first_weights"
"agents.1.net" = "second_weights"
"""

import torch
from truth import digest, tell


class Agent:
    def __init__(self, lr, offset):
        self.net = torch.nn.Linear(2, 1)
        self.opt = torch.optim.SGD(self.net.parameters(), lr=lr)
        self.offset, self.losses = offset, []

    def learn(self, x):
        loss = (self.net(x) - self.offset).pow(2).mean()
        self.opt.zero_grad()
        loss.backward()
        self.opt.step()
        self.losses.append(loss.item())


torch.manual_seed(0)
agents = [Agent(0.1, 1.0), Agent(0.001, 5.0)]
for episode in range(6):
    observation = torch.randn(8, 2)
    for agent in agents:
        agent.learn(observation)
tell(
    first=agents[0].losses,
    second=agents[1].losses,
    first_rate=[0.1] * 6,
    second_rate=[0.001] * 6,
    first_weights=digest(agents[0].net),
    second_weights=digest(agents[1].net),
)
