"""A model of the reader's: what each setting gives and costs, whether it still trains the same, and what holds it."""

from __future__ import annotations

import math
from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path
from typing import NamedTuple

from rtxbench.diagnosis.facts import Diagnoser
from rtxbench.diagnosis.rules import diagnose
from rtxbench.own.first_steps import SAME_LOSS_RATIO, largest_difference
from rtxbench.placement import is_functional_check
from rtxbench.records import Case, CaseRecord, Observation, RatioRecord
from rtxbench.report.labels import plural, ratio_words
from rtxbench.report.parts import Block, Cell, Code, Column, Context, Paragraph, Section, Subheading, Table
from rtxbench.report.sections.answers.your_search import is_search, search_sentences
from rtxbench.results.store import LoadedRun, load_run
from rtxbench.units import format_bytes, format_duration, format_percent, format_quantity
from rtxbench.wording import name_of, say_change
from rtxbench.workloads.own import is_own
from rtxbench.workloads.switches import SWITCHES, switches_of

__all__ = ["OwnResults", "finding_lines", "findings", "own_results", "your_model_section"]


class OwnResults(NamedTuple):
    """The latest records of one model of the user's own on one machine."""

    cases: tuple[CaseRecord, ...]
    ratios: tuple[RatioRecord, ...]
    observations: tuple[Observation, ...]

    def with_later(
        self, cases: Sequence[CaseRecord], ratios: Sequence[RatioRecord], observations: Sequence[Observation]
    ) -> OwnResults:
        """Add what a later run found; where both answer one question, the later one counts."""
        return OwnResults(
            tuple({r.case: r for r in (*self.cases, *cases)}.values()),
            tuple({(r.group, r.baseline, r.candidate): r for r in (*self.ratios, *ratios)}.values()),
            tuple({(o.metric, o.case): o for o in (*self.observations, *observations)}.values()),
        )

    def largest_batch(self, case: Case) -> Observation | None:
        """Find what the search of the case's largest batch found."""
        return next((o for o in self.observations if o.metric == "largest_batch_size" and o.case == case), None)

    def losses(self, case: Case) -> tuple[float, ...]:
        """Give the losses of the case's first steps, as far as they were finite."""
        return next((o.values for o in self.observations if o.metric == "first_loss" and o.case == case), ())

    def leak_bytes(self, case: Case) -> float | None:
        """Give the memory that every step of the case leaves behind."""
        leaks = (o.values[0] for o in self.observations if o.metric == "leak_bytes" and o.case == case and o.values)
        return next(leaks, None)


def own_results(runs: Iterable[LoadedRun]) -> dict[tuple[str, str], OwnResults]:
    """Map (machine, workload) to its records, of each question the latest: a resumed run completes an earlier one."""
    found: dict[tuple[str, str], OwnResults] = {}
    for loaded in runs:
        cases = [record for record in loaded.of_kind(CaseRecord) if is_own(record.case.workload)]
        for workload in dict.fromkeys(record.case.workload for record in cases):
            key = loaded.run.environment.machine, workload
            found[key] = found.get(key, OwnResults((), (), ())).with_later(
                [r for r in cases if r.case.workload == workload],
                [r for r in loaded.of_kind(RatioRecord) if r.candidate.workload == workload],
                [o for o in loaded.of_kind(Observation) if o.case is not None and o.case.workload == workload],
            )
    return found


def your_model_section(context: Context) -> Section | None:
    """Answer what users ask of their own model; ``None`` where none was measured."""
    blocks: list[Block] = []
    for (machine, workload), results in own_results(context.runs).items():
        blocks.append(Subheading(f"{name_of(workload).capitalize()} on {context.titles[machine]}"))
        blocks += [Paragraph(text) for text in findings(results, context.diagnoser)]
        blocks.append(_table(results))
    if not blocks:
        return None
    blocks.append(Code("rtxbench run --model train.py:build"))
    return Section(id="your-model", title="Your model", blocks=tuple(blocks))


def finding_lines(path: Path) -> list[str]:
    """List what one run found of the user's own model, a sentence or two each.

    Raises:
        RecordError: the file cannot be read.
    """
    run = load_run(path)
    diagnoser = Diagnoser([run])
    return [text for results in own_results([run]).values() for text in findings(results, diagnoser)]


def findings(results: OwnResults, diagnoser: Diagnoser) -> list[str]:
    """Say in sentences what was found, the gains first, what could not run last."""
    said = list(search_sentences(results.cases, results.ratios, results.observations))
    said += [_gain(ratio, results) for ratio in results.ratios if not is_search(ratio)]
    said += _loss_sentences(results)
    said += [
        f"{_short(record.case)}: every step leaves {format_bytes(leak)} behind, so a long training runs out of memory. "
        "Keep no tensors between steps (`.item()` or `.detach()` what you collect)."
        for record in results.cases
        if (leak := results.leak_bytes(record.case)) is not None
    ]
    said += _batch_sentences(results)
    said += _limits(results, diagnoser)
    failed = (record for record in results.cases if record.measurement is None)
    return said + [f"{_short(record.case)} was not measured: {record.reason}" for record in failed]


def _gain(ratio: RatioRecord, results: OwnResults) -> str:
    change = say_change(ratio.candidate, ratio.baseline)
    estimate = ratio.ratio
    change = f"{change[:1].upper()}{change[1:]}"
    if is_functional_check(ratio.candidate.placement):
        return f"{change}: it trains. All of them are one processor, so its speed says nothing."
    said = f"{change}: {ratio_words(estimate)}"
    if estimate.low is None or estimate.high is None:
        said += ", one launch, hence no interval."
    elif estimate.low > 1:
        said += ", faster."
    elif estimate.high < 1:
        said += ", slower."
    else:
        said += ", no difference that this run could tell from noise."
    return said + _break_even(ratio, results)


