"""Digits with a plain PyTorch loop: one line before it, none in it; then what was recorded is read back.

Without that line, and without the lines at the end, ``tachograph exec`` records the same.
"""

import torch
from sklearn.datasets import load_digits
from torch import nn
from torch.utils.data import DataLoader, TensorDataset, random_split

import tachograph

recording = tachograph.autolog(experiment="torch-digits")

torch.manual_seed(0)
X, y = load_digits(return_X_y=True)
whole = TensorDataset(torch.tensor(X / 16, dtype=torch.float32), torch.tensor(y))
train_set, held_out = random_split(whole, [0.8, 0.2])
train = DataLoader(train_set, batch_size=64, shuffle=True)
held = DataLoader(held_out, batch_size=256)

net = nn.Sequential(nn.Linear(64, 32), nn.ReLU(), nn.Linear(32, 10))
adam = torch.optim.Adam(net.parameters(), lr=0.01)
halving = torch.optim.lr_scheduler.StepLR(adam, step_size=2, gamma=0.5)

for _ in range(5):
    for images, digits in train:
        adam.zero_grad()
        loss = nn.functional.cross_entropy(net(images), digits)
        loss.backward()
        nn.utils.clip_grad_norm_(net.parameters(), 1.0)
        adam.step()
    halving.step()

with torch.no_grad():
    right = torch.cat([net(images).argmax(1) == digits for images, digits in held])
print(f"accuracy {right.float().mean():.2f}")

recording.undo()  # ends the run of the loop, which otherwise ends with the program

run = tachograph.open_store().run("latest")
losses = run.history("loss")
print(f"{run.name}: {len(losses.values)} steps, loss {losses.values[0]:.2f} to {losses.values[-1]:.2f}")
print(f"lr {run.params['optimizer.lr']} to {run.metrics['lr']}, gradients of norm {run.metrics['grad_norm']:.2f}")
print(run.artifact("model_summary").path().read_text(encoding="utf-8"))
assert all((net.state_dict()[name] == value).all() for name, value in run.artifact("model").load().items())
