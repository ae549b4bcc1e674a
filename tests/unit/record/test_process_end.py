"""However a process ends, its runs say how."""

from __future__ import annotations

import subprocess
import sys
import textwrap
import time
from collections.abc import Callable
from pathlib import Path

import pytest

import tachograph
from tachograph.record import process_end

Script = Callable[..., "subprocess.CompletedProcess[str]"]

BARE = """
    import atexit, os, signal, sys, time
    import tachograph
    run = tachograph.start_run()
    run.log({"loss": 0.5})
"""
WITH = """
    import os, signal, sys
    import tachograph
    with tachograph.start_run() as run:
        run.log({"loss": 0.5})
"""


def status(root: Path) -> tuple[str, str | None]:
    """The status of the one run, and the type of its error."""
    (run,) = tachograph.open_store(root).runs()
    assert run.metrics == {"loss": 0.5}
    return run.status, run.error.type if run.error else None


ENDS = [
    ("", 0, "finished", None),
    ("sys.exit()", 0, "finished", None),
    ("sys.exit(0)", 0, "finished", None),
    ("sys.exit(3)", 3, "failed", "SystemExit"),
    ("sys.exit('out of data')", 1, "failed", "SystemExit"),
    ("raise ValueError('boom')", 1, "failed", "ValueError"),
    ("os.kill(os.getpid(), signal.SIGINT); time.sleep(5)", -2, "interrupted", "KeyboardInterrupt"),
]
UNSEEN = pytest.mark.xfail(reason="nothing tells an exit handler of a SystemExit that was raised by hand", strict=True)


@pytest.mark.parametrize(
    ("code", "exit_status", "expected", "error"),
    [
        *ENDS,
        ("os._exit(0)", 0, "crashed", None),
        ("os.kill(os.getpid(), signal.SIGKILL)", -9, "crashed", None),
        ("os.kill(os.getpid(), signal.SIGTERM)", -15, "crashed", None),
        pytest.param("raise SystemExit(3)", 3, "failed", "SystemExit", marks=UNSEEN),
        pytest.param("exit(3)", 3, "failed", "SystemExit", marks=UNSEEN),
        # Caught: the program went on.
        ("try: sys.exit(3)\n    except SystemExit: time.sleep(1.1)", 0, "finished", None),
        ("try: 1 / 0\n    except ZeroDivisionError: pass", 0, "finished", None),
        # What takes its time between the exit and the end.
        ("try: sys.exit(3)\n    finally: time.sleep(0.5)", 3, "failed", "SystemExit"),
        ("atexit.register(time.sleep, 1.5); sys.exit(3)", 3, "failed", "SystemExit"),
        ("import threading; threading.Timer(1.5, print).start(); sys.exit(3)", 3, "failed", "SystemExit"),
        # Not the main thread's.
        ("import threading; t = threading.Thread(target=sys.exit, args=[3]); t.start(); t.join()", 0, "finished", None),
        ("import threading; t = threading.Thread(target=lambda: 1 / 0); t.start(); t.join()", 0, "finished", None),
        # With hooks of the user's own.
        ("sys.excepthook = lambda *_: None; raise ValueError", 1, "failed", "ValueError"),
        ("atexit.register(lambda: 1 / 0)", 0, "finished", None),
    ],
)
def test_a_run_that_nobody_ends(
    script: Script, root: Path, code: str, exit_status: int, expected: str, error: str | None
) -> None:
    done = script(BARE + "    " + code)
    assert done.returncode == exit_status, done.stderr
    assert status(root) == (expected, error)


@pytest.mark.parametrize(
    ("code", "exit_status", "expected", "error"),
    [*ENDS[:-1], ("os.kill(os.getpid(), signal.SIGINT)", -2, "interrupted", "KeyboardInterrupt")],
)
def test_a_run_in_a_with_statement(
    script: Script, root: Path, code: str, exit_status: int, expected: str, error: str | None
) -> None:
    done = script(WITH + "        " + code)
    assert done.returncode == exit_status, done.stderr
    assert status(root) == (expected, error)


def test_an_exception_that_is_caught_outside_of_the_run(root: Path) -> None:
    error = ValueError("boom")
    run = tachograph.start_run()
    run.log({"loss": 0.5})
    with pytest.raises(ValueError) as caught, run:
        raise error
    assert caught.value is error
    assert status(root) == ("failed", "ValueError")
    recorded = tachograph.open_store(root).run(run.id).error
    assert recorded is not None
    assert recorded.message == "boom"
    assert "raise error" in recorded.traceback
    assert "run.py" not in recorded.traceback


def test_inner_runs_end_first_and_each_once(script: Script, root: Path) -> None:
    done = script("""
        import tachograph
        outer = tachograph.start_run("outer")
        inner = outer.child("inner")
        with tachograph.start_run("innermost"):
            pass
        raise KeyError("x")
    """)
    assert done.returncode == 1
    store = tachograph.open_store(root)
    runs = {run.name: run for run in store.runs(children=True)}
    assert {name: run.status for name, run in runs.items()} == {
        "outer": "failed", "inner": "failed", "innermost": "finished",
    }  # fmt: skip
    assert runs["inner"].ended <= runs["outer"].ended  # type: ignore[operator]


def test_exit_handlers_of_the_user_may_still_record(script: Script, root: Path) -> None:
    done = script("""
        import atexit
        atexit.register(lambda: run.log({"after": 1.0}))   # runs after ours
        import tachograph
        run = tachograph.start_run()
        run.log({"loss": 0.5})
        atexit.register(lambda: run.log({"before": 1.0}))
        atexit.register(lambda: tachograph.log({"found": 1.0}))
    """)
    assert (done.returncode, done.stderr) == (0, "")
    (run,) = tachograph.open_store(root).runs()
    assert run.status == "finished"
    assert run.metrics == {"loss": 0.5, "before": 1.0, "found": 1.0, "after": 1.0}


