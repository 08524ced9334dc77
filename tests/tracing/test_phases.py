"""Phases of a program: by its own marks, or by its pauses."""

from pathlib import Path

import pytest

from rtxbench.tracing.phases import phase_lines, phases_of
from tests.tracing.recordings import SECOND, recorded


def test_pauses_part_a_program_into_phases(tmp_path: Path) -> None:
    """Two seconds of work, one of rest, four of work: two phases with their own means."""
    trace = recorded(tmp_path / "t.trace.jsonl", [4.0] * 10 + [0.0] * 5 + [2.0] * 20)
    first, second = phases_of(trace, (0, 7 * SECOND), ())
    assert (first.by, first.name, second.name) == ("gap", "phase 1", "phase 2")
    assert first.duration_s == pytest.approx(2.0)
    assert second.start_s == pytest.approx(3.0)
    assert (first.cpu_cores, second.cpu_cores) == (pytest.approx(4.0), pytest.approx(2.0))
    assert "pauses between them: 1.0" in "\n".join(phase_lines([first, second]))


def test_a_moment_of_rest_is_no_pause(tmp_path: Path) -> None:
    """A program that works on has no phases, and neither has one that did nothing at all."""
    busy = recorded(tmp_path / "busy.trace.jsonl", [4.0] * 10 + [0.0] * 2 + [4.0] * 10)
    assert phases_of(busy, (0, 5 * SECOND), ()) == ()
    assert phases_of(recorded(tmp_path / "idle.trace.jsonl", [0.0] * 20), (0, 4 * SECOND), ()) == ()
    assert phase_lines(()) == []


def test_marks_of_the_program_come_before_pauses(tmp_path: Path) -> None:
    """Each begins a phase that ends with the next one; what came before the first is one, too."""
    marks = [(0.1, "command started"), (1.0, "phase epoch 1"), (3.0, "phase epoch 2"), (4.0, "command ended")]
    trace = recorded(tmp_path / "t.trace.jsonl", [1.0] * 5 + [3.0] * 10 + [0.0] * 5, marks)
    found = phases_of(trace, (0, 4 * SECOND), ())
    assert [(phase.name, phase.duration_s) for phase in found] == [
        ("before the first mark", 1.0),
        ("epoch 1", 2.0),
        ("epoch 2", 1.0),
    ]
    assert found[1].cpu_cores == pytest.approx(3.0)
    assert "the program's own marks" in phase_lines(found)[1]


def test_many_phases_are_summed_up(tmp_path: Path) -> None:
    """A program with a hundred epochs does not scroll its summary away."""
    marks = [(float(number), f"phase epoch {number}") for number in range(1, 31)]
    found = phases_of(recorded(tmp_path / "t.trace.jsonl", [1.0] * 160, marks), (0, 32 * SECOND), ())
    lines = phase_lines(found)
    assert len(lines) < 16
    assert "19 more" in lines[-1]
