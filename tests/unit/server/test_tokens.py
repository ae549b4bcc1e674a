"""Tokens: made, found, revoked; and never kept as they are."""

from __future__ import annotations

import stat

import pytest

from tachograph.errors import Error, NotFound
from tachograph.server.tokens import ROLES, FolderTokens, matching


def test_a_token_is_found_by_its_secret_alone(tmp_path):
    tokens = FolderTokens(tmp_path)
    secret = tokens.create("ada", "write")
    found = matching(tokens.all(), secret)
    assert found is not None
    assert (found.name, found.role) == ("ada", "write")
    for wrong in ("", "ada", found.hash, secret[:-1], secret + "x", secret.upper(), "\udcff"):
        assert matching(tokens.all(), wrong) is None
    assert len(secret) > 50
    assert tokens.create("bob", "read") != secret


def test_the_secret_is_nowhere_and_the_file_is_its_owners(tmp_path):
    secret = FolderTokens(tmp_path).create("ada", "admin")
    files = [path for path in tmp_path.rglob("*") if path.is_file()]
    assert all(secret[-20:] not in path.read_text() for path in files)
    assert all(stat.S_IMODE(path.stat().st_mode) == 0o600 for path in files)


def test_what_another_process_changes_counts_at_once(tmp_path):
    ours, theirs = FolderTokens(tmp_path), FolderTokens(tmp_path)
    assert ours.all() == []
    secret = theirs.create("ada", "read")
    assert matching(ours.all(), secret)
    theirs.revoke("ada")
    assert matching(ours.all(), secret) is None
    assert len(ours.all()) == 1


def test_a_name_is_used_once_at_a_time(tmp_path):
    tokens = FolderTokens(tmp_path)
    first = tokens.create("ada", "read")
    with pytest.raises(Error, match="revoke it first"):
        tokens.create("ada", "write")
    tokens.revoke("ada")
    with pytest.raises(NotFound, match="no token 'ada'"):
        tokens.revoke("ada")
    second = tokens.create("ada", "write")
    assert matching(tokens.all(), first) is None
    assert matching(tokens.all(), second)
    for name in ("", "a\nb", "a\x1b[2J"):
        with pytest.raises(Error, match="name"):
            tokens.create(name, "read")


def test_each_role_may_what_those_before_it_may(tmp_path):
    tokens = FolderTokens(tmp_path)
    for number, role in enumerate(ROLES):
        secret = tokens.create(role, role)
        found = matching(tokens.all(), secret)
        assert found is not None
        assert [found.may(other) for other in ROLES] == [place <= number for place in range(3)]
