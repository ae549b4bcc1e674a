"""Keras with callbacks of one's own and of Keras, and early stopping.

Expected:

[[run]]
name = "iris"
also = ["lr", "learning_rate", "best_*", "stopped_epoch"]
artifacts = ["model", "summary"]
datasets = ["train"]
[run.params]
batch_size = 30
"early_stopping.patience" = 2
[run.curves]
loss = "loss"
accuracy = "accuracy"
val_loss = "val_loss"
val_accuracy = "val_accuracy"
evaluate_loss = "evaluated"
evaluate_accuracy = "evaluated_accuracy"
"""

import keras
from sklearn.datasets import load_iris
from truth import digest, tell


class Collect(keras.callbacks.Callback):
    def on_train_begin(self, logs=None):
        self.seen = {}

    def on_epoch_end(self, epoch, logs=None):
        for name in ("loss", "accuracy", "val_loss", "val_accuracy"):
            self.seen.setdefault(name, []).append(float(logs[name]))


keras.utils.set_random_seed(0)
X, y = load_iris(return_X_y=True)
inputs = keras.Input((4,))
hidden = keras.layers.Dense(8, activation="relu")(inputs)
model = keras.Model(inputs, keras.layers.Dense(3, activation="softmax")(hidden), name="iris")
model.compile("adam", "sparse_categorical_crossentropy", metrics=["accuracy"])
collect = Collect()
callbacks = [
    collect,
    keras.callbacks.LambdaCallback(on_epoch_end=lambda epoch, logs: print(epoch, round(logs["loss"], 3))),
    keras.callbacks.EarlyStopping(patience=2, min_delta=0.05, restore_best_weights=True),
    keras.callbacks.ReduceLROnPlateau(patience=1),
]
model.fit(X, y, epochs=6, batch_size=30, validation_split=0.2, verbose=0, callbacks=callbacks)
loss, accuracy = model.evaluate(X, y, verbose=0)
tell(**collect.seen, evaluated=[loss], evaluated_accuracy=[accuracy], weights=digest(model.get_weights()))
