"""Every reader of results answers or refuses in one sentence, whatever the file holds."""

import random

import pytest

from rtxbench.results.store import load_run
from rtxbench.robustness.mutants import MUTATIONS, mutant, sample_lines
from rtxbench.robustness.readers import READERS, send_mutants


def test_the_sample_is_healthy(tmp_path) -> None:
    """What is mutated loads before it is mutated, so a refusal is the mutation's doing."""
    path = tmp_path / "sample.jsonl"
    path.write_bytes(b"".join(sample_lines()))
    assert len(load_run(path).records) == len(sample_lines()) - 1


def test_a_mutant_is_known_by_its_number() -> None:
    """The same number gives the same bytes, so a fault found anywhere can be repeated; and most differ."""
    lines = sample_lines()
    assert mutant(lines, 7) == mutant(lines, 7)
    assert len({mutant(lines, number, 3) for number in range(50)}) > 45


@pytest.mark.parametrize("name", MUTATIONS)
def test_each_mutation_changes_something(name: str) -> None:
    """No row of the table is idle."""
    lines = sample_lines()[:4]
    changed = [MUTATIONS[name](list(lines), random.Random(number)) for number in range(20)]
    assert any(one != lines for one in changed)


def test_a_number_beyond_any_float_is_mutated_too() -> None:
    """An integer that one mutation made too large for a float does not stop the next one."""
    line = [b'{"values": [1' + b"0" * 400 + b"]}"]
    changed = [change(list(line), random.Random(number)) for change in MUTATIONS.values() for number in range(60)]
    assert any(one != line for one in changed)


def test_the_loader_answers_or_refuses() -> None:
    """No mutant of 800 ends in anything but records or a deliberate error (`rtxbench selftest hostile` sends more)."""
    outcome = send_mutants(range(800), ["load"], most_lines=4)
    assert outcome.faults == ()
    assert min(outcome.answered["load"], outcome.refused["load"]) > 80


def test_every_reader_answers_or_refuses() -> None:
    """Mutants that load reach judging, merging, history, replay, advice and the report; none of them breaks."""
    assert send_mutants(range(25), [name for name in READERS if name != "report"], most_lines=25).faults == ()
    assert send_mutants(range(6), ["report"]).faults == ()


def test_a_planted_fault_is_found(monkeypatch) -> None:
    """The test can fail: a reader that trips over one mutant is named with the mutant's number."""
    monkeypatch.setitem(READERS, "broken", lambda folder: {}["x"])
    (fault,) = send_mutants([5], ["broken"]).faults
    assert (fault.mutant, fault.reader, fault.where[:8]) == (5, "broken", "KeyError")
