"""A job of Hydra with a configuration that is composed of groups, interpolations, and a secret of the environment.

Expected:
args = ["model.lr=0.05", "hydra.run.dir=out", "hydra/job_logging=none", "hydra/hydra_logging=none"]

[[run]]
absent = ["hydra*", "overrides", "shell_completion", "multirun", "host", "reader", "not_given"]
artifacts = ["model"]
[run.curves]
loss = "losses"
lr = "rates"
[run.params]
"model.lr" = 0.05
"model.sizes" = [2, 1]
"model.depth.layers" = 1
"steps" = 4
"batch" = 8
"label" = "depth 1"
"twice" = 8
"workers" = 3
[run.weights]
model = "weights"
"""

import os
from dataclasses import dataclass, field

import hydra
import torch
from hydra.core.config_store import ConfigStore
from omegaconf import MISSING, OmegaConf
from truth import digest, tell

os.environ["GALLERY_HOST"] = "user-and-password-of-a-host"


@dataclass
class Model:
    lr: float = 0.1
    sizes: list[int] = field(default_factory=lambda: [2, 1])
    depth: dict[str, int] = field(default_factory=lambda: {"layers": 1})


@dataclass
class Config:
    defaults: list = field(default_factory=lambda: ["_self_", {"model": "small"}])
    model: Model = MISSING
    steps: int = 4
    batch: int = 8
    label: str = "depth ${model.depth.layers}"
    twice: int = "${double:${steps}}"
    host: str = "${oc.env:GALLERY_HOST}"
    reader: str = "read from ${host}"
    workers: int = "${oc.env:GALLERY_WORKERS,3}"
    not_given: int = MISSING


OmegaConf.register_new_resolver("double", lambda number: 2 * number)
ConfigStore.instance().store(name="config", node=Config)
ConfigStore.instance().store(group="model", name="small", node=Model)


@hydra.main(version_base=None, config_name="config")
def train(config):
    torch.manual_seed(0)
    model = torch.nn.Linear(*config.model.sizes)
    optimizer = torch.optim.SGD(model.parameters(), lr=config.model.lr)
    x, losses = torch.randn(config.batch, 2), []
    for _ in range(config.steps):
        loss = (model(x) - 1).pow(2).mean()
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        losses.append(loss.item())
    tell(losses=losses, rates=[config.model.lr] * config.steps, weights=digest(model))


if __name__ == "__main__":
    train()
