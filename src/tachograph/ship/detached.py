"""Sending in a process of its own, after the one that recorded has ended: ``TACHOGRAPH_DETACH=1``.

    <root>/sinks/<sink>/detached.lock     held by the one process that sends there
    <root>/sinks/<sink>/detached.wanted   somebody has ended since that process last looked
    <root>/sinks/<sink>/detached.log      what such processes did

It has a session of its own and none of its parent's files open, so that it outlives the terminal, and is not killed
with the process group of the training. What it can't outlive: the end of its container, of a batch job whose scheduler
kills by control group (SLURM's proctrack/cgroup), of a systemd unit, of the machine. Then nothing is lost, either: the
next run here sends it, or ``tachograph sync``. A training that is killed hands nothing over.
"""

from __future__ import annotations

import contextlib
import os
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

from tachograph import settings, wording
from tachograph.printable import printable
from tachograph.redaction import redact_url
from tachograph.runtime import plain_files, process
from tachograph.runtime.backoff import Backoff, requested_delay
from tachograph.runtime.locks import try_lock
from tachograph.ship.delivery import Delivery, is_over
from tachograph.ship.positions import Positions
from tachograph.sinks import Retry, Sink, open_sink

LIFETIME = 24 * 3600.0  # seconds, after which it gives up
PARENT_SECONDS = 60.0  # that the parent may take to end
LOG_BYTES = 1 << 20  # from which on the log is begun anew
BATCH_BYTES = 512 << 10
URL = "TACHOGRAPH_DETACHED_TO"  # in its environment, which nobody else can read: a URL may have a secret part
_WINDOWS = getattr(subprocess, "DETACHED_PROCESS", 0) | getattr(subprocess, "CREATE_NEW_PROCESS_GROUP", 0)


def start(root: Path, url: str) -> Path:
    """Start a process that sends what is left from the store in ``root``, when this one has ended; returns its log.
    Raises OSError."""
    folder = Positions(root, redact_url(url)).folder
    folder.mkdir(parents=True, exist_ok=True)
    log = folder / "detached.log"
    command = [sys.executable, "-P", "-m", "tachograph.ship.detached", str(root)]
    flags = os.O_WRONLY | os.O_APPEND | os.O_CREAT | (os.O_TRUNC if _size(log) > LOG_BYTES else 0)
    with open(plain_files.descriptor(log, flags), "ab") as file:
        started = subprocess.Popen(
            command, cwd=root, env=_environment(url), stdin=subprocess.DEVNULL, stdout=file, stderr=file,
            start_new_session=True, creationflags=_WINDOWS,
        )  # fmt: skip
    started.returncode = 0  # nobody waits for it
    return log


def _environment(url: str) -> dict[str, str]:
    environment = {**os.environ, URL: url, "TACHOGRAPH_TOKEN": str(settings.get("token") or "")}
    paths = environment.get("PYTHONPATH", "")
    if paths:
        environment["PYTHONPATH"] = os.pathsep.join(map(os.path.abspath, paths.split(os.pathsep)))
    return environment


def _size(path: Path) -> int:
    return path.stat().st_size if path.exists() else 0


# -- that process --


def main(root: Path, url: str) -> None:
    """Send what is left, unless another process does so already: that one then sends what came since, too."""
    positions = Positions(root, redact_url(url))
    wanted = positions.folder / "detached.wanted"
    _await_parent()
    wanted.touch()
    until = time.monotonic() + LIFETIME
    try:
        while wanted.exists() and time.monotonic() < until:
            with _only(positions.folder / "detached.lock") as alone:
                if not alone:
                    _say("another process sends already")
                    return
                wanted.unlink(missing_ok=True)
                _send_patiently(positions, url, until)
    except BaseException as fault:  # it goes into the log with all that is known of it
        positions.note_error(f"{type(fault).__name__}: {fault}")
        raise


def _await_parent() -> None:
    """Wait until the process that recorded has ended: only then its journals are certain to be whole."""
    parent = process.parent()
    until = time.monotonic() + PARENT_SECONDS
    while parent is not None and os.getppid() == parent.pid and time.monotonic() < until:
        time.sleep(0.05)


@contextlib.contextmanager
def _only(path: Path) -> Iterator[bool]:
    descriptor = plain_files.descriptor(path, os.O_RDWR | os.O_CREAT)
    try:
        yield try_lock(descriptor)
    finally:
        os.close(descriptor)


def _send_patiently(positions: Positions, url: str, until: float) -> None:
    sink, backoff = open_sink(url), Backoff()
    _say(f"sending to {positions.name}")
    deliveries = list(_deliveries(positions))
    try:
        while time.monotonic() < until:
            if not positions.folder.is_dir():
                _say("the store is no more")
                return
            try:
                for delivery in deliveries:
                    _send(positions, delivery, sink)
                positions.note_error("")
                _say(f"done with {wording.count(len(deliveries), 'run')}")
                return
            except (Retry, OSError) as error:
                why = str(error) or type(error).__name__
                positions.note_error(why)
                _say(why)
                progress = sum(delivery.progress for delivery in deliveries)
                time.sleep(backoff.failed(progress, requested_delay(error)))
        _say(f"given up after {LIFETIME / 3600:.0f} hours: the next run sends it, or tachograph sync")
    finally:
        sink.close()


def _deliveries(positions: Positions) -> Iterator[Delivery]:
    for run in positions.unsent():
        if (positions.root / "runs" / run).is_dir():
            yield Delivery(positions, run, is_over)


def _send(positions: Positions, delivery: Delivery, sink: Sink) -> None:
    lines = sum(amount.lines for amount in delivery.send(sink, BATCH_BYTES))
    if delivery.is_complete():
        positions.mark_sent(delivery.run)
    if lines:
        _say(f"{wording.count(lines, 'line')} of run {delivery.run} sent")


def _say(text: str) -> None:
    print(f"{time.strftime('%Y-%m-%d %H:%M:%S')} [{os.getpid()}] {printable(text)}", flush=True)


if __name__ == "__main__":
    main(Path(sys.argv[1]), os.environ.pop(URL))
