"""A real training that sends to a real server, with every fault between them that we could think of.

In each: the training's result is what it is without us, its end is not held up, one line says what is still to be sent,
and once the fault is healed the server has what the journal has, event by event and once.
"""

from __future__ import annotations

import os
import re
import resource
import shutil
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from tests.faults import proxy as modes
from tests.faults.proxy import Mode, Proxy
from tests.faults.training import Training, check_arrived, recorded, synced
from tests.integrations.server.serving import Server
from tests.integrations.server.serving import lines as events

REASON = b'{"reason":"so it is"}'
PAGE = b"<html><body>Welcome to the wireless network of this hotel</body></html>"

DEAD: dict[str, Mode] = {
    "refusing": modes.refusing,
    "hanging": modes.hanging,
    "deaf": modes.deaf,
    "500": modes.answering(500, b"Internal Server Error"),
    "429 in 40 s": modes.answering(429, REASON, Retry_After="40"),
    "429 at a time": modes.later_by_date(40),
    "503": modes.answering(503, REASON, Retry_After="1"),
    "404 of another program": modes.answering(404, PAGE),
    "200 of another program": modes.answering(200, PAGE, Content_Type="text/html"),
    "an empty answer": modes.answering(200),
    "requests are cut": modes.cutting_requests,
    "answers are cut": modes.cutting_answers,
    "a byte a second": modes.dripping(1.0),
    "a minute later": modes.delaying(60),
}
HARMFUL: dict[str, Mode] = {
    "answers are lost": modes.every_second(modes.losing_answers),
    "requests are cut": modes.every_second(modes.cutting_requests),
    "answers are cut": modes.every_second(modes.cutting_answers),
    "500": modes.for_events(modes.every_second(modes.answering(500))),
    "429 in a second": modes.for_events(modes.every_second(modes.answering(429, REASON, Retry_After="1"))),
    "a time in the past": modes.for_events(modes.every_second(modes.later_by_date(-100))),
    "a time of a wrong clock": modes.for_events(modes.every_second(modes.later_by_date(1.0, wrong=7 * 3600))),
    "a byte at a time": modes.dripping(0.0),
    "late": modes.delaying(0.2),
    "older ones again": modes.replaying,
}


def check_left(errors: list[str], *sinks: str) -> None:
    """One line says what is still to be sent, and where to."""
    assert len(errors) == 1, errors
    assert re.search(r"still to be sent: [\d.,]+ \w+ of \d run", errors[0])
    for sink in sinks:
        assert sink in errors[0]


@pytest.mark.parametrize("fault", DEAD)
def test_all_is_sent_later(fault: str, proxy: Proxy, far: Server, root: Path, tmp_path: Path, expected: str) -> None:
    proxy.mode = DEAD[fault]
    result, errors = Training(tmp_path, proxy.url).end()
    assert result == expected
    check_left(errors, proxy.url)
    proxy.mode = modes.passing
    assert "all there" in synced()
    check_arrived(root, far.root)
    assert " 0 lines" in synced(*recorded(root))


@pytest.mark.parametrize("fault", HARMFUL)
def test_all_is_sent_all_the_same(
    fault: str, proxy: Proxy, far: Server, root: Path, tmp_path: Path, expected: str
) -> None:
    proxy.mode = HARMFUL[fault]
    result, errors = Training(tmp_path, proxy.url, TACHOGRAPH_EXIT_WAIT="60").end(wait=60)
    assert (result, errors) == (expected, [])
    check_arrived(root, far.root)
    proxy.mode = modes.passing
    assert " 0 lines" in synced(*recorded(root))


def test_a_redirect_leads_nowhere(proxy: Proxy, far: Server, root: Path, tmp_path: Path, expected: str) -> None:
    elsewhere = Proxy(far.port)
    proxy.mode = modes.answering(308, Location=elsewhere.url + "/api/v1/")
    result, errors = Training(tmp_path, proxy.url, TACHOGRAPH_TOKEN="tachograph_secret").end()
    assert result == expected
    check_left(errors, proxy.url)
    assert elsewhere.requests == []
    elsewhere.close()
    proxy.mode = modes.passing
    synced()
    check_arrived(root, far.root)


@pytest.mark.parametrize("fault", ["refusing", "hanging", "500", "a byte a second"])
def test_a_server_that_comes_back_gets_all_from_the_training(
    fault: str, proxy: Proxy, far: Server, root: Path, tmp_path: Path, expected: str
) -> None:
    proxy.mode = DEAD[fault]
    training = Training(tmp_path, proxy.url, TACHOGRAPH_EXIT_WAIT="60")
    training.wait_for_half()
    proxy.mode = modes.passing
    result, errors = training.end(wait=60)
    assert (result, errors) == (expected, [])
    check_arrived(root, far.root)


