"""The recipes of CONTRIBUTING.md, each applied to a copy of the tree; what the recipe says to run is run there."""

import os
import shutil
import subprocess
import sys
from pathlib import Path
from typing import NamedTuple

import pytest

from tests.waiting import HANG_S

ROOT = Path(__file__).parents[2]
FOLDERS = ("rtxbench", "tests", "bench", "docs", "tools")
FILES = ("pyproject.toml", "README.md", "CONTRIBUTING.md", "CHANGELOG.md")


class Edit(NamedTuple):
    """Lines put after the first line that begins with ``after``; no anchor writes a new file."""

    file: str
    after: str
    lines: str


class Recipe(NamedTuple):
    """What a contributor writes, how much of it may be needed, and what is run afterwards."""

    edits: tuple[Edit, ...]
    most_lines: int
    rewrite: tuple[tuple[str, ...], ...] = ()
    """Commands that the recipe names for generated files."""
    tests: tuple[str, ...] = ()


WORKLOAD = """\
    Workload(
        name="efficientnetv2",
        family="vision",
        build=partial(_application, "EfficientNetV2B0", 224),
        batch=_images_of(224, 1000),
        batch_sizes={"cpu": 4, "gpu": 64},
    ),
"""
PRECISION = """\
            ),
            Precision(
                name="mixed_float8", policy="mixed_float8", loss_scaling=True, products="matrix",
                product_error=(3e-2, 3e-1), convolution_error=(3e-2, 3e-1),
                compute_capability=8.9, format="FP8", not_on_cpu="No CPU trains in FP8.", peak="fp16_flop_per_s",
                color="#882255", term="8-bit float arithmetic with 32-bit master weights.",
"""
PLACEMENT = """\
            Placement(
                name="mirrored-ring", strategy="mirrored", device_kind="gpu", engines=("tensorflow",), all_reduces=True
            ),
"""
CLAIM = """\
[[claim]]
id = "decoder-mixed"
kind = "claim"
title = "Mixed precision makes decoders train faster"
says = "GPT-2 trains faster in mixed precision."
measured = "Training throughput of GPT-2 in mixed precision against strict float32."
where = "a machine with an NVIDIA GPU: pip install '.[cuda]'"
needs_gpus = 1
[[claim.comparisons]]
name = "mixed precision against float32, decoders"
varies = ["precision"]
rule = "at-least"
threshold_ratio = 1.1
baseline = { workload = ["gpt2*"], precision = ["float32"], placement = ["gpu"] }
candidate = { workload = ["gpt2*"], precision = ["mixed_*"], placement = ["gpu"] }
[[claim.plan]]
designs = ["precisions"]
workloads.smoke = ["gpt2"]
"""
CARD = """\
GeForce Test,datacenter,GH100,Hopper,9.0,132,16896,528,1980,141,HBM3e ECC,4800,50,66.9,494.7,989.4,989.4,989.4,1978.9,\
1978.9,1978.9,700,2023-11-13,,5.0 x16,NVLink4 900 GB/s,a data sheet,a data sheet,
"""
COLUMN = """\
    FrameColumn("commit", "string", "", "Commit of the measured tree", lambda run, _: run.run.environment.commit),
"""
SECTION = '''\
"""How many runs there are."""

from rtxbench.report.base import Context, Paragraph, Section

__all__ = ["count_section"]


def count_section(context: Context) -> Section | None:
    """Count the runs."""
    return Section(id="count", title="How many", blocks=(Paragraph(f"{len(context.runs)} runs"),))
'''
CHECK = """\
def _recorded(facts: Installation) -> Finding | None:
    return None


"""
IMPORT = "from rtxbench.report.sections.count import count_section\n"
RECIPES = {
    "workload": Recipe(
        (Edit("rtxbench/workloads/vision.py", "VISION: Final = (", WORKLOAD),),
        most_lines=10,
        tests=("tests/planning", "-k", "full-one or family"),
    ),
    "precision": Recipe(
        (Edit("rtxbench/precision.py", '                term="As above with bfloat16', PRECISION),),
        most_lines=8,
        tests=("tests/test_precision.py", "tests/planning/test_suite.py", "-k", "precision or full-one"),
    ),
    "placement": Recipe(
        (Edit("rtxbench/placement.py", "            # DistributedDataParallel", PLACEMENT),),
        most_lines=8,
        tests=("tests/test_placement.py", "tests/planning/test_suite.py", "-k", "placement or full-two"),
    ),
    "claim": Recipe(
        (Edit("bench/claims.toml", "# What is measured for a section", CLAIM),),
        most_lines=20,
        rewrite=(
            ("-m", "tools.claims_page"),
            ("-m", "pytest", "-q", "tests/verdicts/test_judge.py", "-k", "golden"),
        ),
        tests=("tests/planning", "tests/verdicts", "-k", "full-one or golden or reach_every_state or page_on_claims"),
    ),
    "card": Recipe(
        (Edit("rtxbench/catalog/cards.csv", "H200 SXM 141GB", CARD),),
        most_lines=1,
        tests=("tests/catalog/test_cards.py",),
    ),
    "column": Recipe(
        (Edit("rtxbench/frames.py", "_ORIGIN_COLUMNS: Final = (", COLUMN),),
        most_lines=1,
        rewrite=(("-m", "pytest", "-q", "tests/test_frames.py"),),
        tests=("tests/test_frames.py",),
    ),
    "section": Recipe(
        (
            Edit("rtxbench/report/sections/count.py", "", SECTION),
            Edit("rtxbench/report/sections/table.py", "from rtxbench.report.sections.answers", IMPORT),
            Edit("rtxbench/report/sections/table.py", "        sections=(", "            count_section,\n"),
        ),
        most_lines=20,
        tests=("tests/report/test_sections.py",),
    ),
    "doctor check": Recipe(
        (
            Edit("rtxbench/doctor/checks.py", "CHECKS: tuple[Check, ...] = (", "    _recorded,\n"),
            Edit("rtxbench/doctor/checks.py", "__all__", "\n\n" + CHECK),
        ),
        most_lines=10,
        tests=("tests/doctor",),
    ),
}


