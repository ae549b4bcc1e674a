"""A loop of one's own, with nothing but NumPy: the verbs that a run has, and reading it back."""

import numpy as np

import tachograph

random = np.random.default_rng(0)
X = random.normal(size=(500, 3))
y = X @ [1.0, -2.0, 0.5] + random.normal(scale=0.1, size=500)

with tachograph.start_run("least squares", experiment="plain-loop", params={"lr": 0.1, "epochs": 30}) as run:
    run.log_dataset(X, name="synthetic", role="train", target=y)
    weights = np.zeros(3)
    for epoch in range(30):
        error = X @ weights - y
        weights -= 0.1 * X.T @ error / len(y)
        run.log({"loss": float(np.mean(error**2))}, step=epoch)
    run.log_table("weights", [{"feature": index, "weight": weight} for index, weight in enumerate(weights)])
    run.log_note("the noise has a standard deviation of 0.1")

recorded = tachograph.open_store().run(run.id)
print(f"{recorded.name}: loss {recorded.summary('loss').first:.3f} to {recorded.metrics['loss']:.3f}")
