"""``tachograph exec``: a program can't tell that it isn't run by python itself."""

from __future__ import annotations

import os
import py_compile
import signal
import subprocess
import sys
import time
import zipapp
from pathlib import Path
from textwrap import dedent

import pytest

EXEC = ["-m", "tachograph", "exec"]


@pytest.fixture
def folder(tmp_path):
    return tmp_path


def write(folder: Path, name: str, text: str) -> str:
    path = folder / name
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(dedent(text))
    return name


def python(*arguments: str, **options) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, *arguments], capture_output=True, text=True, timeout=180, **{"input": "", **options}
    )


def same(
    *program: str, flags: tuple[str, ...] = (), hides: str = "<frozen runpy>", **options
) -> subprocess.CompletedProcess[str]:
    """The result of a program, which must be the same with and without us, but for the frames that ``hides`` names."""
    plain = python(*flags, *program, **options)
    ours = python(*flags, *EXEC, *program, **options)
    shown = [line for line in plain.stderr.splitlines() if hides not in line]
    assert (ours.stdout, ours.stderr.splitlines(), ours.returncode) == (plain.stdout, shown, plain.returncode)
    return ours


FACTS = """
    import sys
    main = sys.modules["__main__"]
    print(list(globals()), main.__dict__ is globals())
    for name in ("__name__", "__file__", "__doc__", "__package__", "__cached__", "__builtins__", "__annotations__"):
        print(name, globals().get(name))
    print(type(__loader__), __spec__ and (__spec__.name, __spec__.origin, __spec__.parent))
    print(sys.argv, sys.path, [sys.flags.optimize, sys.flags.safe_path])
"""


@pytest.mark.parametrize("name", ["train.py", "./train.py", "sub/train.py", "sub/../sub/train.py", "a b/train it.py"])
def test_a_script_finds_what_python_gives_it(folder, name):
    write(folder, "sub/x", "")
    write(folder, name, FACTS)
    result = same(name, "--experiment", "mine", "-m", "--", "--help", "")
    assert "'--experiment', 'mine', '-m', '--', '--help', ''" in result.stdout


def test_a_script_given_by_its_whole_path_from_elsewhere(folder):
    write(folder, "sub/train.py", FACTS)
    (folder / "elsewhere").mkdir()
    same(str(folder / "sub" / "train.py"), cwd=folder / "elsewhere")


def test_a_linked_script_has_the_folder_of_its_target_on_the_path(folder):
    write(folder, "deep/down/train.py", "import beside, sys; print(beside.__file__, sys.path[0], __file__)")
    write(folder, "deep/down/beside.py", "")
    os.symlink(folder / "deep" / "down" / "train.py", folder / "link.py")
    same("link.py")


def test_a_script_imports_what_lies_beside_it_and_not_what_lies_in_the_working_folder(folder):
    write(folder, "sub/beside.py", "print('beside')")
    write(folder, "sub/train.py", "import beside")
    write(folder, "beside.py", "print('wrong')")
    assert same("sub/train.py").stdout == "beside\n"


@pytest.mark.parametrize("flags", [("-O",), ("-P",), ("-X", "utf8=0"), ("-W", "error")])
def test_flags_are_given_to_python(folder, flags):
    write(folder, "train.py", FACTS + "    assert sys.argv\n    print(__debug__)\n")
    same("train.py", flags=flags)


@pytest.mark.parametrize("form", ["folder", "archive"])
@pytest.mark.parametrize("flags", [(), ("-P",)])
def test_a_folder_or_archive_with_a_main(folder, form, flags):
    write(folder, "app/__main__.py", FACTS + "    import part\n    raise ValueError('at the end')\n")
    write(folder, "app/part.py", "print('part of', __file__)")
    if form == "archive":
        zipapp.create_archive(folder / "app", folder / "app.pyz")
    same("app" if form == "folder" else "app.pyz", "1", flags=flags)


def test_a_folder_without_a_main_is_wrong_usage(folder):
    (folder / "app").mkdir()
    result = python(*EXEC, "app")
    assert result.returncode == 2
    assert result.stderr.startswith("tachograph: can't find '__main__' module in ")
    assert len(result.stderr.splitlines()) == 1


