"""The card catalogue: what each NVIDIA card can do on paper, with the source of every row.

One line of ``cards.csv`` is one card. A person adds a card of their own in one line of a file with the same
columns (its header may be left out), passed as ``--cards-file``. Only name, class, memory, bandwidth, FP32 rate and
a source are needed there: missing Tensor rates follow the class formula and are then flagged as derived.
"""

import csv
import difflib
import re
from collections.abc import Iterable, Mapping, Sequence
from functools import cache, lru_cache
from importlib import resources
from pathlib import Path
from typing import Literal, TypeAlias

import msgspec

from rtxbench.errors import UsageError
from rtxbench.precision import PRECISIONS

__all__ = [
    "COLUMNS",
    "TENSOR_RATE_FACTORS",
    "Card",
    "CardClass",
    "find_card",
    "load_cards",
    "match_device",
    "nearest_names",
    "rate_factors",
    "tensor_rate_faults",
]

CardClass: TypeAlias = Literal["geforce", "workstation", "datacenter", "laptop"]

COLUMNS = (
    "name",
    "card_class",
    "chip",
    "architecture",
    "compute_capability",
    "sm_count",
    "cuda_cores",
    "tensor_cores",
    "boost_clock_mhz",
    "memory_gb",
    "memory_type",
    "memory_bandwidth_gbs",
    "l2_mb",
    "fp32_tflops",
    "tf32_tensor_tflops_dense",
    "fp16_tensor_tflops_dense_fp32acc",
    "fp16_tensor_tflops_dense_fp16acc",
    "bf16_tensor_tflops_dense",
    "fp8_tensor_tflops_dense",
    "fp8_tensor_tflops_dense_fp16acc",
    "int8_tensor_tops_dense",
    "tdp_w",
    "launch_date",
    "launch_msrp_usd",
    "pcie",
    "nvlink",
    "tensor_source",
    "base_source",
    "notes",
)
_REQUIRED = ("name", "card_class", "memory_gb", "memory_bandwidth_gbs", "fp32_tflops", "base_source")
_CLASSES: tuple[CardClass, ...] = ("geforce", "workstation", "datacenter", "laptop")
_DOUBTS = ("unverified", "recalled, not re-read", "confirm with")

TENSOR_RATE_FACTORS: Mapping[str, tuple[float | None, float | None, float | None, float | None]] = {
    # Dense TF32, FP16 (FP32 accumulate), FP16 (FP16 accumulate), INT8, as multiples of the FP32 rate.
    "geforce": (1, 2, 4, 8),
    "workstation": (2, 4, 4, 8),
    "GA100": (8, 16, 16, 32),
    "Turing GeForce": (None, 4, 8, 16),
    "Turing": (None, 8, 8, 16),
}
"""Class formula of the Tensor Core rates (NVIDIA Turing, Ampere, Ada and Blackwell whitepapers). GH100 has none: its
FP32 and Tensor peaks are quoted at different clocks."""


class Card(msgspec.Struct, frozen=True, kw_only=True):
    """One card's paper specification, in SI units. ``None`` is a value nobody has published or verified."""

    name: str
    card_class: CardClass
    architecture: str
    chip: str
    memory_bytes: int
    memory_bandwidth_bytes_per_s: float
    fp32_flop_per_s: float
    tf32_flop_per_s: float | None
    """Dense Tensor Core rate, as are all Tensor rates here."""
    fp16_flop_per_s: float | None
    """Accumulating in FP32, which is what training does."""
    fp16_accumulate_fp16_flop_per_s: float | None
    bf16_flop_per_s: float | None
    fp8_flop_per_s: float | None
    int8_op_per_s: float | None
    sm_count: int | None
    boost_clock_hz: float | None
    l2_bytes: int | None
    power_limit_w: float | None
    """Board power as the vendor states it (TDP)."""
    launch_date: str | None
    msrp_usd: float | None
    compute_capability: str | None
    memory_type: str | None
    pcie: str | None
    nvlink: str | None
    tensor_source: str
    base_source: str
    notes: str
    caveats: tuple[str, ...] = ()
    """Unverified or derived values of this row, in words."""

    def peak_flop_per_s(self, precision: str) -> float | None:
        """Paper peak of the unit that runs the matrix products of ``precision``; ``None`` where unknown."""
        row = PRECISIONS.get(precision)
        peak: float | None = None if row is None else getattr(self, row.peak)
        return peak


