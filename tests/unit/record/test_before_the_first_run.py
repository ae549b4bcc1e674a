"""What came before the first run: what was parsed, seeded and printed; and whose command line counts."""

from __future__ import annotations

import subprocess
import textwrap
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

import tachograph
from tachograph.store.run_record import RunRecord

Script = Callable[..., "subprocess.CompletedProcess[str]"]

FIT = """
from sklearn.linear_model import LogisticRegression
LogisticRegression().fit([[0.0], [1.0]], [0, 1])
"""


def only(root: Path, done: subprocess.CompletedProcess[str]) -> RunRecord:
    assert done.returncode == 0, done.stderr
    (run,) = tachograph.open_store(root).runs()
    return run


@pytest.mark.slow
def test_what_was_parsed_and_seeded_before_autolog(script: Script, root: Path) -> None:
    done = script(
        """
        import argparse, random
        import numpy as np
        import torch
        parser = argparse.ArgumentParser()
        parser.add_argument("--rounds", type=int)
        parser.add_argument("--seed", type=int, default=71234)
        args = parser.parse_args()
        random.seed(args.seed)
        np.random.seed(args.seed)
        torch.manual_seed(args.seed)
        import tachograph
        tachograph.autolog(system=False)
        """
        + textwrap.indent(FIT, " " * 8),
        "--rounds",
        "7",
    )
    run = only(root, done)
    assert (run.params["rounds"], run.params["seed"]) == (7, 71234)
    assert run.environment["seeds"] == {"numpy": 71234, "random": 71234, "torch": 71234}


@pytest.mark.slow
def test_what_a_function_that_runs_has_parsed(script: Script, root: Path) -> None:
    done = script(
        """
        import argparse
        def main():
            parser = argparse.ArgumentParser()
            parser.add_argument("--rounds", type=int)
            args = parser.parse_args()
            import tachograph
            tachograph.autolog(system=False)
            from sklearn.linear_model import LogisticRegression
            LogisticRegression().fit([[0.0], [1.0]], [0, 1])
        main()
        """,
        "--rounds",
        "7",
    )
    assert only(root, done).params["rounds"] == 7


@pytest.mark.slow
def test_without_a_seed_none_is_recorded_and_nothing_is_drawn(script: Script, root: Path) -> None:
    done = script(
        """
        import random
        import numpy as np
        import torch
        before = random.getstate(), np.random.get_state()[1].tolist(), torch.get_rng_state().tolist()
        import tachograph
        tachograph.autolog(system=False)
        assert before == (random.getstate(), np.random.get_state()[1].tolist(), torch.get_rng_state().tolist())
        """
        + textwrap.indent(FIT, " " * 8)
    )
    assert only(root, done).environment["seeds"] == {}


def test_what_is_printed_before_the_first_run_is_its(script: Script, root: Path) -> None:
    done = script("""
        import tachograph
        tachograph.autolog(system=False)
        print("loading")
        with tachograph.start_run("first"):
            print("inside")
        print("between")
        with tachograph.start_run("second"):
            print("inside again")
    """)
    assert done.returncode == 0, done.stderr
    consoles = {run.name: run.console for run in tachograph.open_store(root).runs()}
    assert consoles == {"first": ["loading", "inside"], "second": ["inside again"]}


@pytest.mark.slow
def test_what_is_printed_before_the_first_run_is_bounded(script: Script, root: Path) -> None:
    done = script("""
        import tachograph
        tachograph.autolog(system=False)
        for number in range(100_000):
            print(f"a line {number}")
        with tachograph.start_run():
            pass
    """)
    lines = only(root, done).console
    assert lines[-1] == "a line 99999"
    assert lines[0].endswith(" lines are left out]")
    assert sum(map(len, lines)) < 100_000


def test_a_stream_is_as_it_was_where_no_run_came(script: Script, root: Path) -> None:
    done = script("""
        import sys, tachograph
        with tachograph.autolog():
            print("nothing is trained")
            assert "write" in vars(sys.stdout)
        assert "write" not in vars(sys.stdout)
    """)
    assert (done.returncode, done.stdout) == (0, "nothing is trained\n"), done.stderr
    assert not root.exists()


LIBRARY = """
import argparse

def parse():
    parser = argparse.ArgumentParser()
    parser.add_argument("--inner", type=int)
    return parser.parse_known_args()

class Parser(argparse.ArgumentParser):
    def parse_into(self):
        return self.parse_args()
"""


