"""Is this machine as fast as it should be? Its measured ceilings and links against what its parts can do on paper.

Every finding names both figures. Paper rates of cards are the catalogue's; those of a CPU are computed from its name
and its instruction sets, and say so. A finding is ``low`` only where the shortfall is larger than good kernels leave.
"""

import re
from collections.abc import Iterable, Mapping, Sequence
from typing import Final, Literal, NamedTuple, TypeAlias

from rtxbench.catalog.cards import Card, load_cards, match_device
from rtxbench.catalog.published import WORKLOAD_MODELS, Published, curated
from rtxbench.placement import placement_named
from rtxbench.records import Case, CaseRecord, Cpu, Environment, Gpu, Observation, Summary
from rtxbench.results.store import LoadedRun
from rtxbench.units import format_percent, format_power, format_quantity, format_ratio
from rtxbench.wording import name_of, say

__all__ = ["HealthFinding", "health_of", "health_sentence", "health_text"]

_State: TypeAlias = Literal["ok", "low", "unknown"]

_GOOD_PRODUCT: Final = 0.65
"""Share of a card's paper rate that large matrix products of a vendor's library reach on a healthy card: published
GEMM sweeps lie at 70 to 95 %."""
_GOOD_BANDWIDTH: Final = 0.75
"""Share of the paper bandwidth that a copy reaches on a healthy card; STREAM-like kernels lie at 80 to 93 %."""
_GOOD_CPU_PRODUCT: Final = 0.4
"""Of the computed peak, which knows neither the clock under vector load nor shared cores."""
_LIMIT_GAP: Final = 0.02
_CLOCK_GAP: Final = 0.10
_HOT_C: Final = 83.0
"""GeForce cards begin to lower their clock here (NVIDIA's default target temperature)."""
_DDR4_CHANNEL_BYTES_PER_S: Final = 25.6e9
"""One 64-bit channel of DDR4-3200 (JEDEC JESD79-4); DDR5-4800 gives 38.4e9."""
_FLOPS_PER_CYCLE: Final[Mapping[str, int]] = {"avx512f": 64, "avx2": 32, "asimd": 16}
"""float32 operations a core does in a cycle with two fused multiply-add units of this width."""


class HealthFinding(NamedTuple):
    """One comparison of what is with what should be."""

    subject: str
    state: _State
    text: str
    next_step: str = ""


def health_of(environment: Environment, runs: Sequence[LoadedRun]) -> tuple[HealthFinding, ...]:
    """Judge one machine by its own records; the worst findings come first.

    Args:
        environment: of the machine, as it is now or as of its latest run.
        runs: any runs; those of other machines are passed over.
    """
    own = [loaded for loaded in runs if loaded.run.environment.machine == environment.machine]
    ceilings = _ceilings(own)
    found: list[HealthFinding] = []
    cards = load_cards() if environment.gpus else {}
    for gpu in {gpu.name: gpu for gpu in environment.gpus}.values():
        card = match_device(gpu.name, gpu.memory_bytes, cards)
        found += [*_link(gpu, card), *_working(gpu, card, own)]
        found += _against_paper(gpu, card, ceilings.get("gpu", {}))
        found += _against_published(card, own)
    found += _cpu(environment.cpu, ceilings.get("cpu", {}))
    rank = {"low": 0, "ok": 1, "unknown": 2}
    return tuple(sorted(found, key=lambda finding: rank[finding.state]))


def health_sentence(findings: Sequence[HealthFinding]) -> str:
    """Summarise the findings in the one sentence a reader quotes."""
    low = [finding for finding in findings if finding.state == "low"]
    known = [finding for finding in findings if finding.state != "unknown"]
    if not known:
        return "Nothing is measured yet that would tell how fast this machine should be."
    if not low:
        return f"This machine is as fast as it should be in all {len(known)} respects that were measured."
    others = len(low) - 1
    more = f"; {others} more {'point is' if others == 1 else 'points are'} low" if others else ""
    return f"Not as fast as it should be: {low[0].subject}: {low[0].text}{more}."


def health_text(findings: Sequence[HealthFinding]) -> str:
    """Findings as lines for the terminal, each with its cure under it, and the summary last."""
    marks = {"ok": "ok ", "low": "LOW", "unknown": "?  "}
    lines = []
    for finding in findings:
        lines.append(f"{marks[finding.state]}  {finding.subject}: {finding.text}")
        lines += [f"     → {finding.next_step}"] if finding.next_step else []
    return "\n".join([*lines, "", health_sentence(findings)])


def _ceilings(runs: Iterable[LoadedRun]) -> dict[str, dict[str, float]]:
    """Device kind → metric (``gemm_flop_per_s/PRECISION`` for products) → best repeat over all engines."""
    found: dict[str, dict[str, float]] = {}
    for loaded in runs:
        for record in loaded.of_kind(Observation):
            if record.topic == "ceiling" and record.values and record.metric in _CEILINGS:
                precision = record.labels.get("precision")
                name = f"{record.metric}/{precision}" if precision else record.metric
                kind = found.setdefault(record.labels.get("kind", ""), {})
                kind[name] = max(kind.get(name, 0.0), *record.values)
    return found


