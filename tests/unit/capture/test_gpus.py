"""The GPUs of this machine, where it has any; nothing, and no noise, where it has none."""

import re
from pathlib import Path

import pytest

from tachograph.capture import gpus
from tachograph.capture.hardware import Sampler


@pytest.mark.skipif(gpus._has_driver(), reason="there is a driver here")
def test_without_a_driver_there_are_no_gpus_and_no_noise(capfd: pytest.CaptureFixture[str]) -> None:
    assert gpus.open_gpus() == []
    assert gpus.describe_gpus() == []
    assert not any("gpu" in name for name in Sampler().sample())
    assert capfd.readouterr() == ("", "")


@pytest.mark.skipif(not gpus._has_driver(), reason="there is no NVIDIA driver here")
def test_a_gpu_is_described_and_read() -> None:
    ours = gpus.open_gpus({})
    assert ours
    facts = ours[0].describe()
    assert facts["name"]
    assert facts["memory"] > 2**30
    assert gpus.open_gpus({"CUDA_VISIBLE_DEVICES": ""}) == []
    assert gpus.open_gpus({"CUDA_VISIBLE_DEVICES": "-1,0"}) == []
    assert len(gpus.open_gpus({"CUDA_VISIBLE_DEVICES": facts["uuid"][:12]})) == 1
    assert ours[0].read()["memory.used"] <= facts["memory"]


def test_all_that_is_asked_of_nvml_exists() -> None:
    pynvml = pytest.importorskip("pynvml")
    names = set(re.findall(r"\bnvml\.(nvml\w+|NVML\w+)", Path(gpus.__file__).read_text()))
    assert len(names) > 10
    assert [name for name in names if not hasattr(pynvml, name)] == []
