"""A store in which there is something of everything that can be read, recorded by real processes.

One process is killed, one lives on until :meth:`Recorded.close`. Two journals are harmed by hand; a run is removed.
"""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from pathlib import Path

from tachograph import events
from tachograph.events import Console, Event, Metrics, Note, Params, Release, RunEnd, RunStart, Tags
from tachograph.journal import tombstones
from tachograph.store.store import open_store

TRAINING = """
import math, sys
from pathlib import Path
import numpy as np
import tachograph

place = Path(sys.argv[1])
files = place / "files"
files.mkdir()
(files / "model.bin").write_bytes(bytes(range(256)) * 5000)
(files / "notes.txt").write_text("grüße 🦊\\n")
(files / "folder" / "deep").mkdir(parents=True)
(files / "folder" / "one.txt").write_text("one")
(files / "folder" / "deep" / "two.txt").write_text("two")

params = {
    "lr": 1e-3, "layers": [64, 32], "depth": 3, "on": True, "off": False, "none": None, "text": "it's \\"quoted\\"",
    "nan": math.nan, "inf": math.inf, "huge": 2**70, "zoo/größe": 1, "nested": {"a": {"b": 0.1}},
}
tags = {"purpose": "every thing", "a'b": "c"}
with tachograph.start_run("rich", experiment="first", params=params, tags=tags) as run:
    for step in range(9000):
        run.log({"loss": 1 / (step + 1), "acc'uracy/größe 🦊": step / 9000}, step=step)
    for step, value in enumerate([1.0, math.nan, math.inf, -math.inf, 5e-324, -0.0, 1.7976931348623157e308]):
        run.log({"odd": value}, step=step * 10)
    run.log({"only nan": math.nan})
    for step in (5, 3, 1):
        run.log({"backwards": step}, step=step)
    run.log_note("a note")
    run.log_note("another")
    run.log_artifact(files / "model.bin", name="model", kind="model")
    run.log_artifact(files / "notes.txt")
    run.log_artifact(files / "folder")
    (files / "notes.txt").write_text("newer")
    run.log_artifact(files / "notes.txt")
    run.log_table("confusion", [{"a": 1, "b": math.nan, "c": "x"}, {"a": 2, "b": 0.5, "c": None}])
    run.log_dataset(np.arange(12.0).reshape(6, 2), name="train", role="train", source="here", version="1")
    print("printed\\nlines")
    print("on standard error", file=sys.stderr)

with tachograph.start_run("search", experiment="second", params={"lr": "high"}) as parent:
    for number in range(3):
        with parent.child(f"candidate {number}") as child:
            child.log_params({"lr": number, "kind": "one" if number else 1})
            child.log({"score": number / 2})
    parent.log({"score": 1.0})

for number in range(2):
    with tachograph.start_run("twin", experiment="second", params={"lr": 0.5}) as run:
        run.log({"score": math.nan if number else -1})

run = tachograph.start_run("stopped", experiment="first")
run.log({"score": 3})
run.finish(status="interrupted")
id = run.id
run = tachograph.start_run(resume=id)
run.log({"score": 4})
run.finish()

try:
    with tachograph.start_run("failed", experiment="first") as run:
        run.log({"loss": 7.0})
        raise ValueError("it was 'wrong' all along")
except ValueError:
    pass
with tachograph.start_run("gone") as run:
    run.log({"loss": 1.0})
"""
LAST = """
import sys, time
import tachograph

run = tachograph.start_run(sys.argv[2], experiment="first")
run.log({"loss": 2.0})
print("recording", run.id, flush=True)
time.sleep(600)
"""


