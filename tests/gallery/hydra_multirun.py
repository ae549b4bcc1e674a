"""A sweep of Hydra: its jobs run one after the other in one process, each in a folder of its own.

Expected:
args = [
    "-m", "lr=0.01,0.02,0.03", "hydra.sweep.dir=out", "hydra.job.chdir=True",
    "hydra/job_logging=none", "hydra/hydra_logging=none",
]

[[run]]
absent = ["hydra*", "multirun"]
artifacts = ["last.pt"]
[run.curves]
loss = "0.losses"
lr = "0.rates"
[run.params]
lr = 0.01
"net.width" = 3

[[run]]
absent = ["hydra*", "multirun"]
artifacts = ["last.pt"]
[run.curves]
loss = "1.losses"
lr = "1.rates"
[run.params]
lr = 0.02

[[run]]
absent = ["hydra*", "multirun"]
artifacts = ["last.pt"]
[run.curves]
loss = "2.losses"
lr = "2.rates"
[run.params]
lr = 0.03
"""

import os

import hydra
import torch
from hydra.core.config_store import ConfigStore
from hydra.core.hydra_config import HydraConfig
from truth import tell

ConfigStore.instance().store(name="config", node={"lr": 0.1, "net": {"width": 3}})


@hydra.main(version_base=None, config_name="config")
def train(config):
    torch.manual_seed(0)
    model = torch.nn.Linear(config.net.width, 1)
    optimizer = torch.optim.SGD(model.parameters(), lr=config.lr)
    x, losses = torch.randn(9, config.net.width), []
    for _ in range(10):
        loss = (model(x) - 1).pow(2).mean()
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        losses.append(loss.item())
    torch.save(model.state_dict(), "last.pt")
    print(os.path.basename(os.getcwd()), sorted(os.listdir()))
    tell(**{str(HydraConfig.get().job.num): {"losses": losses, "rates": [config.lr] * 10}})


if __name__ == "__main__":
    train()
