"""A stream of texts, learned batch by batch with `partial_fit`.

Expected:

[[run]]
name = "SGDClassifier"
also = ["train_*", "n_iter", "accuracy_score*", "fit_seconds"]
artifacts = ["model"]
[run.params]
alpha = 0.001
loss = "log_loss"
[run.curves]
score_X_test = "final"
"""

import numpy as np
from sklearn.datasets import load_digits
from sklearn.linear_model import SGDClassifier
from truth import digest, tell

digits = load_digits()
X, y = digits.data / 16, digits.target
X_test, y_test = X[1500:], y[1500:]


def stream(batch_size=75):
    for start in range(0, 1500, batch_size):
        yield X[start : start + batch_size], y[start : start + batch_size]


clf = SGDClassifier(loss="log_loss", alpha=1e-3, random_state=0)
progress = []
for i, (X_batch, y_batch) in enumerate(stream()):
    clf.partial_fit(X_batch, y_batch, classes=np.arange(10))
    progress.append(int((clf.predict(X_test) == y_test).sum()))
final = clf.score(X_test, y_test)
print(progress)
tell(final=[final], weights=digest(clf.coef_, clf.intercept_))