# ---- sys.exit --------------------------------------------------------------------------------------------------------


def test_sys_exit_is_the_users_own_while_no_run_is_open() -> None:
    before = sys.exit
    with tachograph.start_run():
        with tachograph.start_run():
            assert sys.exit is not before
        assert sys.exit is not before
    assert sys.exit is before


def test_somebody_elses_wrapper_around_ours_stays(monkeypatch: pytest.MonkeyPatch) -> None:
    run = tachograph.start_run()
    ours = sys.exit

    def theirs(status: int | None = None) -> None:
        ours(status)

    monkeypatch.setattr(sys, "exit", theirs)
    run.finish()
    assert sys.exit is theirs
    with tachograph.start_run():
        assert sys.exit is theirs
        with pytest.raises(SystemExit) as caught:
            sys.exit(3)
        assert caught.value.code == 3
    monkeypatch.undo()
    process_end.unwatch()


def test_sys_exit_raises_as_ever() -> None:
    with tachograph.start_run():
        for code in [None, 0, 3, "text", (1, 2), 2.5]:
            with pytest.raises(SystemExit) as caught:
                sys.exit(code)  # type: ignore[arg-type]
            assert caught.value.code == SystemExit(code).code
        with pytest.raises(TypeError):
            sys.exit(1, 2)  # type: ignore[call-arg]
    assert sys.exit.__doc__


# ---- children --------------------------------------------------------------------------------------------------------

CHILD = """
    import multiprocessing, os, sys, time
    import tachograph

    def work(code):
        tachograph.log({"child": 1.0})
        exec(code)

    if __name__ == "__main__":
        multiprocessing.set_start_method(sys.argv[1])
        run = tachograph.start_run()
        run.log({"loss": 0.5})
        child = multiprocessing.Process(target=work, args=[sys.argv[2]])
        child.start()
        child.join()
        sys.exit(0)
"""


@pytest.mark.slow
@pytest.mark.parametrize("method", ["fork", "spawn"])
@pytest.mark.parametrize(
    ("code", "expected"),
    [
        ("", "finished"),
        ("sys.exit(0)", "finished"),
        ("sys.exit(3)", "failed"),
        ("1 / 0", "failed"),
        ("os._exit(0)", "crashed"),
        ("os.kill(os.getpid(), 9)", "crashed"),
    ],
)
def test_children_of_multiprocessing(script: Script, root: Path, method: str, code: str, expected: str) -> None:
    done = script(CHILD, method, code)
    assert done.returncode == 0, done.stderr
    (run,) = tachograph.open_store(root).runs()
    assert run.status == "finished"
    assert run.metrics == {"loss": 0.5, "child": 1.0}
    assert {writer.status for writer in run.writers} == {"finished", expected}
    assert len(run.writers) == 2


@pytest.mark.parametrize("method", ["fork", "spawn"])
def test_a_child_that_opens_a_run_of_its_own(script: Script, root: Path, method: str) -> None:
    done = script(CHILD, method, "own = tachograph.start_run('own'); own.log({'own': 2.0})")
    assert done.returncode == 0, done.stderr
    (own,) = [run for run in tachograph.open_store(root).runs(children=True) if run.name == "own"]
    assert (own.status, own.metrics) == ("finished", {"own": 2.0})


def test_a_child_that_records_nothing_leaves_no_trace(script: Script, root: Path) -> None:
    done = script("""
        import os, tachograph
        run = tachograph.start_run()
        run.log({"loss": 0.5})
        child = os.fork()
        if child == 0:
            os._exit(0)
        other = os.fork()
        if other == 0:
            raise SystemExit
        os.waitpid(child, 0)
        os.waitpid(other, 0)
    """)
    assert done.returncode == 0, done.stderr
    (run,) = tachograph.open_store(root).runs()
    assert len(run.writers) == 1
    assert run.status == "finished"


def test_a_bare_fork_is_a_writer_of_its_own(script: Script, root: Path) -> None:
    done = script("""
        import os, sys, tachograph
        run = tachograph.start_run()
        log = run.log                       # kept from before the fork
        for step in range(100):
            log({"loss": 0.5}, step)
        child = os.fork()
        if child == 0:
            for step in range(100):
                log({"kept": 1.0}, step)
                run.log({"child": 1.0}, step)
            sys.exit(3)
        os.waitpid(child, 0)
        for step in range(100, 200):
            log({"loss": 0.5}, step)
    """)
    assert done.returncode == 0, done.stderr
    (run,) = tachograph.open_store(root).runs()
    assert run.metrics == {"loss": 0.5, "kept": 1.0, "child": 1.0}
    assert {name: run.summary(name).count for name in run.metrics} == {"loss": 200, "kept": 100, "child": 100}
    assert sorted(writer.status for writer in run.writers) == ["failed", "finished"]
    assert run.status == "finished"


def test_the_end_is_bounded_in_time(script: Script, root: Path) -> None:
    code = BARE + textwrap.indent(
        "from tachograph.runtime.background import background\nbackground.soon(lambda: time.sleep(60))\n", "    "
    )
    started = time.monotonic()
    done = script(code, TACHOGRAPH_EXIT_WAIT="0.5")
    assert done.returncode == 0, done.stderr
    assert time.monotonic() - started < 10
    assert status(root) == ("finished", None)


@pytest.mark.parametrize("wait", ["inf", "nan", "-1", "soon"])
def test_any_bound_will_do(script: Script, root: Path, wait: str) -> None:
    done = script(BARE, TACHOGRAPH_EXIT_WAIT=wait)
    assert (done.returncode, done.stderr) == (0, "")
    assert status(root) == ("finished", None)
