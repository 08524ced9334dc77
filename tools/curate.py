"""Build the package's published data from raw collections: ``python -m tools.curate RAW_CSV… OUT_CSV_GZ``.

The raw file holds one public measurement per row as it was printed. Curation never changes a value and drops no
row: it names the card as the catalogue does, names the software stack, and replaces the printed precision by the
precision that really ran (the printed one is kept beside it). Rows that should not be used are left to the filters
of `rtxbench.catalog.published`, which say why.

Raw columns: source, source_url_or_repo_path, license, date, framework, model, task, precision, batch, gpu,
gpu_count, metric, value, unit.
"""

import csv
import gzip
import io
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path

from rtxbench.catalog.published import Published
from rtxbench.errors import UsageError

__all__ = ["CARD_NAMES", "PRECISION_LABELS", "STACKS", "curate", "curate_row"]

CARD_NAMES: Mapping[str, str] = {
    "RTX 3070": "GeForce RTX 3070",
    "RTX 3080": "GeForce RTX 3080 10GB",  # 10 GB: batches lie between those of the 8 GB and the 11 GB card
    "RTX 3090": "GeForce RTX 3090",
    "RTX 4090": "GeForce RTX 4090",
    "RTX 5090": "GeForce RTX 5090",
    "RTX PRO 4500": "RTX PRO 4500 Blackwell",
    "RTX PRO 6000 Server Edition": "RTX PRO 6000 Blackwell Server Edition",
    "RTX A4000": "RTX A4000",
    "RTX A5000": "RTX A5000",
    "RTX A6000": "RTX A6000",
    "A100 40GB PCIe": "A100 PCIe 40GB",
    "A100 80GB PCIe": "A100 PCIe 80GB",
    "A100 80GB SXM4": "A100 SXM4 80GB",
    "LambdaCloud A10": "A10",
    "RTX 6000 Ada": "RTX 6000 Ada Generation",
    "Quadro RTX 8000": "Quadro RTX 8000",
    # Not in the catalogue: kept under the printed name, never used where a specification is needed.
    "RTX 2080Ti": "GeForce RTX 2080 Ti",
    "V100 16GB": "V100 16GB",
    "H100 80GB PCIe Gen5": "H100 PCIe 80GB",
    "CPU i9-10940X": "CPU i9-10940X",
}

STACKS: tuple[tuple[str, str, str], ...] = (
    # (source, part of the framework text, stack): rows of two stacks are never one comparison.
    ("lambda-v0-2020-2022", "", "pytorch-ngc-20.10"),
    ("lambda-v1-2022-2024", "", "pytorch-1.13-ngc-22.10"),
    ("lambda-tensorflow-benchmark-logs", "1.15.4", "tensorflow-1.15.4-xla"),
    ("lambda-tensorflow-benchmark-logs", "1.15.5", "tensorflow-1.15.5-xla"),
    ("lambda-tensorflow-benchmark-logs", "2.4.1", "tensorflow-2.4.1-xla"),
    ("server-gear-tf_cnn", "20.12", "tensorflow-1.15-ngc-20.12"),
    ("server-gear-tf_cnn", "23.02", "tensorflow-1.15-ngc-23.02"),
    ("tlkh-tf-metal-experiments", "", "tensorflow-2-keras-xla"),
    ("timm-benchmark", "2.4.0 cu124", "pytorch-2.4-eager"),
    ("timm-benchmark", "2.4.0 cpu", "pytorch-2.4-compile-cpu"),
    ("timm-benchmark", "1.12", "pytorch-1.12-eager"),
    ("hf-trainer-benchmark-3090", "", "pytorch-1.10-transformers"),
    ("tf-issue-44116", "20.08", "tensorflow-ngc-20.08"),
    ("tf-issue-44116", "20.09", "tensorflow-ngc-20.09"),
    ("puget-1974", "", "tensorflow-ngc-2020"),
    ("nikolasent-2025-02", "", "pytorch-2.6-timm-1.0.14"),
    ("exxact-lora-2026-06", "", "transformers-ddp-2026"),
)

