"""Checkpoints: what is kept of them, what is let go of, and that neither costs anybody else's bytes."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

import tachograph
from tachograph import Run, cli
from tachograph.errors import TachographWarning
from tachograph.hooks import session
from tachograph.record import checkpoints
from tachograph.store.artifacts import Artifact

BIG = checkpoints._SMALL + 1


@pytest.fixture(autouse=True)
def policy(monkeypatch: pytest.MonkeyPatch) -> Callable[[str | bool], None]:
    def choose(value: str | bool) -> None:
        monkeypatch.setattr(session.options, "checkpoints", value)

    choose("best")
    return choose


def content(number: int, size: int = 100) -> bytes:
    return bytes([number]) * size


def train(run: Run, path: Path, count: int, best: int | None = None, size: int = 100, name: str = "checkpoint") -> None:
    for number in range(count):
        path.write_bytes(content(number, size))
        checkpoints.keep(run, path, name=name, step=number, is_best=None if best is None else number <= best)


def series(run: Run, name: str = "checkpoint") -> dict[int | None, Artifact]:
    found = tachograph.open_store().run(run.id)
    return {each.step: each for each in found.artifacts if each.name == name}


def blobs(root: Path) -> int:
    return sum(path.is_file() for path in (root / "blobs").rglob("*"))


def said(*arguments: str, capsys: pytest.CaptureFixture[str]) -> Any:
    capsys.readouterr()
    assert cli.main([*arguments, "--json"]) == 0
    return json.loads(capsys.readouterr().out)


@pytest.mark.parametrize("size", [100, BIG])
def test_the_best_and_the_last_one_keep_their_bytes(root: Path, tmp_path: Path, size: int) -> None:
    with tachograph.start_run() as run:
        train(run, tmp_path / "model.ckpt", 6, best=2, size=size)
    found = series(run)
    assert list(found) == [0, 1, 2, 3, 4, 5]
    assert [step for step, each in found.items() if not each.released] == [2, 5]
    assert {each.kind for each in found.values()} == {"checkpoint"}
    read = tachograph.open_store().run(run.id)
    assert read.artifact("best").path().read_bytes() == content(2, size)
    assert read.artifact("best").digest == found[2].digest
    assert read.artifact("checkpoint").path().read_bytes() == content(5, size)
    assert blobs(root) == 2
    for step in (0, 4):
        for use in (found[step].path, found[step].load):
            with pytest.raises(tachograph.NotFound) as error:
                use()
            expected = f'artifact checkpoint of step {step}: its bytes were let go of, because of checkpoints="best"'
            assert str(error.value) == expected


def test_where_nobody_says_which_is_best_the_last_one_stays(root: Path, tmp_path: Path) -> None:
    with tachograph.start_run() as run:
        train(run, tmp_path / "model.ckpt", 4)
    assert [each.released for each in series(run).values()] == [True, True, True, False]
    assert not series(run, "best")


def test_the_disk_does_not_fill_up_on_the_way(root: Path, tmp_path: Path) -> None:
    with tachograph.start_run() as run:
        for number in range(12):
            (tmp_path / "model.ckpt").write_bytes(content(number, BIG))
            checkpoints.keep(run, tmp_path / "model.ckpt", step=number, is_best=number == 3)
            assert blobs(root) <= 3 + checkpoints._MOST_WAITING
    assert blobs(root) == 2


def test_all_of_them_and_none(root: Path, tmp_path: Path, policy: Callable[[str | bool], None]) -> None:
    policy("all")
    with tachograph.start_run() as run:
        train(run, tmp_path / "model.ckpt", 4, best=1)
    assert [each.path().read_bytes() for each in series(run).values()] == [content(number) for number in range(4)]
    assert [each.path().read_bytes() for each in series(run, "best").values()] == [content(1)]
    policy(False)
    with tachograph.start_run() as run:
        train(run, tmp_path / "model.ckpt", 2, best=1)
    assert tachograph.open_store().run(run.id).artifacts == []


def test_series_do_not_cost_each_other_their_bytes(root: Path, tmp_path: Path) -> None:
    with tachograph.start_run() as run:
        train(run, tmp_path / "g.ckpt", 3, name="generator")
        train(run, tmp_path / "d.ckpt", 2, name="discriminator")
    assert series(run, "generator")[2].path().read_bytes() == content(2)
    assert series(run, "discriminator")[1].path().read_bytes() == content(1)
    assert series(run, "generator")[0].released


@pytest.mark.skipif(sys.platform != "linux", reason="needs a file that can be opened, and not be read")
def test_of_a_folder_what_can_be_read_is_kept_and_the_rest_named(root: Path, tmp_path: Path) -> None:
    (tmp_path / "real").mkdir()
    (tmp_path / "real" / "weights").write_bytes(b"w")
    folder = tmp_path / "checkpoint"
    folder.mkdir()
    (folder / "shard").symlink_to(tmp_path / "real")
    (folder / "unreadable").symlink_to("/proc/self/mem")
    with tachograph.start_run() as run, pytest.warns(TachographWarning, match=r"without unreadable \(Input/output"):
        checkpoints.keep(run, folder, step=1)
    kept = series(run)[1]
    assert [member.path for member in kept.members or ()] == ["shard/weights"]
    assert (kept.path() / "shard" / "weights").read_bytes() == b"w"
    assert not list(root.rglob(".draft*"))


def test_files_that_all_folders_have_stay(root: Path, tmp_path: Path) -> None:
    folder = tmp_path / "checkpoint"
    folder.mkdir()
    (folder / "tokens.json").write_text("{}")
    with tachograph.start_run() as run:
        for number in range(4):
            (folder / "weights").write_bytes(content(number))
            checkpoints.keep(run, folder, step=number, is_best=number == 1)
    found = series(run)
    assert [each.released for each in found.values()] == [True, False, True, False]
    assert (found[1].path() / "weights").read_bytes() == content(1)
    assert (found[3].path() / "tokens.json").read_text() == "{}"
    assert blobs(root) == 3


def test_it_is_kept_as_it_was_at_that_moment(root: Path, tmp_path: Path) -> None:
    path = tmp_path / "model.ckpt"
    with tachograph.start_run() as run:
        path.write_bytes(content(1, BIG))
        checkpoints.keep(run, path, step=0)
        path.write_bytes(content(2, 10))
        path.unlink()
    assert series(run)[0].path().read_bytes() == content(1, BIG)


def test_bytes_that_others_rely_on_stay(root: Path, tmp_path: Path) -> None:
    path = tmp_path / "model.ckpt"
    with tachograph.start_run("other") as other, tachograph.start_run("mine") as run:
        train(run, path, 1)
        run.log_artifact(path, name="mine")
        path.write_bytes(content(1))
        checkpoints.keep(run, path, step=1)
        other.log_artifact(path, name="theirs")
        train(run, path, 4)
    store = tachograph.open_store()
    assert store.run(other.id).artifact("theirs").path().read_bytes() == content(1)
    assert store.run(run.id).artifact("mine").path().read_bytes() == content(0)
    assert not series(run)[0].released


def test_another_process_that_keeps_the_same(root: Path, tmp_path: Path, script: Any) -> None:
    path = tmp_path / "model.ckpt"
    with tachograph.start_run() as run:
        path.write_bytes(content(0))
        checkpoints.keep(run, path, step=0)
        code = f"""
            import tachograph
            with tachograph.start_run("theirs") as run:
                run.log_artifact({str(path)!r}, name="same")
        """
        assert script(code).returncode == 0
        train(run, tmp_path / "next", 3)
    assert tachograph.open_store().run("theirs").artifact("same").path().read_bytes() == content(0)


def test_a_forked_child_has_its_own(root: Path, tmp_path: Path) -> None:
    with tachograph.start_run() as run:
        train(run, tmp_path / "model.ckpt", 2)
        child = os.fork()
        if child == 0:
            train(run, tmp_path / "theirs.ckpt", 5, name="child")
            os._exit(0)
        assert os.waitpid(child, 0)[1] == 0
    assert series(run)[1].path().read_bytes() == content(1)
    assert series(run, "child")[4].path().read_bytes() == content(4)


def test_what_is_known_of_it(root: Path, tmp_path: Path) -> None:
    (tmp_path / "model.ckpt").write_bytes(b"x")
    with tachograph.start_run() as run:
        checkpoints.keep(run, tmp_path / "model.ckpt", meta={"score": 0.5, "by": tmp_path, "nan": float("nan")})
    assert series(run)[None].meta == {"score": 0.5, "by": str(tmp_path), "nan": "nan"}


@pytest.mark.parametrize("path", ["nothing.ckpt", "zero\0byte", "/dev/null"])
def test_what_can_not_be_read_is_noted(root: Path, path: str) -> None:
    with tachograph.start_run() as run, pytest.warns(tachograph.TachographWarning, match="was not kept"):
        checkpoints.keep(run, path)
    assert "was not kept" in tachograph.open_store().run(run.id).notes[0].text
    assert not list((root / "blobs").glob(".draft*"))


def test_a_run_that_goes_on_after_its_end(root: Path, tmp_path: Path) -> None:
    run = tachograph.start_run()
    for first in (0, 1):
        run.reopen()
        (tmp_path / "model.ckpt").write_bytes(content(first, BIG))
        checkpoints.keep(run, tmp_path / "model.ckpt", step=first)
        run.finish()
    assert series(run)[1].path().read_bytes() == content(1, BIG)


def test_a_signal_handler_that_keeps_one_meanwhile(root: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "late.ckpt").write_bytes(b"late")
    with tachograph.start_run() as run:
        publish, inside = run.recorder.blobs.publish, []

        def interrupted(draft: Path, digest: str) -> Any:
            if not inside:
                inside.append(True)
                checkpoints.keep(run, tmp_path / "late.ckpt", name="late")
            return publish(draft, digest)

        monkeypatch.setattr(run.recorder.blobs, "publish", interrupted)
        train(run, tmp_path / "model.ckpt", 2)
    assert series(run)[1].path().read_bytes() == content(1)
    assert series(run, "late")[None].path().read_bytes() == b"late"


@pytest.mark.slow
def test_flushing_waits_for_them(root: Path, tmp_path: Path) -> None:
    with tachograph.start_run() as run:
        train(run, tmp_path / "model.ckpt", 1, size=20 * BIG)
        assert tachograph.flush()
        assert series(run)[0].path().stat().st_size == 20 * BIG


def test_what_was_let_go_of_is_no_damage(root: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    with tachograph.start_run("one") as run:
        train(run, tmp_path / "model.ckpt", 4, best=1)
    assert said("verify", capsys=capsys)["damage"] == []
    assert said("gc", capsys=capsys)["files"] == []
    shown = said("show", "one", capsys=capsys)["artifacts"]
    assert [(each["step"], each["released"]) for each in shown if each["name"] == "checkpoint"] == [
        (0, True), (1, False), (2, True), (3, False),
    ]  # fmt: skip
    said("doctor", capsys=capsys)
    cli.main(["export", "--format", "jsonl", str(tmp_path / "out")])
    cli.main(["show", "one"])
    assert "the bytes of 2 more checkpoints were let go of" in capsys.readouterr().out
    (root / "blobs" / series(run)[3].digest[7:9] / series(run)[3].digest[7:]).unlink()
    assert cli.main(["verify"]) == 1


def test_what_could_not_be_deleted_at_once_goes_with_gc(
    root: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    with monkeypatch.context() as patched, tachograph.start_run() as run:
        patched.setattr("tachograph.journal.blobs.Blobs.drop", lambda *arguments: False)
        train(run, tmp_path / "model.ckpt", 4, best=1)
    assert [each.released for each in series(run).values()] == [False] * 4
    assert series(run)[0].path().read_bytes() == content(0)  # as long as it is there
    for path in (root / "blobs").rglob("*"):
        os.utime(path, (time.time() - 7200,) * 2)
    assert len(said("gc", capsys=capsys)["files"]) == 2
    assert [each.released for each in series(run).values()] == [True, False, True, False]


def test_gc_puts_back_what_a_killed_process_had_put_aside(
    root: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    with tachograph.start_run() as run:
        train(run, tmp_path / "model.ckpt", 1)
    blob = root / "blobs" / series(run)[0].digest[7:9] / series(run)[0].digest[7:]
    blob.rename(blob.with_name(blob.name + ".0000.aside"))
    assert said("verify", capsys=capsys)["damage"] == []
    assert series(run)[0].path().read_bytes() == content(0)
    now = time.time()
    monkeypatch.setattr(time, "time", lambda: now + 7200)
    said("gc", capsys=capsys)
    assert blob.read_bytes() == content(0)


KILLED = """
import sys, time, tachograph
from pathlib import Path
from tachograph.record import checkpoints
path = Path(sys.argv[1])
with tachograph.start_run("killed") as run:
    for number in range(1000):
        path.write_bytes(bytes([number % 256]) * int(sys.argv[2]))
        checkpoints.keep(run, path, step=number, is_best=number % 7 == 0)
        print(number, flush=True)
"""


@pytest.mark.slow
@pytest.mark.parametrize("size", [100, BIG])
def test_a_process_that_is_killed_loses_no_record_and_no_bytes(
    root: Path, tmp_path: Path, size: int, capsys: pytest.CaptureFixture[str]
) -> None:
    command = [sys.executable, "-c", KILLED, str(tmp_path / "model.ckpt"), str(size)]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as process:
        assert process.stdout is not None
        lines = [process.stdout.readline() for _ in range(20)]
        process.send_signal(signal.SIGKILL)
    done = int(lines[-1])
    found = [each for each in tachograph.open_store().run("killed").artifacts if each.name == "checkpoint"]
    waiting = 0 if size == 100 else checkpoints._MOST_WAITING + 1
    assert done - waiting <= (found[-1].step or 0)
    assert found[-1].path().read_bytes() == content((found[-1].step or 0) % 256, size)
    best = tachograph.open_store().run("killed").artifact("best")
    assert best.path().read_bytes() == content((best.step or 0) % 256, size)
    assert said("verify", capsys=capsys)["damage"] == []
