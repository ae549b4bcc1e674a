"""Two learning rates with three seeds each, on the digits that scikit-learn ships."""

import warnings

import tachograph

tachograph.autolog("sklearn", experiment="digits", models=False)

from sklearn.datasets import load_digits  # noqa: E402
from sklearn.model_selection import train_test_split  # noqa: E402
from sklearn.neural_network import MLPClassifier  # noqa: E402

warnings.filterwarnings("ignore", "Stochastic Optimizer")  # ten rounds are few
X, y = load_digits(return_X_y=True)
X_train, X_test, y_train, y_test = train_test_split(X, y, random_state=0)

for rate in (0.001, 0.01):
    for seed in range(3):
        network = MLPClassifier((32,), learning_rate_init=rate, max_iter=10, random_state=seed)
        network.fit(X_train, y_train)
        network.score(X_test, y_test)
