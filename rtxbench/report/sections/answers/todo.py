"""Say what to do on this machine: up to five sentences, each derived from its records and leading to them.

One row of `_RULES` per kind of advice: a function of the machine's records that returns advice with its gain, or
nothing. The largest gain is said first; an advice whose interval includes no gain is never given.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Sequence
from typing import Final, NamedTuple

from rtxbench.records import Observation, RatioRecord
from rtxbench.report.parts import Context, Todo
from rtxbench.results.store import LoadedRun
from rtxbench.units import format_percent, format_ratio
from rtxbench.wording import engine_name, name_of, say_change

__all__ = ["todos_of"]

_MOST: Final = 5
_WORTHWHILE: Final = 1.05
"""A gain below this is not worth a change of code."""


class _Found(NamedTuple):
    gain_ratio: float
    todo: Todo


class _Machine(NamedTuple):
    """The records of one machine, the latest of each pair and of each observation."""

    slug: str
    ratios: tuple[RatioRecord, ...]
    observations: tuple[Observation, ...]
    harness: tuple[RatioRecord, ...]


def todos_of(context: Context, machine: str) -> tuple[Todo, ...]:
    """List what the records of one machine advise, the most rewarding first, five at most."""
    own = _records([loaded for loaded in context.runs if loaded.run.environment.machine == machine])
    own = own._replace(slug=machine)
    found = [advice for rule in _RULES for advice in rule(own)]
    return tuple(advice.todo for advice in sorted(found, key=lambda advice: -advice.gain_ratio)[:_MOST])


def _records(runs: Sequence[LoadedRun]) -> _Machine:
    ratios: dict[object, RatioRecord] = {}
    observed: dict[object, Observation] = {}
    harness: dict[object, RatioRecord] = {}
    for loaded in runs:
        for ratio in loaded.of_kind(RatioRecord):
            if all(flag.severity != "invalid" for flag in ratio.flags):
                ratios[ratio.candidate, ratio.baseline, ratio.metric] = ratio
        for record in loaded.of_kind(Observation):
            if record.values and record.labels:
                observed[record.topic, record.metric, tuple(sorted(record.labels.items()))] = record
        harness |= {(r.group, r.candidate): r for r in loaded.meant_for("harness") if isinstance(r, RatioRecord)}
    return _Machine("", tuple(ratios.values()), tuple(observed.values()), tuple(harness.values()))


def _differ(record: RatioRecord) -> frozenset[str]:
    """Return the fields in which the two cases of a pair differ."""
    return frozenset(
        name for name in record.baseline.__struct_fields__
        if getattr(record.baseline, name) != getattr(record.candidate, name)
    )  # fmt: skip


def _span(ratios: Sequence[RatioRecord]) -> str:
    values = sorted(ratio.ratio.value for ratio in ratios)
    if len(values) == 1:
        return format_ratio(values[0])
    return f"{format_ratio(values[0])} to {format_ratio(values[-1])}"


def _clear(ratio: RatioRecord, *, gain: bool) -> bool:
    """Return whether the whole interval is a gain worth having, or a loss."""
    low, high = ratio.ratio.low, ratio.ratio.high
    return low is not None and low >= _WORTHWHILE if gain else high is not None and high < 1


def _precision(own: _Machine) -> Iterable[_Found]:
    """Advise which precision to train in: per reduced precision, what it gave in every model measured."""
    pairs = [r for r in own.ratios if _differ(r) == {"precision"} and r.metric == "throughput"]
    pairs = [r for r in pairs if r.baseline.precision == "float32" and not r.candidate.placement.endswith("-logical")]
    for precision in dict.fromkeys(r.candidate.precision for r in pairs):
        members = [r for r in pairs if r.candidate.precision == precision]
        faster, slower = ([r for r in members if _clear(r, gain=gain)] for gain in (True, False))
        name = name_of(precision)
        mean = math.exp(sum(math.log(r.ratio.value) for r in members) / len(members))
        if len(slower) > len(members) / 2:
            why = f"{name} was slower in {len(slower)} of {len(members)} comparisons ({_span(members)})"
            yield _Found(1 / mean, Todo(text="Train in float32", why=why, target="precision"))
        elif len(faster) > len(members) / 2:
            why = f"it was faster than float32 in {len(faster)} of {len(members)} comparisons ({_span(members)})"
            yield _Found(mean, Todo(text=f"Train in {name}", why=why, target="precision"))


def _engine(own: _Machine) -> Iterable[_Found]:
    """Another engine where it is clearly faster, with the models on which it is not."""
    pairs = [r for r in own.ratios if engine_name(r.candidate) != engine_name(r.baseline)]
    pairs = [r for r in pairs if r.baseline.workload == r.candidate.workload]
    pairs = [r for r in pairs if r.metric == "throughput" and r.baseline.precision == r.candidate.precision]
    for engine in dict.fromkeys(engine_name(r.candidate) for r in pairs):
        members = [r for r in pairs if engine_name(r.candidate) == engine]
        faster = [r for r in members if _clear(r, gain=True)]
        if not faster:
            continue
        best = max(faster, key=lambda r: r.ratio.value)
        worst = min(members, key=lambda r: r.ratio.value)
        why = f"it trains {format_ratio(best.ratio.value)} as fast as {engine_name(best.baseline)}"
        if worst.ratio.value < 1:
            why += f"; not for {name_of(worst.candidate.workload)}, where it is only {format_ratio(worst.ratio.value)}"
        text = f"Use {engine} for {name_of(best.candidate.workload)}"
        yield _Found(best.ratio.value, Todo(text=text, why=why, target="engine"))


def _input(own: _Machine) -> Iterable[_Found]:
    """Find the input pipeline that costs most, beside the best one that does the same."""
    kept = [o for o in own.observations if o.metric == "training_speed_kept_ratio" and "pipeline" in o.labels]
    kept = [o for o in kept if o.estimate is not None]
    speeds = {o.labels["pipeline"]: o.estimate.value for o in kept if o.estimate is not None}
    if len(speeds) < 2:
        return
    worst = min(speeds, key=lambda name: speeds[name])
    rivals = {name: speed for name, speed in speeds.items() if name != worst and not name.startswith("no ")}
    if not rivals or speeds[worst] * 1.2 > max(rivals.values()):
        return
    best = max(rivals, key=lambda name: rivals[name])
    waits = next(
        (o for o in own.observations if o.metric == "input_wait_ratio" and o.labels["pipeline"] == worst), None
    )
    waited = f" and waits for {format_percent(sum(waits.values) / len(waits.values), 0)} of the time" if waits else ""
    why = (
        f"training keeps {format_percent(speeds[worst], 0)} of its speed{waited}; {best} keeps "
        f"{format_percent(speeds[best], 0)}"
    )
    yield _Found(
        speeds[best] / speeds[worst], Todo(text=f"Do not feed training from {worst}", why=why, target="trials")
    )


def _one_change(field: str, text: str, target: str) -> Callable[[_Machine], Iterable[_Found]]:
    """Advice for a change in one field of the case: the best pair that clearly gains."""

    def rule(own: _Machine) -> Iterable[_Found]:
        """Find the change of this field alone that gains most, beyond doubt, in one engine."""
        pairs = [r for r in own.ratios if _differ(r) == {field} and r.metric == "throughput" and _clear(r, gain=True)]
        pairs = [r for r in pairs if engine_name(r.candidate) == engine_name(r.baseline)]
        if pairs:
            best = max(pairs, key=lambda r: r.ratio.value)
            change = say_change(best.candidate, best.baseline)
            why = f"{change} trains {format_ratio(best.ratio.value)} as fast"
            where = "" if field == "workload" else f" on {name_of(best.candidate.workload)}"
            yield _Found(best.ratio.value, Todo(text=text, why=why + where, target=target))

    return rule


def _early_stopping(own: _Machine) -> Iterable[_Found]:
    for ratio in own.ratios:
        if (
            ratio.metric == "training_speed"
            and ratio.candidate.variant == "early-stopping"
            and _clear(ratio, gain=True)
        ):
            saved = format_percent(1 - 1 / ratio.ratio.value, 0)
            why = f"it took {saved} less training time; compare the accuracy beside it"
            yield _Found(ratio.ratio.value, Todo(text="Stop early", why=why, target="trials"))


def _fit(own: _Machine) -> Iterable[_Found]:
    """Report what ``model.fit`` itself costs, where the harness measured it against a bare loop."""
    costs = [r for r in own.harness if "harness_steps:fit_" in r.candidate.workload and _clear(r, gain=False)]
    if costs:
        worst = min(costs, key=lambda r: r.ratio.value)
        why = (
            f"`model.fit` keeps {format_percent(worst.ratio.value, 0)} of a bare loop's speed there; write the loop, "
            "or raise `steps_per_execution`"
        )
        yield _Found(1 / worst.ratio.value, Todo(text="On tiny models, do not train by `fit`", why=why, target="trust"))


def _devices(own: _Machine) -> Iterable[_Found]:
    """Several GPUs, at the batch per device that was measured."""
    pairs = [r for r in own.ratios if r.candidate.device_count > r.baseline.device_count and r.metric == "throughput"]
    pairs = [r for r in pairs if not r.candidate.placement.endswith("-logical")]
    faster = [r for r in pairs if _clear(r, gain=True)]
    if faster:
        best = max(faster, key=lambda r: r.ratio.value)
        count = best.candidate.device_count
        why = f"{format_ratio(best.ratio.value)} the speed of one on {name_of(best.candidate.workload)}"
        todo = Todo(
            text=f"Train on all {count} GPUs", why=f"{why}, batch {best.candidate.batch_size}", target="devices"
        )
        yield _Found(best.ratio.value, todo)


_RULES: Final[tuple[Callable[[_Machine], Iterable[_Found]], ...]] = (
    _precision,
    _engine,
    _input,
    _early_stopping,
    _fit,
    _devices,
    _one_change("batch_size", "Use a larger batch", "batch"),
    _one_change("compiler", "Compile the step", "engine"),
    _one_change("variant", "Try the variant", "model"),
)
