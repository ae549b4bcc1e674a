"""Rates and names."""

from __future__ import annotations

import time

import pytest

from tachograph.runtime.loopback import is_loopback
from tachograph.server.api import path_names
from tachograph.server.api.limits import RequestRates
from tachograph.server.api.responses import Refused


def test_a_client_that_asks_too_often_waits_and_others_do_not():
    rates = RequestRates(rate=50, burst=3)
    assert [rates.take("a") for _ in range(3)] == [0, 0, 0]
    wait = rates.take("a")
    assert 0 < wait <= 1 / 50
    assert rates.take("b") == 0
    time.sleep(wait + 0.001)
    assert rates.take("a") == 0


def test_only_so_many_clients_are_remembered(monkeypatch):
    monkeypatch.setattr(RequestRates, "REMEMBERED", 10)
    rates = RequestRates(1, 1)
    for number in range(100):
        rates.take(str(number))
    assert len(rates._buckets) == 10


@pytest.mark.parametrize("name", ["a", "20261123-052725-n1yr8h", "0-node.cluster-77-abc", "A_b-9", "x" * 128])
def test_names_of_runs_and_writers(name):
    assert path_names.name(name, "run") == name


@pytest.mark.parametrize(
    "name",
    ["", ".", "..", ".hidden", "a/b", "a\\b", "a.", "a b", "a\n", "a\0", "ä", "x" * 129, "-a", "con", "NUL.txt", "%2e"],
)
def test_what_leads_elsewhere_is_no_name(name):
    with pytest.raises(Refused) as refused:
        path_names.name(name, "run")
    assert refused.value.status == 400


@pytest.mark.parametrize("digest", ["", "sha256:", "sha256:" + "a" * 63, "a" * 64, "sha256:" + "A" * 64, "sha256:../x"])
def test_what_is_no_digest(digest):
    with pytest.raises(Refused):
        path_names.digest(digest)
    with pytest.raises(Refused):
        path_names.digest("sha256:" + "a" * 64 + "\n")


def test_what_this_machine_alone_can_reach():
    assert all(map(is_loopback, ("127.0.0.1", "127.9.9.9", "localhost", "::1", "[::1]")))
    assert not any(map(is_loopback, ("0.0.0.0", "::", "10.0.0.1", "example.org", "localhost.example.org", "")))
