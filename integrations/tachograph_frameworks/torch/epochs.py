"""Epochs: passes over the data that is trained on, told apart by data loader and by optimizer."""

from __future__ import annotations

from collections.abc import Callable

from tachograph_frameworks.torch.data_loaders import Reading
from tachograph_frameworks.torch.slots import Slot


class Stream:
    """The data that one loader gives. Some programs make a loader, or its data set too, anew for each epoch."""

    def __init__(self, reading: Reading) -> None:
        self.name = "train"
        self._loader, self._kind = reading.loader, reading.kind

    def hold(self, reading: Reading) -> None:
        """Take this reading's loader as the stream's from now on."""
        self._loader = reading.loader

    def is_of(self, reading: Reading) -> bool:
        """Whether the loader is this stream's."""
        loader = self._loader()
        return loader is not None and loader is reading.loader()

    def is_gone_for(self, reading: Reading) -> bool:
        """Whether the stream's loader is gone, and one like it is there."""
        return self._loader() is None and self._kind == reading.kind


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
        """Start an epoch with a step of ``slot``. Returns it, and whether it is the first of its data."""
        stream = next((stream for stream in self._streams if self._has(stream, reading, slot)), None)
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

    def _has(self, stream: Stream, reading: Reading, slot: Slot) -> bool:
        """Whether the reading is of the stream; of one that is gone only for an optimizer that was trained on it."""
        return stream.is_of(reading) or ((stream, slot) in self._tracks and stream.is_gone_for(reading))

    def name(self, track: Track, base: str) -> str:
        """What a curve of the track is called: after the loader, where ``base`` is another loader's of the same
        optimizer, or else after the optimizer."""
        if base not in track.names:
            beside = any(other.slot is track.slot and other is not track for other in self._tracks.values())
            name = track.stream.name if beside else track.slot.name
            track.names[base] = self._claim(track, [base, f"{base}/{name}"])
        return track.names[base]