def test_the_next_run_sends_what_an_earlier_one_left(proxy: Proxy, far: Server, root: Path, tmp_path: Path) -> None:
    proxy.mode = modes.refusing
    for _ in range(2):
        check_left(Training(tmp_path, proxy.url).end()[1], proxy.url)
    proxy.mode = modes.passing
    assert Training(tmp_path, proxy.url, TACHOGRAPH_EXIT_WAIT="60").end(wait=60)[1] == []
    assert len(list((root / "runs").iterdir())) == 3
    check_arrived(root, far.root)


@pytest.mark.parametrize("fault", ["refusing", "hanging", "a byte a second"])
def test_a_dead_sink_takes_nothing_from_the_others(
    fault: str, proxy: Proxy, far: Server, root: Path, tmp_path: Path, expected: str
) -> None:
    proxy.mode = DEAD[fault]
    folder = tmp_path / "folder"
    training = Training(tmp_path, proxy.url, far.url, folder.as_uri(), TACHOGRAPH_EXIT_WAIT="3")
    result, errors = training.end(wait=3)
    assert result == expected
    check_left(errors, proxy.url)
    assert far.url not in errors[0]
    assert "file:" not in errors[0]
    check_arrived(root, far.root)
    check_arrived(root, folder)


LARGE = """
import os, sys, tachograph
with tachograph.start_run("large", sinks=sys.argv[1:]) as run:
    with open("model.bin", "wb") as file:
        file.write(os.urandom(20 << 20))
    run.log_artifact("model.bin")
    run.log({"loss": 1.0})
"""


@pytest.mark.parametrize("wait", ["60", "0"])
def test_a_large_file_over_a_line_that_is_cut_again_and_again(
    wait: str, proxy: Proxy, far: Server, root: Path, tmp_path: Path
) -> None:
    proxy.mode = modes.cutting_after(3 << 20)
    command = [sys.executable, "-c", LARGE, proxy.url]
    environment = {**os.environ, "TACHOGRAPH_EXIT_WAIT": wait}
    done = subprocess.run(command, cwd=tmp_path, env=environment, capture_output=True, text=True, timeout=80)
    assert done.returncode == 0
    if wait == "0":
        check_left(done.stderr.splitlines(), proxy.url)
        synced()
    check_arrived(root, far.root)
    assert len(proxy.requests) < 60


# -- harm to the server itself --


@pytest.mark.parametrize("end", [Server.kill, Server.stop])
def test_a_server_that_is_begun_anew(
    end: Callable[[Server], object], server: Server, root: Path, tmp_path: Path, expected: str
) -> None:
    training = Training(tmp_path, server.url, TACHOGRAPH_EXIT_WAIT="60")
    training.wait_for_half()
    end(server)
    time.sleep(0.3)
    server.start()
    result, errors = training.end(wait=60)
    assert (result, errors) == (expected, [])
    check_arrived(root, server.root)


@pytest.fixture
def small_disk(tmp_path: Path) -> Iterator[Path]:
    """A disk of 2 MiB."""
    folder = tmp_path / "disk"
    folder.mkdir()
    done = subprocess.run(["mount", "-t", "tmpfs", "-o", "size=2m", "tmpfs", str(folder)], capture_output=True)
    if done.returncode:
        pytest.skip("only root can mount a disk")
    yield folder
    subprocess.run(["umount", "--lazy", str(folder)], check=True)


def test_a_servers_disk_is_full(small_disk: Path, root: Path, tmp_path: Path, expected: str) -> None:
    server = Server(small_disk / "served")
    try:
        training = Training(tmp_path, server.url)
        training.wait_for_half()
        free = os.statvfs(small_disk).f_bavail * os.statvfs(small_disk).f_bsize
        (small_disk / "other").write_bytes(bytes(free - 8192))
        result, errors = training.end()
        assert result == expected
        check_left(errors, server.url)
        assert server.post("other", "w", events("other", "w", 1000)).status_code == 507
        (small_disk / "other").unlink()
        synced()
        check_arrived(root, server.root)
    finally:
        server.kill()


def test_a_servers_files_may_not_grow(server: Server, root: Path, tmp_path: Path, expected: str) -> None:
    resource.prlimit(server.process.pid, resource.RLIMIT_FSIZE, (20_000, 20_000_000))
    result, errors = Training(tmp_path, server.url).end()
    assert result == expected
    check_left(errors, server.url)
    resource.prlimit(server.process.pid, resource.RLIMIT_FSIZE, (20_000_000, 20_000_000))
    synced()
    check_arrived(root, server.root)


# -- tokens --


