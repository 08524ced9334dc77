"""Behind the verdicts that are no throughput: quality, augmentation, tuning, deployment, split models.

Each claim that trials measured gets what was seen, seed by seed, as figures and tables, and the command that measures
it again. The latest run of each machine speaks.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable, Sequence
from dataclasses import replace
from functools import partial
from typing import Any, Final, NamedTuple

from rtxbench.diagnosis.rules import WAIT_SHARE
from rtxbench.printable import one_line
from rtxbench.records import Observation
from rtxbench.report.drawing.style import SERIES_COLORS, precision_color
from rtxbench.report.drawing.trials import DotRow, LatencySeries, batch_curve, dots, latency
from rtxbench.report.labels import anchor, machine_headings, plural
from rtxbench.report.parts import Block, Cell, Column, Context, Figure, Paragraph, Section, Subheading, Table
from rtxbench.report.titles import machine_title
from rtxbench.units import format_bytes, format_duration, format_percent, format_quantity
from rtxbench.verdicts.notes import is_input_bound
from rtxbench.wording import name_of, say_metric

__all__ = ["claims_section"]


class _Topic(NamedTuple):
    """The records of one claim's trial on one machine."""

    machine: str
    title: str
    observations: tuple[Observation, ...]

    def of(self, metric: str, **labels: str) -> list[Observation]:
        """Measured observations of a metric whose labels match."""
        return [
            record
            for record in self.observations
            if record.metric == metric
            and record.values
            and all(record.labels.get(name) == value for name, value in labels.items())
        ]

    def first(self, metric: str, **labels: str) -> Observation | None:
        """Return the first of them."""
        return next(iter(self.of(metric, **labels)), None)

    @property
    def missing(self) -> list[tuple[str, str]]:
        """Names of what has no figure, each with its reason."""
        found = []
        for record in self.observations:
            if record.reason:
                names = [record.labels[n] for n in ("arm", "format", "pipeline") if n in record.labels]
                found.append((", ".join(map(name_of, names)) or say_metric(record.metric), one_line(record.reason)))
        return list(dict.fromkeys(found))


def claims_section(context: Context) -> Section | None:
    """Make one part per claim that a trial measured. ``None`` where there is none."""
    blocks: list[Block] = []
    missing: list[tuple[str, str, str]] = []
    for claim, build in _PARTS.items():
        topics = _topics(context, claim)
        if not topics:
            continue
        title = context.claims[claim].title if claim in context.claims else claim
        blocks.append(Subheading(title))
        for machine, heading in machine_headings(context, topics.keys()):
            blocks += [*heading, *build(topics[machine])]
            missing += [(title, what, why) for what, why in topics[machine].missing]
    if not blocks:
        return None
    if missing:
        columns = (Column("Question"), Column("What"), Column("Why"))
        caption = f"{plural(len(missing), 'figure')} of these not measured, and why"
        blocks.append(Table(caption=caption, columns=columns, rows=tuple(missing), folded=True))
    lead = Paragraph(
        "What the verdicts on quality, data, tuning and deployment rest on. Every accuracy names its data set; figures "
        "on different sets are never compared. Each dot is one seed: one whole training from weights of its own."
    )
    return Section(id="trials", title="Behind the verdicts", blocks=(lead, *blocks))


def _topics(context: Context, claim: str) -> dict[str, _Topic]:
    """Map each machine to the observations of its latest run that has any on this claim."""
    found: dict[str, _Topic] = {}
    for loaded in context.runs:
        records = tuple(record for record in loaded.of_kind(Observation) if record.topic == claim)
        if any(record.values for record in records):
            environment = loaded.run.environment
            found[environment.machine] = _Topic(environment.machine, machine_title(environment), records)
    return found


