"""A later run replaces an earlier one of the same thing."""

from pathlib import Path

from rtxbench.records import RatioRecord
from rtxbench.results.latest import latest_by_machine, latest_of
from rtxbench.results.store import LoadedRun, load_results
from tests.synthetic import write_results


def test_of_several_runs_the_last_counts() -> None:
    """Measured twice under one key: the later is kept, at the place of the first."""
    rows = [{"label": "a", "value": 1}, {"label": "b", "value": 2}, {"label": "a", "value": 3}]
    assert latest_of(rows, lambda row: row["label"]) == [{"label": "a", "value": 3}, {"label": "b", "value": 2}]


def test_machines_are_kept_apart_and_one_without_records_is_left_out(tmp_path: Path) -> None:
    """Each of three machines keeps its own pairs, a run read twice adds none, and an empty machine has no entry."""
    runs = load_results([write_results(tmp_path)])

    def pairs(runs: list[LoadedRun]) -> dict[str, list[RatioRecord]]:
        return latest_by_machine(runs, lambda one: one.of_kind(RatioRecord), lambda r: (r.baseline, r.candidate))

    assert set(pairs(runs)) == {loaded.run.environment.machine for loaded in runs}
    assert pairs([*runs, *runs]) == pairs(runs)
    assert pairs([loaded._replace(records=()) for loaded in runs]) == {}
