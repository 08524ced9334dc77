"""``rtxbench doctor``: the installation's findings, then whether the machine is as fast as it should be."""

import json
from pathlib import Path

import pytest
from msgspec import structs
from typer.testing import CliRunner

from rtxbench.cli import app
from rtxbench.records import Observation
from rtxbench.results.store import RunWriter
from tests.synthetic import BIG_GPU, records_of, run_header


@pytest.fixture(autouse=True)
def on_two_cards(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """This machine is the synthetic one, started in an empty folder."""
    monkeypatch.setattr("rtxbench.hardware.environment.describe", lambda: BIG_GPU)
    monkeypatch.chdir(tmp_path)


def doctor(*options: str) -> str:
    said = CliRunner().invoke(app, ["doctor", *options])
    assert said.exit_code in (0, 3), said.output
    return said.output


def write_run(products_share: float) -> None:
    """Results of this machine, whose matrix products run at a share of what was invented for it."""
    header = run_header(BIG_GPU, "20260314T090000-1f0c")
    with RunWriter(Path("results"), header) as writer:
        for record in records_of(header, ("mlp",)):
            if isinstance(record, Observation) and record.metric == "gemm_flop_per_s":
                slower = tuple(value * products_share for value in record.values)
                labels = {**record.labels, "kind": "gpu"}
                writer.append(structs.replace(record, values=slower, labels=labels))
            else:
                writer.append(record)


def test_without_records_one_line_names_health() -> None:
    """Nothing is judged that nobody measured: one line says so and how to learn it, before the next command."""
    lines = doctor().strip().splitlines()
    assert [line for line in lines if "Speed" in line] == [lines[-2]]
    assert "`rtxbench health`" in lines[-2]
    assert "rtxbench " in lines[-1]
    said = json.loads(doctor("--json"))
    assert (said["health"], said["health_sentence"]) == (None, None)
    assert said["findings"]


def test_a_slow_card_is_said_with_its_cure_and_the_next_command_stays_last() -> None:
    """Products at a tenth of the paper rate: the low point with both figures, its cure; JSON has all."""
    write_run(0.1)
    text = doctor()
    assert "[warn] Speed, " in text
    low = max(number for number, line in enumerate(text.splitlines()) if "matrix products: " in line)
    assert "of the paper's" in text.splitlines()[low]
    assert "→ Check power limit" in text.splitlines()[low + 1]
    assert "`rtxbench " in text.strip().splitlines()[-1]
    said = json.loads(doctor("--json"))
    assert said["health_sentence"].startswith("Not as fast")
    assert any(point["state"] == "low" and point["next_step"] for point in said["health"])


def test_a_record_that_cannot_be_read_does_not_stop_the_doctor() -> None:
    """The doctor is asked when something is broken: a broken file counts as no file."""
    folder = Path("results") / BIG_GPU.machine
    folder.mkdir(parents=True)
    (folder / "broken.jsonl").write_text("{", encoding="utf-8")
    assert "`rtxbench health`" in doctor()
