"""Two recordings side by side."""

from pathlib import Path

import msgspec
import pytest

from rtxbench.errors import RecordError
from rtxbench.tracing.compare import compare_traces, comparison_text
from tests.tracing.recordings import recorded

MARKS = [(1.0, "command started"), (5.0, "command ended")]


def test_what_differs_is_said_in_words(tmp_path: Path) -> None:
    """How long each ran, what rose and fell, and what held each back."""
    before, after = tmp_path / "a.trace.jsonl", tmp_path / "b.trace.jsonl"
    recorded(before, [1.0] * 25, MARKS)
    recorded(after, [4.0] * 15, [(1.0, "command started"), (3.0, "command ended")])
    found = compare_traces(before, after)
    text = comparison_text(found)
    assert "It ran for 2.00 s instead of 4.00 s: 50 % shorter." in text
    assert "Cores used by the command rose from 1.00 cores to 4.00 cores on average." in text
    assert "Memory" not in text
    assert "one core" in text
    assert "runs of one program differ" in text
    assert msgspec.json.decode(msgspec.json.encode(found))["duration_s"] == [4.0, 2.0]


def test_alike_is_an_answer(tmp_path: Path) -> None:
    """Nothing is made of what two runs of one program differ by."""
    before, after = tmp_path / "a.trace.jsonl", tmp_path / "b.trace.jsonl"
    recorded(before, [4.0] * 25, MARKS)
    recorded(after, [4.1] * 25, MARKS)
    text = comparison_text(compare_traces(before, after))
    assert "no difference" in text
    assert "No sensor's mean differs by more than a tenth." in text


def test_a_recording_without_samples_is_refused(tmp_path: Path) -> None:
    """With what to do instead."""
    recorded(tmp_path / "a.trace.jsonl", [])
    with pytest.raises(RecordError, match="holds no sample"):
        compare_traces(tmp_path / "a.trace.jsonl", tmp_path / "a.trace.jsonl")