def run(folder: Path, words: tuple[str, ...], **variables: str) -> "subprocess.CompletedProcess[str]":
    own = {name: value for name, value in os.environ.items() if not name.startswith("PYTEST_")}
    environment = {**own, "PYTHONPATH": str(folder), **variables}
    command = [sys.executable, *words]
    return subprocess.run(
        command, check=False, cwd=folder, env=environment, capture_output=True, text=True, timeout=HANG_S
    )


def apply(folder: Path, edit: Edit) -> int:
    """Make the edit and return its number of lines that are not empty."""
    path = folder / edit.file
    if not edit.after:
        path.write_text(edit.lines, encoding="utf-8")
    else:
        lines = path.read_text(encoding="utf-8").splitlines(keepends=True)
        at = next(number for number, line in enumerate(lines) if line.startswith(edit.after))
        path.write_text("".join([*lines[: at + 1], edit.lines, *lines[at + 1 :]]), encoding="utf-8")
    return sum(1 for line in edit.lines.splitlines() if line.strip())


@pytest.mark.parametrize("name", RECIPES)
def test_a_recipe_is_all_that_is_needed(name: str, tmp_path: Path) -> None:
    """As few lines as promised, the commands that the recipe names, and then no red test."""
    recipe = RECIPES[name]
    for folder in FOLDERS:
        shutil.copytree(ROOT / folder, tmp_path / folder, ignore=shutil.ignore_patterns("__pycache__"))
    for file in FILES:
        shutil.copy(ROOT / file, tmp_path / file)
    assert sum(apply(tmp_path, edit) for edit in recipe.edits) <= recipe.most_lines
    for words in recipe.rewrite:
        done = run(tmp_path, words, RTXBENCH_UPDATE_GOLDEN="1")
        assert done.returncode == 0, done.stdout[-3000:] + done.stderr[-3000:]
    done = run(tmp_path, ("-m", "pytest", "-q", "-x", "-p", "no:cacheprovider", *recipe.tests))
    assert done.returncode == 0, done.stdout[-3000:] + done.stderr[-3000:]


def test_every_recipe_is_in_contributing() -> None:
    """What is applied here is what CONTRIBUTING.md tells."""
    text = (ROOT / "CONTRIBUTING.md").read_text(encoding="utf-8")
    for name, recipe in RECIPES.items():
        assert f"**Add a {name}.**" in text or f"**Add a report {name}.**" in text, name
        assert all(edit.file.rpartition("/")[2] in text or not edit.after for edit in recipe.edits), name
