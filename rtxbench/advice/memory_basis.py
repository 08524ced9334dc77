"""Memory of the asked-for model on each card: from measured peaks, from the analytic model, or from the compiler."""

import csv
from collections.abc import Callable, Sequence
from functools import cache
from importlib import resources
from pathlib import Path
from typing import NamedTuple

from msgspec.structs import replace

from rtxbench.advice.memory.config_file import model_of_config
from rtxbench.advice.memory.images import IMAGE_MODELS, image_need
from rtxbench.advice.memory.lines import Line, line_through
from rtxbench.advice.memory.models import MODELS, NETWORKS, Model, model_named
from rtxbench.advice.memory.need import Need, Setup, fit_state, largest_batch, network_need, training_need
from rtxbench.advice.question import Memory, MemoryPart, Question, split_memory_model
from rtxbench.catalog.cards import Card
from rtxbench.catalog.published import workload_of
from rtxbench.precision import precision_named
from rtxbench.records import CaseRecord
from rtxbench.results.store import LoadedRun

__all__ = ["CompiledPeak", "MemoryBasis", "compiled_peaks", "memory_basis", "memory_model_of", "memory_on"]

_LINE_OVERHEAD_RATIO = 1.10
"""A line through an engine's own peaks is off by up to 10 % at a third batch size (docs/prediction.md)."""


class MemoryBasis(NamedTuple):
    """Bytes a step needs, as a function of its batch."""

    model: str
    low_bytes: Callable[[int], float]
    high_bytes: Callable[[int], float]
    asked_batch: int | None
    """Batch that must fit; ``None``: only the largest is of interest."""
    how: str
    parts: Callable[[int], Need] | None = None
    """The parts of the need, where it is computed."""


class CompiledPeak(NamedTuple):
    """The peak memory a compiler planned for one step of one workload."""

    workload: str
    precision: str
    batch_size: int
    peak_bytes: int
    method: str


@cache
def compiled_peaks() -> tuple[CompiledPeak, ...]:
    """Return the peaks of ``tools.memory_survey`` that come with the package."""
    with resources.files("rtxbench.catalog").joinpath("memory_survey.csv").open(encoding="utf-8") as stream:
        return tuple(
            CompiledPeak(
                row["workload"], row["precision"], int(row["batch_size"]), int(row["peak_bytes"]), row["method"]
            )
            for row in csv.DictReader(stream)
        )


def memory_basis(question: Question, runs: Sequence[LoadedRun], tokens: int | None = None) -> MemoryBasis | None:
    """Choose the best basis there is for what was asked; ``None`` where the workload's memory is unknown.

    Args:
        question: what a buyer asks.
        runs: one's own records, whose measured peaks come first.
        tokens: sequence length of the ranked figures, so that speed and memory speak of the same examples.

    Raises:
        UsageError: unknown model, method or optimizer.
    """
    if question.memory_model is not None:
        name, method = split_memory_model(question.memory_model)
        return _analytic(name, method, question, asked_batch=question.batch_size or 1)
    workload, published_tokens = workload_of(question.workload)
    question = replace(question, workload=workload, tokens=question.tokens or tokens or published_tokens)
    measured = _measured_line(question, runs) if tokens is None else None
    if measured is not None:
        return _from_line(question, measured)
    if workload in MODELS or workload in NETWORKS:
        return _analytic(workload, "full", question, asked_batch=question.batch_size)
    compiled = _compiled_line(question)
    return None if compiled is None else _from_line(question, compiled)


def memory_on(card: Card, basis: MemoryBasis) -> Memory:
    """Judge by the basis whether the case fits one device of ``card``."""
    batch = basis.asked_batch or 1
    low, high = basis.low_bytes(batch), basis.high_bytes(batch)
    return Memory(
        model=basis.model,
        state=None if basis.asked_batch is None else fit_state(low, high, card.memory_bytes),
        low_bytes=low,
        high_bytes=high,
        batch_size=batch,
        largest_batch=largest_batch(basis.high_bytes, card.memory_bytes),
        basis=basis.how,
        card_bytes=card.memory_bytes,
        parts=() if basis.parts is None else _parts(basis.parts(batch)),
    )


