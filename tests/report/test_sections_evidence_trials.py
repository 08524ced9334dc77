import re

import pytest
from matplotlib.text import Text

from rtxbench.records import Observation
from rtxbench.report.drawing.style import theme
from rtxbench.report.parts import Figure, Subheading, Table
from rtxbench.report.render.output import build_context
from rtxbench.report.sections.cards.published_cards import published_section
from rtxbench.report.sections.evidence.trials import claims_section
from rtxbench.stats import launch_estimate
from rtxbench.trials.table import TRIALS
from rtxbench.verdicts.claims import load_claims
from tests.judged_runs import environment, loaded_run
from tests.trials.test_table import answer, context


def section_of(*topics: str):  # type: ignore[no-untyped-def]
    """The section of a run that measured these trials with the made-up worker."""
    records = []
    for topic in topics:
        found = context(answer)
        TRIALS[topic](found)
        records += found.records
    return claims_section(build_context([loaded_run(records, environment())], load_claims()))


def test_nothing_measured_is_no_section() -> None:
    """A report without trials has no empty section."""
    assert claims_section(build_context([loaded_run([], environment())], load_claims())) is None


@pytest.mark.parametrize("topic", sorted(TRIALS))
def test_every_trial_is_shown_under_its_claim(topic: str) -> None:
    """Each trial has a heading and what was seen; claim and command stand in the verdict's card."""
    section = section_of(topic)
    claim = next(claim for claim in load_claims() if claim.id == topic)
    assert Subheading(claim.title) in section.blocks
    shown = [block for block in section.blocks if isinstance(block, Table | Figure)]
    assert shown or topic == "model-parallel"


@pytest.mark.parametrize("topic", sorted(TRIALS))
def test_a_trial_that_lacks_a_metric_is_shown_as_far_as_it_came(topic: str) -> None:
    """Whichever quantity a stopped trial or a stranger's lacks, the section is made and its figures draw."""
    found = context(answer)
    TRIALS[topic](found)
    for metric in {record.metric for record in found.records if isinstance(record, Observation)}:
        kept = [one for one in found.records if not isinstance(one, Observation) or one.metric != metric]
        section = claims_section(build_context([loaded_run(kept, environment())], load_claims()))
        for block in section.blocks if section else ():
            if isinstance(block, Figure):
                with theme():
                    block.build()


def test_a_missing_figure_has_its_reason_on_the_page() -> None:
    """What a trial could not measure is said, not left out."""
    section = section_of("deployment", "augmentation", "equal-quality")
    (table,) = (block for block in section.blocks if isinstance(block, Table) and block.columns[-1].title == "Why")
    said = " ".join(f"{what}: {why}" for _question, what, why in table.rows)
    assert "ONNX: ImportError: none" in said
    assert "scipy is missing" in said
    assert "TF32" in said


def test_a_slow_pipeline_is_called_input_bound_only_when_certain() -> None:
    """Half the loop spent waiting in both repeats is input-bound, as the verdict says it; three per cent is not."""
    section = section_of("augmentation")
    table = next(block for block in section.blocks if isinstance(block, Table))
    assert {str(row[0]): row[-1] for row in table.rows} == {"no augmentation": "no", "Keras layers in tf.data": "yes"}


def test_the_wait_for_input_is_shown_where_it_was_timed() -> None:
    """A share of the loop per pipeline, with its interval; without such a record the table has no such column."""

    def shown(*extra: Observation) -> Table:
        found = context(answer)
        TRIALS["augmentation"](found)
        records = [*(r for r in found.records if getattr(r, "metric", "") != "input_wait_ratio"), *extra]
        section = claims_section(build_context([loaded_run(records, environment())], load_claims()))
        return next(block for block in section.blocks if isinstance(block, Table))

    wait = Observation(
        record_id="wait",
        run_id="run",
        topic="augmentation",
        metric="input_wait_ratio",
        values=(0.40, 0.42),
        replicate="repeat",
        finished_at="2026-01-01T00:00:00+00:00",
        labels={"pipeline": "Keras layers in tf.data"},
        estimate=launch_estimate((0.40, 0.42)),
    )
    table = shown(wait)
    column = [head.title for head in table.columns].index("Waiting for input")
    cells = {str(row[0]): row[column] for row in table.rows}
    assert cells["no augmentation"] == ""
    assert cells["Keras layers in tf.data"].text == "41.0 %"
    assert "28.3 % to 53.7 %" in cells["Keras layers in tf.data"].note
    assert not {"Waiting for input", "Input-bound?"} & {head.title for head in shown().columns}


def test_every_figure_has_axes_in_words_and_units() -> None:
    """Each figure draws, names its quantity on the axis, and describes itself to one who cannot see it."""
    figures = section_of(*TRIALS).figures
    assert len(figures) == 5
    for figure in figures:
        with theme():
            texts = [text.get_text() for text in figure.build().findobj(Text)]
        assert any(re.search(r"accuracy.*, %|, ms |batch size", text) for text in texts)
        assert figure.alt
        assert figure.caption.endswith(".")


def test_published_figures_are_marked_and_beside_the_verdict() -> None:
    """Every figure in the tables of RTX 30 and 40 cards carries the mark of where it comes from."""
    section = published_section(build_context([loaded_run([], environment())], load_claims()))
    assert section is not None
    cards, memory, published = [block for block in section.blocks if isinstance(block, Table)]
    assert len(published.rows) > 10
    assert all(row[-1].origin == "published" for row in published.rows)
    assert all(str(row[0]).startswith(("GeForce RTX 30", "GeForce RTX 40")) for row in published.rows)
    known = [row[1] for row in cards.rows if row[1]]
    assert {cell.origin for cell in known} == {"published", "predicted"}
    assert all(" to " in cell.note for cell in known if cell.origin == "predicted")
    assert all(row[2] for row in cards.rows)
    assert all(cell.origin == "predicted" for row in memory.rows for cell in row[1:] if cell)