_CEILINGS: Final = ("gemm_flop_per_s", "memory_bandwidth_bytes_per_s")


def _against_paper(gpu: Gpu, card: Card | None, ceilings: Mapping[str, float]) -> list[HealthFinding]:
    if card is None:
        text = "this card is not in the catalogue, so that there is no paper rate to compare with"
        return [HealthFinding(gpu.name, "unknown", text, "Add it with `rtxbench cards --header` and `--cards-file`.")]
    if not ceilings:
        text = "its ceilings are not measured"
        return [HealthFinding(gpu.name, "unknown", text, "Run `rtxbench run --profile quick` (15 to 20 minutes).")]
    found = []
    for name, rate in ceilings.items():
        metric, _, precision = name.partition("/")
        product = metric == "gemm_flop_per_s"
        paper = card.peak_flop_per_s(precision) if product else card.memory_bandwidth_bytes_per_s
        if not paper:
            continue
        unit = "FLOP/s" if product else "B/s"
        what = f"{name_of(precision)} matrix products" if product else "memory bandwidth"
        low = rate / paper < (_GOOD_PRODUCT if product else _GOOD_BANDWIDTH)
        text = (
            f"{format_quantity(rate, unit)} measured, {format_percent(rate / paper, 0)} of the paper's "
            f"{format_quantity(paper, unit)}"
        )
        cure = "Check power limit, cooling and what else uses the card, then measure again." if low else ""
        found.append(HealthFinding(f"{card.name}, {what}", "low" if low else "ok", text, cure))
    return found


def _link(gpu: Gpu, card: Card | None) -> list[HealthFinding]:
    """PCIe width and power limit, which NVML tells without a measurement."""
    found = []
    lanes = _lanes(card)
    if gpu.pcie_width is not None and lanes is not None:
        low = gpu.pcie_width < lanes
        text = f"{gpu.pcie_width} of the card's {lanes} lanes are connected"
        cure = "Reseat the card, use the slot next to the CPU, and look for a shared slot in the board's manual."
        found.append(HealthFinding("PCIe link", "low" if low else "ok", text, cure if low else ""))
    if gpu.power_limit_w is not None and card is not None and card.power_limit_w:
        low = gpu.power_limit_w < card.power_limit_w * (1 - _LIMIT_GAP)
        text = f"{format_power(gpu.power_limit_w)} of the {format_power(card.power_limit_w)} the card is built for"
        cure = f"Raise it with `sudo nvidia-smi -pl {card.power_limit_w:.0f}` unless it is meant to be lower."
        found.append(HealthFinding("Power limit", "low" if low else "ok", text, cure if low else ""))
    return found


def _generation(seen: Sequence[Mapping[str, Summary]], card: Card | None) -> list[HealthFinding]:
    """PCIe generation while the card worked: idle it falls, so that only a record can tell it."""
    reached = max((m["pcie_generation"].maximum for m in seen if "pcie_generation" in m), default=None)
    built = re.match(r"(\d+)\.", card.pcie or "") if card is not None else None
    if reached is None or built is None:
        return []
    low = reached < int(built.group(1))
    text = f"generation {reached:.0f} under load; the card is built for {built.group(1)}"
    cure = "An older board has no more; else look for a riser cable, or a generation that the firmware fixes."
    return [HealthFinding("PCIe generation", "low" if low else "ok", text, cure if low else "")]


def _lanes(card: Card | None) -> int | None:
    found = re.search(r"x\s*(\d+)", card.pcie or "") if card is not None else None
    return int(found.group(1)) if found else None


def _working(gpu: Gpu, card: Card | None, runs: Sequence[LoadedRun]) -> list[HealthFinding]:
    """Clock and temperature while the card was busy, over the latest run that watched it."""
    for loaded in reversed(runs):
        seen = [
            record.hardware.devices[gpu.uuid]
            for record in loaded.of_kind(CaseRecord)
            if record.hardware is not None and gpu.uuid in record.hardware.devices and record.case.placement != "cpu"
        ]
        clocks = [metrics["sm_clock_hz"].p50 for metrics in seen if "sm_clock_hz" in metrics]
        heat = [metrics["temperature_c"].maximum for metrics in seen if "temperature_c" in metrics]
        if clocks or heat:
            return [*_generation(seen, card), *_clock(clocks, card), *_heat(heat)]
    return []


def _clock(clocks: Sequence[float], card: Card | None) -> list[HealthFinding]:
    if not clocks or card is None or not card.boost_clock_hz:
        return []
    best = max(clocks)
    low = best < card.boost_clock_hz * (1 - _CLOCK_GAP)
    text = f"{best / 1e6:.0f} MHz while training, against a boost clock of {card.boost_clock_hz / 1e6:.0f} MHz"
    cure = "Look for a power limit, heat or locked clocks: `nvidia-smi -q -d CLOCK,PERFORMANCE`." if low else ""
    return [HealthFinding("GPU clock", "low" if low else "ok", text, cure)]