def load_cards(extra: Path | None = None) -> dict[str, Card]:
    """Load the catalogue by name, plus the cards of a person's own file (which win over the catalogue's).

    Raises:
        UsageError: the file is missing, or a row lacks a required column or holds something that is no number.
    """
    cards = {card.name: card for card in _package_cards()}
    if extra is not None:
        try:
            with extra.open(encoding="utf-8", newline="") as stream:
                cards.update((card.name, card) for card in _read(_with_header(stream), str(extra)))
        except OSError as error:
            raise UsageError(
                f"cannot read the cards file {extra}: {error.strerror}.", next_step="Check the path."
            ) from error
        except (UnicodeDecodeError, csv.Error) as error:
            raise UsageError(f"{extra} is no CSV file: {error}.", next_step="Save it as UTF-8 text.") from error
    return cards


def find_card(name: str, cards: Mapping[str, Card]) -> Card:
    """Find the card a person means by ``3090``, ``rtx 3090`` or its full name.

    Raises:
        UsageError: no card, or more than one, goes by that name; the nearest names are offered.
    """
    exact = next((card for card in cards.values() if _key(card.name) == _key(name)), None)
    if exact is not None:
        return exact
    wanted = _key(name)
    starts = [card.name for card in cards.values() if wanted and _key(card.name).startswith(wanted)]
    sizes = [full for full in starts if re.fullmatch(r"\d+gb", _key(full).removeprefix(wanted))]
    if len(sizes) > 1:
        raise UsageError(f"{name!r} comes in several forms.", next_step=f"Say which: {', '.join(sizes)}.")
    if len(sizes) == 1:
        return cards[sizes[0]]
    near = nearest_names(name, cards)
    raise UsageError(
        f"no card named {name!r} in the catalogue.",
        next_step=f"Did you mean {' or '.join(near)}?" if near else "List them with `rtxbench cards`.",
    )


def nearest_names(name: str, names: Iterable[str], count: int = 3) -> list[str]:
    """Up to ``count`` catalogue names that look like ``name``, best first (difflib's ratio)."""
    keys = {_key(full): full for full in names}
    return [keys[key] for key in difflib.get_close_matches(_key(name), keys, n=count, cutoff=0.5)]


def match_device(device_name: str, memory_bytes: int | None, cards: Mapping[str, Card]) -> Card | None:
    """Find the catalogue's row of a device as NVML names it, or ``None``.

    Memory tells apart the cards that share a name. A laptop GPU shares only the name with the desktop card and
    matches the catalogue's laptop row alone.
    """
    if "max-q" in device_name.lower() and "blackwell" not in device_name.lower():
        return None
    wanted = _key(device_name)
    hits = [card for card in cards.values() if _is_of_that_name(_key(card.name), wanted)]
    if len(hits) == 1 and (memory_bytes is None or _same_memory(hits[0], memory_bytes)):
        return hits[0]
    fitting = [card for card in hits if memory_bytes is not None and _same_memory(card, memory_bytes)]
    return fitting[0] if len(fitting) == 1 else None