def _quality(topic: _Topic) -> list[Block]:
    accuracy = topic.of("validation_accuracy_ratio")
    rows = [DotRow(name_of(o.labels["arm"]), o.values, precision_color(o.labels["arm"])) for o in accuracy]
    columns = (
        "Precision",
        "Final validation accuracy",
        "Test accuracy",
        "Time to target",
        "Epochs to target",
        "Overflows",
    )
    metrics = ("test_accuracy_ratio", "time_to_accuracy_s", "epochs_to_accuracy", "loss_scale_overflows")
    body = [
        (
            name_of(o.labels["arm"]),
            _mean(o, format_percent),
            *(_mean(topic.first(m, arm=o.labels["arm"]), f) for m, f in zip(metrics, _QUALITY_FORMATS, strict=True)),
        )
        for o in accuracy
    ]
    data = accuracy[0].labels if accuracy else {}
    caption = (
        f"{topic.title}, data set {data.get('dataset', '').replace('-', ' ')}"
        f"{', drawn anew for each seed' if 'seeds' in data else ''}. "
        f"Time to target: to a validation accuracy of {data.get('target', '')}, training alone."
    )
    return [
        *_dots(topic, "quality", rows, "final validation accuracy, %", 100.0),
        _table(caption, columns, body),
    ]


_QUALITY_FORMATS: Final[tuple[Callable[[float], str], ...]] = (
    format_percent,
    format_duration,
    lambda value: f"{value:.1f}",
    lambda value: f"{value:.0f}",
)


_TEST_WORDS: Final = {
    "test_accuracy_ratio": "unseen",
    "corrupted_test_accuracy_ratio": "corrupted",
    "shifted_test_accuracy_ratio": "shifted and rotated",  # of older records
}


def _augmentation(topic: _Topic) -> list[Block]:
    rows = []
    for metric, words in _TEST_WORDS.items():
        for number, record in enumerate(topic.of(metric)):
            rows.append(
                DotRow(
                    f"{name_of(record.labels['arm'])}, {words}",
                    record.values,
                    SERIES_COLORS[number % len(SERIES_COLORS)],
                )
            )
    corrupted = any(row.label.endswith("corrupted") for row in rows)
    said = " Corrupted: blurred, noisy, faint or partly covered." if corrupted else ""
    figures = _dots(topic, "augmentation", rows, "accuracy on test images, %", 100.0)
    return [*(replace(figure, caption=figure.caption + said) for figure in figures), _pipelines(topic)]


def _architecture(topic: _Topic) -> list[Block]:
    named = [record for record in topic.of("test_accuracy_ratio") if "arm" in record.labels]
    rows = [
        DotRow(name_of(record.labels["arm"]), record.values, SERIES_COLORS[number % len(SERIES_COLORS)])
        for number, record in enumerate(named)
    ]
    return [*_dots(topic, "architecture", rows, "accuracy on test images, %", 100.0)]


def _pipelines(topic: _Topic) -> Table:
    """Show each input pipeline: alone, feeding training and, where it was timed, how long training waits for it."""
    waited = bool(topic.of("input_wait_ratio"))
    body = []
    for record in topic.of("pipeline_examples_per_s"):
        name = record.labels["pipeline"]
        wait = topic.first("input_wait_ratio", pipeline=name)
        body.append(
            (
                name,
                _mean(record, partial(format_quantity, unit="/s")),
                _mean(topic.first("training_examples_per_s", pipeline=name), partial(format_quantity, unit="/s")),
                _mean(topic.first("training_speed_kept_ratio", pipeline=name), partial(format_percent, digits=0)),
                *([_mean(wait, format_percent), _input_bound(wait)] if waited else []),
            )
        )
    columns = ["Input pipeline", "Alone", "Training fed by it", "Speed kept"]
    caption = f"Input pipelines on {topic.title}, examples per second."
    if waited:
        columns += ["Waiting for input", "Input-bound?"]
        caption += (
            " Waiting for input: the share of the training loop in which no batch was ready; input-bound: at least "
            f"{format_percent(WAIT_SHARE, 0)} of it. On a CPU the pipeline takes cores from training, so "
            "that training slows down even when no batch is late."
        )
    return _table(caption, columns, body)


