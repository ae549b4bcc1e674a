"""The sink on real servers."""

from __future__ import annotations

import gzip
from collections.abc import Mapping, Sequence

from tachograph import bucket, events
from tachograph.events import Event
from tachograph.objects import Objects
from tachograph.sinks.cloud import CloudSink
from tachograph.testing import check_sink


def stored(url: str, run: str) -> Mapping[str, Sequence[Event]]:
    """What a reader who takes each number once finds of a run, by writer."""
    objects = Objects(url)
    found: dict[str, dict[int, bytes]] = {}
    for one in objects.listed(bucket.run_folder(run)):
        segment = bucket.segment(one.path)
        assert segment is not None, one.path
        lines = gzip.decompress(objects.read(one.path)).splitlines()
        for line in lines:
            event = events.decode(line)
            assert segment.first <= event.seq <= segment.last
            before = found.setdefault(segment.writer, {}).setdefault(event.seq, line)
            assert before == line
        assert events.decode(lines[-1]).seq == segment.last
    return {writer: [events.decode(lines[seq]) for seq in sorted(lines)] for writer, lines in found.items()}


def test_it_keeps_the_rules_of_sinks(url):
    check_sink(lambda: CloudSink(url), lambda run: stored(url, run))
