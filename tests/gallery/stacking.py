"""Stacking on two processes, with an ordinary report afterwards.

Expected:

[[run]]
name = "StackingClassifier"
also = ["train_*", "fit_seconds"]
artifacts = ["model"]
datasets = ["X_train"]
[run.params]
"lr__C" = 0.5
[run.curves]
score_X_test = "score"
f1_score_X_test = "f1"
"""

from sklearn.datasets import load_wine
from sklearn.ensemble import RandomForestClassifier, StackingClassifier
from sklearn.linear_model import LogisticRegression
from sklearn.metrics import f1_score
from sklearn.model_selection import train_test_split
from sklearn.naive_bayes import GaussianNB
from truth import digest, tell

X, y = load_wine(return_X_y=True)
X_train, X_test, y_train, y_test = train_test_split(X, y, stratify=y, random_state=1)
estimators = [
    ("rf", RandomForestClassifier(n_estimators=5, max_depth=3, random_state=0)),
    ("lr", LogisticRegression(C=0.5, max_iter=5000)),
]
clf = StackingClassifier(estimators, final_estimator=GaussianNB(), cv=3, n_jobs=2)
score = clf.fit(X_train, y_train).score(X_test, y_test)
f1 = f1_score(y_test, clf.predict(X_test), average="macro")
print(f"accuracy {score:.3f}, f1 {f1:.3f}")
tell(score=[score], f1=[f1], weights=digest(clf.final_estimator_.theta_, clf.predict_proba(X_test)))
