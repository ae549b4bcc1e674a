"""Blobs are whole, shared, and deleted only where nobody relies on them."""

from __future__ import annotations

import multiprocessing
import os
import random
from pathlib import Path

import pytest

from tachograph.journal import blobs as module
from tachograph.journal.blobs import Blobs, Stamp, digest_of, digesting, put_back


@pytest.fixture
def blobs(root: Path) -> Blobs:
    return Blobs(root)


def made(blobs: Blobs, content: bytes, folder: Path) -> tuple[str, Stamp | None]:
    """Copy and publish a file, as a checkpoint is."""
    source = folder / f"source-{os.getpid()}"
    source.write_bytes(content)
    draft = blobs.copy(source)
    try:
        digest = digest_of(draft)
        return digest, blobs.publish(draft, digest)
    finally:
        draft.unlink(missing_ok=True)


@pytest.mark.slow
@pytest.mark.parametrize("size", [0, 1, module.CHUNK, 3 * module.CHUNK + 1, 130 * module.CHUNK])
def test_a_copy_has_every_byte(blobs: Blobs, tmp_path: Path, size: int) -> None:
    content = random.Random(size).randbytes(size)
    (tmp_path / "file").write_bytes(content)
    draft = blobs.copy(tmp_path / "file")
    assert draft.read_bytes() == content
    turns = list(digesting(draft))
    assert turns == [True] * (size // (64 * module.CHUNK))
    assert blobs.put_bytes(content) == (digest_of(draft), size)


def test_a_copy_where_the_kernel_does_not_copy(blobs: Blobs, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def refused(*arguments: int) -> int:
        raise OSError("not between these two")

    (tmp_path / "file").write_bytes(b"content")
    monkeypatch.setattr(os, "copy_file_range", refused, raising=False)
    assert blobs.copy(tmp_path / "file").read_bytes() == b"content"
    assert blobs.copy(Path("/proc/version")).read_bytes() == Path("/proc/version").read_bytes()


def test_what_can_not_be_copied_leaves_no_draft(blobs: Blobs, tmp_path: Path) -> None:
    for path in (tmp_path, tmp_path / "nothing", Path("/dev/zero")):
        with pytest.raises(OSError):
            blobs.copy(path)
    assert not list(blobs.folder.glob("*"))


def test_who_made_a_blob_may_drop_it(blobs: Blobs, tmp_path: Path) -> None:
    digest, stamp = made(blobs, b"mine", tmp_path)
    assert stamp is not None
    assert blobs.drop(blobs.path(digest), stamp)
    assert not blobs.path(digest).exists()
    assert not blobs.drop(blobs.path(digest), stamp)
    assert not blobs.asides()


def test_a_blob_that_somebody_else_relies_on_stays(blobs: Blobs, tmp_path: Path) -> None:
    digest, stamp = made(blobs, b"shared", tmp_path)
    assert stamp is not None
    for again in (made(blobs, b"shared", tmp_path)[1], made(Blobs(blobs.folder.parent), b"shared", tmp_path)[1]):
        assert again is None  # it was there: whoever finds it so may not drop it
    assert not blobs.drop(blobs.path(digest), stamp)
    assert blobs.path(digest).read_bytes() == b"shared"
    assert not blobs.asides()


def test_a_file_that_is_logged_counts_as_relying(blobs: Blobs, tmp_path: Path) -> None:
    digest, stamp = made(blobs, b"logged", tmp_path)
    assert stamp is not None
    (tmp_path / "file").write_bytes(b"logged")
    blobs.put_file(tmp_path / "file")
    assert not blobs.drop(blobs.path(digest), stamp)


def test_what_was_put_aside_by_a_process_that_was_killed(blobs: Blobs, tmp_path: Path) -> None:
    digest, _ = made(blobs, b"aside", tmp_path)
    aside = blobs.path(digest).with_name(blobs.path(digest).name + ".abcd.aside")
    blobs.path(digest).rename(aside)
    assert blobs.find(digest) == aside
    assert blobs.asides() == [aside]
    put_back(aside)
    assert blobs.find(digest) == blobs.path(digest)
    assert blobs.path(digest).read_bytes() == b"aside"
    assert not blobs.asides()


def test_what_is_put_back_over_a_new_one_keeps_that_from_being_dropped(blobs: Blobs, tmp_path: Path) -> None:
    digest, _ = made(blobs, b"again", tmp_path)
    aside = blobs.path(digest).with_name(blobs.path(digest).name + ".abcd.aside")
    blobs.path(digest).rename(aside)
    _, stamp = made(blobs, b"again", tmp_path)
    assert stamp is not None
    put_back(aside)
    assert not blobs.drop(blobs.path(digest), stamp)
    assert blobs.path(digest).exists()


def test_of_two_that_make_the_same_blob_at_once_one_made_it(
    blobs: Blobs, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    touch, seen = module._touch, iter([False])
    digest, stamp = made(blobs, b"both", tmp_path)
    monkeypatch.setattr(module, "_touch", lambda target: next(seen, None) or touch(target))
    assert made(blobs, b"both", tmp_path)[1] is None
    assert stamp is not None
    assert not blobs.drop(blobs.path(digest), stamp)


def test_a_blob_that_is_dropped_while_it_is_touched_is_made_again(
    blobs: Blobs, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    touched = os.utime
    digest, stamp = made(blobs, b"late", tmp_path)

    def late(path: int | Path, **times: tuple[int, int]) -> None:
        if isinstance(path, int) and stamp is not None:
            assert blobs.drop(blobs.path(digest), stamp)
        touched(path, **times)

    monkeypatch.setattr(os, "utime", late)
    monkeypatch.setattr(os, "supports_fd", {late})
    assert made(blobs, b"late", tmp_path)[1] is not None
    assert blobs.path(digest).read_bytes() == b"late"


def test_without_links_blobs_are_kept_and_nobody_drops_them(
    blobs: Blobs, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def refused(*arguments: object) -> None:
        raise PermissionError("no links here")

    monkeypatch.setattr(os, "link", refused)
    digest, stamp = made(blobs, b"content", tmp_path)
    assert stamp is None
    assert blobs.path(digest).read_bytes() == b"content"
    assert not blobs.drop(blobs.path(digest), Stamp(0, 0))
    assert blobs.path(digest).read_bytes() == b"content"


def _share(root: Path, folder: Path, seed: int, results: multiprocessing.Queue[str]) -> None:
    """Keep and let go of the same few contents as the others do, at random. Reports what it relied on and lost."""
    chance, blobs = random.Random(seed), Blobs(root)
    relied: dict[str, Stamp | None] = {}
    lost = ""
    for turn in range(2000):
        if relied and chance.random() < 0.5:
            digest = chance.choice(list(relied))
            stamp = relied.pop(digest)
            if stamp is not None:
                blobs.drop(blobs.path(digest), stamp)
        else:
            digest, stamp = made(blobs, bytes([chance.randrange(2)]), folder)
            if digest not in relied:
                relied[digest] = stamp
        for digest in relied:
            # Being put back it can be overlooked in one place and the other; not so many times in a row.
            if not any(blobs.find(digest).is_file() for _ in range(20)):
                lost = f"{digest} was lost in turn {turn}"
    results.put(lost)


@pytest.mark.slow
def test_processes_that_share_blobs_lose_none(root: Path, tmp_path: Path) -> None:
    context = multiprocessing.get_context("spawn")
    results: multiprocessing.Queue[str] = context.Queue()
    workers = [context.Process(target=_share, args=(root, tmp_path, seed, results)) for seed in range(4)]
    for worker in workers:
        worker.start()
    assert [results.get(timeout=60) for _ in workers] == [""] * 4
    for worker in workers:
        worker.join()
    assert not Blobs(root).asides()
