"""``check_sink`` finds what is wrong with a sink: each of these has one fault."""

from __future__ import annotations

import json
import re
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any

import pytest

from tachograph import events
from tachograph.errors import Error
from tachograph.events import Event
from tachograph.journal.blobs import digest_of
from tachograph.sinks import Reject
from tachograph.testing import check_sink


class Far:
    """A far side: the lines of each writer, and files."""

    def __init__(self) -> None:
        self.lines: dict[tuple[str, str], list[bytes]] = {}
        self.files: dict[str, bytes] = {}
        self.is_away = False

    def of(self, run: str, writer: str) -> list[bytes]:
        if self.is_away:
            raise ConnectionRefusedError("it is away")
        return self.lines.setdefault((run, writer), [])

    def stored(self, run: str) -> dict[str, list[Event]]:
        return {writer: list(map(events.decode, lines)) for (own, writer), lines in self.lines.items() if own == run}

    @contextmanager
    def away(self) -> Iterator[None]:
        self.is_away = True
        yield
        self.is_away = False


def number(line: bytes) -> int:
    seq: int = json.loads(line)["seq"]
    return seq


class Good:
    """Keeps the rules."""

    name = "far:"

    def __init__(self, far: Far) -> None:
        self.far = far

    def resume(self, run: str) -> Mapping[str, int]:
        return {writer: number(lines[-1]) for (own, writer), lines in self.far.lines.items() if own == run and lines}

    def write(self, run: str, writer: str, lines: Sequence[bytes]) -> None:
        held = self.far.of(run, writer)
        last = number(held[-1]) if held else 0
        held += self.new(lines, last)

    def new(self, lines: Sequence[bytes], last: int) -> list[bytes]:
        return [line for line in lines if number(line) > last]

    def missing(self, digests: Sequence[str]) -> Sequence[str]:
        return [digest for digest in digests if digest not in self.far.files]

    def put(self, digest: str, path: Path) -> None:
        self.far.of("", "")
        if digest_of(path) != digest:
            raise Reject([], "it has another digest")
        self.far.files[digest] = path.read_bytes()

    def close(self) -> None:
        pass


class Loses(Good):
    def new(self, lines: Sequence[bytes], last: int) -> list[bytes]:
        return super().new(lines, last)[:3] + super().new(lines, last)[4:]


class Doubles(Good):
    def new(self, lines: Sequence[bytes], last: int) -> list[bytes]:
        return list(lines)


class DoublesWhatOverlaps(Good):
    """A batch of which anything is new is taken as a whole."""

    def new(self, lines: Sequence[bytes], last: int) -> list[bytes]:
        return list(lines) if number(lines[-1]) > last else []


class LosesWhatOverlaps(Good):
    """A batch of which anything is held is taken for one that came before."""

    def new(self, lines: Sequence[bytes], last: int) -> list[bytes]:
        return list(lines) if number(lines[0]) > last else []


class Reorders(Good):
    def new(self, lines: Sequence[bytes], last: int) -> list[bytes]:
        found = super().new(lines, last)
        return found[1::2] + found[::2]


class Forgets(Good):
    """What it held is known to the process that sent it alone."""

    def __init__(self, far: Far) -> None:
        super().__init__(far)
        self.own = Far()

    def resume(self, run: str) -> Mapping[str, int]:
        return {writer: seq for writer, seq in super().resume(run).items() if (run, writer) in self.own.lines}

    def write(self, run: str, writer: str, lines: Sequence[bytes]) -> None:
        self.own.of(run, writer)
        super().write(run, writer, lines)


class KeepsForLater(Good):
    """Nothing is there before it is closed."""

    def __init__(self, far: Far) -> None:
        super().__init__(far)
        self.later: list[tuple[str, str, Sequence[bytes]]] = []

    def write(self, run: str, writer: str, lines: Sequence[bytes]) -> None:
        self.later.append((run, writer, lines))

    def close(self) -> None:
        for one in self.later:
            super().write(*one)


class TrustsItself(Good):
    """It asks how far it has come once, as if nobody else would send."""

    def __init__(self, far: Far) -> None:
        super().__init__(far)
        self.last: dict[tuple[str, str], int] = {}

    def resume(self, run: str) -> Mapping[str, int]:
        found = super().resume(run)
        self.last.update({(run, writer): seq for writer, seq in found.items()})
        return found

    def write(self, run: str, writer: str, lines: Sequence[bytes]) -> None:
        new = self.new(lines, self.last.get((run, writer), 0))
        if new:
            self.far.of(run, writer).extend(new)
            self.last[run, writer] = number(new[-1])


class SaysTooMuch(Good):
    def resume(self, run: str) -> Mapping[str, int]:
        return {writer: seq + 1 for writer, seq in super().resume(run).items()}


class SaysSomethingOfNothing(Good):
    def resume(self, run: str) -> Mapping[str, int]:
        return super().resume(run) or {"0-here-7-aaaaaa": 1}


class Counts(Good):
    """It takes how many it holds for the number of the last."""

    def resume(self, run: str) -> Mapping[str, int]:
        return {writer: len(self.far.lines[run, writer]) for writer in super().resume(run)}


