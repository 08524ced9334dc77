import re
from pathlib import Path

import pytest

from rtxbench.errors import UsageError
from rtxbench.verdicts.claims import TEMPLATE, load_claims, select_claims
from tools.claims_page import page_with_table

ROOT = Path(__file__).parent.parent.parent
GOOD = """
[[claim]]
id = "my-4070"
title = "My 4070 gives 1.5× in mixed precision"
says = "1.5×"
measured = "throughput"
gpu_name = ["*RTX 4070*"]

[[claim.comparisons]]
name = "mixed"
varies = ["precision"]
rule = "at-least"
threshold_ratio = 1.5
baseline = { workload = ["bert-base"], precision = ["float32"] }
candidate = { workload = ["bert-base"], precision = ["mixed_float16"] }
"""

FAULTS = {
    "an unknown key": ("threshold_ratio = 1.5", "treshold_ratio = 1.5", "treshold_ratio"),
    "a wrong type": ("threshold_ratio = 1.5", 'threshold_ratio = "1.5"', "threshold_ratio"),
    "a missing key": ('title = "My 4070 gives 1.5× in mixed precision"', "", "title"),
    "an unknown rule": ('rule = "at-least"', 'rule = "at-most"', "rule"),
    "an unknown field": ('varies = ["precision"]', 'varies = ["speed"]', "varies"),
    "arms that cannot differ": ('varies = ["precision"]', "varies = []", "varies"),
    "a line a case meets by itself": ("threshold_ratio = 1.5", "threshold_ratio = 1.05", "compared with itself"),
    "a threshold that is missing": ("threshold_ratio = 1.5", "", "threshold_ratio"),
    "a margin without sense": ("threshold_ratio = 1.5", "threshold_ratio = 1.5\nmargin_ratio = 1.0", "margin_ratio"),
    "a threshold that is no number": ("threshold_ratio = 1.5", "threshold_ratio = nan", "threshold_ratio"),
    "one launch": ("threshold_ratio = 1.5", "threshold_ratio = 1.5\nminimum_replicates = 1", "minimum_replicates"),
    "a hostile id": ('id = "my-4070"', 'id = "<script>"', "id"),
    "no evidence at all": (GOOD[GOOD.index("[[claim.comparisons]]") :], "", "not_testable"),
    "TOML that is broken": ("[[claim]]", "[[claim", "TOML"),
}


@pytest.mark.parametrize("fault", FAULTS)
def test_a_fault_in_a_users_file_is_named(tmp_path: Path, fault: str) -> None:
    """Every fault is a UsageError that names the file and the key, with what to do next."""
    old, new, named = FAULTS[fault]
    path = tmp_path / "mine.toml"
    path.write_text(GOOD.replace(old, new), encoding="utf-8")
    with pytest.raises(UsageError, match=re.escape(named)) as caught:
        load_claims(path)
    assert "mine.toml" in str(caught.value)
    assert caught.value.next_step


def test_a_users_file_is_read(tmp_path: Path) -> None:
    """The control of the faults: the file as it stands is a claim of kind user."""
    path = tmp_path / "mine.toml"
    path.write_text(GOOD, encoding="utf-8")
    [claim] = load_claims(path)
    assert (claim.id, claim.kind, claim.comparisons[0].threshold_ratio) == ("my-4070", "user", 1.5)


def test_an_id_used_twice_is_refused(tmp_path: Path) -> None:
    """Two claims of one id would overwrite each other's verdict."""
    path = tmp_path / "mine.toml"
    path.write_text(GOOD + GOOD, encoding="utf-8")
    with pytest.raises(UsageError, match="used twice"):
        load_claims(path)


def test_a_missing_file_is_a_usage_error(tmp_path: Path) -> None:
    """A wrong path is named."""
    with pytest.raises(UsageError, match="absent"):
        load_claims(tmp_path / "absent.toml")


def test_an_unknown_claim_offers_the_known_ones() -> None:
    """A misspelt id lists what there is."""
    with pytest.raises(UsageError, match="tensor-cores"):
        select_claims(load_claims(), "tensor-core")


def test_a_cpu_claim_of_a_wheel_is_found() -> None:
    """Without a path the suite's own file is found, and every claim says how to reproduce it or why it cannot be."""
    for claim in load_claims():
        assert claim.reproduce.startswith("pytest bench/") or claim.not_testable
        assert claim.where or not claim.needs_gpus


def test_the_template_is_a_claim_that_loads(tmp_path: Path) -> None:
    """What `rtxbench claims --template` prints is accepted as it stands."""
    path = tmp_path / "mine.toml"
    path.write_text(TEMPLATE, encoding="utf-8")
    assert load_claims(path)[0].id == "my-4070-mixed"


def test_every_command_that_reproduces_a_claim_names_files_that_exist() -> None:
    """A reader who copies the command finds the bench files."""
    for claim in load_claims():
        files = [word for word in claim.reproduce.split() if word.startswith("bench/")]
        assert files or claim.not_testable
        assert all((ROOT / name).is_file() for name in files), claim.id


def test_the_page_on_claims_is_that_of_the_claims() -> None:
    """The table in docs/claims.md is generated (`python -m tools.claims_page`), so a new claim is on the page."""
    text = (ROOT / "docs" / "claims.md").read_text(encoding="utf-8")
    assert text == page_with_table(text), "run `python -m tools.claims_page`"


def test_a_pair_of_workloads_names_as_many_on_both_sides(tmp_path: Path) -> None:
    """Workloads are paired by their place in the lists, so lists of two lengths are refused."""
    path = tmp_path / "mine.toml"
    paired = 'varies = ["workload"]'
    path.write_text(GOOD.replace('varies = ["precision"]', paired).replace("workload = [", 'workload = ["x", ', 1))
    with pytest.raises(UsageError, match="as many"):
        load_claims(path)
