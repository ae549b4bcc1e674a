"""Nothing that was kept runs code when it is loaded, unless its reader says that it is trusted."""

from __future__ import annotations

import contextlib
import csv
import io
import os
import pickle
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from tests.parts.files import file

import tachograph
from tachograph.store.artifacts import Artifact
from tachograph.store.store import open_store

joblib = pytest.importorskip("joblib")


class Evil:
    """Creates a file when it is unpickled."""

    def __init__(self, path: Path) -> None:
        self.path = str(path)

    def __reduce__(self) -> tuple[Any, ...]:
        return os.mkdir, (self.path,)


def by_torch(evil: Evil) -> bytes:
    torch = pytest.importorskip("torch")
    content = io.BytesIO()
    torch.save({"weight": torch.zeros(1), "evil": evil}, content)
    return content.getvalue()


def by_old_torch(evil: Evil) -> bytes:
    torch = pytest.importorskip("torch")
    content = io.BytesIO()
    torch.save({"weight": torch.zeros(1), "evil": evil}, content, _use_new_zipfile_serialization=False)
    return content.getvalue()


def by_numpy(evil: Evil) -> bytes:
    content = io.BytesIO()
    np.save(content, np.array([evil, None], object), allow_pickle=True)
    return content.getvalue()


def by_numpy_in_a_zip(evil: Evil) -> bytes:
    content = io.BytesIO()
    np.savez(content, evil=np.array([evil, None], object))
    return content.getvalue()


def by_joblib(evil: Evil) -> bytes:
    content = io.BytesIO()
    joblib.dump(evil, content)
    return content.getvalue()


MAKERS = [pickle.dumps, by_joblib, by_numpy, by_numpy_in_a_zip, by_torch, by_old_torch]
SUFFIXES = [
    "pkl", "pickle", "joblib", "npy", "npz", "pt", "pth", "ckpt", "safetensors", "ubj", "json", "jsonl", "csv", "txt",
    "keras", "bin",
]  # fmt: skip
FORMATS = [
    "text", "json", "jsonl", "jsonl-table", "csv", "numpy", "joblib", "pickle", "xgboost-ubj", "torch-safetensors",
    "torch-state-dict", ".ckpt", "nobody's",
]  # fmt: skip


def kept(content: bytes, filename: str, format: str = "") -> Artifact:
    with tachograph.start_run() as run:
        run.recorder.keep_bytes(content, "artifact", "model", filename, None, {"format": format} if format else {})
    return tachograph.open_store().run(run.id).artifact("artifact")


@pytest.mark.slow
@pytest.mark.filterwarnings("ignore")
@pytest.mark.parametrize("make", MAKERS)
@pytest.mark.parametrize(("suffix", "format"), [*((one, "") for one in SUFFIXES), *(("x", one) for one in FORMATS)])
def test_no_pickle_is_run(root: Path, tmp_path: Path, make: Callable[[Evil], bytes], suffix: str, format: str) -> None:
    trap = tmp_path / "trap"
    content = make(Evil(trap))
    found = kept(content, f"file.{suffix}", format)
    with contextlib.suppress(Exception):  # what else it says is the matter of each loader
        found.load()
    assert not trap.exists()


@pytest.mark.parametrize(
    ("make", "suffix"),
    [(pickle.dumps, "pkl"), (by_joblib, "joblib"), (by_numpy, "npy"), (by_numpy_in_a_zip, "npz"), (by_torch, "ckpt"),
     (by_old_torch, "pt")],
)  # fmt: skip
def test_the_error_says_what_to_do_and_trusting_does_it(
    root: Path, tmp_path: Path, make: Callable[[Evil], bytes], suffix: str
) -> None:
    found = kept(make(Evil(tmp_path / "trap")), f"file.{suffix}")
    with pytest.raises(tachograph.Error, match=r"can run code when loaded: if you trust its origin, load\(trusted"):
        found.load()
    assert not (tmp_path / "trap").exists()
    found.load(trusted=True)
    assert (tmp_path / "trap").exists()


def test_arrays(root: Path) -> None:
    content = io.BytesIO()
    np.save(content, np.arange(3))
    for trusted in (False, True):
        assert kept(content.getvalue(), "x.npy").load(trusted).tolist() == [0, 1, 2]
    content = io.BytesIO()
    np.savez(content, a=np.arange(2), b=np.ones(1))
    loaded = kept(content.getvalue(), "x.npz").load()
    assert {name: array.tolist() for name, array in loaded.items()} == {"a": [0, 1], "b": [1.0]}


def test_a_checkpoint_of_tensors_needs_no_trust(root: Path) -> None:
    torch = pytest.importorskip("torch")
    content = io.BytesIO()
    torch.save({"state_dict": {"weight": torch.ones(2)}, "epoch": 3, "names": ["a"]}, content)
    for suffix in ("pt", "pth", "ckpt"):
        assert kept(content.getvalue(), f"x.{suffix}").load()["epoch"] == 3


def by_numpy_cut_off() -> bytes:
    content = io.BytesIO()
    np.savez(content, a=np.arange(1000))
    return content.getvalue()[:-300]


def by_torch_cut_off() -> bytes:
    torch = pytest.importorskip("torch")
    content = io.BytesIO()
    torch.save({"weight": torch.zeros(100)}, content)
    return content.getvalue()[:-30]


def an_array() -> bytes:
    content = io.BytesIO()
    np.save(content, np.arange(1000))
    return content.getvalue()


