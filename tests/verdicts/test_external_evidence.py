"""What stands beside a claim about cards: published, predicted and other machines' figures, never in its verdict."""

import json
import math
import statistics
import subprocess
import sys
from pathlib import Path

import pytest
from msgspec.structs import replace

from rtxbench.catalog.published import curated
from rtxbench.errors import UsageError
from rtxbench.records import Case, Environment, Verdict
from rtxbench.report.parts import View
from rtxbench.report.render.html import render_html
from rtxbench.report.render.output import build_context
from rtxbench.report.render.text import render_markdown
from rtxbench.report.sections.evidence.verdicts import verdicts_section
from rtxbench.results.store import LoadedRun, RunWriter
from rtxbench.verdicts.claims import Claim, load_claims
from rtxbench.verdicts.external_evidence import card_figures, statements
from rtxbench.verdicts.judge import judge
from rtxbench.verdicts.listing import claims_text
from tests.judged_runs import case_record, environment, evidence_for, loaded_run

CLAIMS = load_claims()
CARDS = next(claim for claim in CLAIMS if claim.id == "rtx-30-40")
NO_CARD, OTHER_CARD = environment(0), environment(1, "NVIDIA A100-PCIE-40GB")
OWN_CARD = environment(1, "NVIDIA GeForce RTX 3090")


def verdict_on(where: Environment, ratio: float | None) -> Verdict:
    records = [] if ratio is None else evidence_for(CARDS, ratio)
    return next(v for v in judge([loaded_run(records, where)], CLAIMS) if v.claim == CARDS.id and not v.subject)


def test_published_ratios_are_computed_from_the_catalogue() -> None:
    """The RTX 4090 ÷ 3090 statement is the geometric mean and range of the published pairs of one software stack."""
    wanted = CARDS.elsewhere
    assert wanted is not None
    known = {
        (row.card, row.model): row.value
        for row in curated().kept
        if (row.stack, row.precision, row.task, row.device_count)
        == ("pytorch-1.13-ngc-22.10", wanted.precision, "train", 1)
    }
    ratios = [known["GeForce RTX 4090", model] / known["GeForce RTX 3090", model] for model in wanted.models]
    statement = next(s for s in statements(CARDS) if "4090 ÷ GeForce RTX 3090" in s.text)
    assert statement.origin == "published"
    assert statement.value == pytest.approx(statistics.geometric_mean(ratios))
    assert (statement.low, statement.high) == pytest.approx((min(ratios), max(ratios)))
    assert statement.count == len(ratios)
    assert statement.sources


def test_every_statement_has_its_kind_and_predictions_have_ranges() -> None:
    """Published before predicted, no measured one without a machine; what is predicted names its range or its basis."""
    found = statements(CARDS)
    assert [s.origin for s in found] == sorted((s.origin for s in found), reverse=True)
    throughput = [s for s in found if s.origin == "predicted" and "ranges" in s.text]
    memory = [s for s in found if "memory computed from the models' dimensions" in s.text]
    assert len(throughput) == 1
    assert len(throughput) + len(memory) == sum(s.origin == "predicted" for s in found)
    assert throughput[0].low < throughput[0].high  # type: ignore[operator]


def test_what_fits_follows_the_memory() -> None:
    """A 7B model's LoRA fits in 24 GB, not in 12 GB; its full fine-tuning in neither."""
    by_size = {int(s.text.split()[0]): s.text for s in statements(CARDS) if "memory computed" in s.text}
    fits = {size: text.partition("fits ")[2].partition(";")[0] for size, text in by_size.items()}
    assert "Llama 2 7B with LoRA" in fits[24]
    assert "Llama 2 7B with LoRA" not in fits[12]
    assert not any("Llama 2 7B in full" in text for text in fits.values())


def test_a_card_is_published_or_predicted_or_refused_with_a_reason() -> None:
    """No card of the claim is left out, and none has a figure of an unknown kind."""
    wanted = CARDS.elsewhere
    assert wanted is not None
    unit, figures = card_figures(wanted)
    assert unit == "sequences"
    by_name = {figure.card.name: figure for figure in figures}
    assert by_name["GeForce RTX 4090"].origin == "published"
    assert by_name["GeForce RTX 4080"].origin == "predicted"
    assert by_name["GeForce RTX 4080"].low_per_s is not None
    assert all(figure.origin is not None or figure.why for figure in figures)
    assert by_name["GeForce RTX 3050 6GB"].throughput_per_s is None
    assert "does not fit" in by_name["GeForce RTX 3050 6GB"].why


