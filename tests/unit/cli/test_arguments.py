"""What stands on the command line: names in any bytes, which a run may have or not."""

from __future__ import annotations

import os

import pytest

import tachograph
from tachograph.printable import decoded, line, printable

NO_TEXT = "a\udcff"  # as Python hands on a byte that is no UTF-8


@pytest.mark.parametrize(
    "arguments",
    [
        ["show", NO_TEXT],
        ["tail", NO_TEXT],
        ["compare", NO_TEXT, "one"],
        ["rm", NO_TEXT, "--yes"],
        ["rm", NO_TEXT, "--dry-run"],
        ["sync", NO_TEXT],
        ["export", NO_TEXT, "--format", "csv", "results"],
    ],
)
def test_a_name_that_is_no_text_is_the_name_of_no_run(record, wrong, arguments):
    record("one")
    assert "no run 'a\ufffd' in" in wrong(*arguments, status=1)


@pytest.mark.parametrize("option", ["--experiment", "--where", "--order-by"])
def test_what_runs_are_chosen_by_may_be_no_text(record, run_cli, option):
    record("one")
    asked = {"--where": f"name = '{NO_TEXT}'", "--order-by": f'tags."{NO_TEXT}"'}.get(option, NO_TEXT)
    status, output, errors = run_cli("runs", option, asked)
    assert (status, errors) == (0, "")
    assert ("one" in output) == (option == "--order-by")


def test_a_token_s_name_may_be_no_text(store, run_cli, wrong):
    assert run_cli("token", "create", NO_TEXT, "--role", "read")[0] == 0
    assert run_cli("token", "revoke", NO_TEXT)[0] == 0
    assert "a\ufffd" in wrong("token", "revoke", NO_TEXT, status=1)


def test_the_store_is_asked_for_names_that_are_no_text(record):
    record("one")
    store = tachograph.open_store()
    with pytest.raises(tachograph.NotFound, match="no run"):
        store.run(NO_TEXT)
    assert store.runs(experiment=NO_TEXT) == []
    assert store.keepers(NO_TEXT) == []
    for ask in (store.run("one").history, store.run("one").summary, store.run("one").artifact):
        with pytest.raises(tachograph.NotFound, match="has no"):
            ask(NO_TEXT)


def test_a_name_that_python_could_not_decode_is_found(record, program):
    """In a locale of ASCII alone, and without Python's own UTF-8 mode."""
    record("größe")
    bare = {name: value for name, value in os.environ.items() if name != "PYTHONIOENCODING"}
    bare |= {"LC_ALL": "C", "PYTHONUTF8": "0", "PYTHONCOERCECLOCALE": "0"}
    result = program("show", "größe", env=bare)
    assert (result.returncode, result.stderr) == (0, "")
    assert result.stdout.startswith("gr??e")


def test_what_is_no_text_can_be_shown():
    assert decoded("größe".encode().decode("ascii", "surrogateescape")) == "größe"
    assert [decoded(text) for text in ("plain", NO_TEXT, "\ud800x")] == ["plain", "a\ufffd", "?x"]
    assert printable("a\udcff\x9b\u202e\x07\n\u2028b") == "a\ufffd     b"
    assert line(" a \n\t b ") == "a b"


def test_what_an_error_says_can_be_shown():
    assert str(tachograph.Error("no run \x1b[31m\n\u202e")) == "no run  [31m  "


COMMANDS = [
    "runs", "show latest", "compare a b", "tail", "verify", "doctor", "gc", "sync", "compact", "rm a", "token list",
    "token revoke a", "model list", "model show a",
]  # fmt: skip


@pytest.mark.parametrize("command", COMMANDS)
def test_a_store_that_is_named_and_not_there_is_an_error(command, wrong, tmp_path):
    assert "there is no store at" in wrong(*command.split(), "--root", "typo", status=1)
    assert list(tmp_path.iterdir()) == []