PRECISION_LABELS: Mapping[str, str] = {
    "amp_fp16": "mixed_float16",
    "mixed_float16": "mixed_float16",
    "fp16": "mixed_float16",  # tf_cnn_benchmarks --use_fp16: float16 compute, float32 master weights, loss scale
    "tf32": "tf32",
    # NVIDIA's TensorFlow 1.15/2.4 builds on Ampere compute "fp32" in TF32 unless it is switched off.
    "fp32_label(tf32 possible)": "tf32",
    "fp32": "float32",
    "bf16": "mixed_bfloat16",
    "unspecified in excerpt": "unknown",
}

SOURCE_PRECISIONS: Mapping[tuple[str, str], str] = {
    # PyTorch's default, which timm's benchmark leaves alone: convolutions in TF32.
    ("nikolasent-2025-02", "fp32"): "tf32",
}
"""Where a source's label means something else than the same label elsewhere."""

BATCHES: Mapping[str, str] = {
    "256 or the largest multiple of 32 that fits": "256",
}
"""Batches printed in words."""


def stack_of(source: str, framework: str) -> str:
    """The software stack's name.

    Raises:
        UsageError: no row of `STACKS` covers the source.
    """
    for row_source, part, stack in STACKS:
        if source == row_source and part in framework:
            return stack
    raise UsageError(f"no software stack is known for {source}: {framework}.", next_step="Add a row to STACKS.")


def curate_row(raw: Mapping[str, str]) -> dict[str, str]:
    """One raw row in the package's columns. A value is never changed.

    Raises:
        UsageError: a card, precision or stack is not in the literal tables.
    """
    for table, key in ((CARD_NAMES, raw["gpu"]), (PRECISION_LABELS, raw["precision"])):
        if key not in table:
            raise UsageError(f"unknown label {key!r} in the raw data.", next_step="Add it to the table in curate.py.")
    label = PRECISION_LABELS[raw["precision"]]
    precision = SOURCE_PRECISIONS.get((raw["source"], raw["precision"]), label)
    if raw["task"] == "infer" and raw["precision"] == "fp16":
        precision = "float16"  # a forward pass alone keeps no float32 master weights
    return {
        "source": raw["source"],
        "path": raw["source_url_or_repo_path"],
        "license": raw["license"],
        "date": raw["date"],
        "framework": raw["framework"],
        "stack": stack_of(raw["source"], raw["framework"]),
        "model": raw["model"],
        "task": raw["task"],
        "precision": precision,
        "precision_as_printed": raw["precision"],
        "batch_size": BATCHES.get(raw["batch"], raw["batch"].removesuffix(".0")),
        "card": CARD_NAMES[raw["gpu"]],
        "card_as_printed": raw["gpu"],
        "device_count": raw["gpu_count"],
        "metric": raw["metric"],
        "value": raw["value"].removesuffix(".0"),
        "unit": raw["unit"],
    }


def curate(raw_paths: Sequence[Path], out_path: Path) -> int:
    """Write every row of ``raw_paths`` to ``out_path`` (gzip, byte-identical for equal input); returns the count."""
    rows = []
    for path in raw_paths:
        with path.open(encoding="utf-8", newline="") as stream:
            rows += [curate_row(row) for row in csv.DictReader(stream)]
    text = io.StringIO()
    writer = csv.DictWriter(text, Published._fields, lineterminator="\n")
    writer.writeheader()
    writer.writerows(rows)
    out_path.write_bytes(gzip.compress(text.getvalue().encode("utf-8"), compresslevel=9, mtime=0))
    return len(rows)


if __name__ == "__main__":
    *raw, out = map(Path, sys.argv[1:])
    sys.stdout.write(f"{curate(raw, out)} rows written to {out}\n")
