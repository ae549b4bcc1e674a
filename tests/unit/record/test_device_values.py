"""Numbers that arrive later are recorded when they do: in their order, dated when they were logged."""

from __future__ import annotations

import time
from pathlib import Path

import pytest

import tachograph
from tachograph.record import device_values
from tachograph.record.device_values import waiting


class Later:
    """A number that arrives when somebody says so."""

    def __init__(self, number: float, arrived: bool = False) -> None:
        self.number, self.arrived, self.asked = number, arrived, 0

    def ready(self) -> bool:
        return self.arrived

    def value(self) -> float:
        self.asked += 1
        return self.number


def values(run: tachograph.Run, root: Path) -> list[float]:
    read = tachograph.open_store(root).run(run.id)
    return read.history("loss").values.tolist() if "loss" in read.metrics else []


def test_points_are_written_when_they_arrive_and_in_their_order(root: Path) -> None:
    with tachograph.start_run() as run:
        numbers = [Later(float(step)) for step in range(3)]
        logged = time.time()
        for step, number in enumerate(numbers):
            waiting.add(run, step, {"loss": number})
        numbers[1].arrived = numbers[2].arrived = True  # they wait for the one before them
        time.sleep(3 * device_values.PERIOD)
        assert values(run, root) == []
        numbers[0].arrived = True
        time.sleep(3 * device_values.PERIOD)
        assert values(run, root) == [0.0, 1.0, 2.0]
        assert [number.asked for number in numbers] == [1, 1, 1]
        at = tachograph.open_store(root).run(run.id).history("loss").times[0]
        assert abs(at - logged) < device_values.PERIOD


def test_the_end_of_a_run_waits_for_what_is_on_its_way(root: Path) -> None:
    run = tachograph.start_run()
    for step in range(500):
        waiting.add(run, step, {"loss": Later(float(step), arrived=True)})
    run.finish()
    assert values(run, root) == [float(step) for step in range(500)]


def test_what_never_arrives_does_not_hold_up_the_end(root: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    run = tachograph.start_run()
    never = Later(1.0)
    waiting.add(run, 0, {"loss": never})
    began = time.monotonic()
    waiting.wait_for(run, 0.1)
    assert time.monotonic() - began < 2
    monkeypatch.setattr(device_values, "LONGEST_WAIT", 0.1)
    never.arrived = True
    run.finish()
    assert any("did not arrive" in note.text for note in tachograph.open_store(root).run(run.id).notes)


def test_what_is_not_finite_arrives_too(root: Path) -> None:
    with tachograph.start_run() as run:
        waiting.add(run, 0, {"loss": Later(float("inf"), arrived=True)})
    assert values(run, root) == [float("inf")]


class Broken:
    """A number that can't be read, or of which not even that is known."""

    def __init__(self, knows: bool) -> None:
        self.knows = knows

    def ready(self) -> bool:
        if not self.knows:
            raise RuntimeError("its device is gone")
        return True

    def value(self) -> float:
        raise RuntimeError("its device is gone")


@pytest.mark.parametrize("knows", [True, False])
@pytest.mark.filterwarnings("ignore::tachograph.TachographWarning")
def test_what_can_not_be_read_costs_itself_alone(root: Path, knows: bool) -> None:
    run = tachograph.start_run()
    waiting.add(run, 0, {"loss": Later(1.0, arrived=True)})
    waiting.add(run, 1, {"odd": Broken(knows), "loss": Later(2.0, arrived=True)})
    waiting.add(run, 2, {"odd": Broken(knows)})
    waiting.add(run, 3, {"loss": Later(3.0, arrived=True)})
    run.finish()
    assert values(run, root) == [1.0, 2.0, 3.0]
    read = tachograph.open_store(root).run(run.id)
    assert "odd" not in read.metrics
    [note] = read.notes
    assert "'odd' can't be read from its device (its device is gone)" in note.text


@pytest.mark.filterwarnings("ignore::tachograph.TachographWarning")
def test_what_can_not_be_copied_costs_itself_alone(root: Path) -> None:
    torch = pytest.importorskip("torch")
    odd = torch.ones(1, device="meta")
    with tachograph.start_run() as run:
        for step in range(2):
            run.log({"first": 1.0, "odd": odd, "last": torch.ones(1)}, step)
    read = tachograph.open_store(root).run(run.id)
    assert read.metrics == {"first": 1.0, "last": 1.0}
    assert read.history("last").steps.tolist() == [0, 1]
    [note] = read.notes
    assert "metric 'odd' can't be read" in note.text
