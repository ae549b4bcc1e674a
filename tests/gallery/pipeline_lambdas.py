"""A pipeline with lambdas, searched on two processes, with a scorer made by `functools.wraps`.

Expected:

[[run]]
name = "GridSearchCV"
also = ["*_score", "best_*", "n_splits", "mean_*", "std_*", "train_*", "accuracy_score*"]
[run.params]
"best_params.ridge__alpha" = 0.1
[run.curves]
best_score = "best"
score_X_test = "score"

[[run]]
name = "candidate-0"
parent = "GridSearchCV"
also = ["mean_*", "std_*", "rank_*"]
[run.curves]
test_score = "candidates.0.scores"

[[run]]
name = "candidate-1"
parent = "GridSearchCV"
also = ["mean_*", "std_*", "rank_*"]
[run.curves]
test_score = "candidates.1.scores"
"""

import functools

import numpy as np
from sklearn.datasets import load_diabetes
from sklearn.linear_model import Ridge
from sklearn.metrics import make_scorer, r2_score
from sklearn.model_selection import GridSearchCV, train_test_split
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import FunctionTransformer, StandardScaler
from truth import digest, tell


@functools.wraps(r2_score)
def clipped_r2(y_true, y_pred, **kwargs):
    return max(r2_score(y_true, y_pred, **kwargs), -1.0)


X, y = load_diabetes(return_X_y=True)
X_train, X_test, y_train, y_test = train_test_split(X, y, random_state=0)
pipeline = make_pipeline(StandardScaler(), FunctionTransformer(np.tanh), Ridge())
search = GridSearchCV(pipeline, {"ridge__alpha": [0.1, 10.0]}, scoring=make_scorer(clipped_r2), cv=3, n_jobs=2)
search.fit(X_train, y_train)
late = make_pipeline(FunctionTransformer(lambda data: data * 2), Ridge())
score = search.score(X_test, y_test)
print(search.best_params_, round(score, 3))
splits = [[float(search.cv_results_[f"split{k}_test_score"][c]) for k in range(3)] for c in range(2)]
tell(
    best=[search.best_score_],
    score=[score],
    candidates=[{"scores": scores} for scores in splits],
    weights=digest(search.best_estimator_[-1].coef_),
)
