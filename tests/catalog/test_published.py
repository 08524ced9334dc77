import gzip
import subprocess
import sys
from importlib import resources
from pathlib import Path

import pytest

from rtxbench.catalog.published import FILTERS, Published, curated, load_published, summary
from rtxbench.errors import UsageError
from tools.curate import curate, curate_row

RAW = {
    "source": "lambda-v1-2022-2024",
    "source_url_or_repo_path": "github:somewhere",
    "license": "none stated",
    "date": "2022-10-15",
    "framework": "PyTorch 1.13",
    "model": "resnet50",
    "task": "train",
    "precision": "amp_fp16",
    "batch": "224.0",
    "gpu": "RTX 4090",
    "gpu_count": "1",
    "metric": "throughput",
    "value": "1300.5",
    "unit": "images/s",
}


def row(**changes: object) -> Published:
    base = Published(
        source="s", path="p", license="l", date="2022-01-01", framework="f", stack="stack", model="m", task="train",
        precision="tf32", precision_as_printed="fp32", batch_size=8, card="GeForce RTX 3090",
        card_as_printed="RTX 3090",
        device_count=1, metric="throughput", value=100.0, unit="images/s",
    )  # fmt: skip
    return base._replace(**changes)  # type: ignore[arg-type]


def test_every_row_keeps_its_source() -> None:
    """Each of the 6,301 rows names source, path, licence, date, framework and both precision labels."""
    rows = load_published()
    assert len(rows) == 6301
    for name in ("source", "path", "license", "date", "framework", "stack", "precision", "precision_as_printed"):
        assert all(getattr(r, name) for r in rows), name


def test_fp32_label_of_ngc_is_tf32() -> None:
    """What NVIDIA's builds print as fp32 on Ampere is TF32, and the printed label stays beside it."""
    relabelled = [r for r in load_published() if r.precision_as_printed.startswith("fp32_label")]
    assert relabelled
    assert {r.precision for r in relabelled} == {"tf32"}


@pytest.mark.parametrize(
    ("rows", "dropped_by"),
    [
        ([row(metric="peak_power", unit="W")], "not-throughput"),
        ([row(value=0.0)], "not-positive"),
        ([row(unit="images/s (approx)")], "approximate"),
        ([row(precision="unknown")], "precision-unknown"),
        ([row(stack="pytorch-ngc-20.10", card="GeForce RTX 2080 Ti")], "mixed-stack"),
        ([row(device_count=2, value=221.0), row()], "scaling-above-110-percent"),
        ([row(precision="mixed_float16", value=89.0), row()], "half-slower-than-full"),
    ],
)
def test_each_filter_drops_its_kind(rows: list[Published], dropped_by: str) -> None:
    """Every filter drops the row it is for, and nothing else of the pair."""
    result = curated(rows)
    assert [name for name, _ in result.dropped] == [dropped_by]
    assert result.dropped[0][1] == rows[0]


@pytest.mark.parametrize(
    "kept",
    [row(device_count=2, value=219.0), row(precision="mixed_float16", value=91.0), row(device_count=0, card="CPU")],
)
def test_plausible_rows_stay(kept: Published) -> None:
    """Scaling of 109 %, mixed precision at 91 % of full, a CPU: odd but possible, so kept."""
    assert kept in curated([kept, row()]).kept


def test_nothing_is_lost() -> None:
    """Kept and dropped rows together are all rows, and every filter's name is told with its reason."""
    result = curated()
    assert len(result.kept) + len(result.dropped) == len(load_published())
    text = summary(result, listing=True)
    assert all(f"{name}: {reason}" in text for name, _, reason in FILTERS)
    assert "2x RTX 3080" in text


def test_listing_is_a_command() -> None:
    """``python -m rtxbench.catalog.published`` counts what each filter drops."""
    done = subprocess.run(
        [sys.executable, "-m", "rtxbench.catalog.published"], capture_output=True, text=True, check=True
    )
    assert done.stdout.startswith("6222 rows kept, 79 dropped")


def test_curation_changes_no_value_and_is_reproducible(tmp_path: Path) -> None:
    """A curated row has the printed value; the same input gives the same bytes."""
    raw = tmp_path / "raw.csv"
    raw.write_text(",".join(RAW) + "\n" + ",".join(RAW.values()) + "\n", encoding="utf-8")
    first, second = tmp_path / "1.gz", tmp_path / "2.gz"
    assert curate([raw], first) == curate([raw], second) == 1
    assert first.read_bytes() == second.read_bytes()
    text = gzip.decompress(first.read_bytes()).decode()
    assert ",mixed_float16,amp_fp16,224,GeForce RTX 4090,RTX 4090,1,throughput,1300.5,images/s" in text


@pytest.mark.parametrize("change", [{"gpu": "RTX 9090"}, {"precision": "fp7"}, {"source": "hearsay"}])
def test_unknown_labels_stop_curation(change: dict[str, str]) -> None:
    """A label that no table knows is never guessed."""
    with pytest.raises(UsageError):
        curate_row(RAW | change)


def test_package_columns_are_those_of_the_record() -> None:
    """The file on disk has exactly the columns that are read."""
    raw = resources.files("rtxbench.catalog").joinpath("published.csv.gz").read_bytes()
    assert gzip.decompress(raw).decode().splitlines()[0] == ",".join(Published._fields)
