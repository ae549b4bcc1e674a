"""What may happen to what is behind a server, its PostgreSQL, and to a bucket, which needs no server.

In each, as with servers: the training's result is what it is without us, its end is not held up, and once the fault is
healed the far side has what the journal has, event by event and once.
"""

from __future__ import annotations

import os
import shutil
import subprocess
import time
from collections.abc import Iterator
from pathlib import Path

import pytest
from tests.faults import proxy as modes
from tests.faults.proxy import Mode, Proxy
from tests.faults.test_http import check_left
from tests.faults.training import Training, facts, lines, recorded, synced
from tests.integrations.bucket.test_faults import passing
from tests.integrations.bucket.test_jobs import check_equal
from tests.integrations.postgres.serving import DatabaseServer
from tests.integrations.server.serving import lines as events
from tests.parts import seaweedfs
from tests.parts.postgres import Postgres

from tachograph.store.store import Store, open_store

psycopg = pytest.importorskip("psycopg")


def check_answers(near: Path, far: Store) -> None:
    """``far`` tells what ``near`` does."""
    here = open_store(near)
    for run in recorded(near):
        assert facts(far.run(run)) == facts(here.run(run))
    here.close()


def check_kept(near: Path, server: DatabaseServer) -> None:
    for (run, writer), expected in lines(near).items():
        assert server.held(run, writer) == expected
    check_answers(near, server.store())
    assert " 0 lines" in synced(*recorded(near))


@pytest.fixture(scope="module")
def own() -> Iterator[Postgres]:
    """A PostgreSQL that may come to harm."""
    running = Postgres(fsync=True)
    yield running
    running.close()


@pytest.fixture
def server(own: Postgres, tmp_path: Path) -> Iterator[DatabaseServer]:
    """A server on it."""
    running = DatabaseServer(tmp_path / "served", own.new_database())
    yield running
    running.kill()
    running.pool.close()


def test_a_database_that_is_killed_and_comes_back(own, server, root, tmp_path, expected):
    training = Training(tmp_path, server.url, TACHOGRAPH_EXIT_WAIT="60")
    training.wait_for_half()
    own.kill()
    time.sleep(0.5)
    own.start()
    assert training.end(wait=60) == (expected, [])
    check_kept(root, server)


def test_a_database_that_stays_away(own, server, root, tmp_path, expected):
    training = Training(tmp_path, server.url)
    training.wait_for_half()
    own.kill()
    result, errors = training.end()
    assert result == expected
    check_left(errors, server.url)
    own.start()
    synced()
    check_kept(root, server)


@pytest.fixture
def small_disk(own: Postgres) -> Iterator[Path]:
    """A disk of 24 MiB that PostgreSQL may write to."""
    folder = own.folder / "disk"
    folder.mkdir()
    done = subprocess.run(["mount", "-t", "tmpfs", "-o", "size=24m", "tmpfs", str(folder)], capture_output=True)
    if done.returncode:
        pytest.skip("only root can mount a disk")
    (folder / "space").mkdir()
    shutil.chown(folder / "space", "nobody", "nogroup")
    yield folder
    subprocess.run(["umount", "--lazy", str(folder)], check=True)


def test_a_databases_disk_is_full(own, small_disk, root, tmp_path, expected):
    with psycopg.connect(own.url("postgres"), autocommit=True) as connection:
        connection.execute(f"CREATE TABLESPACE small LOCATION '{small_disk}/space'")
        connection.execute("CREATE DATABASE small TABLESPACE small")
    server = DatabaseServer(tmp_path / "served", own.url("small"))
    try:
        training = Training(tmp_path, server.url)
        training.wait_for_half()
        free = os.statvfs(small_disk).f_bavail * os.statvfs(small_disk).f_bsize
        (small_disk / "other").write_bytes(bytes(free - 8192))
        result, errors = training.end()
        assert result == expected
        check_left(errors, server.url)
        assert server.post("other", "w", events("other", "w", 5000, names=5)).status_code in (503, 507)
        (small_disk / "other").unlink()
        synced()
        check_kept(root, server)
    finally:
        server.kill()
        server.pool.close()
        own.stop()  # what it has there is gone with the disk
        own.start()
        with psycopg.connect(own.url("postgres"), autocommit=True) as connection:
            connection.execute("DROP DATABASE small")
            connection.execute("DROP TABLESPACE small")


# -- buckets --

UNREACHABLE: dict[str, Mode] = {"refusing": modes.refusing, "hanging": modes.hanging, "403": modes.answering(403)}


@pytest.fixture
def s3(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Iterator[tuple[str, Proxy]]:
    """The URL of an empty folder in a bucket, and the proxy through which it is reached."""
    between = Proxy(seaweedfs.running().ports["s3.port"])
    for name, value in {**seaweedfs.running().environment, "AWS_ENDPOINT_URL": between.url}.items():
        monkeypatch.setenv(name, value)
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    yield seaweedfs.running().new_bucket(), between
    between.close()


def check_bucket(near: Path, url: str) -> None:
    check_equal(near, url)
    far = open_store(url)
    check_answers(near, far)
    far.close()
    assert " 0 lines" in synced(*recorded(near))


@pytest.mark.parametrize("fault", UNREACHABLE)
def test_a_bucket_that_is_unreachable_at_the_start(fault, s3, root, tmp_path, expected):
    url, between = s3
    between.mode = UNREACHABLE[fault]
    result, errors = Training(tmp_path, url).end()
    assert result == expected
    check_left(errors, url)
    between.mode = passing
    synced()
    check_bucket(root, url)


def test_a_bucket_that_comes_back_gets_all_from_the_training(s3, root, tmp_path, expected):
    url, between = s3
    between.mode = modes.refusing
    training = Training(tmp_path, url, TACHOGRAPH_EXIT_WAIT="60")
    training.wait_for_half()
    between.mode = passing
    assert training.end(wait=60) == (expected, [])
    check_bucket(root, url)
