"""The table and the sentence at the end of a run."""

from collections.abc import Sequence
from pathlib import Path

from msgspec.structs import replace

from rtxbench.measure.table import headline, summary_lines
from rtxbench.records import Case, Record
from rtxbench.results.store import RunWriter
from tests.judged_runs import SPREAD, environment, loaded_run, paired

ONE = Case(workload="mlp", batch_size=32, placement="cpu")
HALF = replace(ONE, precision="mixed_bfloat16")
LOGICAL = replace(ONE, placement="mirrored-logical", device_count=2)


def written(folder: Path, records: Sequence[Record]) -> Path:
    with RunWriter(folder, loaded_run([], environment()).run) as writer:
        for record in records:
            writer.append(record)
        return writer.path


def test_the_clearest_comparison_is_quoted_and_logical_devices_never_are(tmp_path: Path) -> None:
    """Two logical devices of one CPU look eight times as fast: they are a check, in the sentence and in the table."""
    path = written(tmp_path, [*paired(ONE, HALF, 1.8), *paired(ONE, LOGICAL, 8.0)])
    assert "1.80 times as fast" in headline(path)
    (row,) = (line for line in summary_lines(path) if "mirrored-logical" in line)
    assert "trains: a check" in row
    assert "8.0" not in row


def test_a_run_of_one_launch_is_told_from_one_that_compared_nothing(tmp_path: Path) -> None:
    """The first needs more launches, the second another command."""
    assert "more than one launch" in headline(written(tmp_path / "one", paired(ONE, HALF, 1.8, spread=SPREAD[:1])))
    assert "compared nothing" in headline(written(tmp_path / "none", []))