def tensor_rate_faults(card: Card, tolerance_ratio: float = 0.013) -> list[str]:
    """Tensor rates of ``card`` that stray from its class formula by more than ``tolerance_ratio``, in words."""
    factors = rate_factors(card.card_class, card.chip, card.architecture)
    if factors is None:
        return []
    rates = (card.tf32_flop_per_s, card.fp16_flop_per_s, card.fp16_accumulate_fp16_flop_per_s, card.int8_op_per_s)
    names = ("TF32", "FP16 with FP32 accumulate", "FP16 with FP16 accumulate", "INT8")
    return [
        f"{name}: {rate / card.fp32_flop_per_s:.3g}× FP32, formula {factor:g}×"
        for name, rate, factor in zip(names, rates, factors, strict=True)
        if rate is not None and factor is not None and abs(rate / (card.fp32_flop_per_s * factor) - 1) > tolerance_ratio
    ]


def rate_factors(
    card_class: str, chip: str, architecture: str
) -> tuple[float | None, float | None, float | None, float | None] | None:
    """Look up the dense TF32, FP16, FP16 with FP16 accumulate and INT8 rates as multiples of the FP32 rate.

    Returns:
        ``None`` where no formula is known for the chip; a member is ``None`` where the chip has no such rate.
    """
    if architecture in ("Turing", "Volta"):
        return TENSOR_RATE_FACTORS["Turing GeForce" if card_class in ("geforce", "laptop") else "Turing"]
    if card_class == "datacenter":
        # L4, L40S, A10 and A40 carry the workstation chips at their rates; other chips have no formula here.
        workstation = chip.startswith(("AD1", "GA10")) and chip != "GA100"
        return TENSOR_RATE_FACTORS.get("workstation" if workstation else chip)
    return TENSOR_RATE_FACTORS["geforce" if card_class == "laptop" else card_class]


@cache
def _package_cards() -> tuple[Card, ...]:
    with resources.files("rtxbench.catalog").joinpath("cards.csv").open(encoding="utf-8") as stream:
        return tuple(_read(stream, "cards.csv"))


def _read(stream: Iterable[str], origin: str) -> list[Card]:
    return [
        _card({key: (value or "").strip() for key, value in row.items() if key}, f"{origin}, line {number}")
        for number, row in enumerate(csv.DictReader(stream), start=2)
    ]


def _with_header(stream: Iterable[str]) -> Iterable[str]:
    lines = [line for line in stream if line.strip()]
    return lines if lines and lines[0].startswith("name,") else [",".join(COLUMNS) + "\n", *lines]


def _card(row: Mapping[str, str], where: str) -> Card:
    absent = [column for column in _REQUIRED if not row.get(column)]
    if absent:
        raise UsageError(
            f"{where}: {', '.join(absent)} missing.",
            next_step=f"A card needs at least {', '.join(_REQUIRED)}; columns as in `rtxbench cards --header`.",
        )
    if row["card_class"] not in _CLASSES:
        raise UsageError(f"{where}: class {row['card_class']!r} is unknown.", next_step=f"Use {', '.join(_CLASSES)}.")
    numbers = {column: _number(row.get(column, ""), column, where) for column in COLUMNS if _is_number(column)}
    return _from_numbers(row, numbers)