def test_a_compiled_script(folder):
    write(folder, "train.py", FACTS)
    py_compile.compile("train.py", cfile="compiled.pyc")
    same("compiled.pyc")


def module_result(*program: str, **options) -> subprocess.CompletedProcess[str]:
    """As ``same``, for a module. Of one that can't be compiled, python shows how it was looked for, too."""
    return same("-m", *program, hides='"<frozen', **options)


def test_a_module_finds_what_python_gives_it(folder):
    write(folder, "pkg/__init__.py", "import sys; print('package', sys.argv)")
    write(folder, "pkg/train.py", FACTS + "    from . import part\n")
    write(folder, "pkg/part.py", "print(__name__)")
    module_result("pkg.train", "--name", "x", "-m")


def test_a_package_runs_its_main(folder):
    write(folder, "pkg/__init__.py", "")
    write(folder, "pkg/__main__.py", FACTS)
    module_result("pkg", "--tag", "x")


def test_a_module_of_the_standard_library(folder):
    assert module_result("json.tool", input='{"a": 1}').stdout == '{\n    "a": 1\n}\n'


def test_errors_in_a_module_show_its_frames_only(folder):
    write(folder, "pkg/__init__.py", "")
    write(folder, "pkg/train.py", "def fail():\n    raise ValueError('no')\nfail()\n")
    result = module_result("pkg.train")
    assert result.stderr.count("File ") == 2


@pytest.mark.parametrize("text", ["raise ValueError('in the package')", "import nowhere_at_all", "1/0"])
@pytest.mark.parametrize("place", ["pkg/__init__.py", "pkg/train.py"])
def test_errors_before_a_module_runs(folder, text, place):
    write(folder, "pkg/__init__.py", "")
    write(folder, "pkg/train.py", "")
    write(folder, place, text)
    result = module_result("pkg.train")
    assert result.returncode == 1
    assert "tachograph" not in result.stderr.replace(str(folder), "")


@pytest.mark.parametrize("place", ["pkg/__init__.py", "pkg/train.py"])
def test_a_module_that_can_not_be_compiled_is_shown_as_such_a_script(folder, place):
    write(folder, "pkg/__init__.py", "")
    write(folder, "pkg/train.py", "")
    write(folder, place, "x = (")
    ours = python(*EXEC, "-m", "pkg.train")
    assert ours.returncode == 1
    assert "SyntaxError: '(' was never closed" in ours.stderr
    assert ours.stderr.count("File ") == 1


@pytest.mark.parametrize("name", ["nowhere", "nowhere.train", "json.nowhere", "xml", ".x", "train.py"])
def test_a_module_that_is_not_there_is_wrong_usage(folder, name):
    write(folder, "train.py", "")
    result = python(*EXEC, "-m", name)
    assert (result.returncode, result.stdout) == (2, "")
    assert result.stderr.startswith("tachograph: ")
    assert len(result.stderr.splitlines()) == 1


def test_a_script_that_is_not_there_is_wrong_usage(folder):
    result = python(*EXEC, "nowhere.py")
    assert (result.returncode, result.stdout) == (2, "")
    assert result.stderr == f"tachograph: can't open file '{folder}/nowhere.py': [Errno 2] No such file or directory\n"


