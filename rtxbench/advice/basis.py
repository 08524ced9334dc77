"""Choose the software stack an advice stands on, and collect what is published of the asked-for case in it."""

import math
from collections.abc import Mapping, Sequence
from typing import NamedTuple

from rtxbench.advice.memory.images import IMAGE_MODELS
from rtxbench.advice.memory.need import Setup
from rtxbench.advice.memory_basis import memory_model_of
from rtxbench.advice.own_machines import OwnMeasurement
from rtxbench.advice.own_program import REFERENCE, OwnProgram, relative_anchor
from rtxbench.advice.prediction.decoders import DECODER_FORMS, decoder_program
from rtxbench.advice.prediction.forecast import DECODER_STACK, Forecaster
from rtxbench.advice.prediction.points import Experiment, Points, points_of
from rtxbench.advice.question import Question, split_memory_model
from rtxbench.catalog.cards import Card
from rtxbench.catalog.published import WORKLOAD_MODELS, Published, PublishedModel
from rtxbench.errors import UsageError

__all__ = [
    "Basis",
    "choose_basis",
    "decoder_basis",
    "is_scalable",
    "no_basis_note",
    "no_speed_note",
    "own_program_basis",
    "published_figure",
]


class Basis(NamedTuple):
    """The stack the ranked figures stand on, with its rows of the asked-for case."""

    case: Experiment
    rows: tuple[Published, ...]
    anchors: Points | None
    """One's own measurement, where that is the basis."""
    note: str
    tokens: int | None = None
    """Sequence length of one example, where it is known."""
    own: OwnMeasurement | None = None
    """The measured machine, where one's own measurement is the basis."""


def choose_basis(
    question: Question,
    rows: Sequence[Published],
    forecaster: Forecaster,
    owned: Sequence[OwnMeasurement],
    classes: Sequence[str] = ("geforce",),
) -> Basis | None:
    """Choose the published stack asked for, or the newest that speaks of most of the classes asked about, or one's own.

    Args:
        question: names the workload, the precision and, if wanted, the stack; ``own`` is one's own measurement.
        rows: the published figures.
        forecaster: knows from which cards a stack can be predicted.
        owned: the machines measured here.
        classes: card classes asked about.

    Returns:
        ``None`` where nothing was published or measured for this workload and precision.

    Raises:
        UsageError: the stack asked for has no figure of this workload and precision.
    """
    published = _published_cases(question, rows)
    own = next((_own_basis(machine, question) for machine in owned if _is_basis(machine, question)), None)
    if question.stack is not None:
        known = published | ({"own": own} if own else {})
        if question.stack not in known:
            raise UsageError(
                f"no training figure of {question.workload} in {question.precision} on the stack {question.stack!r}.",
                next_step=f"Stacks that have one: {', '.join(known) or 'none'}.",
            )
        return known[question.stack]
    reach = {s: sum(len(forecaster.anchors(b.case, name)) > 0 for name in classes) for s, b in published.items()}
    usable = [basis for stack, basis in published.items() if reach[stack]]
    if usable:
        return max(usable, key=lambda basis: (reach[basis.case.stack], max(row.date for row in basis.rows)))
    return own or next(iter(published.values()), None)


def own_program_basis(own: OwnProgram, measured: Basis | None, question: Question, cards: Mapping[str, Card]) -> Basis:
    """Stand on one's own measurement of the model where there is one, else on the reference card's speed as 1."""
    if measured is not None and measured.own is not None:
        return measured._replace(note=f"{measured.note}; {own.basis}")
    case, anchors = relative_anchor(own, question.precision, cards[REFERENCE])
    note = (
        f"{own.basis}; nothing of it was measured, so speeds are multiples of one {REFERENCE} at batch "
        f"{own.batch_size}: run `rtxbench run --model` on any card for absolute ones"
    )
    return Basis(case, (), anchors, note)


def decoder_basis(question: Question, forecaster: Forecaster) -> tuple[Basis, Forecaster] | None:
    """Stand on the kernels of the language model that must fit, with the forecaster that knows them.

    Returns:
        ``None`` where a workload is named too, whose speed is then wanted, or the model is no decoder.
    """
    if question.memory_model is None or question.workload:
        return None
    name, method = split_memory_model(question.memory_model)
    model = memory_model_of(name)
    if model is None or model.form not in DECODER_FORMS:
        return None
    setup = Setup(tokens=question.tokens or model.tokens, method=method, **question.setup)  # type: ignore[arg-type]
    program = decoder_program(model, setup)
    case = Experiment(DECODER_STACK, f"{model.name} {method}", question.precision)
    widths = {(case.model, width): program for width in ("half", "full")}
    level = forecaster.level
    note = (
        f"the kernels of {model.name} with {method}, {setup.tokens} tokens a sequence; its level is that of "
        f"{level.figures} published fine-tuning speeds ({', '.join(level.publishers)}), and holds within "
        f"×÷{math.exp(level.log_half_width):.1f}"
    )
    return Basis(case, (), None, note, setup.tokens), forecaster.with_programs(widths)


