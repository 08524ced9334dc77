"""A shared file holds every figure and nothing personal, and others' files stand beside one's own."""

import json
from pathlib import Path

import pytest
from msgspec import structs
from typer.testing import CliRunner

from rtxbench.cli import app
from rtxbench.cli.shared_file import anonymous, describe_shared, shared_name
from rtxbench.lookup import suggestion
from rtxbench.records import CaseRecord, Estimate, RatioRecord
from rtxbench.results.store import LoadedRun, load_run
from rtxbench.wording import say_headline
from tests.synthetic import BIG_GPU, CPU_ONLY, write_results

PERSONAL = "/home/maria/secret/train.py: mail maria@example.org"


@pytest.fixture(scope="module")
def loaded(tmp_path_factory: pytest.TempPathFactory) -> LoadedRun:
    folder = write_results(tmp_path_factory.mktemp("results"), (BIG_GPU,), traces=False)
    return load_run(next(folder.rglob("*.jsonl")))


def test_nothing_personal_is_in_the_file_and_every_figure_is(loaded: LoadedRun, tmp_path: Path) -> None:
    """Paths, addresses and serial numbers are gone wherever they stood; the records load again with their values."""
    records = tuple(
        structs.replace(record, reason=PERSONAL, status="failed", measurement=None)
        if isinstance(record, CaseRecord) and number == 0 else record
        for number, record in enumerate(loaded.records)
    )  # fmt: skip
    run = structs.replace(loaded.run, command=("/home/maria/bin/rtxbench", "run", "--results", "/home/maria/x/"))
    shared = anonymous(loaded._replace(run=run, records=records))
    text = shared.decode()
    for word in ("maria", "secret", *(gpu.uuid for gpu in BIG_GPU.gpus)):
        assert word not in text
    path = tmp_path / shared_name(shared)
    path.write_bytes(anonymous(loaded))
    again = load_run(path)
    ratios = [record.ratio for record in again.of_kind(RatioRecord)]
    assert ratios == [record.ratio for record in loaded.of_kind(RatioRecord)]
    assert "RTX 4090" in describe_shared(shared)


def test_share_asks_before_it_writes(loaded: LoadedRun, tmp_path: Path) -> None:
    """What the file holds is shown first; without consent nothing is written."""
    command = ["share", str(loaded.path), "--out", str(tmp_path / "out")]
    refused = CliRunner().invoke(app, command, input="n\n")
    assert refused.exit_code == 1
    assert "The file holds this" in refused.output
    assert not (tmp_path / "out").exists()
    agreed = CliRunner().invoke(app, [*command, "--yes"])
    assert agreed.exit_code == 0, agreed.output
    assert len(list((tmp_path / "out").iterdir())) == 1


def test_two_runs_are_compared_by_their_environments(tmp_path: Path) -> None:
    """The sentence to quote names what is known to matter."""
    folder = write_results(tmp_path, (BIG_GPU, CPU_ONLY), traces=False)
    one, other = (str(folder / machine.machine) for machine in (BIG_GPU, CPU_ONLY))
    said = CliRunner().invoke(app, ["diff", one, other])
    assert said.exit_code == 0, said.output
    assert "known to matter for speed: processor" in said.output.splitlines()[-1]
    found = json.loads(CliRunner().invoke(app, ["diff", one, other, "--json"]).output)
    assert found


def test_health_of_results_ends_with_one_sentence(tmp_path: Path) -> None:
    """The last line is the sentence one quotes."""
    folder = write_results(tmp_path, (BIG_GPU,), traces=False)
    said = CliRunner().invoke(app, ["health", str(folder)])
    assert said.exit_code in (0, 1), said.output
    assert said.output.strip().splitlines()[-1].endswith(".")


def test_a_wrong_name_is_answered_with_the_nearest_few() -> None:
    """However long the table, the answer fits a line."""
    table = {f"model-{number}": None for number in range(900)}
    assert len(suggestion(table, "llama")) < 300
    assert "and 888 more" in suggestion(table, "zzz")
    assert suggestion({"quick": 1, "full": 2}, "quik").startswith("Did you mean quick?")


def test_the_headline_is_the_clearest_comparison(loaded: LoadedRun) -> None:
    """Of several it is the one furthest from 1×; without a clear one it says so; without any it is silent."""
    record = loaded.of_kind(RatioRecord)[0]
    clear = structs.replace(record, ratio=Estimate(value=1.8, low=1.7, high=1.9, n=5), metric="throughput")
    unclear = structs.replace(record, ratio=Estimate(value=1.0, low=0.9, high=1.1, n=5), metric="throughput")
    assert "1.80 times as fast (95 % interval 1.70 to 1.90)" in say_headline([unclear, clear])
    assert say_headline([unclear]).startswith("No difference")
    assert say_headline([]) == ""