ENDINGS = {
    "falls through": "x = 1",
    "error": "def f(x):\n    return 1 / x\nf(0)",
    "error without source": "exec(compile('1/0', '<made>', 'exec'))",
    "syntax": "x = (1,\ny = 2",
    "indentation": "if 1:\nx = 2",
    "cause": "try:\n    1/0\nexcept ZeroDivisionError as e:\n    raise ValueError('second') from e",
    "context": "try:\n    1/0\nexcept ZeroDivisionError:\n    raise ValueError('second')",
    "group": "raise ExceptionGroup('both', [ValueError(1), ExceptionGroup('in', [KeyError('k')])])",
    "notes": "e = ValueError('x')\ne.add_note('a note')\nraise e",
    "missing import": "import nowhere_at_all",
    "import inside": "import importlib\nimportlib.import_module('nowhere_at_all')",
    "deep import": "import broken",
    "missing name": "import os\nos.pth",
    "assertion": "assert 1 == 2, 'no'",
    "exit 0": "import sys\nsys.exit(0)",
    "exit": "import sys\nsys.exit()",
    "exit 3": "import sys\nsys.exit(3)",
    "exit text": "import sys\nsys.exit('went wrong')",
    "exit object": "raise SystemExit([1, 2])",
    "exit big": "raise SystemExit(257)",
    "exit by site": "exit(4)",
    "caught exit": "import sys\ntry:\n    sys.exit(3)\nexcept SystemExit:\n    pass",
    "immediate": "import os\nprint('a', flush=True)\nos._exit(5)",
    "abort": "import os, signal\nos.kill(os.getpid(), signal.SIGKILL)",
    "terminated": "import os, signal\nos.kill(os.getpid(), signal.SIGTERM)",
    "interrupt": "raise KeyboardInterrupt",
    "interrupt signal": "import os, signal\nos.kill(os.getpid(), signal.SIGINT)\nfor i in range(10**8): pass",
    "generator exit": "raise GeneratorExit",
    "hook": "import sys\nsys.excepthook = lambda *a: print('hook', a[0], a[1], a[2].tb_lineno, a[2].tb_next)\n1/0",
    "hook and exit": "import sys\nsys.excepthook = lambda *a: sys.exit(9)\n1/0",
    "last": "import atexit, sys\natexit.register(lambda: print(sys.last_value, sys.last_traceback.tb_lineno))\n1/0",
    "last hook": "import atexit, sys\natexit.register(lambda: print(sys.excepthook is sys.__excepthook__))\n1/0",
    "exit handlers": "import atexit\natexit.register(print, 'one')\natexit.register(print, 'two')\nprint('zero')",
    "handler and error": "import atexit\natexit.register(print, 'one')\n1/0",
    "handler finds main": "import atexit, sys\natexit.register(lambda: print(sys.modules['__main__'].x))\nx = 1",
    "handler fails": "import atexit\natexit.register(int, 'x')",
    "deleted": "class A:\n    def __del__(self): print('gone', x)\nx = 1\na = A()",
    "thread": "import threading\nthreading.Timer(0.2, print, ['late']).start()",
    "thread error": "import threading\nt = threading.Thread(target=lambda: 1/0, name='T')\nt.start()\nt.join()",
    "stdin": "import sys\nprint(sys.stdin.read(), sys.stdin.isatty())",
    "warning": "import warnings\nwarnings.warn('careful')",
    "own traceback": "import traceback\ntry:\n    1/0\nexcept ZeroDivisionError:\n    traceback.print_exc()",
    "stack": "import traceback\ndef f():\n    traceback.print_stack(limit=2)\nf()",
    "annotations": "x: int = 1\nprint(__annotations__)",
    "future": "from __future__ import annotations\nx: nowhere = 1\nprint(__annotations__)",
    "no future": "def f(x: int): pass\nprint(f.__annotations__)",
    "source": "import inspect\nclass A:\n    def f(self): return 1\nprint(inspect.getsource(A))",
    "pickle": "import pickle\nclass A: pass\nprint(type(pickle.loads(pickle.dumps(A()))) is A)",
    "import main": "import __main__\nprint(__main__.__file__ == __file__, __main__.__dict__ is globals())",
    "random": "import random\nrandom.seed(1)\nprint(random.random())",
    "parser": "import argparse\nargparse.ArgumentParser(usage='x').parse_args(['--nope'])",
    "run again": "import runpy, sys\nif __name__ == '__main__':\n    print(runpy.run_path(__file__)['__name__'])",
    "coding": "# -*- coding: latin-1 -*-\nprint(ascii('\xe9'))",
}


