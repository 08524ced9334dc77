"""The first screen answers in words, advises from records alone, and links to its evidence."""

from dataclasses import replace

import pytest
from msgspec import structs

from rtxbench.diagnosis.health import health_of, health_sentence
from rtxbench.records import Estimate, RatioRecord
from rtxbench.report.parts import Answers, Context, Intervals, Paragraph, Todos
from rtxbench.report.render.html import render_html
from rtxbench.report.render.output import make_views
from rtxbench.report.sections.answers.summary import answer_word, answers_section, card_id, tally_sentence
from rtxbench.report.sections.answers.todo import todos_of
from rtxbench.report.sections.evidence.ratios import ratios_section
from rtxbench.results.made_here import ELSEWHERE
from tests.synthetic import BIG_GPU, CPU_ONLY, write_results
from tests.synthetic_report import context_of


@pytest.fixture(scope="module")
def context(tmp_path_factory: pytest.TempPathFactory) -> Context:
    return context_of(write_results(tmp_path_factory.mktemp("results"), (BIG_GPU, CPU_ONLY), traces=False))


def with_ratio(context: Context, low: float, high: float) -> Context:
    """The GPU machine's float16 ratios, all with this interval."""
    estimate = Estimate(value=(low * high) ** 0.5, low=low, high=high, n=5)
    run = next(loaded for loaded in context.runs if loaded.run.environment.machine == BIG_GPU.machine)
    records = tuple(structs.replace(r, ratio=estimate) if isinstance(r, RatioRecord) else r for r in run.records)
    return replace(context, runs=(run._replace(records=records),))


def texts(context: Context) -> list[str]:
    """What the GPU machine is told to do."""
    return [todo.text for todo in todos_of(context, BIG_GPU.machine)]


def test_every_question_has_one_line_and_leads_to_its_evidence(context: Context) -> None:
    """Each claim judged on the machine stands in exactly one line, whose link is a card on the page."""
    context = replace(context, here=BIG_GPU.machine)
    rows = next(block for block in answers_section(context).blocks if isinstance(block, Answers)).rows
    wholes = [v for v in context.verdicts if not v.subject and v.machine == BIG_GPU.machine]
    titles = "; ".join(row.question for row in rows)
    assert all(context.claims[verdict.claim].title in titles for verdict in wholes)
    assert {row.target for row in rows} <= {card_id(v.claim, v.machine) for v in wholes}
    page = render_html(context, make_views(context, ()), {}, ())
    assert BIG_GPU.gpus[0].name.removeprefix("NVIDIA ") in page


def test_a_leaning_is_said_as_one(context: Context) -> None:
    """An open verdict that leans is `likely`, never a plain yes or no."""
    verdict = structs.replace(context.verdicts[0], state="inconclusive", leaning="likely-no")
    assert answer_word(verdict) == "Likely no"
    assert answer_word(structs.replace(verdict, leaning=None)) == "Cannot tell"


def test_the_advice_follows_the_records(context: Context) -> None:
    """Faster in every model: train in it; slower: train in float32; unclear: no word of precision."""
    assert "Train in float16" in texts(with_ratio(context, 1.5, 1.6))
    assert "Train in float32" in texts(with_ratio(context, 0.5, 0.6))
    assert not [text for text in texts(with_ratio(context, 0.9, 1.1)) if text.startswith("Train in")]
    assert len(texts(with_ratio(context, 1.5, 1.6))) <= 5


def test_advice_leads_to_a_place_on_the_page(context: Context) -> None:
    """The anchor of each advice on precision exists among the comparisons."""
    context = replace(context, here=BIG_GPU.machine)
    section = ratios_section(context)
    assert section is not None
    charts = [block for block in section.blocks if isinstance(block, Intervals)]
    ids = [group.id for chart in charts for group in chart.groups if group.id]
    assert "precision" in ids
    assert len(set(ids)) == len(ids)


def test_results_of_another_machine_say_so_first(context: Context) -> None:
    """A newcomer without records is told that what stands here is not theirs."""
    blocks = answers_section(replace(context, foreign=True)).blocks
    assert isinstance(blocks[0], Paragraph)
    assert "None of these results is of the machine you are on" in blocks[0].text
    assert not [b for b in answers_section(context).blocks if isinstance(b, Paragraph) and b.tone == "caution"]


def test_files_that_only_bear_this_machines_name_are_named(context: Context) -> None:
    """The first screen says which files were not measured here, and their machine's title tells it apart."""
    stranger = context.runs[0]
    environment = structs.replace(stranger.run.environment, machine=f"{BIG_GPU.machine}{ELSEWHERE}")
    renamed = stranger._replace(run=structs.replace(stranger.run, environment=environment))
    mixed = replace(context, runs=(*context.runs, renamed), here=BIG_GPU.machine)
    (caution,) = (b.text for b in answers_section(mixed).blocks if isinstance(b, Paragraph) and b.tone == "caution")
    assert "not measured here (1): " + stranger.path.name in caution
    assert "measured elsewhere" in mixed.titles[environment.machine]
    assert "measured elsewhere" not in mixed.titles[BIG_GPU.machine]


def test_the_readers_machine_comes_first_and_alone_on_the_first_screen(context: Context) -> None:
    """The sentence to quote is about the reader's machine, whichever stands first in the files."""
    for machine in (BIG_GPU, CPU_ONLY):
        sentence = tally_sentence(replace(context, here=machine.machine))
        name = machine.gpus[0].name if machine.gpus else machine.cpu.name
        assert name in sentence
    assert any(isinstance(block, Todos) for block in answers_section(with_ratio(context, 1.5, 1.6)).blocks)


def test_a_power_limit_below_the_cards_own_is_low() -> None:
    """Health compares the limit with the catalogue's and names the command that raises it."""
    gpu = structs.replace(BIG_GPU.gpus[0], name="NVIDIA GeForce RTX 4090", memory_bytes=24 * 2**30)
    found = {
        watts: health_of(structs.replace(BIG_GPU, gpus=(structs.replace(gpu, power_limit_w=watts),)), ())
        for watts in (450.0, 300.0)
    }
    states = {watts: next(f for f in findings if f.subject == "Power limit") for watts, findings in found.items()}
    assert states[450.0].state == "ok"
    assert states[300.0].state == "low"
    assert "nvidia-smi -pl 450" in states[300.0].next_step
    assert health_sentence(found[300.0]).startswith("Not as fast as it should be: Power limit")