def _input_bound(wait: Observation | None) -> str:
    bound = None if wait is None else is_input_bound(wait)
    return "cannot say" if bound is None else "yes" if bound else "no"


def _tuning(topic: _Topic) -> list[Block]:
    timed = [
        (o.labels["arm"], o.labels["learning_rate"], o.labels["batch_size"], _mean(o, format_duration))
        for o in topic.of("time_to_accuracy_s")
        if {"learning_rate", "batch_size"} <= o.labels.keys()
    ]
    stopping = [
        (name_of(name), *(_mean(topic.first(metric, arm=name), text) for metric, text in _STOPPING_COLUMNS.values()))
        for name in ("all-epochs", "early-stopping")
        if topic.first("epochs", arm=name)
    ]
    caption = f"Early stopping (validation loss, patience 3) on {topic.title}: the same trainings, cut there"
    return [
        *_batch_figure(topic),
        _table(f"Time to the target accuracy on {topic.title}", ("Setting", "Learning rate", "Batch", "Time"), timed),
        _table(caption, ("Stopping", *_STOPPING_COLUMNS), stopping),
    ]


def _batch_figure(topic: _Topic) -> list[Figure]:
    tried = [(o.case.batch_size, o.values[0]) for o in topic.of("probe_throughput_per_s") if o.case is not None]
    probes = [(size, rate) for size, rate in tried if size > 0 and rate > 0]
    largest = topic.first("largest_batch_size")
    if not probes or largest is None or largest.values[0] <= 0:
        return []
    limit = largest.labels["limit"]
    words = f"{format_bytes(int(amount[1]))} of host memory" if (amount := _BYTES.match(limit)) else limit
    caption = (
        f"One training step at each batch size tried on {topic.title}, within {words}; the search ended at "
        f"{largest.values[0]:.0f} after {largest.labels['tries']} real attempts. Single steps: no error bars, and no "
        "verdict rests on them."
    )
    return [
        Figure(
            name=anchor(f"trial-batch-{topic.machine}"),
            build=partial(batch_curve, tuple(sorted(probes)), largest.values[0]),
            alt=f"Throughput by batch size on {topic.title}; the largest that fits is {largest.values[0]:.0f}.",
            caption=caption,
        )
    ]


_BYTES: Final = re.compile(r"([0-9]{1,18})(?:\s|$)")
"""Start of a limit that is an amount; others are words."""

_STOPPING_COLUMNS: Final[dict[str, tuple[str, Callable[[float], str]]]] = {
    "Epochs": ("epochs", lambda value: f"{value:.1f}"),
    "Training time": ("training_s", format_duration),
    "Validation loss": ("validation_loss", lambda value: f"{value:.3f}"),
    "Validation accuracy": ("validation_accuracy_ratio", format_percent),
}


def _deployment(topic: _Topic) -> list[Block]:
    body = [
        (
            name_of(o.labels["format"]),
            f"{max(o.values):.2g}",
            *(_mean(topic.first(metric, format=o.labels["format"]), text) for metric, text in _FORMAT_COLUMNS.values()),
        )
        for o in topic.of("probability_difference")
    ]
    unsafe = topic.first("unsafe_files_loaded")
    loaded = 0.0 if unsafe is None else sum(unsafe.values)
    said = "" if unsafe is None else " Safe mode refused every file that contained code."
    said = f" Safe mode let {loaded:.0f} files load that contained code." if loaded else said
    caption = f"Round trips on {topic.title}, worst change of a probability over seeds.{said}"
    return [_table(caption, ("Format", "Largest change", *_FORMAT_COLUMNS), body), *_latency_figure(topic)]