def _is_basis(machine: OwnMeasurement, question: Question) -> bool:
    return is_scalable(machine) and machine.precision == question.precision


def is_scalable(machine: OwnMeasurement) -> bool:
    """Tell whether other cards may be predicted from it: a catalogued card, and none of a laptop."""
    return machine.card is not None and machine.card.card_class != "laptop"


def _own_basis(machine: OwnMeasurement, question: Question) -> Basis:
    assert machine.card is not None
    case = Experiment(machine.stack, _published_name(question.workload), question.precision)
    anchors = points_of([(machine.card, case, machine.batch_size, machine.throughput_per_s)])
    return Basis(case, (), anchors, f"your own measurement on {machine.name}", machine.tokens, machine)


def _published_cases(question: Question, rows: Sequence[Published]) -> dict[str, Basis]:
    stand_ins = {stand_in.model: stand_in for stand_in in WORKLOAD_MODELS.get(question.workload, ())}
    names = {question.workload: PublishedModel(question.workload, "as published"), **stand_ins}
    found: dict[str, list[Published]] = {}
    for row in rows:
        if row.task == "train" and row.model in names and row.precision == question.precision:
            found.setdefault(row.stack, []).append(row)
    return {
        stack: Basis(
            Experiment(stack, members[0].model, question.precision),
            tuple(members),
            None,
            f"{members[0].framework.split(',')[0]}; {names[members[0].model].difference}",
            names[members[0].model].tokens,
        )
        for stack, members in found.items()
    }


def _published_name(workload: str) -> str:
    stand_ins = WORKLOAD_MODELS.get(workload, ())
    return stand_ins[0].model if stand_ins else workload


def no_speed_note(question: Question) -> str | None:
    """Explain why nothing is said of speed where an image generator must fit and no workload is named."""
    name = split_memory_model(question.memory_model or "")[0].lower()
    if question.workload or question.own_model is not None or name not in IMAGE_MODELS:
        return None
    return f"nobody published how fast several cards fine-tune {name} in one software stack; memory and price decide"


def no_basis_note(question: Question, rows: Sequence[Published], owned: Sequence[OwnMeasurement] = ()) -> str:
    """Explain why there is no figure to stand on, and what to ask instead."""
    if owned and not any(is_scalable(machine) for machine in owned):
        return (
            f"nothing is published of training {question.workload}, and your {owned[0].name} is none to scale from: "
            "the catalogue lacks it, or it is a laptop's, whose speed follows the power limit that its maker set"
        )
    precisions = sorted(
        {
            row.precision
            for row in rows
            if row.task == "train"
            and row.model in (question.workload, *(m.model for m in WORKLOAD_MODELS.get(question.workload, ())))
        }
    )
    if precisions:
        return (
            f"nothing is published of {question.workload} in {question.precision}, only in {', '.join(precisions)}: "
            "ask for that, or measure your own card and pass its results"
        )
    return (
        f"nothing is published of training {question.workload}: measure a card with `rtxbench run` and pass its "
        "results, or ask about resnet50 or bert-base"
    )


def published_figure(card: str, devices: int, basis: Basis) -> dict[str, object] | None:
    """Geometric mean over hosts at the largest published batch, as fields of `Option`."""
    mine = [row for row in basis.rows if row.card == card and row.device_count == devices]
    if not mine:
        return None
    batch = max(row.batch_size or 0 for row in mine)
    hosts = [row for row in mine if (row.batch_size or 0) == batch]
    value = math.exp(sum(math.log(row.value) for row in hosts) / len(hosts))
    return {
        "throughput_per_s": value,
        "low_per_s": min(row.value for row in hosts) if len(hosts) > 1 else None,
        "high_per_s": max(row.value for row in hosts) if len(hosts) > 1 else None,
        "batch_size": batch or None,
        "why": (f"published {hosts[0].date} at batch {batch}",),
        "sources": tuple(dict.fromkeys(row.path for row in hosts)),
    }
