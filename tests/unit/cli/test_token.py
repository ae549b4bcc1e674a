"""``tachograph token`` and ``tachograph serve``, as far as they go without a server."""

from __future__ import annotations

import json

import pytest

from tachograph.cli import main
from tachograph.server.tokens import FolderTokens, matching


@pytest.fixture
def cli(capfd):
    def run(*arguments: str) -> tuple[int, str, str]:
        capfd.readouterr()
        status = main(arguments)
        return status, *capfd.readouterr()

    return run


def test_made_listed_revoked(cli, root):
    status, secret, errors = cli("token", "create", "ada", "--role", "write")
    assert (status, errors) == (0, "")
    assert matching(FolderTokens(root).all(), secret.strip()).role == "write"
    status, listed, _ = cli("token", "list")
    assert "ada" in listed
    assert secret.strip() not in listed
    status, shown, _ = cli("token", "list", "--json")
    assert [(one["name"], one["role"], one["revoked"]) for one in json.loads(shown)] == [("ada", "write", None)]
    assert "hash" not in shown
    assert cli("token", "revoke", "ada")[0] == 0
    assert matching(FolderTokens(root).all(), secret.strip()) is None
    assert json.loads(cli("token", "list", "--json")[1])[0]["revoked"]


def test_another_folder(cli, root, tmp_path):
    made = json.loads(cli("token", "create", "ada", "--role", "read", "--root", str(tmp_path / "other"), "--json")[1])
    assert matching(FolderTokens(tmp_path / "other").all(), made["token"])
    assert not root.exists()
    assert cli("token", "list") == (0, "there is no token: tachograph token create NAME --role write makes one\n", "")


@pytest.mark.parametrize(
    ("arguments", "status"),
    [
        (["token"], 2),
        (["token", "create", "ada"], 2),
        (["token", "create", "ada", "--role", "owner"], 2),
        (["token", "burn", "ada"], 2),
        (["token", "list", "--root", "https://example.org"], 2),
        (["token", "revoke", "nobody"], 1),
        (["serve", "--port", "x"], 2),
        (["serve", "--port", "70000"], 2),
        (["serve", "--certfile", "c.pem"], 2),
        (["serve", "--host", "0.0.0.0"], 1),
        (["serve", "--host", "203.0.113.1"], 1),
    ],
)
def test_what_is_wrong_is_one_line(cli, arguments, status):
    got, output, errors = cli(*arguments)
    assert (got, output, len(errors.splitlines())) == (status, "", 1)
    assert errors.startswith("tachograph: ")