def _parts(need: Need) -> tuple[MemoryPart, ...]:
    names = ("weights", "gradients", "optimizer", "activations and logits", "context, libraries, framework")
    return tuple(MemoryPart(name=name, value_bytes=value) for name, value in zip(names, need[:5], strict=True))


def _analytic(name: str, method: str, question: Question, asked_batch: int | None) -> MemoryBasis:
    network, generator = NETWORKS.get(name), IMAGE_MODELS.get(name.lower())
    model = memory_model_of(name)

    @cache  # every card of one size asks for the same batches
    def need(batch: int) -> Need:
        """Reckon the memory of a training step at this batch, with the question's optimiser, precision and method."""
        setup = Setup(
            batch_size=batch,
            tokens=question.tokens,
            precision=question.precision,
            optimizer=question.optimizer,
            method=method,
            **question.setup,  # type: ignore[arg-type]  # fields of Setup, checked by `setup_of`
        )
        if network is not None:
            return network_need(network, setup)
        if generator is not None:
            return image_need(generator, setup)
        assert model is not None
        return training_need(model, setup)

    need(1)  # a wrong model, method or optimizer is told now
    size, how = "", ""
    if generator is not None:
        size, how = f", {question.setup.get('resolution') or generator.side} pixels", " in diffusers"
    elif model is not None:
        size = f", {question.tokens or model.tokens} tokens"
        how = f" in {question.setup.get('framework', 'transformers')}"
    verb = "training" if network is not None else "fine-tuning"
    return MemoryBasis(
        model=f"{name if model is None else model.name}, {method} {verb}{size}{how}",
        low_bytes=lambda batch: need(batch).low_bytes,
        high_bytes=lambda batch: need(batch).high_bytes,
        asked_batch=asked_batch,
        how="computed from the model's dimensions",
        parts=need,
    )


def memory_model_of(name: str) -> Model | None:
    """Look up a transformer by name or by its ``config.json``; ``None`` for a network that is none.

    Raises:
        UsageError: there is no such model, or the file describes none.
    """
    if name in NETWORKS or name.lower() in IMAGE_MODELS:
        return None
    return model_of_config(Path(name)) if name.endswith(".json") else model_named(name)


def _from_line(question: Question, line: Line) -> MemoryBasis:
    return MemoryBasis(
        model=question.workload,
        low_bytes=line.need_bytes,
        high_bytes=lambda batch: line.need_bytes(batch) * _LINE_OVERHEAD_RATIO,
        asked_batch=question.batch_size,
        how=line.how,
    )


def _measured_line(question: Question, runs: Sequence[LoadedRun]) -> Line | None:
    """Draw the line through the peaks of one machine, engine, compiler and method: the set with most batch sizes."""
    sets: dict[tuple[str, ...], dict[int, float]] = {}
    for run in runs:
        for record in run.of_kind(CaseRecord):
            case, measurement = record.case, record.measurement
            same = case.workload == question.workload and case.precision == question.precision and case.as_published
            if not (same and case.placement == "gpu" and measurement and measurement.peak_memory_bytes):
                continue
            method = measurement.peak_memory_method
            if method is None:
                continue  # recorded before a peak was that of one arm alone
            key = (run.run.environment.machine, case.engine, case.compiler, case.variant, method)
            sets.setdefault(key, {})[case.batch_size] = float(measurement.peak_memory_bytes)
    if not sets:
        return None
    (_, engine, compiler, _, _), peaks = max(sets.items(), key=lambda entry: len(entry[1]))
    how = f"measured peaks at {len(peaks)} batch sizes ({engine}, compiler {compiler})"
    return line_through(peaks, how) if len(peaks) > 1 else None


def _compiled_line(question: Question) -> Line | None:
    bits = precision_named(question.precision).bits
    found = [peak for peak in compiled_peaks() if peak.workload == question.workload]
    found = [peak for peak in found if precision_named(peak.precision).bits == bits]
    peaks = {peak.batch_size: float(peak.peak_bytes) for peak in found}
    if len(peaks) < 2:
        return None
    return line_through(peaks, f"XLA's memory plan for a CPU in {found[0].precision}; a GPU's workspace differs")
