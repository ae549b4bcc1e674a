"""A real PostgreSQL: the one that is installed (Debian's lies in /usr/lib/postgresql/<version>/bin).

One serves all tests of a session, each of which has a database of its own there. A test that stops the server starts
another one for itself.
"""

from __future__ import annotations

import atexit
import os
import shutil
import signal
import subprocess
import tempfile
from functools import cache
from pathlib import Path
from uuid import uuid4

import psutil
import pytest
from tests.parts.ports import free_ports

USER, PASSWORD = "tachograph", "p@ss/word:%41#?"
QUOTED = "p%40ss%2Fword%3A%2541%23%3F"


class Postgres:
    """A server with a folder of its own, which asks for a password. With ``fsync`` it survives as it does elsewhere."""

    def __init__(self, fsync: bool = False) -> None:
        self.fsync = "on" if fsync else "off"
        self.folder = Path(tempfile.mkdtemp(prefix="postgres-", dir="/tmp"))
        [self.port] = free_ports(1)
        secret = self.folder / "password"
        secret.write_text(PASSWORD)
        if os.getuid() == 0:  # which PostgreSQL refuses to run as
            os.chmod(self.folder, 0o755)
            for path in (self.folder, secret):
                shutil.chown(path, "nobody", "nogroup")
        self._run("initdb", "-A", "scram-sha-256", "-U", USER, f"--pwfile={secret}", "--no-sync", "-E", "UTF8",
                  "--locale=C.UTF-8", "-D", str(self.folder / "data"))  # fmt: skip
        self.start()

    def start(self) -> None:
        options = f"-p {self.port} -c listen_addresses=127.0.0.1 -k {self.folder} -c fsync={self.fsync}"
        options += " -c max_connections=100 -c max_wal_size=64MB -c min_wal_size=32MB"  # a small disk is enough
        self._control("start", "-l", str(self.folder / "log"), "-o", options)

    def stop(self) -> None:
        self._control("stop", "-m", "immediate")

    def kill(self) -> None:
        """Kill the process that all others belong to, as the system does for want of memory; those then end."""
        first = int((self.folder / "data/postmaster.pid").read_text().split()[0])
        left = psutil.Process(first).children()
        os.kill(first, signal.SIGKILL)
        psutil.wait_procs(left, timeout=30)

    def close(self) -> None:
        self.stop()
        shutil.rmtree(self.folder, ignore_errors=True)

    def url(self, database: str, password: str = QUOTED) -> str:
        return f"postgresql://{USER}:{password}@127.0.0.1:{self.port}/{database}"

    def new_database(self) -> str:
        """The URL of an empty database."""
        import psycopg

        name = f"t_{uuid4().hex[:12]}"
        with psycopg.connect(self.url("postgres"), autocommit=True) as connection:
            connection.execute(f'CREATE DATABASE "{name}"')
        return self.url(name)

    def drop(self, url: str) -> None:
        """Delete a database, for which a test that makes many has no more use."""
        import psycopg

        name = url.rpartition("/")[2]
        with psycopg.connect(self.url("postgres"), autocommit=True) as connection:
            connection.execute(f'DROP DATABASE IF EXISTS "{name}" WITH (FORCE)')

    def _control(self, *arguments: str) -> None:
        self._run("pg_ctl", "-w", "-D", str(self.folder / "data"), *arguments)

    def _run(self, program: str, *arguments: str) -> None:
        command = as_nobody([str(_programs() / program), *arguments])
        with open(self.folder / "output", "ab") as output:
            done = subprocess.run(command, stdout=output, stderr=output, cwd=self.folder, timeout=180)
        if done.returncode:
            raise RuntimeError(f"{program}: {(self.folder / 'output').read_text()[-2000:]}")


def as_nobody(command: list[str]) -> list[str]:
    """A command that is not carried out as root."""
    return ["setpriv", "--reuid=nobody", "--regid=nogroup", "--clear-groups", *command] if os.getuid() == 0 else command


def _programs() -> Path:
    found = sorted(Path("/usr/lib/postgresql").glob("*/bin/initdb"), key=lambda path: int(path.parts[-3]))
    named = shutil.which("initdb")
    if not found and not named:
        pytest.skip("there is no PostgreSQL here: apt-get install postgresql")
    return (found[-1] if found else Path(str(named))).parent


@cache
def running() -> Postgres:
    """The server for all tests of this session."""
    server = Postgres()
    atexit.register(server.close)
    return server
