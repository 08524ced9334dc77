"""A figure that contradicts its own record does not get in."""

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from rtxbench.errors import RecordError
from rtxbench.records import Case
from rtxbench.results.store import RunWriter, load_readable, load_run
from tests.judged_runs import environment, loaded_run, paired

CASE = Case(workload="mlp", batch_size=32)


@pytest.fixture
def path(tmp_path: Path) -> Path:
    """One honest run: two cases and their ratio."""
    with RunWriter(tmp_path, loaded_run((), environment()).run) as writer:
        for record in paired(CASE, Case(workload="mlp", batch_size=32, precision="mixed_bfloat16"), 1.2):
            writer.append(record)
    return writer.path


def edited(path: Path, kind: str, change: Callable[[dict[str, Any]], object]) -> Path:
    lines = [json.loads(line) for line in path.read_text().splitlines()]
    change(next(line for line in lines if line["kind"] == kind))
    path.write_text("".join(json.dumps(line) + "\n" for line in lines))
    return path


def test_an_honest_run_loads(path: Path) -> None:
    """The checks let through what rtxbench itself writes."""
    assert len(load_run(path).records) == 3


@pytest.mark.parametrize(
    ("kind", "change", "why"),
    [
        ("case", lambda c: c["measurement"]["throughput_per_s"].update(value=123456789.0, high=2e8), "does not follow"),
        ("case", lambda c: c["measurement"]["throughput_per_s"].update(value=-5.0, low=-6.0), "cannot be"),
        ("case", lambda c: c["measurement"]["throughput_per_s"].update(confidence=7.0), "confidence"),
        ("case", lambda c: c["measurement"]["throughput_per_s"].update(n=-3), "n"),
        ("case", lambda c: c["measurement"]["launches"][0].update(blocks_ns=[[9, 5]]), "ends before it begins"),
        ("case", lambda c: c["measurement"].update(launches=[]), "no timed blocks"),
        ("case", lambda c: c["case"].update(batch_size=2**63), "batch_size"),
        ("case", lambda c: c.update(measurement=None), "no measurement"),
        ("case", lambda c: c.update(run_id="another"), "of run another"),
        ("ratio", lambda r: r.update(log_ratios=[1e308]), "log_ratios"),
        ("ratio", lambda r: r.update(log_ratios=[]), "without a single replicate"),
        ("ratio", lambda r: r["ratio"].update(low=2.0, high=3.0), "outside its own interval"),
        ("run", lambda r: r.update(schema_version=-5), "schema_version"),
        ("run", lambda r: r["environment"].update(machine="x/../y"), "machine"),
    ],
)
def test_the_impossible_is_refused(path: Path, kind: str, change: Callable[[dict[str, Any]], object], why: str) -> None:
    """Invented, negative, reversed, overflowing and foreign figures end at the boundary, with the reason."""
    with pytest.raises(RecordError, match=why):
        load_run(edited(path, kind, change))


def test_one_record_twice_in_a_file_is_refused(path: Path) -> None:
    """A line pasted twice would count its launches twice."""
    path.write_text(path.read_text() + path.read_text().splitlines()[1] + "\n")
    with pytest.raises(RecordError, match="twice"):
        load_run(path)


def test_a_copied_file_counts_once(path: Path) -> None:
    """Copies of one run, the shorter ones included, leave one run; a copy that was edited is a named problem."""
    path.with_name("copy.jsonl").write_bytes(path.read_bytes())
    path.with_name("early.jsonl").write_bytes(b"".join(path.read_bytes().splitlines(keepends=True)[:2]))
    (run,), problems = load_readable([path.parent])
    assert (len(run.records), problems) == (3, [])
    path.with_name("early.jsonl").unlink()
    edited(path.with_name("copy.jsonl"), "case", lambda c: c.update(finished_at="2020-01-01T00:00:00+00:00"))
    runs, problems = load_readable([path.parent])
    assert len(runs) == 1
    assert ["differ" in str(problem) for problem in problems] == [True]


def test_a_bad_file_does_not_hide_the_good_ones(path: Path) -> None:
    """What loads is loaded; what does not is named."""
    path.with_name("bad.jsonl").write_text("no results\n")
    runs, (problem,) = load_readable([path.parent])
    assert [run.path for run in runs] == [path]
    assert "bad.jsonl" in str(problem)
