"""The shipper of this process: a sender for each store and sink that its runs are sent to."""

from __future__ import annotations

import threading
import time
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING

from tachograph.redaction import redact_url
from tachograph.runtime import forks
from tachograph.ship.sender import Sender
from tachograph.sinks import open_sink

if TYPE_CHECKING:
    from tachograph.record.run import Run


class Shipper:
    """The senders of this process."""

    def __init__(self) -> None:
        self.reset()

    def reset(self) -> None:
        """Begin anew, as a forked child does."""
        self._senders: dict[tuple[Path, str], Sender] = {}
        self._lock = threading.RLock()  # reentrant for signal handlers
        self._entered: set[str] = set()

    def enter(self, run: Run) -> None:
        """Begin to send ``run``, which begins."""
        self._entered.add(run.id)
        family = run.writer.rsplit("-", 2)[0] + "-"  # rank and host: its child processes write under them, too
        for url in run.sinks:
            self._sender(run.root, url).add(run.id, run.recorder, lambda writer: writer.name.startswith(family))

    def leave(self, run: Run) -> None:
        """Send the rest of ``run``, which has ended. A forked child leaves that to its parent."""
        if run.id in self._entered:
            self.enter(run)  # again, where it was ended before
            for url in run.sinks:
                self._sender(run.root, url).close(run.id)

    def drain(self, timeout: float) -> bool:
        """Wait until the sinks have what is on disk now; False when ``timeout`` seconds ran out."""
        until = time.monotonic() + timeout
        tickets = [(sender, sender.ask()) for sender in self._all()]
        sent = [sender.wait(ticket, until) for sender, ticket in tickets]  # for each, whatever another says
        return all(sent)

    def unsent(self) -> list[str]:
        """What is still to be sent, in words, for each sink to which there is anything."""
        from tachograph import wording

        texts = []
        for sender in self._all():
            if behind := sender.behind:
                texts.append(
                    f"{wording.size(sum(behind.values()))} of {wording.count(len(behind), 'run')} to {sender.name}"
                )
        return texts

    def detach(self) -> list[Path]:
        """Leave what is still to be sent to processes that outlive this one; returns their logs."""
        from tachograph.ship import detached

        return [detached.start(root, url) for (root, url), sender in list(self._senders.items()) if sender.behind]

    def _all(self) -> list[Sender]:
        return list(self._senders.values())

    def _sender(self, root: Path, url: str) -> Sender:
        with self._lock:
            if (root, url) not in self._senders:
                self._senders[root, url] = Sender(root, redact_url(url), partial(open_sink, url))
            return self._senders[root, url]


shipper = Shipper()
forks.in_child("shipper", shipper.reset)  # the parent goes on sending for its own runs and their children
