"""Epochs: passes over the data that is trained on, told apart by data loader and by optimizer."""

from __future__ import annotations

from collections.abc import Callable

from tachograph_frameworks.torch.optimizers import Slot
from tachograph_frameworks.torch.readings import Reading


class Stream:
    """The data that one loader gives. Some programs make a loader, or its data set too, anew for each epoch."""

    def __init__(self, reading: Reading) -> None:
        self.name = "train"
        self._loader, self._kind = reading.loader, reading.kind

    def hold(self, reading: Reading) -> None:
        """The loader is this one now."""
        self._loader = reading.loader

    def is_of(self, reading: Reading) -> bool:
        """Whether the loader is this stream's, or was made in the place of one that is gone."""
        held = self._loader()
        return (held is None and self._kind == reading.kind) or (held is not None and held is reading.loader())


class Track:
    """The epochs of a stream for one optimizer: how many have begun, and what their curves are called."""

    def __init__(self, stream: Stream, slot: Slot) -> None:
        self.stream, self.slot = stream, slot
        self.epoch = -1
        self.names: dict[str, str] = {}


class Epochs:
    """The tracks of a run. ``claim`` gives a curve's name, of some, to its owner."""

    def __init__(self, claim: Callable[[object, list[str]], str]) -> None:
        self._claim = claim
        self._streams: list[Stream] = []
        self._tracks: dict[tuple[Stream, Slot], Track] = {}

    def begin(self, reading: Reading, slot: Slot) -> tuple[Track, bool]:
        """An epoch begins, with a step of ``slot``; and whether it is the first of its data."""
        stream = next((stream for stream in self._streams if stream.is_of(reading)), None)
        is_first = stream is None
        if stream is None:
            stream = Stream(reading)
            self._streams.append(stream)
        stream.hold(reading)
        track = self._tracks.get((stream, slot))
        if track is None:
            track = self._tracks[stream, slot] = Track(stream, slot)
        track.epoch += 1
        return track, is_first

    def name(self, track: Track, base: str) -> str:
        """What a curve of the track is called: after the loader, where ``base`` is another loader's of the same
        optimizer, or else after the optimizer."""
        if base not in track.names:
            beside = any(other.slot is track.slot and other is not track for other in self._tracks.values())
            name = track.stream.name if beside else track.slot.name
            track.names[base] = self._claim(track, [base, f"{base}/{name}"])
        return track.names[base]
