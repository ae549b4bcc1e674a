"""A real server for Azure's blobs: Azurite, which ``npm install --ignore-scripts azurite`` puts below node_modules.

It is looked for in the folder that TESTS_AZURITE names, else in ~/.cache/tachograph-tests/azurite. One serves all tests
of a session, each of which has a container of its own there.
"""

from __future__ import annotations

import atexit
import base64
import email.utils
import hashlib
import hmac
import os
import shutil
import subprocess
import tempfile
import time
from functools import cache
from pathlib import Path
from uuid import uuid4

import pytest
import requests
from tests.parts.ports import free_ports

READY_SECONDS = 60.0
ACCOUNT = "devstoreaccount1"  # the one that Azurite knows, and everybody knows its key
KEY = "Eby8vdM02xNOcqFlqUwJPLlmEtlCDXJ1OUzFT50uSRZ6IFsuFq2UVErCz4I6tq/K1SZFPTOtr/KBHBeksoGMGw=="
VERSION = "2023-11-03"
FOLDER = os.environ.get("TESTS_AZURITE") or os.path.expanduser("~/.cache/tachograph-tests/azurite")


class Azurite:
    """A server with a folder of its own."""

    def __init__(self) -> None:
        program = _program()
        self.folder = Path(tempfile.mkdtemp(prefix="azurite-"))
        [port] = free_ports(1)
        self.endpoint = f"http://127.0.0.1:{port}/{ACCOUNT}"
        self.environment = {
            "AZURE_STORAGE_ACCOUNT": ACCOUNT, "AZURE_STORAGE_KEY": KEY, "AZURE_STORAGE_ENDPOINT": self.endpoint,
        }  # fmt: skip
        command = [
            "node", str(program), "--blobHost", "127.0.0.1", "--blobPort", str(port), "--location", str(self.folder),
            "--silent", "--skipApiVersionCheck", "--disableTelemetry",
        ]  # fmt: skip
        with open(self.folder / "log", "ab") as log:
            self.process = subprocess.Popen(command, stdout=log, stderr=log, cwd=self.folder)
        self._await()

    def _await(self) -> None:
        until = time.monotonic() + READY_SECONDS
        while time.monotonic() < until and self.process.poll() is None:
            try:
                self.new_bucket()
                return
            except requests.ConnectionError:
                time.sleep(0.1)
        told = (self.folder / "log").read_text()[-2000:]
        self.close()
        raise RuntimeError(f"Azurite does not start:\n{told}")

    def new_bucket(self) -> str:
        """The URL of an empty container."""
        name = f"t-{uuid4().hex[:12]}"
        headers = {"x-ms-date": email.utils.formatdate(usegmt=True), "x-ms-version": VERSION}
        signed = ["PUT", *[""] * 11, *(f"{key}:{value}" for key, value in headers.items())]
        signed += [f"/{ACCOUNT}/{ACCOUNT}/{name}", "restype:container"]
        digest = hmac.digest(base64.b64decode(KEY), "\n".join(signed).encode(), hashlib.sha256)
        headers["Authorization"] = f"SharedKey {ACCOUNT}:{base64.b64encode(digest).decode()}"
        requests.put(f"{self.endpoint}/{name}?restype=container", headers=headers, timeout=10).raise_for_status()
        return f"az://{name}"

    def close(self) -> None:
        self.process.kill()
        self.process.wait(30)
        shutil.rmtree(self.folder, ignore_errors=True)


def _program() -> Path:
    found = Path(FOLDER, "node_modules", "azurite", "dist", "src", "blob", "main.js")
    if not found.exists() or shutil.which("node") is None:
        pytest.skip(f"there is no Azurite here: npm install --ignore-scripts --prefix {FOLDER} azurite@3")
    return found


@cache
def running() -> Azurite:
    """The server for all tests of this session."""
    server = Azurite()
    atexit.register(server.close)
    return server
