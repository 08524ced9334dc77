"""``rtxbench cards``: the catalogue as a table, one card in full, or JSON. Plain text only, so that it starts fast."""

from collections.abc import Mapping, Sequence

import msgspec

from rtxbench.catalog.cards import Card, match_device, tensor_rate_faults
from rtxbench.records import Cpu, Gpu
from rtxbench.units import format_bytes, format_card_memory, format_count, format_money, format_power, format_quantity

__all__ = ["card_text", "cards_json", "cards_table", "host_lines"]

_ROW = "{:<26} {:<12} {:>7} {:>10} {:>9} {:>9} {:>9} {:>6} {:>7}  {}"


def cards_table(cards: Mapping[str, Card]) -> str:
    """Write one line per card; a ? marks a row with something unverified in it."""
    header = _ROW.format(
        "card", "architecture", "memory", "bandwidth", "FP32", "TF32", "FP16", "power", "MSRP", "launched"
    )
    lines = [header, *(_line(card) for card in cards.values())]
    lines.append("")
    lines.append(
        "Dense Tensor rates in TFLOP/s, FP16 accumulating in FP32. MSRP in USD at launch. "
        "A ? marks something unverified: see `rtxbench cards NAME`."
    )
    return "\n".join(lines)


def _line(card: Card) -> str:
    return _ROW.format(
        card.name + (" ?" if card.caveats else ""),
        card.architecture,
        format_card_memory(card.memory_bytes),
        f"{card.memory_bandwidth_bytes_per_s / 1e9:,.0f} GB/s",
        _tera(card.fp32_flop_per_s),
        _tera(card.tf32_flop_per_s),
        _tera(card.fp16_flop_per_s),
        "-" if card.power_limit_w is None else format_power(card.power_limit_w),
        "-" if card.msrp_usd is None else format_count(card.msrp_usd),
        card.launch_date or "-",
    )


def host_lines(cpu: Cpu, gpus: Sequence[Gpu], cards: Mapping[str, Card]) -> str:
    """Describe the processor and the GPUs found here; no catalogue lists processors, a machine names its own."""
    features = f", {' '.join(cpu.features)}" if cpu.features else ""
    lines = [f"This machine: {cpu.name}, {cpu.physical_cores} cores, {format_bytes(cpu.memory_bytes)}{features}"]
    for gpu in gpus:
        card = match_device(gpu.name, gpu.memory_bytes, cards)
        lines.append(f"              {gpu.name}: {card.name if card else 'not in the catalogue'}")
    return "\n".join(lines)


def card_text(card: Card) -> str:
    """Everything known of one card, its sources, and what of it is unverified."""
    rows: list[tuple[str, str]] = [
        ("class", card.card_class),
        ("chip", f"{card.chip} ({card.architecture}, compute capability {card.compute_capability or 'unknown'})"),
        ("memory", f"{format_bytes(card.memory_bytes)} {card.memory_type or ''}".strip()),
        ("memory bandwidth", format_quantity(card.memory_bandwidth_bytes_per_s, "B/s")),
        ("FP32", format_quantity(card.fp32_flop_per_s, "FLOP/s")),
        ("TF32 Tensor", _rate(card.tf32_flop_per_s)),
        ("FP16 Tensor, FP32 accumulate", _rate(card.fp16_flop_per_s)),
        ("BF16 Tensor", _rate(card.bf16_flop_per_s)),
        ("board power", "unknown" if card.power_limit_w is None else format_power(card.power_limit_w)),
        ("PCIe", card.pcie or "unknown"),
        ("NVLink", card.nvlink or "unknown"),
        ("launched", card.launch_date or "unknown"),
        ("launch price", "unknown" if card.msrp_usd is None else format_money(card.msrp_usd, "USD")),
        ("source", card.base_source),
        ("source of Tensor rates", card.tensor_source or "none"),
    ]
    rows += [("note", card.notes)] if card.notes else []
    rows += [("unverified", caveat) for caveat in card.caveats]
    rows += [("departs from the class formula", fault) for fault in tensor_rate_faults(card)]
    width = max(len(name) for name, _ in rows)
    return "\n".join([card.name, *(f"  {name:<{width}}  {text}" for name, text in rows)])


def cards_json(cards: Sequence[Card]) -> str:
    """Write the cards as a JSON list in SI units; unknown is null."""
    return msgspec.json.format(msgspec.json.encode(list(cards)), indent=2).decode()


def _rate(value: float | None) -> str:
    return "unknown" if value is None else format_quantity(value, "FLOP/s") + ", dense"


def _tera(value: float | None) -> str:
    return "-" if value is None else f"{value / 1e12:.1f}"