def test_a_wrong_token(
    server: Server, root: Path, tmp_path: Path, expected: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    good = server.token("write")
    result, errors = Training(tmp_path, server.url, TACHOGRAPH_TOKEN=server.token("read")).end()
    assert result == expected
    check_left(errors, server.url)
    assert "valid token" in synced(expected=1)
    monkeypatch.setenv("TACHOGRAPH_TOKEN", good)
    synced()
    check_arrived(root, server.root)


def test_a_token_that_is_revoked_and_replaced(
    server: Server, root: Path, tmp_path: Path, expected: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    training = Training(tmp_path, server.url, TACHOGRAPH_TOKEN=server.token("write", "first"))
    training.wait_for_half()
    subprocess.run(["tachograph", "token", "revoke", "first", "--root", str(server.root)], check=True)
    result, errors = training.end()
    assert result == expected
    check_left(errors, server.url)
    monkeypatch.setenv("TACHOGRAPH_TOKEN", server.token("write", "second"))
    synced()
    check_arrived(root, server.root)


# -- clocks --


CLOCK = """
#define _GNU_SOURCE
#include <dlfcn.h>
#include <stdlib.h>
#include <sys/time.h>
#include <time.h>

static long wrong(void) { const char *seconds = getenv("WRONG_BY"); return seconds ? atol(seconds) : 0; }

int clock_gettime(clockid_t clock, struct timespec *now) {
    int (*real)(clockid_t, struct timespec *) = dlsym(RTLD_NEXT, "clock_gettime");
    int failed = real(clock, now);
    if (!failed && (clock == CLOCK_REALTIME || clock == CLOCK_REALTIME_COARSE)) now->tv_sec += wrong();
    return failed;
}

int gettimeofday(struct timeval *now, void *zone) {
    int (*real)(struct timeval *, void *) = dlsym(RTLD_NEXT, "gettimeofday");
    int failed = real(now, zone);
    now->tv_sec += wrong();
    return failed;
}

time_t time(time_t *now) {
    struct timespec found;
    clock_gettime(CLOCK_REALTIME, &found);
    if (now) *now = found.tv_sec;
    return found.tv_sec;
}
"""


@pytest.fixture
def clock(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Callable[[int], None]:
    """Sets the clock of the processes that are begun from now on wrong by so many hours: what the C library says."""
    compiler = shutil.which("cc")
    if compiler is None or sys.platform != "linux":
        pytest.skip("a clock that is wrong needs Linux and a C compiler")
    library = tmp_path / "clock.so"
    subprocess.run([compiler, "-shared", "-fPIC", "-o", library, "-xc", "-"], input=CLOCK.encode(), check=True)

    def set_wrong(hours: int) -> None:
        monkeypatch.setenv("LD_PRELOAD", str(library))
        monkeypatch.setenv("WRONG_BY", str(hours * 3600))

    set_wrong(5)
    seen = subprocess.run([sys.executable, "-c", "import time; print(time.time())"], stdout=-1, check=True)
    assert float(seen.stdout) - time.time() == pytest.approx(5 * 3600, abs=60)
    return set_wrong


@pytest.mark.parametrize("hours", [-7, 7])
def test_clocks_that_are_hours_apart(
    hours: int, clock: Callable[[int], None], root: Path, tmp_path: Path, expected: str
) -> None:
    clock(hours)
    server = Server(tmp_path / "served")
    proxy = Proxy(server.port)
    try:
        clock(-hours)
        proxy.mode = modes.for_events(modes.every_second(modes.losing_answers))
        training = Training(tmp_path, proxy.url, TACHOGRAPH_EXIT_WAIT="60")
        training.wait_for_half()
        server.kill()
        clock(hours)
        server.start()
        result, errors = training.end(wait=60)
        assert (result, errors) == (expected, [])
        check_arrived(root, server.root)
        assert " 0 lines" in synced(*recorded(root))
    finally:
        proxy.close()
        server.kill()


@pytest.mark.parametrize("hours", [-7, 7])
def test_a_run_that_was_removed_stays_so_whatever_its_clock(
    hours: int,
    clock: Callable[[int], None],
    server: Server,
    root: Path,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    clock(hours)
    Training(tmp_path, server.url, TACHOGRAPH_EXIT_WAIT="60").end(wait=60)
    monkeypatch.delenv("LD_PRELOAD")
    check_arrived(root, server.root)
    remove = [sys.executable, "-m", "tachograph", "rm", "trained", "--yes", "--root"]
    subprocess.run([*remove, str(server.root)], check=True)
    assert list((server.root / "runs").iterdir()) == []
    assert "did not take" in synced(*recorded(root), expected=1)
    assert server.ask("/runs").json() == []
    assert list((server.root / "runs").iterdir()) == []
    subprocess.run([*remove, str(root)], check=True)
    assert list((root / "runs").iterdir()) == []
