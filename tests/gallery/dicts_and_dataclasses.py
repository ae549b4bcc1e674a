"""Models and optimizers in a dict, losses in a dict, settings and state in dataclasses.

Expected:

[[run]]
[run.curves]
"losses.left" = "left"
"losses.right" = "right"
"lr/state.optimizers.left" = "rate"
"lr/state.optimizers.right" = "rate"
[run.params]
"state.optimizers.left.class" = "SGD"
"state.optimizers.right.class" = "Adam"
[run.weights]
"state.models.left" = "left_weights"
"state.models.right" = "right_weights"
"""

from dataclasses import dataclass, field

import torch
from torch import nn
from truth import digest, tell


@dataclass
class Config:
    lr: float = 0.05
    epochs: int = 5


@dataclass
class State:
    models: dict = field(default_factory=dict)
    optimizers: dict = field(default_factory=dict)
    history: dict = field(default_factory=lambda: {"left": [], "right": []})


def main(cfg):
    torch.manual_seed(0)
    state = State({"left": nn.Linear(3, 1), "right": nn.Linear(3, 1)})
    state.optimizers["left"] = torch.optim.SGD(state.models["left"].parameters(), lr=cfg.lr)
    state.optimizers["right"] = torch.optim.Adam(state.models["right"].parameters(), lr=cfg.lr)
    x = torch.randn(12, 3)
    for _ in range(cfg.epochs):
        losses = {name: (model(x) - 1).abs().mean() for name, model in state.models.items()}
        state.optimizers["left"].zero_grad()
        losses["left"].backward()
        state.optimizers["left"].step()
        state.optimizers["right"].zero_grad()
        losses["right"].backward()
        state.optimizers["right"].step()
        for name, loss in losses.items():
            state.history[name].append(loss.item())
    return state


state = main(Config())
models = state.models
tell(
    **state.history,
    rate=[0.05] * 5,
    left_weights=digest(models["left"]),
    right_weights=digest(models["right"]),
)