BROKEN: list[tuple[str, Callable[[], bytes]]] = [
    ("train.log", lambda: "größe".encode("latin-1")),
    ("big.json", lambda: b'{"x": 1e999}'),
    ("deep.json", lambda: b"[" * 100_000 + b"]" * 100_000),
    ("deep.jsonl", lambda: b"[" * 100_000 + b"]" * 100_000),
    ("not.json", lambda: b"{"),
    ("latin.csv", lambda: "größe,1\n".encode("latin-1")),
    ("cut.npz", by_numpy_cut_off),
    ("cut.npy", lambda: an_array()[:200]),
    ("header.npy", lambda: an_array()[:20]),
    ("not.npy", lambda: b"hello there"),
    ("not.npz", lambda: b"PK hello there"),
    ("empty.npy", lambda: b""),
    ("cut.ckpt", by_torch_cut_off),
    ("not.pt", lambda: b"hello there"),
    ("empty.pth", lambda: b""),
    ("not.safetensors", lambda: b"hello there, this is nothing"),
    ("not.keras", lambda: b"hello there"),
    ("not.ubj", lambda: b"hello there"),
    ("cut.pkl", lambda: pickle.dumps(list(range(1000)))[:-30]),
    ("not.joblib", lambda: b"hello there"),
]


@pytest.mark.filterwarnings("ignore")
@pytest.mark.parametrize(("filename", "content"), BROKEN, ids=[name for name, _ in BROKEN])
def test_a_broken_file_is_an_error_that_names_it_trusted_or_not(
    root: Path, filename: str, content: Callable[[], bytes]
) -> None:
    format = "xgboost-ubj" if filename.endswith(".ubj") else ""
    if format:
        pytest.importorskip("xgboost")
    found = kept(content(), filename, format)
    for trusted in (False, True):
        if not trusted and filename.endswith((".pkl", ".joblib")):
            continue
        with pytest.raises(tachograph.Error, match="artifact artifact") as told:
            found.load(trusted)
        assert len(str(told.value).splitlines()) == 1
        assert "trusted=True" not in str(told.value)


def test_a_field_of_any_length_is_read(root: Path) -> None:
    long = "x" * 200_000
    before = csv.field_size_limit()
    assert kept(f"a,b\n{long},1\n".encode(), "long.csv").load() == [{"a": long, "b": "1"}]
    assert csv.field_size_limit() == before


def test_what_a_loader_needs_is_named_with_the_artifact(root: Path) -> None:
    class Lost:
        pass

    Lost.__qualname__, Lost.__module__ = "Lost", __name__
    globals()["Lost"] = Lost
    content = pickle.dumps(Lost())
    del globals()["Lost"]
    with pytest.raises(tachograph.Error, match="artifact artifact: it needs a class that can't be imported here"):
        kept(content, "x.pkl").load(trusted=True)


def test_what_can_run_code_is_loaded_only_when_trusted(root: Path, tmp_path: Path) -> None:
    joblib.dump({"a": 1}, tmp_path / "m.joblib")
    (tmp_path / "m.pkl").write_bytes(pickle.dumps({"b": 2}))
    with tachograph.start_run() as run:
        run.log_artifact(tmp_path / "m.joblib")
        run.log_artifact(tmp_path / "m.pkl")
    found = open_store().run(run.id)
    for name, content in (("m.joblib", {"a": 1}), ("m.pkl", {"b": 2})):
        with pytest.raises(tachograph.Error, match=r"if you trust its origin, load\(trusted=True\)$"):
            found.artifact(name).load()
        assert found.artifact(name).load(trusted=True) == content


def test_what_is_safe_is_loaded_by_its_suffix(root: Path, tmp_path: Path) -> None:
    with tachograph.start_run() as run:
        run.log_artifact(file(tmp_path / "a.json", '{"x": [1]}'))
        run.log_artifact(file(tmp_path / "a.jsonl", '{"x": 1}\n\n{"x": 2}\n'))
        run.log_artifact(file(tmp_path / "a.csv", 'x,y\n1,"a,b"\n'))
        run.log_artifact(file(tmp_path / "a.MD", "# é"))
        run.log_artifact(file(tmp_path / "a.bin", "?"))
    found = open_store().run(run.id)
    assert found.artifact("a.json").load() == {"x": [1]}
    assert found.artifact("a.jsonl").load() == [{"x": 1}, {"x": 2}]
    assert found.artifact("a.csv").load() == [{"x": "1", "y": "a,b"}]
    assert found.artifact("a.MD").load() == "# é"
    with pytest.raises(tachograph.Error, match=r"there is no loader for 'a.bin'; read the file at .path\(\) yourself"):
        found.artifact("a.bin").load()


@pytest.fixture
def plugged(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """A distribution with two loaders, as pip would install it."""
    site = tmp_path / "site"
    file(site / "their_loaders.py", (
        "def load(path, meta):\n    return path.name, meta['format']\n"
        "def run(path, meta):\n    return 'ran'\n"
        "run.unsafe = True\n"
    ))  # fmt: skip
    info = site / "their_loaders-1.0.dist-info"
    file(info / "METADATA", "Metadata-Version: 2.1\nName: their-loaders\nVersion: 1.0\n")
    file(info / "entry_points.txt", "[tachograph.loaders]\ntheirs = their_loaders:load\nodd = their_loaders:run\n")
    monkeypatch.syspath_prepend(site)
    yield
    sys.modules.pop("their_loaders", None)


def test_loaders_from_elsewhere(plugged: None, root: Path) -> None:
    with tachograph.start_run() as run:
        run.recorder.keep_bytes(b"1", "model", "model", "model.theirs", None, {"format": "theirs"})
        run.recorder.keep_bytes(b"2", "odd", "model", "model.odd", None, {"format": "odd"})
    found = open_store().run(run.id)
    assert found.artifact("model").load() == ("model.theirs", "theirs")
    with pytest.raises(tachograph.Error, match="can run code"):
        found.artifact("odd").load()
    assert found.artifact("odd").load(trusted=True) == "ran"