def _heat(heat: Sequence[float]) -> list[HealthFinding]:
    if not heat:
        return []
    hot = max(heat) >= _HOT_C
    text = f"{max(heat):.0f} °C at most while training; GeForce cards slow down from about {_HOT_C:.0f} °C"
    return [HealthFinding("Temperature", "low" if hot else "ok", text, "Improve the case's air flow." if hot else "")]


def _against_published(card: Card | None, runs: Sequence[LoadedRun]) -> list[HealthFinding]:
    """Compare the machine's training speed with the best published one of the same card, model and precision."""
    if card is None:
        return []
    found: dict[str, HealthFinding] = {}
    for loaded in runs:
        for record in loaded.of_kind(CaseRecord):
            case = record.case
            one_gpu = case.device_count == 1 and placement_named(case.placement).device_kind == "gpu"
            if record.measurement is None or not case.as_published or not one_gpu:
                continue
            rows = _published(case, record.measurement.tokens_per_example, card)
            if rows:
                best = max(rows, key=lambda row: row.value)
                rate = record.measurement.throughput_per_s.value
                text = (
                    f"{format_quantity(rate, '/s')} here, {format_ratio(rate / best.value)} of the best published "
                    f"{format_quantity(best.value, '/s')} ({best.stack}, {best.date}: other software and batch)"
                )
                found[case.label] = HealthFinding(say(case), "ok" if rate > 0.6 * best.value else "low", text)
    return list(found.values())


def _published(case: Case, tokens: int | None, card: Card) -> list[Published]:
    """Published single-card training throughput of the same model, sequence length and precision."""
    models = {row.model for row in WORKLOAD_MODELS.get(case.workload, ()) if row.tokens == tokens}
    wanted = (card.name, case.precision, "train", "throughput", 1)
    return [
        row
        for row in curated().kept
        if row.model in models and (row.card, row.precision, row.task, row.metric, row.device_count) == wanted
    ]


def _cpu(cpu: Cpu, ceilings: Mapping[str, float]) -> list[HealthFinding]:
    found = []
    bandwidth = ceilings.get("memory_bandwidth_bytes_per_s")
    plain = ceilings.get("gemm_flop_per_s/float32")
    if bandwidth:
        channels = bandwidth / _DDR4_CHANNEL_BYTES_PER_S
        text = (
            f"{format_quantity(bandwidth, 'B/s')} measured, as much as {channels:.1f} channels of DDR4-3200; a desktop "
            "has two, a server eight or more"
        )
        cure = "Check that every memory channel holds a module; on a virtual machine the rest belongs to other guests."
        low = channels < 1
        found.append(HealthFinding("CPU memory bandwidth", "low" if low else "ok", text, cure if low else ""))
    if plain:
        found += _cpu_products(cpu, plain)
    half = ceilings.get("gemm_flop_per_s/mixed_bfloat16")
    if plain and half:
        found.append(_matrix_unit(cpu, half / plain))
    return found


def _cpu_products(cpu: Cpu, rate: float) -> list[HealthFinding]:
    """float32 products against cores × nominal clock × operations a cycle: computed, not published."""
    clock = re.search(r"@\s*([\d.]+)\s*GHz", cpu.name)
    width = next((_FLOPS_PER_CYCLE[name] for name in _FLOPS_PER_CYCLE if name in cpu.features), None)
    if clock is None or width is None:
        return []
    cores = min(cpu.physical_cores, cpu.usable_cores or cpu.physical_cores)
    peak = cores * float(clock.group(1)) * 1e9 * width
    low = rate / peak < _GOOD_CPU_PRODUCT
    text = (
        f"{format_quantity(rate, 'FLOP/s')} measured, {format_percent(rate / peak, 0)} of the computed peak of "
        f"{format_quantity(peak, 'FLOP/s')} ({cores} cores × {clock.group(1)} GHz × {width} a cycle)"
    )
    cure = "Close other programs; on a virtual machine, other guests may share the cores." if low else ""
    return [HealthFinding("CPU matrix products in float32", "low" if low else "ok", text, cure)]


def _matrix_unit(cpu: Cpu, gain: float) -> HealthFinding:
    units = [name for name in ("amx_bf16", "avx512_bf16") if name in cpu.features]
    text = f"bfloat16 products run at {format_ratio(gain)} the float32 rate"
    if not units:
        return HealthFinding("CPU matrix unit", "ok", f"none for bfloat16, as its features say: {text}")
    low = gain < 1.2
    cure = "Check ONEDNN_MAX_CPU_ISA and that the engine's build uses oneDNN." if low else ""
    return HealthFinding("CPU matrix unit", "low" if low else "ok", f"{', '.join(units)}: {text}", cure)