def _latency_figure(topic: _Topic) -> list[Figure]:
    series = []
    for median in topic.of("latency_p50_s"):
        tail = next((o.values for o in topic.of("latency_p99_s") if o.case == median.case), ())
        if median.case is not None:
            label = f"batch {median.case.batch_size}, {name_of(median.case.precision)}"
            series.append(LatencySeries(label, median.values, tail, precision_color(median.case.precision)))
    if not series:
        return []
    spoken = ", ".join(f"{row.label} {format_duration(min(row.p50_s))}" for row in series)
    caption = (
        f"Latency of one request on {topic.title}, from array in to array out. Filled: median (p50), one mark per "
        "repeat; hollow: p99, one per launch of 300 requests and more."
    )
    return [
        Figure(
            name=anchor(f"trial-latency-{topic.machine}"),
            build=partial(latency, tuple(series)),
            alt=f"Inference latency on {topic.title}, best median: {spoken}.",
            caption=caption,
        )
    ]


_FORMAT_COLUMNS: Final[dict[str, tuple[str, Callable[[float], str]]]] = {
    "Size": ("size_bytes", format_bytes),
    "Save": ("save_s", format_duration),
    "Load": ("load_s", format_duration),
}


def _split_model(topic: _Topic) -> list[Block]:
    difference, share = topic.first("loss_difference_ratio"), topic.first("parameter_share_ratio")
    if difference is None or share is None:
        return []
    logical = difference.labels.get("check") == "functional"
    devices = "logical CPU devices" if logical else "devices"
    held = " and ".join(format_percent(value, 0) for value in share.values)
    text = (
        f"Split over {len(share.values)} {devices}, the model trained {_closeness(max(difference.values))} as on one; "
        f"the devices hold {held} of the parameters."
    )
    text += " This shows that the code works; it says nothing about speed." if logical else ""
    return [Paragraph(text)]


def _closeness(difference: float) -> str:
    return f"to losses within {difference:.1e} of those" if difference else "bit for bit the same"


_PARTS: Final[dict[str, Callable[[_Topic], list[Block]]]] = {
    "equal-quality": _quality,
    "architecture": _architecture,
    "augmentation": _augmentation,
    "tuning": _tuning,
    "deployment": _deployment,
    "model-parallel": _split_model,
}
"""Claim → how its observations are shown."""


def _dots(topic: _Topic, name: str, rows: Sequence[DotRow], axis: str, scale: float) -> list[Figure]:
    """Draw the seeds; nothing where the trial was stopped before any had a figure."""
    if not rows:
        return []
    spoken = "; ".join(f"{row.label} {scale * sum(row.values) / len(row.values):.3g}" for row in rows)
    return [
        Figure(
            name=anchor(f"trial-{name}-{topic.machine}"),
            build=partial(dots, tuple(rows), axis, scale),
            alt=f"{axis} by arm on {topic.title}, means: {spoken}.",
            caption=f"{axis[0].upper()}{axis[1:]}, on {topic.title}. Dot: one seed; bar: 95 % interval of the mean.",
        )
    ]


def _mean(record: Observation | None, text: Callable[[float], str]) -> Cell | str:
    """Return the mean with its interval in small print, or nothing."""
    if record is None or record.estimate is None:
        return ""
    estimate = record.estimate
    if estimate.low is None or estimate.high is None or text(estimate.low) == text(estimate.high):
        return text(estimate.value)
    # A quantity that cannot be negative has no lower bound where the interval says it might be.
    note = f"{text(estimate.low)} to {text(estimate.high)}" if estimate.low > 0 else f"up to {text(estimate.high)}"
    return Cell(text(estimate.value), note=note)


def _table(caption: str, columns: Iterable[str], body: Sequence[tuple[Any, ...]]) -> Table:
    """Make a table without the columns of which no row knows anything."""
    kept = [(number, name) for number, name in enumerate(columns) if not body or any(row[number] != "" for row in body)]
    heads = tuple(Column(name, numeric=number > 0) for number, name in kept)
    rows = tuple(tuple(row[number] for number, _ in kept) for row in body)
    return Table(caption=caption, columns=heads, rows=rows, folded=True)
