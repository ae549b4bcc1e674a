"""Records trainings with stepwise."""

from pathlib import Path
from tempfile import TemporaryDirectory

import stepwise

import tachograph
from tachograph.hooks import current, options, shield, training

REQUIRES = "stepwise>=1.0"  # the distributions and their versions; several mean alternatives


class TachographCallback:
    """Records each step: to autolog's run, or, where a user names it without autolog, to the run that is open."""

    @shield  # stepwise calls it: a fault of ours must not end the training
    def on_step(self, step, loss):
        here = current()
        run = tachograph.active_run() if here is None else here.run
        if run is not None and step % options.every_n_steps == 0:
            run.log({"loss": loss}, step)


def callback(call):
    """The callback for one call of ``fit``; None where the user has named it already: no point is recorded twice."""
    given = call.argument("callbacks") or ()
    return None if any(isinstance(one, TachographCallback) for one in given) else TachographCallback()


def note(call, session):
    """Watch a training: what is known before it, ``yield`` once, what is known after it."""
    run, model = session.run, call.instance
    run.log_params({"lr": model.lr, "steps": model.steps})
    if options.datasets:
        run.log_dataset(call.argument("data"), name="train", role="train")
    yield
    if options.models:
        with TemporaryDirectory() as folder:
            model.save(Path(folder, "model.stepwise"))
            run.log_artifact(Path(folder, "model.stepwise"), name="model", kind="model")


def load_model(path, meta):
    """What ``artifact.load()`` gives for a file with our suffix. If it could run code: ``load_model.unsafe = True``."""
    return stepwise.load(path)


def install(hooks):
    """Called once stepwise is imported. Hook the training last: hooks made before it are called inside its session."""
    hooks.inject(stepwise.Model, "fit", argument="callbacks", make=callback)
    hooks.around(stepwise.Model, "fit", training(note, plugin="stepwise", name=lambda call: "Model"))
