"""Machines of one kind are compared where there are three, and a slow one is told so only when it stands out."""

from collections.abc import Sequence
from pathlib import Path

from msgspec import structs

from rtxbench.records import CaseRecord
from rtxbench.report.parts import Context, Paragraph, Table
from rtxbench.report.sections.evidence.spread import spread_section
from rtxbench.results.store import LoadedRun
from tests.synthetic import BIG_GPU, records_of, run_header


def fleet(speeds: Sequence[float], here: int = 0) -> Context:
    """Machines with one RTX 4090 each that ran ResNet-50 in float32, each at its speed, its launches within 0.5 %."""
    template = records_of(run_header(BIG_GPU, "template"), ("resnet50",))
    first = next(r for r in template if isinstance(r, CaseRecord) and r.measurement and r.case.device_count == 1)
    assert first.measurement is not None
    runs = []
    for number, speed in enumerate(speeds):
        environment = structs.replace(BIG_GPU, machine=f"rtx-4090-{number:03d}", gpus=BIG_GPU.gpus[:1])
        run = run_header(environment, f"20260314T090000-{number:03d}")
        figure = structs.replace(
            first.measurement.throughput_per_s, value=speed, low=speed * 0.995, high=speed * 1.005, n=5
        )
        measured = structs.replace(first.measurement, throughput_per_s=figure)
        record = structs.replace(first, run_id=run.run_id, measurement=measured)
        runs.append(LoadedRun(path=Path("x"), run=run, records=(record,), truncated=False))
    return Context(
        runs=tuple(runs), verdicts=(), claims={}, here=f"rtx-4090-{here:03d}",
    )  # fmt: skip


def words(context: Context) -> str:
    section = spread_section(context)
    assert section is not None
    return " ".join(block.text for block in section.blocks if isinstance(block, Paragraph))


def test_two_machines_are_no_spread() -> None:
    """A spread needs three machines of one kind."""
    assert spread_section(fleet([1000, 1010])) is None
    assert spread_section(fleet([1000, 1010, 990])) is not None


def test_ten_machines_give_their_spread_beside_that_of_the_launches() -> None:
    """Machines 1 % apart: the table counts them, ranks the reader's, and holds between- and within-spread."""
    context = fleet([1000 * 1.01**number for number in range(10)], here=9)
    section = spread_section(context)
    assert section is not None
    table = next(block for block in section.blocks if isinstance(block, Table))
    (row,) = table.rows
    assert row[1] == "10"
    assert row[3] == "1.09×"
    assert row[6] == "1 of 10, fastest first"
    assert "between launches" in words(context)


def test_a_slow_machine_is_told_by_how_much_and_sent_to_health() -> None:
    """One machine 15 % below nine like ones: slower than 9 of 9, and the next step is named."""
    text = words(fleet([850, *(1000 + 3 * number for number in range(9))]))
    assert "slower than 9 of 9 others" in text
    assert "0.84×" in text
    assert "`rtxbench health`" in text


def test_the_slowest_of_like_machines_is_not_accused() -> None:
    """Somebody is always last: within the spread of the others nothing is said of it."""
    assert "slower than" not in words(fleet([1000 + 3 * number for number in range(10)]))


def test_other_memory_or_another_card_is_another_kind() -> None:
    """Machines whose cards differ in memory are not put together."""
    context = fleet([1000, 1001, 1002])
    runs = list(context.runs)
    environment = runs[0].run.environment
    gpu = structs.replace(environment.gpus[0], memory_bytes=48 * 2**30)
    runs[0] = runs[0]._replace(run=structs.replace(runs[0].run, environment=structs.replace(environment, gpus=(gpu,))))
    other = Context(
        runs=tuple(runs), verdicts=(), claims={}, here=context.here,
    )  # fmt: skip
    assert spread_section(other) is None