def _break_even(ratio: RatioRecord, results: OwnResults) -> str:
    """After how many steps a compiler has earned its compilation; empty where no compiler was added."""
    if ratio.baseline.compiler != "none" or ratio.candidate.compiler == "none":
        return ""
    by_case = {record.case: record.measurement for record in results.cases}
    plain, compiled = by_case.get(ratio.baseline), by_case.get(ratio.candidate)
    if plain is None or compiled is None:
        return ""
    first = [_median(launch.first_step_s for launch in side.launches) for side in (plain, compiled)]
    saved = plain.step_time_s.value * (1 - 1 / ratio.ratio.value)
    cost = f" The first step takes {format_duration(first[1])} instead of {format_duration(first[0])}"
    low = ratio.ratio.low
    if low is None or low <= 1 or saved <= 0:
        return f"{cost}: here compiling does not pay."
    steps = max(0, math.ceil((first[1] - first[0]) / saved))
    return f"{cost}: compiling pays after {plural(steps, 'step')}."


def _median(values: Iterable[float]) -> float:
    ordered = sorted(values)
    return ordered[len(ordered) // 2]


def _loss_sentences(results: OwnResults) -> Iterator[str]:
    """Hold each case's first losses against those of plain float32 at the same batch."""
    measured = [record for record in results.cases if record.measurement is not None]
    plain = measured[0].case if measured else None
    reference = results.losses(plain) if plain is not None else ()
    for record in measured[1:] if reference else ():
        losses = results.losses(record.case)
        if not losses or plain is None or record.case.batch_size != plain.batch_size:
            continue
        worst = largest_difference(reference, losses)
        verdict = "it trains alike" if worst <= SAME_LOSS_RATIO else "look at it before you trust its speed"
        yield (
            f"{_short(record.case)}: the losses of the first {plural(len(losses), 'step')} differ from those of "
            f"{_short(plain)} by {format_percent(worst)} at most; {verdict}."
        )


def _batch_sentences(results: OwnResults) -> Iterator[str]:
    """Say of each precision how large a batch fits, what it needs, and whether larger ones may fit."""
    for record in results.cases:
        found = results.largest_batch(record.case)
        if found is None or not found.values:
            continue
        peak, limit = found.labels.get("peak_bytes"), found.labels.get("limit_bytes")
        there = f" of {format_bytes(float(limit))} free" if limit is not None else ""
        needs = f", which needs {format_bytes(float(peak))}{there}" if peak is not None else ""
        batch = f"{found.values[0]:.0f}{needs}"
        if found.labels.get("ended") == "memory":
            yield f"{_short(record.case)}: the largest batch that trains is {batch}."
        else:
            yield f"{_short(record.case)}: a batch of {batch} trains; larger ones were not tried ({_ended(found)})."


def _limits(results: OwnResults, diagnoser: Diagnoser) -> Iterator[str]:
    """Name what holds each case back; cases with one cause and one next step share a sentence."""
    grouped: dict[tuple[str, str], list[str]] = {}
    for record in results.cases:
        if record.measurement is not None:
            found = diagnose(diagnoser.evidence(record))
            if found.code != "undetermined":
                grouped.setdefault((found.title, found.next_step), []).append(_short(record.case))
    for (title, next_step), cases in grouped.items():
        yield f"{', '.join(cases)}: limited by {title[:1].lower()}{title[1:]}. {next_step}"


def _short(case: Case) -> str:
    """Name what sets a case apart within one model: ``bfloat16, torch.compile``."""
    words = [name_of(case.precision)]
    words += [name_of(case.compiler)] if case.compiler != "none" else []
    words += [SWITCHES.get(name, name) for name in switches_of(case.variant)]
    words += [f"{case.device_count} devices"] if case.device_count > 1 else []
    return ", ".join(words)


def _table(results: OwnResults) -> Table:
    columns = (
        Column("Setting"),
        Column("Throughput", numeric=True),
        Column("Step", numeric=True),
        Column("First step", numeric=True),
        Column("Peak memory", numeric=True),
        Column("Largest batch", numeric=True),
    )
    rows = tuple(_row(record, results) for record in results.cases)
    return Table(caption="Every setting that was tried", columns=columns, rows=rows)


def _row(record: CaseRecord, results: OwnResults) -> tuple[Cell | str, ...]:
    measured = record.measurement
    if measured is None:
        return (Cell(_short(record.case), note=record.reason or ""), record.status, "–", "–", "–", "–")
    peak = measured.peak_memory_bytes
    return (
        Cell(_short(record.case), note=f"batch {record.case.batch_size}"),
        format_quantity(measured.throughput_per_s.value, "/s"),
        format_duration(measured.step_time_s.value),
        format_duration(_median(launch.first_step_s for launch in measured.launches)),
        format_bytes(peak) if peak is not None else Cell("–", note=record.missing.get("peak_memory_bytes", "")),
        _batch_cell(results.largest_batch(record.case)),
    )


def _batch_cell(found: Observation | None) -> Cell | str:
    if found is None:
        return "–"
    if not found.values:
        return Cell("–", note=found.reason or "")
    known = found.labels.get("ended") == "memory"
    return f"{found.values[0]:.0f}" if known else Cell(f"at least {found.values[0]:.0f}", note=_ended(found))


def _ended(found: Observation) -> str:
    ended = found.labels.get("ended", "")
    return "the search's time was up" if ended == "time" else ended
