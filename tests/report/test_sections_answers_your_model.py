"""What the report says of a user's own model, from records alone."""

from pathlib import Path

import pytest
from msgspec.structs import replace

from rtxbench.diagnosis.facts import Diagnoser
from rtxbench.own.first_steps import largest_difference
from rtxbench.records import Case, Record
from rtxbench.report.parts import Context, Paragraph, Table
from rtxbench.report.sections.answers.your_model import findings, own_results, your_model_section
from rtxbench.results.store import LoadedRun
from tests.report.test_sections_appendix_engines import RUN, measured, observed, ratio

PLAIN = Case(workload="model:train.build@1a2b3c4d", batch_size=8, engine="torch")
HALF = replace(PLAIN, precision="mixed_bfloat16")
COMPILED = replace(PLAIN, compiler="inductor")


def run_of(*records: Record) -> LoadedRun:
    return LoadedRun(RUN, records, Path("run.jsonl"), truncated=False)


def said(*records: Record) -> str:
    run = run_of(*records)
    return "\n".join(text for found in own_results([run]).values() for text in findings(found, Diagnoser([run])))


def test_a_gain_is_said_with_its_interval() -> None:
    """Faster, slower and no difference are three words."""
    cases = measured(PLAIN, 10.0), measured(HALF, 15.0)
    assert "Bfloat16 instead of float32: 1.50× [1.47, 1.53], faster." in said(*cases, ratio(PLAIN, HALF, 1.5))
    assert "slower." in said(*cases, ratio(PLAIN, HALF, 0.7))
    assert "no difference" in said(*cases, ratio(PLAIN, HALF, 1.01))


def test_logical_devices_of_one_processor_are_no_gain() -> None:
    """That it trains is said, and no speed: nothing is faster on parts of one CPU."""
    many = replace(PLAIN, placement="ddp-logical", device_count=2)
    text = said(measured(PLAIN, 10.0), measured(many, 86.0), ratio(PLAIN, many, 8.6))
    assert "it trains. All of them are one processor, so its speed says nothing." in text
    assert "8.6" not in text


def test_compiling_pays_after_so_many_steps() -> None:
    """The time it takes, over the time a step saves."""
    slow, fast = measured(PLAIN, 1.0), measured(COMPILED, 2.0)
    assert slow.measurement is not None
    assert fast.measurement is not None
    launch = replace(fast.measurement.launches[0], first_step_s=22.5)
    fast = replace(fast, measurement=replace(fast.measurement, launches=(launch,)))
    text = said(slow, fast, ratio(PLAIN, COMPILED, 2.0))
    assert "pays after 40 steps" in text  # 22.5 s - 2.5 s of first step, over half a second a step
    assert "does not pay" in said(slow, fast, ratio(PLAIN, COMPILED, 0.9))


def test_losses_are_held_against_float32() -> None:
    """A precision that trains something else is named beside its speed."""
    cases = measured(PLAIN, 10.0), measured(HALF, 15.0)
    plain = replace(observed("your-model", "first_loss", 2.0, PLAIN), values=(2.0, 1.9))
    alike = replace(observed("your-model", "first_loss", 2.0, HALF), values=(2.0, 1.88))
    apart = replace(alike, values=(2.0, 2.6))
    assert "differ from those of float32 by 1.0 % at most; it trains alike" in said(*cases, plain, alike)
    assert "look at it before you trust its speed" in said(*cases, plain, apart)
    skipped = replace(
        cases[0], case=replace(PLAIN, precision="tf32"), status="skipped", measurement=None, reason="a CPU."
    )
    assert "it trains alike" in said(skipped, *cases, plain, alike)  # what could not run is nobody's reference


def test_the_largest_batch_and_what_it_needs_are_said() -> None:
    """Found where memory ended; where the search's time did, it is a lower bound and said as one."""
    labels = {"ended": "memory", "peak_bytes": "2e9", "limit_bytes": "24e9"}
    found = replace(observed("your-model", "largest_batch_size", 96.0, PLAIN), labels=labels)
    text = said(measured(PLAIN, 10.0), found)
    assert "float32: the largest batch that trains is 96, which needs 1.86 GiB of 22.4 GiB free." in text
    late = replace(found, labels={"ended": "time"})
    text = said(measured(PLAIN, 10.0), late)
    assert "a batch of 96 trains; larger ones were not tried (the search's time was up)." in text


def test_a_resumed_run_completes_an_earlier_one() -> None:
    """Of one question the later answer counts; what only the earlier one asked still stands."""
    earlier = run_of(measured(PLAIN, 10.0), measured(HALF, 15.0), ratio(PLAIN, HALF, 1.5))
    later = run_of(measured(PLAIN, 11.0), measured(COMPILED, 22.0), ratio(PLAIN, COMPILED, 2.0))
    (results,) = own_results([earlier, later]).values()
    assert {record.case for record in results.cases} == {PLAIN, HALF, COMPILED}
    assert len(results.ratios) == 2


def test_a_leak_and_a_failure_are_sentences() -> None:
    """What a reader must act on stands in words, not in a code."""
    failed = replace(measured(HALF, 1.0), status="failed", measurement=None, reason="the loss became nan.")
    text = said(measured(PLAIN, 10.0), failed, observed("your-model", "leak_bytes", 4e6, PLAIN))
    assert "every step leaves" in text
    assert "bfloat16 was not measured: the loss became nan." in text


def test_the_section_stands_only_where_such_a_model_was_measured() -> None:
    """A report of the suite alone has no empty page."""

    def context(run: LoadedRun) -> Context:
        return Context(runs=(run,), verdicts=(), claims={})

    section = your_model_section(context(run_of(measured(PLAIN, 10.0))))
    assert section is not None
    assert any(isinstance(block, Table) for block in section.blocks)
    assert not any(isinstance(block, Paragraph) and "nan" in block.text for block in section.blocks)
    assert your_model_section(context(run_of(measured(Case(workload="mlp", batch_size=1), 1.0)))) is None


def test_the_difference_is_relative_to_the_largest_loss() -> None:
    """A loss near its end, close to zero, does not blow a difference up."""
    assert largest_difference((2.0, 0.001), (2.0, 0.002)) == pytest.approx(0.0005)
