"""Made-up results for the load curve: they load, are judged like real ones, and cost little to write."""

from pathlib import Path

from rtxbench.results.store import load_results
from rtxbench.robustness.load import RECORDS_PER_RUN, load_curve, write_made_up
from rtxbench.verdicts.claims import load_claims
from rtxbench.verdicts.judge import judge


def test_made_up_results_load_and_are_judged(tmp_path: Path) -> None:
    """They pass the boundary that strangers' files pass, and bfloat16 at 0.82× of float32 refutes its claim."""
    count = write_made_up(tmp_path, 100, machines=2)
    runs = load_results([tmp_path])
    assert sum(len(run.records) for run in runs) == count == len(runs) * RECORDS_PER_RUN
    verdicts = judge(runs, load_claims())
    assert any(verdict.state == "refuted" for verdict in verdicts)


def test_each_point_of_the_curve_is_measured(tmp_path: Path) -> None:
    """Processor time, memory and input are of the command itself: more than nothing."""
    (point,) = load_curve([40], ["claims"], tmp_path, machines=1)
    assert point.records == 64
    assert point.cpu_s > 0.1
    assert point.peak_bytes > 20 * 2**20
    assert point.input_bytes > 10_000
    assert point.page_bytes is None
