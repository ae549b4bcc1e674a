"""A real PgBouncer in front of a PostgreSQL: many clients share few connections, one transaction at a time."""

from __future__ import annotations

import os
import shutil
import socket
import subprocess
import time
from pathlib import Path

import pytest
from tests.parts.ports import free_ports
from tests.parts.postgres import PASSWORD, USER, Postgres, as_nobody

READY_SECONDS = 20.0
CONNECTIONS = 3  # to PostgreSQL, for each database

SETTINGS = """
[databases]
* = host=127.0.0.1 port={target}
[pgbouncer]
listen_addr = 127.0.0.1
listen_port = {port}
unix_socket_dir =
auth_type = scram-sha-256
auth_file = {folder}/users
pool_mode = transaction
default_pool_size = {connections}
"""


class Pgbouncer:
    """In transaction mode, in front of ``server``."""

    def __init__(self, server: Postgres) -> None:
        self._server = server
        [self.port] = free_ports(1)
        folder = server.folder / f"pgbouncer-{self.port}"
        folder.mkdir()
        values = {"target": server.port, "port": self.port, "folder": folder, "connections": CONNECTIONS}
        (folder / "settings").write_text(SETTINGS.format(**values))
        (folder / "users").write_text(f'"{USER}" "{PASSWORD}"\n')
        os.chmod(folder, 0o755)
        with open(folder / "log", "wb") as log:
            self.process = subprocess.Popen(as_nobody([_program(), str(folder / "settings")]), stdout=log, stderr=log)
        self._await(folder / "log")

    def _await(self, log: Path) -> None:
        until = time.monotonic() + READY_SECONDS
        while time.monotonic() < until and self.process.poll() is None:
            try:
                socket.create_connection(("127.0.0.1", self.port)).close()
                return
            except OSError:
                time.sleep(0.02)
        self.close()
        raise RuntimeError(f"PgBouncer does not start:\n{log.read_text()[-2000:]}")

    def url(self, database: str) -> str:
        """The URL of a database, through here, by its URL."""
        return database.replace(f":{self._server.port}/", f":{self.port}/")

    def close(self) -> None:
        self.process.kill()
        self.process.wait(30)


def _program() -> str:
    found = shutil.which("pgbouncer", path=os.pathsep.join([os.environ.get("PATH", ""), "/usr/sbin"]))
    if found is None:
        pytest.skip("there is no PgBouncer here: apt-get install pgbouncer")
    return found