@pytest.mark.parametrize("text", ENDINGS.values(), ids=ENDINGS)
def test_a_script_ends_as_it_does_without_us(folder, text):
    (folder / "broken.py").write_text("import json\njson.loads('{')\n")
    (folder / "train.py").write_text(text + "\n", encoding="latin-1")
    same("train.py", input="typed")


def test_a_script_with_byte_order_mark_and_windows_line_ends(folder):
    (folder / "train.py").write_bytes(b"\xef\xbb\xbfprint('x')\r\nprint('''a\r\nb''' == 'a\\nb')\r\n")
    same("train.py")


@pytest.mark.slow
def test_processes_that_are_spawned_find_the_script(folder):
    write(
        folder,
        "train.py",
        """
        import multiprocessing, sys

        class Point:
            def __init__(self, x): self.x = x

        def double(point): return Point(point.x * 2), __name__, sys.argv

        if __name__ == "__main__":
            for method in multiprocessing.get_all_start_methods():
                with multiprocessing.get_context(method).Pool(1) as pool:
                    point, name, argv = pool.apply(double, [Point(21)])
                    print(method, point.x, type(point) is Point, name, argv)
        """,
    )
    assert "spawn 42 True __mp_main__ ['train.py', '1']" in same("train.py", "1").stdout
    module_result("train", "1")


def test_ctrl_c_ends_the_script_as_it_ends_python(folder):
    write(folder, "train.py", "import time\nprint('ready', flush=True)\ntime.sleep(30)\n")
    results = []
    for start in ([], EXEC):
        process = subprocess.Popen(
            [sys.executable, *start, "train.py"], stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
        )
        assert process.stdout is not None
        assert process.stdout.readline() == "ready\n"
        time.sleep(0.1)
        process.send_signal(signal.SIGINT)
        results.append((*process.communicate(timeout=180), process.returncode))
    assert results[0] == results[1]
    assert results[0][2] == -signal.SIGINT


def test_the_console_script_is_the_same(folder):
    program = Path(sys.executable).with_name("tachograph")
    if not program.exists():
        pytest.skip("the distribution is not installed")
    write(folder, "sub/train.py", FACTS + "    raise ValueError\n")
    plain = python("sub/train.py", "x")
    ours = subprocess.run([program, "exec", "sub/train.py", "x"], capture_output=True, text=True, timeout=180)
    assert (ours.stdout, ours.stderr, ours.returncode) == (plain.stdout, plain.stderr, plain.returncode)


def test_frames_of_our_hooks_are_left_out(folder):
    write(
        folder,
        "train.py",
        """
        import argparse

        def positive(text):
            raise RuntimeError("from inside a hooked function")

        parser = argparse.ArgumentParser()
        parser.add_argument("x", type=positive)
        parser.parse_known_args(["1"])
        """,
    )
    same("train.py")


def test_what_is_wrong_in_a_call_of_ours_is_shown_where_it_is_raised(folder):
    write(folder, "train.py", "import tachograph\ntachograph.start_run(name=3)\n")
    result = same("train.py")
    assert "check_text" in result.stderr
    assert "name must be text" in result.stderr


# -- options --


def wrong(*arguments: str) -> str:
    result = python(*EXEC, *arguments)
    assert (result.returncode, result.stdout) == (2, "")
    assert len(result.stderr.splitlines()) == 1
    assert result.stderr.startswith("tachograph: ")
    return result.stderr


@pytest.mark.slow
def test_wrong_usage_is_one_line_and_status_2(folder):
    write(folder, "train.py", "print('ran')")
    assert "name a script" in wrong()
    assert "name a script" in wrong("-m")
    assert "--nope" in wrong("--nope", "train.py")
    assert "key=value" in wrong("--tag", "novalue", "train.py")
    assert "sinks must be URLs" in wrong("--sink", "nowhere", "train.py")
    assert "--experiment" in wrong("--experiment")
    assert "experiment must be text" in wrong("--experiment=", "train.py")


def test_help_has_an_example(folder):
    result = python(*EXEC, "--help")
    assert (result.returncode, result.stderr) == (0, "")
    assert "tachograph exec train.py" in result.stdout


