"""Which files are still needed."""

from __future__ import annotations

from pathlib import Path

from tachograph.events import Note, Release, encode
from tachograph.upkeep.references import journal_lines, needed

A, B, C = ("a" * 64, "b" * 64, "c" * 64)


def says(seq: int, *digests: str) -> bytes:
    return encode(Note(seq=seq, at=1.0, text=" ".join(f"sha256:{digest}" for digest in digests)))


def releases(seq: int, *digests: str) -> bytes:
    return encode(Release(seq=seq, at=1.0, digests=[f"sha256:{digest}" for digest in digests], reason="older"))


def test_any_event_with_a_digest_in_it_needs_the_file() -> None:
    unknown = b'{"t":"of a later version","seq":2,"at":1.0,"file":"sha256:%s"}' % B.encode()
    assert needed([[says(1, A), unknown]]) == {A, B}


def test_what_its_writer_has_released_is_not_needed_until_it_is_named_again() -> None:
    assert needed([[says(1, A, B), releases(2, A)]]) == {B}
    assert needed([[says(1, A), releases(2, A), says(3, A)]]) == {A}


def test_what_another_writer_has_released_is_still_needed() -> None:
    assert needed([[says(1, A)], [says(1, A), releases(2, A)]]) == {A}


def test_a_text_that_only_speaks_of_a_release_releases_nothing() -> None:
    text = encode(Note(seq=2, at=1.0, text=f'the "release" of sha256:{A}'))
    assert needed([[says(1, A), text, b'{"release": broken']]) == {A}


def test_the_registry_needs_what_its_files_name() -> None:
    assert needed([[says(1, A), releases(2, A)]], [b'{"digest": "sha256:%s"}' % C.encode()]) == {C}


def test_a_journal_is_read_segment_by_segment(tmp_path: Path) -> None:
    (tmp_path / "1.jsonl").write_bytes(says(1, A) + b"\n")
    (tmp_path / "2.jsonl").write_bytes(releases(2, A) + b"\n" + says(3, B) + b"\n")
    assert needed([journal_lines(tmp_path)]) == {B}
