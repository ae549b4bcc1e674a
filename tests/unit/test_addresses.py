"""Addresses that lead nowhere are told of in one line, wherever they are given."""

from __future__ import annotations

import pytest

import tachograph
from tachograph import addresses, sinks
from tachograph.upkeep import upkeep_of

ODD = [
    *("http://[::1", "http://[::1]]/", "http://[zz]", "http://℀.com", "http://h\x1b[31m", "http://h\0", "http://h /x"),
    *("http://", "http:///x", "http://:8321", "http://h:99999", "http://h:x", "http://h:-1", "http://h:0"),
    *("http://user:hush@[::1", "https://h:99999", "http://h\n.example:80"),
    *("s3://", "s3:///x", "s3://[b", "s3://b\n/x", "s3://b\0/x", "s3://b:99999/x", "gs://", "az://", "az://[c/x"),
    *("file://[x", "file:///a\0b", "file://host\x7f/x"),
]


@pytest.mark.parametrize("url", ODD)
def test_an_odd_address_is_one_clear_error(root: object, url: str) -> None:
    pytest.importorskip("requests")
    pytest.importorskip("obstore")
    for use in (tachograph.open_store, sinks.open_sink, upkeep_of):
        with pytest.raises(tachograph.Error) as raised:
            use(url)
        text = str(raised.value)
        assert "is like" in text or "is written" in text or "a store is" in text
        assert text.isprintable()
        assert "hush" not in text


@pytest.mark.parametrize("url", ["http://[::1", "http://h:99999", "s3://b\n/x"])
def test_a_run_is_not_started_with_a_sink_that_leads_nowhere(root: object, url: str) -> None:
    with pytest.raises(ValueError, match="a sink is written as a URL"):
        tachograph.start_run(sinks=[url])


@pytest.mark.parametrize("odd", [5, b"folder", ["a"]], ids=str)
def test_what_is_no_text_is_no_store(odd: object) -> None:
    with pytest.raises(tachograph.NotFound, match=f"can't open a value of type {type(odd).__name__}"):
        tachograph.open_store(odd)  # type: ignore[arg-type]


@pytest.mark.parametrize(
    "url", ["http://h", "https://h.example:8321/below/", "http://[::1]:80", "http://größe.example"]
)
def test_good_ones(url: str) -> None:
    assert addresses.server(url) == url.rstrip("/")
