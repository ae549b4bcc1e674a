"""The real server in a process of its own, and what tests send to it."""

from __future__ import annotations

import gzip
import os
import signal
import subprocess
import sys
from collections.abc import Iterable
from pathlib import Path
from typing import Any

import requests

from tachograph import events, journal
from tachograph.events import Event, Metrics, RunEnd, RunStart
from tachograph.server.tokens import FolderTokens, Tokens
from tachograph.store.store import Store, open_store


class Server:
    """``tachograph serve`` on ``root``. Begun again after it was stopped, it listens on the same port."""

    def __init__(self, root: Path, *options: str) -> None:
        self.root, self.options = root, options
        self.port = 0
        self.start()

    def start(self) -> None:
        command = [sys.executable, "-m", "tachograph", "serve", "--root", str(self.root), "--port", str(self.port)]
        self.process = subprocess.Popen([*command, *self.options], stdout=subprocess.PIPE, text=True)
        assert self.process.stdout is not None
        line = self.process.stdout.readline()
        assert line.startswith("serving "), line
        self.url = line.split()[-1]
        self.port = int(self.url.rpartition(":")[2])
        self.api = f"{self.url}/api/v1"

    def kill(self) -> None:
        self._end(signal.SIGKILL)

    def stop(self) -> int:
        self._end(signal.SIGTERM)
        return self.process.returncode

    def _end(self, number: int) -> None:
        if self.process.poll() is None:
            os.kill(self.process.pid, number)
        self.process.wait(30)
        assert self.process.stdout is not None
        self.process.stdout.close()

    def token(self, role: str, name: str = "") -> str:
        return self.tokens.create(name or role, role)

    @property
    def place(self) -> list[str]:
        """What says to commands where the server keeps what it is sent."""
        return ["--root", str(self.root)]

    @property
    def tokens(self) -> Tokens:
        return FolderTokens(self.root)

    def writers(self, run: str) -> list[str]:
        """Those of a run."""
        return [path.name for path in journal.writers(self.root / "runs" / run)]

    def held(self, run: str, writer: str) -> list[bytes]:
        """The lines that are kept of a writer."""
        return held(self.root, run, writer)

    def store(self) -> Store:
        """What is kept, without the server."""
        return open_store(self.root)

    def ask(self, path: str, token: str = "", **options: Any) -> requests.Response:
        return self._request("GET", path, token, **options)

    def post(self, run: str, writer: str, lines: Iterable[bytes], token: str = "", **options: Any) -> requests.Response:
        body = gzip.compress(b"".join(line + b"\n" for line in lines))
        headers = {"Content-Type": "application/x-ndjson", "Content-Encoding": "gzip"}
        path = f"/runs/{run}/writers/{writer}/events"
        return self._request("POST", path, token, data=body, headers=headers, **options)

    def put(self, digest: str, content: Any, token: str = "") -> requests.Response:
        headers = {"Content-Type": "application/octet-stream"}
        return self._request("PUT", f"/blobs/{digest}", token, data=content, headers=headers)

    def _request(self, method: str, path: str, token: str, **options: Any) -> requests.Response:
        headers = {**options.pop("headers", {}), **({"Authorization": f"Bearer {token}"} if token else {})}
        return requests.request(method, self.api + path, headers=headers, timeout=30, **options)


def lines(run: str, writer: str, points: int, end: bool = True, names: int = 1) -> list[bytes]:
    """What a writer of a run writes: a start, points, an end."""
    start = RunStart(
        run=run, writer=writer, role="owner", host="elsewhere", boot="b", pid=1, born=1, name=f"name of {run}",
        experiment="served",
    )  # fmt: skip
    metrics = [
        Metrics(step=step, values={f"m{number}": step + number / 8 for number in range(names)})
        for step in range(points)
    ]
    return numbered([start, *metrics, *([RunEnd(status="finished", seconds=1.0)] if end else [])])


def numbered(happened: Iterable[Event]) -> list[bytes]:
    found = []
    for seq, event in enumerate(happened, start=1):
        event.v, event.seq, event.at = events.VERSION, seq, 1.7e9 + seq
        found.append(events.encode(event))
    return found


def held(root: Path, run: str, writer: str) -> list[bytes]:
    """The lines that a server's folder has of a writer, as they lie there."""
    paths = sorted((root / "runs" / run / writer).glob("*.jsonl"), key=lambda path: int(path.stem))
    return [line for path in paths for line in path.read_bytes().splitlines()]