class SwallowsRetry(Good):
    def write(self, run: str, writer: str, lines: Sequence[bytes]) -> None:
        with suppress(OSError):
            super().write(run, writer, lines)


class SwallowsRetryOfFiles(Good):
    def put(self, digest: str, path: Path) -> None:
        with suppress(OSError):
            super().put(digest, path)


class RaisesSomethingElse(Good):
    def write(self, run: str, writer: str, lines: Sequence[bytes]) -> None:
        try:
            super().write(run, writer, lines)
        except OSError as error:
            raise Error("far away") from error


class DropsUnknownKinds(Good):
    def new(self, lines: Sequence[bytes], last: int) -> list[bytes]:
        return [line for line in super().new(lines, last) if json.loads(line)["kind"] in events.KINDS]


class RefusesUnknownKinds(Good):
    def new(self, lines: Sequence[bytes], last: int) -> list[bytes]:
        if unknown := [line for line in lines if json.loads(line)["kind"] not in events.KINDS]:
            raise Reject(unknown, "nobody knows that")
        return super().new(lines, last)


class EncodesAnew(Good):
    """What it does not know of an event gets lost."""

    def new(self, lines: Sequence[bytes], last: int) -> list[bytes]:
        return [re.sub(rb',"what":.*', b"}", line) for line in super().new(lines, last)]


class BreaksLines(Good):
    """It takes more for the end of a line than the one that is."""

    def new(self, lines: Sequence[bytes], last: int) -> list[bytes]:
        text = "\n".join(line.decode() for line in super().new(lines, last))
        return ["".join(line.split("\u2028")).encode() for line in text.split("\n") if line]


class CutsLongLines(Good):
    def new(self, lines: Sequence[bytes], last: int) -> list[bytes]:
        return [re.sub(rb"(long ){9000}", b"", line) for line in super().new(lines, last)]


class MixesRuns(Good):
    def write(self, run: str, writer: str, lines: Sequence[bytes]) -> None:
        super().write(run[:8], writer, lines)

    def resume(self, run: str) -> Mapping[str, int]:
        return super().resume(run[:8])


class MixesWriters(Good):
    def write(self, run: str, writer: str, lines: Sequence[bytes]) -> None:
        super().write(run, "all", lines)


class KeepsAnyFile(Good):
    def put(self, digest: str, path: Path) -> None:
        self.far.files[digest] = path.read_bytes()


class LosesFiles(Good):
    def put(self, digest: str, path: Path) -> None:
        pass


class NeverMissesAFile(Good):
    def missing(self, digests: Sequence[str]) -> Sequence[str]:
        return []


class AlwaysMissesAFile(Good):
    def missing(self, digests: Sequence[str]) -> Sequence[str]:
        return digests


class ChokesOnAFileTwice(Good):
    def put(self, digest: str, path: Path) -> None:
        if digest in self.far.files:
            raise Reject([], "it is there")
        super().put(digest, path)


MUTANTS: list[tuple[type[Good], str]] = [
    (Loses, "in the order|must be"),
    (Doubles, "left as they are"),
    (DoublesWhatOverlaps, "left as they are"),
    (LosesWhatOverlaps, "left as they are"),
    (Reorders, "in the order"),
    (Forgets, "opened anew"),
    (KeepsForLater, "in the order|opened anew"),
    (TrustsItself, "two senders"),
    (SaysTooMuch, "resume says"),
    (SaysSomethingOfNothing, "must be empty"),
    (Counts, "resume says"),
    (SwallowsRetry, "write must raise Retry"),
    (SwallowsRetryOfFiles, "put must raise Retry"),
    (RaisesSomethingElse, "far away"),
    (DropsUnknownKinds, "not known must be kept"),
    (RefusesUnknownKinds, "nobody knows that"),
    (EncodesAnew, "not known must be kept"),
    (BreaksLines, "odd characters"),
    (CutsLongLines, "long lines"),
    (MixesRuns, "must be empty|in the order"),
    (MixesWriters, "resume says"),
    (KeepsAnyFile, "must be rejected"),
    (LosesFiles, "no longer be missing"),
    (NeverMissesAFile, "must be missing"),
    (AlwaysMissesAFile, "no longer be missing"),
    (ChokesOnAFileTwice, "it is there"),
]


def check(make: Callable[[Far], Any], **more: Any) -> None:
    far = Far()
    check_sink(lambda: make(far), far.stored, far.away, **more)


def test_a_good_one_passes() -> None:
    check(Good)


@pytest.mark.parametrize(("mutant", "message"), MUTANTS, ids=lambda one: getattr(one, "__name__", ""))
def test_a_fault_is_found(mutant: type[Good], message: str) -> None:
    with pytest.raises((AssertionError, Error), match=message):
        check(mutant)


def test_one_that_takes_no_files_passes() -> None:
    class Plain:
        name = "far:"

        def __init__(self, far: Far) -> None:
            good = Good(far)
            self.resume, self.write, self.close = good.resume, good.write, good.close

    check(Plain)
