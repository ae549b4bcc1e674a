"""XGBoost one round at a time, each going on from the last.

Expected:

[[run]]
name = "xgboost"
also = ["best_*"]
artifacts = ["model"]
datasets = ["train", "val"]
[run.params]
max_depth = 2
eta = 0.3
[run.curves]
"train-logloss" = "train"
"val-logloss" = "val"
"""

import xgboost as xgb
from sklearn.datasets import load_breast_cancer
from sklearn.model_selection import train_test_split
from truth import digest, tell

X, y = load_breast_cancer(return_X_y=True)
X_train, X_val, y_train, y_val = train_test_split(X, y, random_state=0)
dtrain, dval = xgb.DMatrix(X_train, y_train), xgb.DMatrix(X_val, y_val)
params = {"objective": "binary:logistic", "max_depth": 2, "eta": 0.3, "nthread": 1}
booster, train, val = None, [], []
for round_ in range(12):
    seen = {}
    booster = xgb.train(
        params, dtrain, num_boost_round=1, xgb_model=booster, verbose_eval=False,
        evals=[(dtrain, "train"), (dval, "val")], evals_result=seen,
    )  # fmt: skip
    train += seen["train"]["logloss"]
    val += seen["val"]["logloss"]
tell(train=train, val=val, weights=digest(booster.predict(dval)))