def _from_numbers(row: Mapping[str, str], numbers: Mapping[str, float | None]) -> Card:
    fp32 = (numbers["fp32_tflops"] or 0) * 1e12
    rates, derived = _tensor_rates(row, numbers, fp32)
    text = f"{row.get('notes', '')} {row.get('tensor_source', '')}"
    caveats = [f"Tensor rates: {row['tensor_source']}"] if "recalled" in row.get("tensor_source", "") else []
    caveats += [row["notes"]] if any(doubt in row.get("notes", "") for doubt in _DOUBTS) else []
    caveats += ["Tensor rates derived from the class formula"] if derived else []
    caveats += ["no Tensor rate is stated on purpose"] if rates[0] is None and "blank on purpose" in text else []
    return Card(
        name=row["name"],
        card_class=row["card_class"],  # type: ignore[arg-type]  # checked by the caller
        architecture=row.get("architecture", ""),
        chip=row.get("chip", ""),
        memory_bytes=int((numbers["memory_gb"] or 0) * 2**30),
        memory_bandwidth_bytes_per_s=(numbers["memory_bandwidth_gbs"] or 0) * 1e9,
        fp32_flop_per_s=fp32,
        tf32_flop_per_s=rates[0],
        fp16_flop_per_s=rates[1],
        fp16_accumulate_fp16_flop_per_s=rates[2],
        bf16_flop_per_s=_scaled(numbers["bf16_tensor_tflops_dense"], 1e12) or (rates[1] if derived else None),
        fp8_flop_per_s=_scaled(numbers["fp8_tensor_tflops_dense"], 1e12),
        int8_op_per_s=rates[3],
        sm_count=_integer(numbers["sm_count"]),
        boost_clock_hz=_scaled(numbers["boost_clock_mhz"], 1e6),
        l2_bytes=_integer(_scaled(numbers["l2_mb"], 2**20)),
        power_limit_w=numbers["tdp_w"],
        launch_date=row.get("launch_date") or None,
        msrp_usd=numbers["launch_msrp_usd"],
        compute_capability=row.get("compute_capability") or None,
        memory_type=row.get("memory_type") or None,
        pcie=row.get("pcie") or None,
        nvlink=row.get("nvlink") or None,
        tensor_source=row.get("tensor_source", ""),
        base_source=row["base_source"],
        notes=row.get("notes", ""),
        caveats=tuple(caveats),
    )


def _tensor_rates(
    row: Mapping[str, str], numbers: Mapping[str, float | None], fp32: float
) -> tuple[Sequence[float | None], bool]:
    stated = [
        _scaled(numbers[column], 1e12)
        for column in (
            "tf32_tensor_tflops_dense",
            "fp16_tensor_tflops_dense_fp32acc",
            "fp16_tensor_tflops_dense_fp16acc",
            "int8_tensor_tops_dense",
        )
    ]
    factors = rate_factors(row["card_class"], row.get("chip", ""), row.get("architecture", ""))
    on_purpose = "blank on purpose" in row.get("notes", "")
    if any(rate is not None for rate in stated) or on_purpose or factors is None:
        return stated, False
    return [None if factor is None else fp32 * factor for factor in factors], True


def _is_number(column: str) -> bool:
    return (
        column.endswith(("_mhz", "_gb", "_gbs", "_mb", "_count", "_cores", "_w", "_usd"))
        or "tflops" in column
        or ("tops" in column)
    )


def _number(text: str, column: str, where: str) -> float | None:
    if not text:
        return None
    try:
        value = float(text)
    except ValueError as error:
        raise UsageError(f"{where}: {column} is {text!r}, not a number.", next_step="Correct the line.") from error
    if not 0 < value < 1e9:
        raise UsageError(f"{where}: {column} is {text}, not a possible value.", next_step="Correct the line.")
    return value


def _scaled(value: float | None, factor: float) -> float | None:
    return None if value is None else value * factor


def _integer(value: float | None) -> int | None:
    return None if value is None else round(value)


def _is_of_that_name(key: str, wanted: str) -> bool:
    """Compare keys; the catalogue tells cards of one name apart by their memory."""
    return key.startswith(wanted) and re.fullmatch(r"(\d+gb)?", key[len(wanted) :]) is not None


@lru_cache(maxsize=4096)
def _key(name: str) -> str:
    """Keep letters and digits only, without the words every card shares: ``NVIDIA GeForce RTX 3090`` → ``3090``."""
    text = re.sub(r"\b(nvidia|geforce|rtx|quadro|generation)\b", " ", name.lower().replace("rtx", "rtx "))
    return re.sub(r"[^a-z0-9]", "", text)


def _same_memory(card: Card, memory_bytes: int) -> bool:
    """NVML reports a little less than the nominal size (firmware's reserve)."""
    return 0.9 <= memory_bytes / card.memory_bytes <= 1.02
