"""A notebook: cells that are run by IPython, with magics, arguments, and a training in a later cell.

Expected:

[[run]]
name = "notebook"
artifacts = ["model"]
absent = ["gui", "no_stderr", "no_raise_error", "output"]
[run.curves]
loss = "first"
lr = "rates"
[run.params]
hidden = 5
"optimizer.lr" = 0.1

[[run]]
name = "LogisticRegression"
also = ["train_*", "fit_seconds", "n_iter"]
absent = ["gui", "no_stderr", "no_raise_error"]
[run.params]
C = 0.5
hidden = 5

[[run]]
name = "notebook"
artifacts = ["model"]
[run.curves]
loss = "second"
lr = "slower"
[run.params]
hidden = 5
"optimizer.lr" = 0.01
"""

import os

from truth import tell

os.environ["IPYTHONDIR"] = os.path.abspath("ipython")

from IPython.core.interactiveshell import InteractiveShell

CELLS = """
import argparse
import torch
from torch import nn
parser = argparse.ArgumentParser()
parser.add_argument("--hidden", type=int, default=5)
args = parser.parse_args([])
#%%
%%capture out
torch.manual_seed(0)
model = nn.Sequential(nn.Linear(3, args.hidden), nn.ReLU(), nn.Linear(args.hidden, 1))
x = torch.randn(10, 3)
def train(lr):
    seen = []
    optimizer = torch.optim.SGD(model.parameters(), lr=lr)
    for _ in range(4):
        optimizer.zero_grad()
        loss = (model(x) - 1).pow(2).mean()
        loss.backward()
        optimizer.step()
        seen.append(loss.item())
    return seen
#%%
first = train(0.1)
#%%
%%capture out
from sklearn.datasets import load_iris
from sklearn.linear_model import LogisticRegression
clf = LogisticRegression(C=0.5, max_iter=500).fit(*load_iris(return_X_y=True))
#%%
second = train(0.01)
"""

shell = InteractiveShell.instance(colors="nocolor", history_length=0)
shell.history_manager.enabled = False
for cell in CELLS.split("#%%\n"):
    shell.run_cell(cell.lstrip("\n"), store_history=True).raise_error()
known = shell.user_ns
tell(first=known["first"], second=known["second"], rates=[0.1] * 4, slower=[0.01] * 4)