@pytest.mark.slow
def test_only_the_program_s_own_command_line_counts(script: Script, root: Path, tmp_path: Path) -> None:
    (tmp_path / "site-packages").mkdir()
    (tmp_path / "site-packages" / "library.py").write_text(LIBRARY)
    done = script(
        """
        import argparse, sys
        import pathlib
        sys.path.append(str(pathlib.Path(__file__).parent / "site-packages"))
        import tachograph
        tachograph.autolog(system=False)
        import library
        library.parse()                                     # a library's own parser, on the command line
        inner = argparse.ArgumentParser()
        inner.add_argument("--string")
        inner.parse_args(["--string", "5"])                 # no part of the command line
        parser = library.Parser()                           # a library's class, the user's parser
        parser.add_argument("--lr", type=float)
        parser.add_argument("--inner", dest="mine", type=int)
        parser.add_argument("rest", nargs="*")
        parser.parse_into()
        first = argparse.ArgumentParser()
        first.add_argument("--lr", dest="first", type=float)
        _, rest = first.parse_known_args()
        second = argparse.ArgumentParser()
        second.add_argument("--inner", dest="second", type=int)
        second.parse_args(rest)
        """
        + textwrap.indent(FIT, " " * 8),
        *("--lr", "0.5", "--inner", "3"),
    )
    params = only(root, done).params
    expected = {"lr": 0.5, "mine": 3, "rest": [], "first": 0.5, "second": 3}
    assert {name: value for name, value in params.items() if name in expected} == expected
    assert not {"inner", "string"} & params.keys()


@pytest.mark.slow
def test_one_name_for_an_option_and_for_a_param_of_the_model_is_noted(script: Script, root: Path) -> None:
    done = script(
        """
        import argparse, tachograph
        tachograph.autolog(system=False)
        parser = argparse.ArgumentParser()
        parser.add_argument("--alpha", type=float)
        parser.add_argument("--tol", type=float)
        args = parser.parse_args()
        from sklearn.linear_model import Ridge
        Ridge(alpha=2.0, tol=args.tol).fit([[0.0], [1.0]], [0.0, 1.0])
        """,
        *("--alpha", "0.5", "--tol", "0.25"),
    )
    run = only(root, done)
    assert run.params["alpha"] == 2.0
    (note,) = [note.text for note in run.notes if "command line" in note.text]
    assert note.startswith("param alpha was 0.5 on the command line, then 2.0 ")


SHELL = """
import sys
from IPython.core.interactiveshell import InteractiveShell
shell = InteractiveShell.instance(colors="NoColor")
shell.history_manager.enabled = False
for cell in {cells!r}:
    shell.run_cell(cell, store_history=True)
"""
AUTOLOG = "import tachograph; tachograph.autolog(system=False)"


def shell(script: Script, root: Path, *cells: str) -> list[RunRecord]:
    pytest.importorskip("IPython")
    done = script(SHELL.format(cells=[AUTOLOG, *cells]))
    assert done.returncode == 0, done.stderr
    return sorted(tachograph.open_store(root).runs(), key=lambda run: run.started)


@pytest.mark.slow
@pytest.mark.parametrize("magic", ["%%capture out", "%%time", "%load_ext autoreload\n%autoreload 2"])
def test_the_options_of_a_notebooks_magics_are_none_of_the_users(script: Script, root: Path, magic: str) -> None:
    (plain, run) = shell(script, root, FIT, f"{magic}\n{FIT}")
    assert run.params == plain.params


PARSER = """
import argparse
parser = argparse.ArgumentParser()
parser.add_argument("--rounds", type=int, default={rounds})
{more}
args = parser.parse_args([])
"""


@pytest.mark.slow
def test_what_a_cell_parsed_is_known_in_later_ones_until_it_is_parsed_anew(script: Script, root: Path) -> None:
    first = PARSER.format(rounds=3, more='parser.add_argument("--old", default=1)')
    second = PARSER.format(rounds=5, more="")
    runs = shell(script, root, first, FIT, FIT, second, FIT)
    assert [(run.params.get("rounds"), run.params.get("old")) for run in runs] == [(3, 1), (3, 1), (5, None)]


def notebook(folder: Path, cells: list[str]) -> None:
    nbformat = pytest.importorskip("nbformat")
    client = pytest.importorskip("nbclient")
    pytest.importorskip("ipykernel")
    built: Any = nbformat.v4.new_notebook(cells=[nbformat.v4.new_code_cell(cell) for cell in cells])
    client.NotebookClient(built, timeout=180, resources={"metadata": {"path": str(folder)}}).execute()


@pytest.mark.slow
@pytest.mark.parametrize(("session", "name"), [(None, "notebook"), ("work/churn study.ipynb", "churn study")])
def test_a_run_of_a_notebook_has_its_name(
    root: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, session: str | None, name: str
) -> None:
    (tmp_path / "train.py").write_text("import tachograph\nwith tachograph.start_run(): pass")
    if session:
        monkeypatch.setenv("JPY_SESSION_NAME", session)
    opened = "with tachograph.start_run(): pass"
    vscode = f"__vsc_ipynb_file__ = '/home/me/digits.ipynb'\n{opened}"
    notebook(tmp_path, [f"import tachograph\n{opened}", "%run train.py", vscode])
    runs = sorted(tachograph.open_store(root).runs(), key=lambda run: run.started)
    assert [run.name for run in runs] == [name, "train", "digits"]