class Recorded:
    """The store, which was recorded in ``folder / "store"``."""

    def __init__(self, folder: Path) -> None:
        self.root = folder / "store"
        self._started(folder, TRAINING).communicate(timeout=180)
        _write_ranks(self.root)
        killed, id = _id(self._started(folder, LAST, "killed"))
        killed.kill()
        killed.communicate()
        self._open, _ = _id(self._started(folder, LAST, "open"))
        self._open.send_signal(signal.SIGSTOP)  # it lives on, but records nothing more, be it of the hardware
        _harm(self.root, self.root / "runs" / id)
        store = open_store(self.root)
        tombstones.remove(self.root, [(run.id, run.name) for run in store.runs(where="name = 'gone'")])
        store.close()

    def _started(self, folder: Path, code: str, *arguments: str) -> subprocess.Popen[str]:
        script = folder / "train.py"
        script.write_text(code)
        environment = {**os.environ, "TACHOGRAPH_DIR": str(self.root), "TACHOGRAPH_STRICT": "1"}
        command = [sys.executable, str(script), str(folder), *arguments]
        return subprocess.Popen(command, env=environment, text=True, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL)

    def close(self) -> None:
        """End the process that lives on."""
        self._open.kill()
        self._open.communicate()


def _id(process: subprocess.Popen[str]) -> tuple[subprocess.Popen[str], str]:
    """A process, and the id of the run that it has opened."""
    assert process.stdout is not None
    for line in process.stdout:
        if line.startswith("recording "):
            return process, line.split()[1]
    raise RuntimeError("it ended without a run")


def _write_ranks(root: Path) -> None:
    """A job of three ranks on machines elsewhere, of which one failed, and a second attempt; and what is unknown."""
    for rank, end in ((0, RunEnd(status="finished", seconds=9.5, overhead=0.1)), (1, None), (2, None)):
        happened: list[Event] = [
            *(Metrics(step=step, values={"loss": rank + step / 8, "system/cpu": 50.0}) for step in range(10)),
            Params(values={"rank": rank}), Tags(values={"who": f"rank {rank}"}), Note(text=f"of rank {rank}"),
            *(Console(stream="stdout", text=f"line {line} of rank {rank}") for line in range(4)),
        ]  # fmt: skip
        if rank == 2:
            fault = events.Fault(type="RuntimeError", message="out of memory", traceback="...")
            end = RunEnd(status="failed", error=fault)
        _write(root, "job", f"{rank}-elsewhere-{rank}-a", [_start("job", rank, 0), *happened, *([end] if end else [])])
    _write(root, "job", "1-elsewhere-9-b", [_start("job", 1, 1), RunEnd(status="finished")], at=1.7e9 + 1000)
    _write(root, "letting-go", "0-elsewhere-1-a", [_start("letting-go", 0, 0), *_checkpoints()])


def _checkpoints() -> list[Event]:
    digests = [f"sha256:{number:064x}" for number in range(2)]
    return [
        *(
            events.Artifact(name="epoch", type="checkpoint", digest=digest, size=4, filename="e.bin", step=step)
            for step, digest in enumerate(digests)
        ),
        Release(digests=digests[:1], reason="a better one"),
        events.Link(relation="used", target=digests[1], meta={"path": "/somewhere"}),
        RunEnd(status="finished"),
    ]


def _start(run: str, rank: int, attempt: int) -> RunStart:
    return RunStart(
        run=run, writer="", role="worker" if rank else "owner", host=f"elsewhere-{rank}", boot="b", pid=1, born=1,
        name=run, experiment="ranks", rank=rank, attempt=attempt,
    )  # fmt: skip


def _write(root: Path, run: str, writer: str, happened: list[Event], at: float = 1.7e9) -> None:
    folder = root / "runs" / run / writer
    folder.mkdir(parents=True)
    with open(folder / "1.jsonl", "wb") as file:
        for seq, event in enumerate(happened, start=1):
            event.v, event.seq, event.at = events.VERSION, seq, at + seq * 0.25
            if isinstance(event, RunStart):
                event.writer = writer
            file.write(events.encode(event) + b"\n")


def _harm(root: Path, killed: Path) -> None:
    """A line that can't be read, one of a kind that nobody knows, and one that was cut off."""
    path = root / "runs" / "job" / "0-elsewhere-0-a" / "1.jsonl"
    lines = path.read_bytes().splitlines(keepends=True)
    newer = b'{"v":2,"seq":90,"at":1700000090.0,"kind":"telepathy","values":[1]}\n'
    path.write_bytes(b"".join([*lines[:3], b"nonsense" + lines[3], *lines[4:], newer]))
    [last] = killed.glob("*/*.jsonl")
    last.write_bytes(last.read_bytes() + b'{"v":1,"seq":99,"at":17')