def test_switched_off_nothing_is_written(folder):
    write(folder, "train.py", "print('ran')")
    result = same("train.py", env={**os.environ, "TACHOGRAPH_OFF": "1"})
    assert result.stdout == "ran\n"
    assert not (folder / "store").exists()


def test_a_script_that_trains_nothing_leaves_no_run(folder):
    write(folder, "train.py", "1/0")
    same("train.py")
    assert not (folder / "store" / "runs").exists()


def test_a_run_that_is_open_when_the_script_fails_ends_failed_with_its_error(folder):
    write(
        folder,
        "train.py",
        """
        import sys, tachograph
        run = tachograph.start_run(name="open")
        sys.excepthook = lambda *a: None
        def fail(): raise ValueError("half way")
        fail()
        """,
    )
    result = same("train.py")
    assert result.returncode == 1
    from tachograph import journal
    from tachograph.events import RunEnd

    ends = []
    for run in (folder / "store" / "runs").iterdir():
        for writer in journal.writers(run):
            ends += [event for event in journal.read_writer(writer) if isinstance(event, RunEnd)]
    assert [end.status for end in ends] == ["failed", "failed"]  # without us, and with
    assert {(end.error.type, end.error.message, end.error.traceback) for end in ends if end.error} == {
        ("ValueError", "half way", ends[0].error.traceback)
    }
    assert "launch" not in ends[1].error.traceback


@pytest.mark.slow
def test_what_trains_is_recorded_as_the_options_say(folder):
    pytest.importorskip("sklearn")
    write(
        folder,
        "train.py",
        """
        import tachograph
        from sklearn.linear_model import Ridge
        Ridge().fit([[0.0], [1.0], [2.0]], [0.0, 1.0, 2.0])
        """,
    )
    options = ["--experiment", "churn", "--name", "baseline", "--tag", "a=b=c", "--tag", "d="]
    result = python(*EXEC, *options, "train.py")
    assert (result.stdout, result.stderr, result.returncode) == ("", "", 0)
    from tachograph import journal
    from tachograph.events import Params, RunStart, Tags

    (run,) = (folder / "store" / "runs").iterdir()
    (writer,) = journal.writers(run)
    events = list(journal.read_writer(writer))
    assert isinstance(events[0], RunStart)
    assert (events[0].name, events[0].experiment) == ("baseline", "churn")
    tags = {key: value for event in events if isinstance(event, Tags) for key, value in event.values.items()}
    assert (tags["a"], tags["d"]) == ("b=c", "")
    params = {name for event in events if isinstance(event, Params) for name in event.values}
    assert "alpha" in params
    assert not params & {"experiment", "name", "sink", "tag", "is_module"}  # those are our own


def test_the_options_also_count_for_what_the_script_records_by_itself(folder):
    write(
        folder,
        "train.py",
        """
        import multiprocessing, os, tachograph

        def child():
            print(tachograph.start_run("inner").experiment, os.environ["TACHOGRAPH_SINKS"])

        if __name__ == "__main__":
            tachograph.autolog()
            run = tachograph.start_run("own")
            print(run.experiment, run.sinks)
            run.finish()
            process = multiprocessing.get_context("spawn").Process(target=child)
            process.start()
            process.join()
        """,
    )
    there = folder.as_uri()
    result = python(*EXEC, "--experiment", "churn", "--sink", f"{there}/b,c", "--sink", f"{there}/d", "train.py")
    lines = result.stdout.splitlines()
    assert lines == [f"churn ('{there}/b%2Cc', '{there}/d')", f"churn {there}/b%2Cc,{there}/d"]
    assert result.returncode == 0
    from tachograph import open_store

    assert len(open_store(folder / "b,c").runs()) == len(open_store(folder / "d").runs()) == 2


@pytest.mark.slow
def test_an_error_inside_a_recorded_fit_is_shown_as_without_us(folder):
    pytest.importorskip("sklearn")
    write(folder, "train.py", "from sklearn.linear_model import Ridge\nRidge().fit([[0.0]], [0.0, 1.0])\n")
    assert same("train.py").returncode == 1