@pytest.mark.parametrize("where", [NO_CARD, OTHER_CARD])
def test_published_figures_do_not_measure_a_machine_without_the_card(where: Environment) -> None:
    """Without the card the claim stays not-measured whatever is published, and the text says which kind it quotes."""
    verdict = verdict_on(where, 1.2)
    assert verdict.state == "not-measured"
    assert verdict.evidence == ()
    assert verdict.estimate is None
    (note,) = verdict.notes
    assert note.kind == "published"
    assert "Published (not measured on this machine, and no part of the verdict)" in note.text
    assert note.links
    assert "Published" not in verdict.explanation


@pytest.mark.parametrize(("ratio", "state"), [(1.2, "supported"), (0.8, "refuted")])
def test_a_machine_with_the_card_is_judged_by_its_own_figures(ratio: float, state: str) -> None:
    """Measured evidence decides both ways, and the verdict says that it stands on it alone."""
    verdict = verdict_on(OWN_CARD, ratio)
    assert verdict.state == state
    (note,) = verdict.notes
    assert note.kind == "own-figures"
    assert "stands on figures measured on this machine" in note.text


def test_a_measured_card_joins_as_measured() -> None:
    """An RTX 3090 among the results speaks beside the published figures; a datacentre card and a CPU do not."""
    case = Case(workload="bert-base", batch_size=32, placement="gpu", precision="mixed_float16")
    on_cpu = replace(case, placement="cpu", precision="float32")
    runs = [
        loaded_run([case_record(case), case_record(on_cpu)], OWN_CARD),
        loaded_run([case_record(case)], replace(OTHER_CARD, machine="otherbox")),
    ]
    measured = [s for s in statements(CARDS, runs) if s.origin == "measured"]
    assert [(s.text.partition(":")[0], s.value) for s in measured] == [("NVIDIA GeForce RTX 3090", 32.0)]
    assert statements(CARDS)[0].origin == "published"


@pytest.mark.parametrize(
    ("changes", "words"),
    [
        ({"compare": (("GeForce RTX 4091", "GeForce RTX 3090"),)}, "4091"),
        ({"models": ("bert_huge",)}, "bert_huge"),
        ({"memory_models": ("llama-9:lora",)}, "llama-9"),
    ],
)
def test_a_name_that_does_not_exist_is_told(changes: dict[str, object], words: str) -> None:
    """A misspelt card or model in a claims file is a usage error, never an empty table."""
    assert CARDS.elsewhere is not None
    with pytest.raises(UsageError, match=words):
        statements(replace(CARDS, elsewhere=replace(CARDS.elsewhere, **changes)))


def test_claims_without_cards_say_nothing() -> None:
    """Only a claim that asks for it looks beyond its machine."""
    assert all(statements(claim) == () for claim in CLAIMS if claim is not CARDS)


def context_runs() -> list[LoadedRun]:
    return [loaded_run([case_record(Case(workload="mlp", batch_size=32))], NO_CARD)]


def card_claims() -> list[Claim]:
    return [CARDS]


def test_the_report_shows_each_statement_under_its_kind() -> None:
    """Page and Markdown list the statements beside the verdict, each with its badge."""
    context = build_context(context_runs(), card_claims())
    section = verdicts_section(context)
    assert section is not None
    page = render_html(context, [View(id="v", title="v", sections=(section,))], {}, ())
    text = render_markdown("t", [View(id="v", title="v", sections=(section,))], "figures")
    for statement in statements(CARDS):
        assert f'<span class="origin {statement.origin}">' in page
        assert f"- *({statement.origin})* " in text
    assert page.count("Known elsewhere, no part of the verdict") == 1
    assert math.isclose(float(text.partition("RTX 3090: ")[2].partition("×")[0]), 1.80, abs_tol=0.05)


def test_the_command_lists_what_is_known_elsewhere(tmp_path: Path) -> None:
    """`rtxbench claims rtx-30-40` and its JSON hold every statement with its kind; the short list does not."""
    run = context_runs()[0]
    with RunWriter(tmp_path, run.run) as writer:
        for record in run.records:
            writer.append(record)
    base = [sys.executable, "-c", "from rtxbench.cli import main; main()", "claims"]
    told = subprocess.run([*base, "rtx-30-40"], capture_output=True, text=True, check=True).stdout
    assert "known elsewhere, no part of any verdict:" in told
    assert "published: GeForce RTX 4090" in told
    shown = subprocess.run([*base, "--json", "--results", str(tmp_path)], capture_output=True, text=True, check=True)
    document = json.loads(shown.stdout)
    assert list(document["elsewhere"]) == ["rtx-30-40"]
    assert {row["origin"] for row in document["elsewhere"]["rtx-30-40"]} == {"published", "predicted"}
    assert "known elsewhere" not in claims_text(CLAIMS)
