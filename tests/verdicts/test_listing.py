import json
import subprocess
import sys
from pathlib import Path

from rtxbench.records import Case
from rtxbench.results.store import RunWriter
from rtxbench.verdicts.claims import TEMPLATE, load_claims
from rtxbench.verdicts.listing import claims_json, claims_text
from tests.judged_runs import environment, loaded_run, paired


def command(*arguments: str) -> subprocess.CompletedProcess[str]:
    line = [sys.executable, "-c", "from rtxbench.cli import main; main()", "claims", *arguments]
    return subprocess.run(line, capture_output=True, text=True, check=False)


def test_the_list_names_every_claim() -> None:
    """One line per claim, without results."""
    lines = claims_text(load_claims()).splitlines()
    assert [line.partition(":")[0] for line in lines] == [claim.id for claim in load_claims()]


def test_the_json_form_round_trips() -> None:
    """JSON holds every field of every claim."""
    document = json.loads(claims_json(load_claims()))
    assert document["claims"][0]["id"] == "tensor-cores"
    assert document["verdicts"] == []


def test_one_claim_is_shown_with_how_to_reproduce_it() -> None:
    """`rtxbench claims ID` says what is claimed, what is measured, and the command."""
    shown = command("vision").stdout
    assert "claimed:" in shown
    assert "pytest bench/bench_claims.py --benchmark-only --claim vision" in shown


def test_a_persons_own_claim_gets_a_verdict(tmp_path: Path) -> None:
    """`rtxbench claims --file mine.toml --results DIR` judges a user's claim on stored records."""
    mine = tmp_path / "mine.toml"
    mine.write_text(TEMPLATE, encoding="utf-8")
    baseline = Case(workload="bert-base", batch_size=32, placement="gpu")
    candidate = Case(workload="bert-base", batch_size=32, placement="gpu", precision="mixed_float16")
    run = loaded_run((), environment(1, "NVIDIA GeForce RTX 4070")).run
    with RunWriter(tmp_path / "results", run) as writer:
        for record in paired(baseline, candidate, 1.8):
            writer.append(record)
    result = command("--file", str(mine), "--results", str(tmp_path / "results"))
    assert result.returncode == 0, result.stderr
    assert "supported" in result.stdout
    assert "1.800×" in result.stdout


def test_a_wrong_file_is_exit_code_2(tmp_path: Path) -> None:
    """A faulty claims file is a usage error that names the key."""
    mine = tmp_path / "mine.toml"
    mine.write_text(TEMPLATE.replace("rule =", "rull ="), encoding="utf-8")
    result = command("--file", str(mine))
    assert result.returncode == 2
    assert "rull" in result.stderr
