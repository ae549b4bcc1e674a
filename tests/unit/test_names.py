"""The spelling that users' code depends on. A change here breaks their scripts."""

from __future__ import annotations

import inspect
from typing import Any

import pytest

import tachograph

SIGNATURES = {
    "autolog": "(*frameworks, experiment=None, sinks=None, tags=None, models=True, checkpoints='best', datasets=True, "
    "system=10.0, every_n_steps=1, silent=False, register=None)",
    "start_run": "(name=None, *, experiment=None, params=None, tags=None, parent=None, resume=None, sinks=None)",
    "active_run": "()",
    "suppress": "()",
    "flush": "(timeout=30.0)",
    "open_store": "(url=None)",
    "log": "(values, step=None)",
    "log_params": "(params)",
    "set_tags": "(tags)",
    "log_note": "(text)",
    "log_artifact": "(path, name=None, kind='file', step=None)",
    "log_figure": "(name, figure, step=None)",
    "log_table": "(name, rows, step=None)",
    "log_dataset": "(data, name='data', role='train', source=None, version=None, target=None)",
    "use_dataset": "(data, name=None)",
    "use_model": "(version)",
}
METHODS = {
    "log": "(self, values, step=None)",
    "log_params": "(self, params)",
    "set_tags": "(self, tags)",
    "log_note": "(self, text)",
    "log_artifact": "(self, path, name=None, kind='file', step=None)",
    "log_figure": "(self, name, figure, step=None)",
    "log_table": "(self, name, rows, step=None)",
    "log_dataset": "(self, data, name='data', role='train', source=None, version=None, target=None)",
    "use_dataset": "(self, data, name=None)",
    "use_model": "(self, version)",
    "child": "(self, name=None)",
    "finish": "(self, status='finished', error=None)",
}


def spelled(function: Any) -> str:
    signature = inspect.signature(function)
    bare = [parameter.replace(annotation=inspect.Parameter.empty) for parameter in signature.parameters.values()]
    return str(signature.replace(parameters=bare, return_annotation=inspect.Signature.empty))


@pytest.mark.parametrize("name", SIGNATURES)
def test_functions(name: str) -> None:
    assert spelled(getattr(tachograph, name)) == SIGNATURES[name]


@pytest.mark.parametrize("name", METHODS)
def test_methods_of_a_run(name: str) -> None:
    assert spelled(getattr(tachograph.Run, name)) == METHODS[name]


def test_the_verbs_and_the_methods_agree() -> None:
    for name in set(SIGNATURES) & set(METHODS):
        assert METHODS[name] == SIGNATURES[name].replace("(", "(self, ", 1)


def test_what_a_run_has() -> None:
    with tachograph.start_run("first", experiment="trial") as run:
        assert (run.name, run.experiment) == ("first", "trial")
        assert run.dir is not None
        assert run.dir.name == run.id
        assert run.dir.is_dir()


def test_the_handle_of_autolog() -> None:
    with tachograph.autolog() as handle:
        assert isinstance(handle, tachograph.Autolog)
        assert callable(handle.undo)


def test_errors() -> None:
    assert issubclass(tachograph.NotFound, tachograph.Error)
    assert issubclass(tachograph.NotFound, LookupError)
    assert issubclass(tachograph.QueryError, tachograph.Error)
    assert issubclass(tachograph.QueryError, ValueError)
    assert issubclass(tachograph.NotAllowed, tachograph.Error)
    assert issubclass(tachograph.Damaged, tachograph.Error)
    assert issubclass(tachograph.TachographWarning, UserWarning)


def test_every_public_name_is_there_and_listed() -> None:
    assert set(SIGNATURES) <= set(tachograph.__all__)
    for name in tachograph.__all__:
        assert getattr(tachograph, name) is not None
    assert set(tachograph.__all__) == set(dir(tachograph))
    with pytest.raises(AttributeError, match="no attribute 'start_rnu'"):
        _ = tachograph.start_rnu
