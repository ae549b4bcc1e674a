"""A study of Optuna with two jobs at once, each trial a loop of its own.

Expected:

[[run]]
each = "trials"
artifacts = ["model"]
[run.curves]
loss = "losses"
lr = "rates"
[run.weights]
model = "weights"
"""

import threading

import optuna
import torch
from truth import digest, tell

torch.set_num_threads(1)
optuna.logging.set_verbosity(optuna.logging.ERROR)
together, trials = threading.Barrier(2), []


def objective(trial):
    lr = trial.suggest_float("lr", 1e-3, 1e-1, log=True)
    torch_rng = torch.Generator().manual_seed(7)
    x = torch.randn(16, 4, generator=torch_rng)
    model = torch.nn.Linear(4, 1)
    torch.nn.init.constant_(model.weight, 0.5)
    torch.nn.init.zeros_(model.bias)
    optimizer = torch.optim.SGD(model.parameters(), lr=lr)
    losses = []
    together.wait()
    for step in range(30):
        loss = (model(x) - 1).pow(2).mean()
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        losses.append(loss.item())
    trials.append({"losses": losses, "rates": [lr] * 30, "weights": digest(model)})
    return losses[-1]


search_space = {"lr": [0.01, 0.05]}
study = optuna.create_study(direction="minimize", sampler=optuna.samplers.GridSampler(search_space, seed=0))
study.optimize(objective, n_trials=2, n_jobs=2)
tell(trials=sorted(trials, key=lambda trial: trial["rates"]), best=study.best_params)
