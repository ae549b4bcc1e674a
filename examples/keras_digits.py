"""A small Keras network on scikit-learn's digits, unchanged but for one line; then what was recorded is read back."""

import os

os.environ.setdefault("KERAS_BACKEND", "torch")  # or jax, or tensorflow

import tachograph

tachograph.autolog(experiment="keras-digits")

import keras  # noqa: E402
from sklearn.datasets import load_digits  # noqa: E402
from sklearn.model_selection import train_test_split  # noqa: E402

X, y = load_digits(return_X_y=True)
X_train, X_test, y_train, y_test = train_test_split((X / 16).astype("float32"), y, random_state=0)

model = keras.Sequential(
    [keras.Input((64,)), keras.layers.Dense(64, activation="relu"), keras.layers.Dense(10, activation="softmax")]
)
model.compile(keras.optimizers.Adam(3e-3), "sparse_categorical_crossentropy", metrics=["accuracy"])
stop = keras.callbacks.EarlyStopping(patience=3, restore_best_weights=True)
model.fit(X_train, y_train, epochs=15, validation_split=0.2, callbacks=[stop], verbose=0)
model.evaluate(X_test, y_test, verbose=0)

run = tachograph.open_store().run("latest")
print(f"{run.name}: best epoch {run.metrics['best_epoch']:.0f}, accuracy {run.metrics['evaluate_accuracy']:.3f}")
print(run.artifact("summary").load())
again = run.artifact("model").load()
assert (again.predict(X_test, verbose=0) == model.predict(X_test, verbose=0)).all()
