"""What begins and ends with a run: its environment, samples of the hardware's load, the console, forced writes.

On the training thread this takes a fraction of a millisecond. The slow part (packages, git, GPUs) is looked up once per
process, by a helper process, while the training goes on.
"""

from __future__ import annotations

import time
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

from tachograph import guard, journal, settings
from tachograph.capture import console, environment, parsed_arguments, seeds
from tachograph.events import Environment, Metrics
from tachograph.journal import witnesses
from tachograph.runtime import forks
from tachograph.runtime.background import background

if TYPE_CHECKING:
    from tachograph.capture.hardware import Sampler
    from tachograph.record.run import Run

DEFAULT_SYSTEM = 10.0

_interval: float | bool = DEFAULT_SYSTEM
_slow_facts: dict[str, Any] | None = None


def configure(system: float | bool) -> None:
    """Seconds between hardware samples; False for none."""
    global _interval
    _interval = DEFAULT_SYSTEM if system is True else system


def enter(run: Run) -> None:
    """``run`` begins."""
    background.regularly(run._journal.sync)
    background.regularly(run._measure_log)
    if run.parent_id is not None:
        return
    if run.role == "owner":
        with guard.contained("environment", run):
            facts = environment.quick()
            facts["seeds"] = dict(seeds.by_library)
            run._journal.append(Environment(values=facts))
        if parsed_arguments.latest:
            run.recorder.log_arguments(parsed_arguments.latest)
        with guard.contained("environment", run):
            background.soon(partial(_add_slow_facts, run, environment.probe_request()))
        if settings.flag("console", True):
            console.attach(run)
    _monitor.add(run)


def close(run: Run) -> None:
    """``run`` is about to end: record the last of what was printed."""
    if run.parent_id is None:
        console.detach(run)


def leave(run: Run) -> None:
    """``run`` has ended. Its last events go to disk in the background."""
    if run.parent_id is None:
        _monitor.remove(run)
    background.no_longer(run._journal.sync)
    background.no_longer(run._measure_log)
    _unwritten.append(run)
    background.later(write_what_is_left)
    if run.sinks:
        background.later(partial(_send_rest, run))  # the last sample, too, is recorded in the background


def _send_rest(run: Run) -> None:
    """Send what an ended run has recorded since it was last looked at."""
    if run.sinks and run.ended:
        from tachograph.ship.shipper import shipper

        shipper.leave(run)


LOOK_AFTER = 2.0  # seconds: hundreds of runs may be there to be looked at, and nobody waits for that
_looked: set[Path] = set()  # stores


def look(root: Path) -> None:
    """Look for writers that have crashed, once per store, in the background, and record that they have.

    Only the runs that were changed last are looked at.
    """
    if root not in _looked:
        _looked.add(root)
        background.later(partial(_look, root), LOOK_AFTER)


def _look(root: Path) -> None:
    def begin_again(run: str) -> None:
        from tachograph.ship import positions

        positions.begin_again(root, run)

    witnesses.testify(root, [folder.name for folder in journal.newest(root / "runs")], begin_again)


_unwritten: list[Run] = []  # runs that have ended; mostly there is nothing left of them after the first look


def write_what_is_left() -> None:
    """Force the last events of ended runs to disk; again and again, as long as that fails."""
    for run in _unwritten.copy():
        run._journal.sync()
        if not run._journal.unwritten and run in _unwritten:
            _unwritten.remove(run)
    if _unwritten:
        background.regularly(write_what_is_left)
    else:
        background.no_longer(write_what_is_left)


def _add_slow_facts(run: Run, request: dict[str, Any]) -> None:
    global _slow_facts
    if _slow_facts is None:
        _slow_facts = environment.slow(on_fact=partial(_add_facts, run), request=request)
    else:
        _add_facts(run, _slow_facts)
    if "error" in _slow_facts:
        run.recorder.remark(_slow_facts["error"])
    _send_rest(run)


def _add_facts(run: Run, facts: dict[str, Any]) -> None:
    run.recorder.append_late(Environment(values=facts))


class _Sampled:
    """A run in which samples are recorded, and how many there are so far."""

    def __init__(self, run: Run) -> None:
        self.run, self.count = run, 0


class _Monitor:
    """Samples the hardware for the runs that are open: when each begins, every so many seconds, and when it ends."""

    def __init__(self) -> None:
        self.reset()

    def reset(self) -> None:
        """Begin anew, as a forked child does."""
        self._runs: dict[str, _Sampled] = {}
        self._sampler: Sampler | None = None
        self._sampled_at = 0.0
        self._sample: dict[str, float] = {}
        self._due = 0.0

    def add(self, run: Run) -> None:
        if _interval is not False:
            self._runs[run.writer] = sampled = _Sampled(run)
            background.later(partial(self._record, sampled))
            background.regularly(self._tick)

    def remove(self, run: Run) -> None:
        sampled = self._runs.pop(run.writer, None)
        if sampled is not None:  # else it had ended before, and was only gone on with
            background.later(partial(self._record, sampled))
        if not self._runs:
            background.no_longer(self._tick)

    def _tick(self) -> None:
        if time.monotonic() >= self._due:
            self._due = time.monotonic() + float(_interval)
            for sampled in list(self._runs.values()):
                self._record(sampled)

    def _record(self, sampled: _Sampled) -> None:
        sample = self._fresh()
        sampled.run.recorder.append_late(Metrics(0, 0, 0.0, sampled.count, dict(sample)))
        sampled.count += 1

    def _fresh(self) -> dict[str, float]:
        """A sample; at most five a second are taken, however many runs begin and end."""
        if time.monotonic() - self._sampled_at > 0.2 or not self._sample:
            if self._sampler is None:
                from tachograph.capture.hardware import Sampler

                self._sampler = Sampler()
            self._sample = self._sampler.sample()
            self._sampled_at = time.monotonic()
        return self._sample


_monitor = _Monitor()
forks.in_child("load", _unwritten.clear)  # the parent writes what it has sampled
forks.in_child("load", _monitor.reset)
