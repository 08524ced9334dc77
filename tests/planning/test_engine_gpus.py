"""The plan stands on the GPUs that driver and engine both see."""

import os

import pytest

from rtxbench.errors import UnavailableError
from rtxbench.planning import engine_gpus
from rtxbench.planning.engine_gpus import usable_gpus
from tests.planning.test_suite import machine


@pytest.fixture(autouse=True)
def installed(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(engine_gpus, "why_engine_missing", lambda engine: None)
    monkeypatch.setenv("CUDA_VISIBLE_DEVICES", "0")  # what the plan pins ends with the test


def test_an_engine_that_sees_no_gpu_is_refused_before_the_first_launch() -> None:
    """Fault 5: the driver lists a card and TensorFlow sees none: an error with the doctor's words, exit code 3."""
    with pytest.raises(UnavailableError, match="libcusolver") as caught:
        usable_gpus(machine("NVIDIA GeForce RTX 4070"), ("tensorflow",), lambda engine: "libcusolver is missing.")
    assert caught.value.exit_code == 3
    assert "rtxbench doctor --engine tensorflow" in str(caught.value)


def test_one_engine_that_can_use_them_is_enough() -> None:
    """Fault 5: with --engine all, those that see no GPU are set aside with the reason and the others run."""
    answers: dict[str, int | str] = {"tensorflow": "no CUDA.", "jax": 1, "torch": 1}
    found, refused = usable_gpus(machine("NVIDIA GeForce RTX 4070"), tuple(answers), answers.__getitem__)
    assert len(found.gpus) == 1
    assert refused == {"tensorflow": "no CUDA."}


def test_a_gpu_that_only_the_driver_sees_is_left_out() -> None:
    """Fault 5: two cards for NVML, one for the engine: the plan has one."""
    found, refused = usable_gpus(machine("NVIDIA RTX A", "NVIDIA RTX A"), ("jax",), lambda engine: 1)
    assert [gpu.index for gpu in found.gpus] == [0]
    assert refused == {}


def test_without_a_gpu_no_engine_is_asked() -> None:
    """On a CPU-only machine nothing is started to find that out."""
    asked: list[str] = []
    here = machine()
    assert usable_gpus(here, ("jax",), lambda engine: asked.append(engine) or 0) == (here, {})
    assert asked == []


def test_every_process_started_later_is_told_the_gpus_by_uuid() -> None:
    """Fault 17: an index means another card to CUDA than to NVML; a UUID means one card to both."""
    here = machine("NVIDIA GeForce RTX 4070", "NVIDIA GeForce RTX 3060")
    usable_gpus(here, ("jax",), lambda engine: 2)
    assert os.environ["CUDA_VISIBLE_DEVICES"].split(",") == [gpu.uuid for gpu in here.gpus]
