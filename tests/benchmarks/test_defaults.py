"""What autolog adds to short trainings as users have it: everything on, in new processes, with and without in turns.

    pytest -m benchmark -s tests/benchmarks/test_defaults.py

The time is that of the call that trains, from its beginning to its return; importing the framework is not in it.
"""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from statistics import median

import pytest

pytestmark = [pytest.mark.benchmark, pytest.mark.timeout(1800)]

PAIRS = int(os.environ.get("DEFAULTS_PAIRS", "15"))

BEGINNING = """
import sys, time, warnings
warnings.simplefilter("ignore")
if sys.argv[1] == "on":
    import tachograph
    tachograph.autolog(silent=True)
def timed(work):
    began = time.perf_counter()
    work()
    print("seconds", time.perf_counter() - began, flush=True)
"""
SKLEARN = """
from sklearn.datasets import load_digits
from sklearn.linear_model import LogisticRegression
X, y = load_digits(return_X_y=True)
fit = lambda: LogisticRegression(max_iter=30).fit(X, y)
"""
SEARCH = """
from sklearn.datasets import load_iris
from sklearn.model_selection import GridSearchCV
from sklearn.tree import DecisionTreeClassifier
X, y = load_iris(return_X_y=True)
grid = {"max_depth": [1, 2, 3, 4, 5], "min_samples_leaf": [1, 2, 3, 4]}
timed(lambda: GridSearchCV(DecisionTreeClassifier(), grid).fit(X, y))
"""
XGBOOST = """
import numpy, xgboost
numpy.random.seed(0)
X = numpy.random.rand(20_000, 20)
data = xgboost.DMatrix(X, X[:, 0] > 0.5)
params = {"objective": "binary:logistic", "nthread": 1}
timed(lambda: xgboost.train(params, data, 60, [(data, "train")], verbose_eval=0))
"""
KERAS = """
import numpy, keras
X = numpy.random.default_rng(0).random((2000, 20)).astype("float32")
model = keras.Sequential([keras.Input((20,)), keras.layers.Dense(32, activation="relu"), keras.layers.Dense(1)])
model.compile("adam", "mse")
timed(lambda: model.fit(X, X[:, :1], epochs=4, batch_size=32, verbose=0))
"""
LIGHTNING = """
import logging, torch, lightning
logging.getLogger("lightning.pytorch").setLevel(logging.ERROR)
X = torch.rand(2000, 20)
class Model(lightning.LightningModule):
    def __init__(self):
        super().__init__()
        self.net = torch.nn.Linear(20, 1)
    def training_step(self, batch, index):
        loss = (self.net(batch[0]) - batch[1]).square().mean()
        self.log("loss", loss)
        return loss
    def configure_optimizers(self):
        return torch.optim.Adam(self.parameters())
data = torch.utils.data.DataLoader(torch.utils.data.TensorDataset(X, X[:, :1]), 8)
trainer = lightning.Trainer(max_epochs=3, logger=False, enable_checkpointing=False, enable_progress_bar=False,
                            enable_model_summary=False, accelerator="cpu")
timed(lambda: trainer.fit(Model(), data))
"""

# What is trained, which of the times that it tells is meant, and what may be added: a share, or so many seconds.
CASES = {
    "the first fit of scikit-learn": (SKLEARN + "timed(fit)", 0, 0.0, 0.060),
    "a later fit of scikit-learn": (SKLEARN + "for _ in range(4): timed(fit)", 3, 0.0, 0.010),
    "a search of 20 candidates": (SEARCH, 0, 0.05, 0.040),
    "XGBoost": (XGBOOST, 0, 0.03, 0.015),
    "Keras": (KERAS, 0, 0.03, 0.015),
    "Lightning": (LIGHTNING, 0, 0.03, 0.015),
}


def seconds(program: str, way: str, which: int, folder: Path) -> float:
    settings = {"TACHOGRAPH_DIR": str(folder), "OMP_NUM_THREADS": "1", "KERAS_BACKEND": "torch"}
    done = subprocess.run(
        [sys.executable, "-c", BEGINNING + program, way], env={**os.environ, **settings}, capture_output=True, text=True
    )
    assert done.returncode == 0, done.stderr
    told: Iterator[str] = (line for line in done.stdout.splitlines() if line.startswith("seconds "))
    return [float(line.split()[1]) for line in told][which]


@pytest.mark.parametrize("case", CASES)
def test_what_is_added_to(case: str, tmp_path: Path) -> None:
    program, which, share, absolute = CASES[case]
    seconds(program, "on", which, tmp_path / "first")
    pairs = []
    for number in range(PAIRS):
        ways = ("off", "on") if number % 2 else ("on", "off")
        found = {way: seconds(program, way, which, tmp_path / f"{number}") for way in ways}
        pairs.append((found["off"], found["on"]))
    plain, added = median(off for off, _ in pairs), median(on - off for off, on in pairs)
    print(f"\n{case}: {plain * 1e3:.0f} ms, {added * 1e3:.1f} ms added ({added / plain:.1%})")
    assert added < max(share * plain, absolute)
