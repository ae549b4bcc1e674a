"""A small training for each framework that uses what its plug-in listens to. ``folder`` is for its files."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any

os.environ.setdefault("KERAS_BACKEND", "torch")

import numpy as np

X = np.random.default_rng(0).normal(size=(60, 3)).astype("float32")
y = (X[:, 0] > X[:, 1]).astype("int64")


def train_torch(folder: Path) -> None:
    import torch
    from torch import nn
    from torch.utils.data import DataLoader, TensorDataset

    train = DataLoader(TensorDataset(torch.tensor(X), torch.tensor(y)), batch_size=20)
    held = DataLoader(TensorDataset(torch.tensor(X[:10]), torch.tensor(y[:10])), batch_size=10)
    net = nn.Linear(3, 2)
    torch.save(net.state_dict(), folder / "start.pt")
    net.load_state_dict(torch.load(folder / "start.pt"))
    sgd = torch.optim.SGD(net.parameters(), lr=0.1)
    halving = torch.optim.lr_scheduler.StepLR(sgd, 1)
    scaler = torch.amp.GradScaler("cpu")
    for epoch in range(2):
        for inputs, targets in train:
            sgd.zero_grad()
            loss = nn.functional.cross_entropy(net(inputs), targets)
            scaler.scale(loss).backward()
            scaler.unscale_(sgd)
            nn.utils.clip_grad_norm_(net.parameters(), 1.0)
            scaler.step(sgd)
            scaler.update()
        halving.step()
        with torch.no_grad():
            assert [net(inputs).shape for inputs, _ in held] == [(10, 2)]
        torch.save(net.state_dict(), folder / f"epoch_{epoch}.pt")
        torch.save(net.state_dict(), folder / "best.pt")


def train_two_with_torch(folder: Path) -> None:
    import torch
    from torch import nn

    noise = torch.tensor(X)
    maker, judge = nn.Linear(3, 3), nn.Linear(3, 1)
    opt_g = torch.optim.Adam(maker.parameters())
    opt_d = torch.optim.SGD([{"params": [judge.weight]}, {"params": [judge.bias], "lr": 1.0}], lr=0.1)
    for _ in range(3):
        loss_d = judge(maker(noise).detach()).mean()
        opt_d.zero_grad()
        loss_d.backward()
        opt_d.step()
        loss_g = -judge(maker(noise)).mean()
        opt_g.zero_grad()
        loss_g.backward()
        opt_g.step()


def train_lightning(folder: Path) -> None:
    import torch
    from lightning.pytorch import LightningModule, Trainer
    from lightning.pytorch.callbacks import EarlyStopping, ModelCheckpoint
    from torch.utils.data import DataLoader, TensorDataset

    class Net(LightningModule):  # type: ignore[misc]
        def __init__(self, hidden: int = 2) -> None:
            super().__init__()
            self.save_hyperparameters()
            self.layers = torch.nn.Sequential(torch.nn.Linear(3, hidden), torch.nn.Linear(hidden, 1))

        def training_step(self, batch: Any, index: int) -> Any:
            loss = (self.layers(batch[0])[:, 0] - batch[1]).square().mean()
            self.log("loss", loss)
            return loss

        def validation_step(self, batch: Any, index: int) -> None:
            self.log("val_loss", self.layers(batch[0]).square().mean())

        def test_step(self, batch: Any, index: int) -> None:
            self.log("test_loss", self.layers(batch[0]).square().mean())

        def configure_optimizers(self) -> Any:
            sgd = torch.optim.SGD(self.parameters(), 0.1)
            return [sgd], [torch.optim.lr_scheduler.StepLR(sgd, 1)]

    loader = DataLoader(TensorDataset(torch.tensor(X), torch.tensor(y)), batch_size=20)
    quiet = {"enable_progress_bar": False, "enable_model_summary": False, "logger": False, "accelerator": "cpu"}
    stop, save = EarlyStopping("val_loss", patience=0, min_delta=1e9), ModelCheckpoint(folder, monitor="val_loss")
    trainer = Trainer(max_epochs=4, log_every_n_steps=1, callbacks=[stop, save], **quiet)
    trainer.fit(Net(), loader, loader)
    trainer.test(trainer.lightning_module, loader, verbose=False)


def train_fabric(folder: Path) -> None:
    import torch
    from lightning.fabric import Fabric

    from tachograph_frameworks.lightning import TachographLogger

    logger = TachographLogger()
    fabric = Fabric(loggers=logger, accelerator="cpu")
    net = torch.nn.Linear(3, 1)
    net, sgd = fabric.setup(net, torch.optim.SGD(net.parameters(), 0.1))
    logger.log_hyperparams({"hidden": 2})
    for step in range(3):
        loss = net(torch.tensor(X)).square().mean()
        fabric.backward(loss)
        sgd.step()
        fabric.log("loss", loss, step)
    logger.finalize("success")


def train_sklearn(folder: Path) -> None:
    from sklearn.cluster import KMeans
    from sklearn.ensemble import AdaBoostClassifier, GradientBoostingClassifier, HistGradientBoostingClassifier
    from sklearn.linear_model import LogisticRegression, RidgeCV, SGDClassifier
    from sklearn.metrics import accuracy_score
    from sklearn.mixture import GaussianMixture
    from sklearn.neural_network import MLPClassifier
    from sklearn.pipeline import make_pipeline
    from sklearn.preprocessing import StandardScaler

    X_test, y_test = X[:20], y[:20]
    model = make_pipeline(StandardScaler(), LogisticRegression()).fit(X, y)
    model.score(X_test, y_test)
    accuracy_score(y_test, model.predict(X_test))
    RidgeCV().fit(X, X[:, 0])
    MLPClassifier((2,), max_iter=5, early_stopping=True, random_state=0).fit(X, y)
    MLPClassifier((2,), max_iter=5, random_state=0).fit(X, y)
    GradientBoostingClassifier(n_estimators=3, subsample=0.5).fit(X, y)
    HistGradientBoostingClassifier(max_iter=3, early_stopping=True).fit(X, y)
    AdaBoostClassifier(n_estimators=3, random_state=0).fit(X, y)
    GaussianMixture(2, random_state=0).fit(X)
    KMeans(2, n_init=1).fit(X)
    stream = SGDClassifier()
    for start in range(0, 60, 20):
        stream.partial_fit(X[start : start + 20], y[start : start + 20], classes=[0, 1])


def search_with_sklearn(folder: Path) -> None:
    from sklearn import model_selection
    from sklearn.linear_model import LogisticRegression
    from sklearn.model_selection import GridSearchCV

    model = LogisticRegression()
    GridSearchCV(model, {"C": [0.1, 1.0]}, cv=2, return_train_score=True).fit(X, y)
    model_selection.cross_validate(model, X, y, cv=2, return_train_score=True)
    model_selection.cross_val_score(model, X, y, cv=2)
    model_selection.learning_curve(model, X, y, cv=2, train_sizes=[0.5, 1.0])
    model_selection.validation_curve(model, X, y, param_name="C", param_range=[0.1, 1.0], cv=2)
    model_selection.permutation_test_score(model, X, y, cv=2, n_permutations=3)


def train_xgboost(folder: Path) -> None:
    import xgboost

    data, held = xgboost.DMatrix(X, y), xgboost.DMatrix(X[:20], y[:20])
    params = {"objective": "binary:logistic", "max_depth": 2, "nthread": 1}
    watched = {"evals": [(data, "train"), (held, "held")], "early_stopping_rounds": 2, "verbose_eval": False}
    xgboost.train(params, data, 8, **watched)
    xgboost.cv(params, data, 3, nfold=2, metrics="logloss")


def train_keras(folder: Path) -> None:
    import keras
    from keras import callbacks

    model = keras.Sequential([keras.Input((3,)), keras.layers.Dense(2, activation="softmax")])
    model.compile("adam", keras.losses.SparseCategoricalCrossentropy(), metrics=["accuracy"])
    stop = callbacks.EarlyStopping("val_loss", patience=1, min_delta=1e9, restore_best_weights=True)
    save = callbacks.ModelCheckpoint(str(folder / "best.keras"), save_best_only=True)
    others = [callbacks.ReduceLROnPlateau(), callbacks.BackupAndRestore(str(folder / "backup"))]
    model.fit(X, y, epochs=4, validation_data=(X[:20], y[:20]), verbose=0, callbacks=[stop, save, *others])
    model.evaluate(X, y, verbose=0)


TRAININGS = {
    "Plain PyTorch": ("torch", [train_torch, train_two_with_torch]),
    "Lightning": ("lightning", [train_lightning]),
    "Fabric": ("lightning", [train_fabric]),
    "scikit-learn": ("sklearn", [train_sklearn, search_with_sklearn]),
    "XGBoost": ("xgboost", [train_xgboost]),
    "Keras": ("keras", [train_keras]),
}
SINGLE = {
    "torch": train_torch,
    "lightning": train_lightning,
    "sklearn": train_sklearn,
    "xgboost": train_xgboost,
    "keras": train_keras,
}
