"""Passes over data loaders, as they are recorded: epochs, evaluations, and how fast they went."""

from __future__ import annotations

from time import perf_counter, time
from typing import TYPE_CHECKING

from torch.utils.data import DataLoader

from tachograph import guard
from tachograph_frameworks.torch.data import record_data
from tachograph_frameworks.torch.data_loaders import Reading
from tachograph_frameworks.torch.epochs import Epochs, Track
from tachograph_frameworks.torch.slots import Slot
from tachograph_frameworks.torch.strand import Strand
from tachograph_frameworks.torch.user_variables import Sight

if TYPE_CHECKING:
    from tachograph_frameworks.torch.recording import Recording

REPORT_SECONDS = 10.0  # of a long epoch, between two figures of how fast it goes
_AROUND_LOADERS = ("iterable", "base_dataloader")  # attributes of tqdm and of accelerate that hold the user's


class EpochRecording:
    """The part of a run's recording that is about its epochs."""

    def __init__(self, recording: Recording) -> None:
        self._recording = recording
        self._epochs = Epochs(recording.curve_names.claim)

    def trained_on(self, strand: Strand, slot: Slot, is_first: bool = False) -> None:
        """Begin the epochs of data loaders on whose batches the first step was made."""
        new_readings = strand.take_readings()
        going_on = [reading for reading in new_readings if not reading.is_over]
        for reading in strand.take_endings():
            self.write_ending(strand, reading)
        for reading in going_on or (new_readings[-1:] if is_first else []):
            if reading.track is None:
                self._begin(strand, slot, reading)

    def _begin(self, strand: Strand, slot: Slot, reading: Reading) -> None:
        recording = self._recording
        strand.training = reading
        track, is_first = self._epochs.begin(reading, slot)
        reading.track, reading.first_step = track, slot.steps
        if is_first:
            track.stream.name = _loader_name(reading)
        recording.note({self._epochs.name(track, "epoch"): float(track.epoch)}, slot.steps)
        if is_first:
            recording.settle()
            with guard.contained("torch: data", recording.run):
                record_data(recording.run, reading.dataset, reading.settings, track.stream.name, "train")

    def report(self, strand: Strand) -> None:
        """Write how fast a long epoch goes, every ten seconds."""
        reading = strand.training
        if reading is not None and not reading.is_over and reading.last - reading.reported > REPORT_SECONDS:
            name = self._epochs.name(reading.track, "samples_per_second")
            self._recording.writer.write({name: reading.rate()}, strand.last_step)

    def reading_over(self, strand: Strand, reading: Reading) -> bool:
        """Record that a data loader has given its last batch. Returns whether the step on that is still to come."""
        if reading.track is None:
            seconds = reading.last - reading.began
            self._recording.note({"eval_seconds": seconds}, strand.last_step, strand)
            if strand.training is not None:
                strand.training.evaluation_seconds += seconds
        elif self._is_ahead(strand, reading):
            strand.endings.append(reading)
            return True
        else:
            self.write_ending(strand, reading)
        return False

    def _is_ahead(self, strand: Strand, reading: Reading) -> bool:
        """Whether its last batch seems to have had no step yet: some libraries fetch one batch ahead. If that is not
        so, the next epoch's first step shows it."""
        if strand.slot is None or strand.slot.every > 1:
            return False
        steps = reading.track.slot.steps - reading.first_step
        last_step = self._recording.last_noted_at
        return steps == reading.batches - 1 or last_step < time() - (perf_counter() - reading.last_batch)

    def write_ending(self, strand: Strand, reading: Reading) -> None:
        """Write how long an epoch took, and how fast it went."""
        track: Track = reading.track
        values = {
            "samples_per_second": reading.rate(),
            "data_seconds": reading.waited,
            "train_seconds": reading.last - reading.began,
        }
        named = {self._epochs.name(track, base): value for base, value in values.items()}
        self._recording.note(named, max(track.slot.steps - 1, 0), strand)


def _loader_name(reading: Reading) -> str:
    """The user's variable that has the loader, or a library's wrapper with the loader in it; ``train`` where none."""
    path = Sight(DataLoader).path(reading.loader())
    if path is None:
        return "train"
    parts = path.name.split(".")
    while len(parts) > 1 and (parts[-1].startswith("_") or parts[-1] in _AROUND_LOADERS):
        parts.pop()
    return ".".join(parts)
