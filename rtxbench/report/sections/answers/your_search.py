"""A search for the fastest setting of a reader's own model: what to train in, what it gains and costs."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from rtxbench.records import Case, CaseRecord, Observation, RatioRecord
from rtxbench.report.labels import plural, ratio_words
from rtxbench.units import format_bytes, format_percent
from rtxbench.wording import name_of
from rtxbench.workloads.switches import SWITCHES, switches_of

__all__ = ["is_search", "search_sentences", "setting_words"]

_GROUP = "-search"
"""Ends the name of the group that confirms a search's winner."""


def is_search(ratio: RatioRecord) -> bool:
    """Tell whether a comparison confirms what a search found."""
    return ratio.group.endswith(_GROUP)


def search_sentences(
    cases: Sequence[CaseRecord], ratios: Sequence[RatioRecord], observations: Sequence[Observation]
) -> Iterator[str]:
    """Say what the latest search of a model found; nothing where there was none."""
    outcome = next((o for o in reversed(observations) if o.metric == "search_log_ratio"), None)
    if outcome is None or outcome.case is None:
        return
    if not outcome.values:
        yield f"{(outcome.reason or 'the search found nothing').capitalize()}. {_effort(outcome)}"
    else:
        confirmed = {r.candidate: r for r in ratios if is_search(r)}
        yield f"{_gain(outcome.case, confirmed.get(outcome.case))} {_effort(outcome)}"
        yield from _prices(outcome.case, cases, confirmed)
    yield from _left_out(observations)


def setting_words(case: Case) -> str:
    """Name a setting as an instruction does: ``in bfloat16 with torch.compile and a fused optimizer at batch 48``."""
    extras = [name_of(case.compiler)] if case.compiler != "none" else []
    extras += [SWITCHES.get(name, name) for name in switches_of(case.variant)]
    listed = f"{', '.join(extras[:-1])} and {extras[-1]}" if len(extras) > 1 else "".join(extras)
    return f"in {name_of(case.precision)}{f' with {listed}' if listed else ''} at batch {case.batch_size}"


def _gain(winner: Case, ratio: RatioRecord | None) -> str:
    """State the winner's gain, by fresh launches alone: those that chose it flatter it."""
    if ratio is None:
        return f"Train {setting_words(winner)}: it won the race, and no fresh launch has confirmed by how much."
    said = ratio_words(ratio.ratio)
    estimate = ratio.ratio
    if (estimate.value if estimate.low is None else estimate.low) <= 1:
        chosen = f"The race's winner was to train {setting_words(winner)}"
        slower = estimate.high is not None and estimate.high < 1
        shown = "are slower" if slower else "show no gain beyond noise"
        return f"{chosen}; its fresh launches {shown} ({said}): keep what you run."
    text = f"Train {setting_words(winner)}: {said} of what you run now."
    if estimate.low is None:
        text += " One fresh launch has no interval: run it again with --profile standard."
    if winner.batch_size != ratio.baseline.batch_size:
        text += " A larger batch is another training: set the learning rate anew, and compare what it learns."
    return text


def _effort(outcome: Observation) -> str:
    labels = outcome.labels
    raced = plural(int(labels["launches"]), "launch", "launches")
    count = plural(int(labels["combinations"]), "combination")
    return f"({count} raced in {raced}; trying each as often takes {labels['exhaustive_launches']}.)"


def _prices(winner: Case, cases: Sequence[CaseRecord], confirmed: dict[Case, RatioRecord]) -> Iterator[str]:
    """Say what each switch that saves memory would free and cost, on top of the winner."""
    peaks = {r.case: r.measurement.peak_memory_bytes for r in cases if r.measurement is not None}
    own = confirmed.get(winner)
    for case, ratio in confirmed.items():
        added = sorted(set(switches_of(case.variant)) - set(switches_of(winner.variant)))
        if own is None or case == winner or not added:
            continue
        cost = 1 - ratio.ratio.value / own.ratio.value
        name = SWITCHES.get(added[0], added[0])
        price = f"cost {format_percent(cost, 0)} of the speed" if cost > 0 else f"gain {format_percent(-cost, 0)}"
        before, after = peaks.get(winner), peaks.get(case)
        if before is None or after is None:
            yield f"{name[:1].upper()}{name[1:]} would {price}; what it frees was not measured."
        elif after < before:
            yield f"{name[:1].upper()}{name[1:]} would free {format_bytes(before - after)} and {price}."
        else:
            yield f"{name[:1].upper()}{name[1:]} would free nothing and {price}."


def _left_out(observations: Sequence[Observation]) -> Iterator[str]:
    """List what did not take part, those with one reason together."""
    grouped: dict[str, list[str]] = {}
    for record in observations:
        if record.metric == "search_rejected" and record.case is not None:
            grouped.setdefault((record.reason or "no reason recorded").rstrip("."), []).append(
                setting_words(record.case).removeprefix("in ")
            )
    for reason, settings in grouped.items():
        yield f"Left out: {'; '.join(settings)}: {reason}."
