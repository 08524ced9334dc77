"""The recorder notes what happens to the machine while it records."""

import time
from pathlib import Path

import pytest

from rtxbench.hardware import sampling
from rtxbench.hardware.sampling import Recording, TraceWriter, slept_s
from rtxbench.hardware.trace import load_trace


def test_a_suspension_of_the_machine_is_noted_once(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The boot clock runs on while the machine sleeps, the monotonic one does not: what one gains is the sleep."""
    recording = Recording(TraceWriter(tmp_path / "x.trace.jsonl"), 0.1, [])
    recording.start()
    before = recording._slept_s
    for slept in (0.05, 30.0, 30.0):
        monkeypatch.setattr(sampling, "slept_s", lambda slept=slept: before + slept)
        recording.check()
    recording.finish("stopped")
    events = [event for event in load_trace(tmp_path / "x.trace.jsonl").events if event.code == "suspended"]
    assert [event.detail for event in events] == ["the machine was suspended for 29.9 s"]


def test_the_two_clocks_differ_by_the_sleep_alone(monkeypatch: pytest.MonkeyPatch) -> None:
    """Read from the kernel: no less than nothing; where there is no such clock, no sleep is known."""
    assert slept_s() > -0.1
    monkeypatch.delattr(time, "CLOCK_BOOTTIME", raising=False)
    assert slept_s() == 0.0
