"""A pipeline with a lambda in it, which pickle can't keep.

Expected:

[[run]]
name = "Pipeline"
also = ["train_*", "fit_seconds"]
notes = ["can.t be pickled"]
[run.params]
"ridge__alpha" = 2.0
[run.curves]
r2_score_X_test = "r2"
"""

from sklearn.datasets import load_diabetes
from sklearn.linear_model import Ridge
from sklearn.metrics import r2_score
from sklearn.model_selection import train_test_split
from sklearn.pipeline import Pipeline
from sklearn.preprocessing import FunctionTransformer
from truth import digest, tell

X, y = load_diabetes(return_X_y=True, as_frame=True)
X_train, X_test, y_train, y_test = train_test_split(X, y, random_state=0)
pipeline = Pipeline([("double", FunctionTransformer(lambda data: data * 2)), ("ridge", Ridge(alpha=2.0))])
pipeline.fit(X_train, y_train)
r2 = r2_score(y_test, pipeline.predict(X_test))
tell(r2=[r2], weights=digest(pipeline["ridge"].coef_))
