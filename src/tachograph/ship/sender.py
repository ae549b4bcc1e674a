"""Sending while training goes on: a thread for each sink, so that one that is dead delays no other."""

from __future__ import annotations

import contextlib
import threading
import time
from collections.abc import Callable
from functools import partial
from pathlib import Path

from tachograph import guard
from tachograph.journal import witnesses
from tachograph.runtime.background import lives
from tachograph.runtime.backoff import Backoff, requested_delay
from tachograph.ship.delivery import Delivery, Unread, is_over
from tachograph.ship.positions import Positions, begin_again
from tachograph.sinks import Costly, Retry, Sink

LOOK_SECONDS = 1.0
FIRST_PAUSE, PAUSE_SHARE = 5.0, 0.05  # for a sink that costs: seconds, then that share of the time a run has taken
LONGEST_ASKED = 3600.0
CALM = 19  # seconds of rest for each second that the thread had the processor while a training wants it


class Sender:
    """Sends runs of the store in ``root`` to the sink that ``make`` gives, on a thread that ends when there is nothing
    left.

    First it sends what the runs of this process record, then what earlier processes left behind. ``name`` is what
    people see of the sink's URL.
    """

    def __init__(self, root: Path, name: str, make: Callable[[], Sink]) -> None:
        self.name = name
        self._root, self._make = root, make
        self._positions = Positions(root, name)
        self._deliveries: dict[str, Delivery] = {}
        self._runs: dict[str, guard.Notes] = {}
        self._closed: dict[str, object] = {}  # runs that have ended, each with a mark of that end
        self._wake = threading.Condition()
        self._thread: threading.Thread | None = None
        self._asked = self._served = 0
        self._looked = False
        self._since = 0.0  # when the newest run began
        self._has_error = True  # of an earlier process, as far as we know
        self._backoff = Backoff()
        self._retry_at = 0.0

    # -- for the threads of the training --

    def add(self, run_id: str, run: guard.Notes, includes: Callable[[Path], bool]) -> None:
        """Send a run that is being recorded; what the sink rejects is noted in ``run``."""
        with contextlib.suppress(OSError):  # a full disk: it is sent all the same
            self._positions.begin(run_id)
        with self._wake:
            self._deliveries.setdefault(run_id, Delivery(self._positions, run_id, includes))
            self._runs[run_id] = run
            self._closed.pop(run_id, None)
            self._since = time.monotonic()
            self._start()
            self._wake.notify_all()

    def close(self, run_id: str) -> None:
        """Note that the run has ended: all that it recorded is on disk."""
        with self._wake:
            self._closed[run_id] = object()
            self._wake.notify_all()

    def ask(self) -> int:
        """Have all that is on disk now sent without a pause; returns what :meth:`wait` takes."""
        with self._wake:
            self._asked += 1
            if self._deliveries:
                self._start()
            self._wake.notify_all()
            return self._asked

    def wait(self, ticket: int, until: float) -> bool:
        """Wait until all is sent that the :meth:`ask` of this ticket was about; False when the clock (monotonic)
        reaches ``until`` first."""
        with self._wake:
            timeout = max(0.0, until - time.monotonic())
            self._wake.wait_for(lambda: self._served >= ticket or self._thread is None, timeout)
            return self._served >= ticket or (self._thread is None and not self.behind)

    @property
    def behind(self) -> dict[str, int]:
        """How many bytes are left to send of each run of which there are any."""
        sizes = {run: delivery.behind() for run, delivery in list(self._deliveries.items())}
        return {run: size for run, size in sizes.items() if size}

    def _start(self) -> None:
        if self._thread is None or not lives(self._thread):
            thread = threading.Thread(target=self._run, name="tachograph sender", daemon=True)
            self._thread = thread  # a signal handler may come, and looks at this
            thread.start()

    # -- the thread --

    def _run(self) -> None:
        guard.untimed_thread()
        has_failed = True
        try:
            with guard.contained(f"sending to {self.name}", next(iter(self._runs.values()), None)):
                self._serve()
                has_failed = False
        finally:
            if has_failed:
                self._note_error("sending failed by a fault of its own, or of the sink's: a note in the run says which")
            with self._wake:
                if self._thread is threading.current_thread():
                    self._thread = None
                self._wake.notify_all()

    def _serve(self) -> None:
        sink: Sink | None = None
        try:
            sink = self._make()
            self._look_back()
            while self._turn(sink):
                pass
        except ValueError as error:
            if sink is not None:
                raise
            guard.misuse(f"nothing is sent to {self.name}: {error}", next(iter(self._runs.values()), None))
        finally:
            if sink is not None:
                sink.close()

    def _look_back(self) -> None:
        """Take over what earlier processes left unsent, but not what other processes are sending."""
        if not self._looked:
            self._looked = True
            runs = self._positions.unsent()
            witnesses.testify(self._root, runs, partial(begin_again, self._root))
            for run in runs:
                if not (self._root / "runs" / run).is_dir():
                    self._positions.forget(run)
                elif run not in self._deliveries:
                    self._deliveries[run] = Delivery(self._positions, run, is_over)
                    self._closed[run] = object()

    def _turn(self, sink: Sink) -> bool:
        """Send what there is, and wait for more; False where no more will come."""
        asked, closed, since = self._asked, dict(self._closed), self._since
        sent = self._send_all(sink)
        with self._wake:
            if sent:
                self._backoff = Backoff()
                self._served = asked
                self._drop(closed)
                self._wake.notify_all()
                if not self._deliveries:
                    self._thread = None  # from here on another one is started
                    return False
                self._wake.wait_for(
                    lambda: self._asked > asked or self._closed or self._since != since, self._pause(sink)
                )
            else:
                self._await_retry(asked)
        return True

    def _pause(self, sink: Sink) -> float:
        """Seconds until the next look: for a sink that costs, the more the longer a run goes on."""
        if not isinstance(sink, Costly):
            return LOOK_SECONDS
        return min(sink.pause, max(FIRST_PAUSE, PAUSE_SHARE * (time.monotonic() - self._since)))

    def _send_all(self, sink: Sink) -> bool:
        """Whether the sink took all that there was."""
        began, unread = time.thread_time(), ""
        try:
            for run, delivery in list(self._deliveries.items()):
                try:
                    for _ in delivery.send(sink):
                        self._rest(time.thread_time() - began)
                        began = time.thread_time()
                except Unread as error:  # the others are sent all the same
                    unread = str(error)
                self._remark(run, delivery)
        except (Retry, OSError) as error:
            self._note_error(str(error) or type(error).__name__)
            self._retry_at = time.monotonic() + min(requested_delay(error), LONGEST_ASKED)
            return False
        self._note_error(unread)
        return not unread

    def _note_error(self, why: str) -> None:
        if why or self._has_error:
            self._has_error = bool(why)
            self._positions.note_error(why)

    def _rest(self, used: float) -> None:
        """Leave the processor to the training, unless somebody waits for us."""
        with self._wake:
            self._wake.wait_for(lambda: self._asked > self._served, min(used * CALM, LOOK_SECONDS))

    def _await_retry(self, asked: int) -> None:
        """Wait before the next attempt: not at all where somebody waits for us, unless the sink asked for a delay."""
        progress = sum(delivery.progress for delivery in list(self._deliveries.values()))
        at = time.monotonic() + self._backoff.failed(progress)
        self._wake.wait_for(lambda: self._asked > asked, max(0.0, max(at, self._retry_at) - time.monotonic()))
        while (delay := self._retry_at - time.monotonic()) > 0:
            self._wake.wait(delay)

    def _drop(self, closed: dict[str, object]) -> None:
        """Let go of runs that had ended before the last look at them, and were not gone on with since."""
        for run in [run for run, end in closed.items() if self._closed.get(run) is end]:
            if self._deliveries.pop(run).is_complete():
                self._positions.mark_sent(run)
            self._runs.pop(run, None)
            del self._closed[run]

    def _remark(self, run_id: str, delivery: Delivery) -> None:
        """Note what was rejected, once for each run: the note itself may be rejected, too."""
        run = self._runs.get(run_id)
        if delivery.rejected and run is not None:
            text = f"{self.name} did not take all of this run ({delivery.reason}): tachograph doctor says more"
            guard.warn(f"rejected:{self.name}", text, None if delivery.remarked else run)
            delivery.remarked = True
