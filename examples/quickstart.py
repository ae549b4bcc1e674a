"""A scikit-learn search and an XGBoost model on data that scikit-learn ships; then what was recorded is shown."""

import tachograph

tachograph.autolog(experiment="quickstart")

from sklearn.datasets import load_breast_cancer  # noqa: E402
from sklearn.linear_model import LogisticRegression  # noqa: E402
from sklearn.metrics import roc_auc_score  # noqa: E402
from sklearn.model_selection import GridSearchCV, train_test_split  # noqa: E402
from sklearn.pipeline import make_pipeline  # noqa: E402
from sklearn.preprocessing import StandardScaler  # noqa: E402
from xgboost import XGBClassifier  # noqa: E402

X, y = load_breast_cancer(return_X_y=True, as_frame=True)
X_train, X_test, y_train, y_test = train_test_split(X, y, random_state=0)

search = GridSearchCV(
    make_pipeline(StandardScaler(), LogisticRegression()),
    {"logisticregression__C": [0.01, 0.1, 1.0, 10.0]},
    cv=5,
)
search.fit(X_train, y_train)
search.score(X_test, y_test)

boosted = XGBClassifier(n_estimators=80, max_depth=3, early_stopping_rounds=10)
boosted.fit(X_train, y_train, eval_set=[(X_train, y_train), (X_test, y_test)], verbose=False)
roc_auc_score(y_test, boosted.predict_proba(X_test)[:, 1])

if __name__ == "__main__":
    from tachograph.cli import main

    main(["runs", "--experiment", "quickstart"])
    main(["show", "latest"])
