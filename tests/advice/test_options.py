import json
from collections.abc import Callable
from pathlib import Path

import msgspec
import pytest
from typer.testing import CliRunner

from rtxbench.advice.options import advise
from rtxbench.advice.prediction.forecast import Forecaster
from rtxbench.advice.question import Advice, Option, Question, rank_options
from rtxbench.advice.text import advice_json, advice_text
from rtxbench.catalog.cards import load_cards
from rtxbench.catalog.prices import load_prices
from rtxbench.catalog.published import curated
from rtxbench.cli import app
from rtxbench.errors import UsageError
from rtxbench.store import LoadedRun, load_results
from tests.synthetic import write_results

CARDS = load_cards()
ROWS = curated().kept
NEWEST = "pytorch-1.13-ngc-22.10"
Ask = Callable[..., Advice]


@pytest.fixture(scope="module")
def ask() -> Ask:
    forecaster = Forecaster(ROWS, CARDS)

    def asked(workload: str = "bert-base", *, runs: tuple[LoadedRun, ...] = (), **changes: object) -> Advice:
        question = msgspec.convert({"workload": workload, **changes}, Question)
        return advise(question, CARDS, ROWS, load_prices(None, CARDS), runs, forecaster)

    return asked


@pytest.fixture(scope="module")
def runs(tmp_path_factory: pytest.TempPathFactory) -> tuple[LoadedRun, ...]:
    folder = tmp_path_factory.mktemp("results")
    write_results(folder)
    return tuple(load_results([folder]))


def named(advice: Advice, name: str) -> Option:
    return next(option for option in advice.options if option.name == name)


def test_published_and_predicted_are_kept_apart(ask: Ask) -> None:
    """A published card carries its source and no made-up range; a predicted one a range and its anchors."""
    advice = ask(cards=["4090", "4070"])
    published, predicted = named(advice, "GeForce RTX 4090"), named(advice, "GeForce RTX 4070")
    assert advice.basis == NEWEST
    assert (published.origin, published.low_per_s) == ("published", None)
    assert published.throughput_per_s == pytest.approx(297.0)
    assert published.sources
    assert predicted.origin == "predicted"
    assert predicted.low_per_s is not None
    assert predicted.high_per_s is not None
    assert predicted.low_per_s < (predicted.throughput_per_s or 0) < predicted.high_per_s
    assert any("predicted from GeForce RTX 3090 and GeForce RTX 4090" in why for why in predicted.why)
    assert any("only Ada Lovelace card" in why for why in predicted.why)


def test_one_stack_only(ask: Ask) -> None:
    """No ranked figure comes from another stack than the basis, though others are published."""
    advice = ask("resnet50", cards=["3070", "3080 10gb", "3090", "4090"])
    assert {option.stack for option in advice.options if option.rank} == {NEWEST}
    assert named(advice, "GeForce RTX 3070").origin == "predicted"
    older = ask("resnet50", cards=["3070", "3090"], stack="pytorch-ngc-20.10")
    assert named(older, "GeForce RTX 3070").origin == "published"


def test_what_cannot_be_said_is_said(ask: Ask) -> None:
    """Blackwell cards are listed with the reason and no number."""
    option = named(ask(cards=["5080", "4080"]), "GeForce RTX 5080")
    assert option.rank is None
    assert option.throughput_per_s is None
    assert option.cannot_say == "no Blackwell GeForce card was ever there to check a prediction on"


@pytest.mark.parametrize(
    ("workload", "precision", "says"),
    [
        ("bert-base", "mixed_bfloat16", "only in float32, mixed_float16, tf32"),
        ("mlp", "mixed_float16", "nothing is published of training mlp"),
    ],
)
def test_no_published_figure_at_all(ask: Ask, workload: str, precision: str, says: str) -> None:
    """Where nothing is published, the advice names what is and how to measure; nothing is ranked."""
    advice = ask(workload, precision=precision, cards=["4090"])
    assert advice.basis is None
    assert says in advice.basis_note
    assert [option.rank for option in advice.options] == [None]


def test_budget_excludes_with_the_price(ask: Ask) -> None:
    """Over budget is out of the running, and the price is told."""
    advice = ask(budget=1000, cards=["4090", "4070"])
    assert advice.ranked_by == "throughput"
    assert named(advice, "GeForce RTX 4090").excluded == "over budget: 1,599 USD"
    assert named(advice, "GeForce RTX 4070").rank == 1


def test_memory_excludes_what_does_not_fit(ask: Ask) -> None:
    """A model that does not fit takes the card out; a tight one stays and says so."""
    advice = ask(cards=["4060", "4090"], memory_model="llama-2-7b:lora", tokens=512)
    small, large = named(advice, "GeForce RTX 4060"), named(advice, "GeForce RTX 4090")
    assert small.memory is not None
    assert small.memory.state == "no"
    assert small.excluded is not None
    assert "at least 14" in small.excluded
    assert large.memory is not None
    assert large.memory.state == "fits"
    tight = named(ask(cards=["4060"], memory_model="llama-2-7b:qlora"), "GeForce RTX 4060")
    assert any("is tight" in why for why in tight.why)


def test_two_cards_only_where_published(ask: Ask) -> None:
    """Two 4090 are listed with the published efficiency and the missing NVLink; two 4070 are not listed."""
    advice = ask(cards=["4090", "4070"])
    pair = named(advice, "2× GeForce RTX 4090")
    assert pair.price is not None
    assert pair.price.amount == 2 * 1599
    assert any("91% of twice one (no NVLink)" in why for why in pair.why)
    assert any("no NVLink" in note for note in advice.notes)
    assert not [option for option in advice.options if option.name == "2× GeForce RTX 4070"]
    assert not [option for option in ask(cards=["4090"], max_devices=1).options if option.devices > 1]


def test_a_batch_nobody_published_is_told(ask: Ask) -> None:
    """Asked for another batch than the published one, the published figure says so and the predicted one uses it."""
    advice = ask(cards=["4090", "4070"], batch_size=16)
    assert "nobody published batch 16" in named(advice, "GeForce RTX 4090").why
    assert named(advice, "GeForce RTX 4070").batch_size == 16


@pytest.mark.parametrize("rank_by", ["throughput", "value", "cost", "energy"])
def test_ranks_follow_the_figure(ask: Ask, rank_by: str) -> None:
    """Ranks are 1..n in the order of the figure ranked by."""
    field, sign = {
        "throughput": ("throughput_per_s", -1),
        "value": ("throughput_per_price", -1),
        "cost": ("cost_per_million", 1),
        "energy": ("energy_per_example_j", 1),
    }[rank_by]
    ranked = [option for option in ask(rank_by=rank_by).options if option.rank]
    figures = [sign * getattr(option, field) for option in ranked]
    assert [option.rank for option in ranked] == list(range(1, len(ranked) + 1))
    assert figures == sorted(figures)


def test_neighbours_with_overlapping_ranges_say_so() -> None:
    """Two predictions whose ranges overlap are not told apart; two that do not overlap are."""
    base = Option(name="a", card="a", origin="predicted", throughput_per_s=100.0, low_per_s=80.0, high_per_s=125.0)
    near = msgspec.structs.replace(base, name="b", throughput_per_s=90.0, low_per_s=70.0, high_per_s=115.0)
    far = msgspec.structs.replace(base, name="c", throughput_per_s=30.0, low_per_s=25.0, high_per_s=36.0)
    first, second, third = rank_options([far, near, base], "throughput")
    assert (first.why, third.why) == ((), ())
    assert second.why == ("its range overlaps that of a: the two cannot be told apart",)


def test_own_machine_joins_as_a_row_of_its_own(ask: Ask, runs: tuple[LoadedRun, ...]) -> None:
    """Measured machines are rows without a rank, with the reason; a laptop GPU is no desktop card."""
    advice = ask("resnet50", runs=runs, cards=["4090", "3060 12gb"])
    owned = {option.name: option for option in advice.options if option.owned}
    assert set(owned) == {
        "NVIDIA GeForce RTX 4090 (yours)",
        "NVIDIA GeForce RTX 3060 Laptop GPU (yours)",
        "Intel Xeon Platinum 8481C (yours)",
    }
    assert owned["NVIDIA GeForce RTX 4090 (yours)"].card == "GeForce RTX 4090"
    assert owned["NVIDIA GeForce RTX 3060 Laptop GPU (yours)"].card is None
    assert all(option.rank is None and option.origin == "measured" for option in owned.values())
    assert any("another software stack" in why for why in owned["NVIDIA GeForce RTX 4090 (yours)"].why)
    assert any("never ran mixed_float16" in why for why in owned["Intel Xeon Platinum 8481C (yours)"].why)


def test_other_work_is_not_compared(ask: Ask, runs: tuple[LoadedRun, ...]) -> None:
    """BERT at 128 tokens measured here is not the published BERT at 384: it is marked as not comparable."""
    owned = [option for option in ask("bert-base", runs=runs).options if option.owned]
    assert owned
    assert not any(option.comparable for option in owned)
    assert all(any("128 tokens an example against 384" in why for why in option.why) for option in owned)


def test_own_measurement_as_the_basis(ask: Ask, runs: tuple[LoadedRun, ...]) -> None:
    """``--stack own`` predicts other cards from one's own, and another card like it gets what one's own gave."""
    advice = ask("resnet50", runs=runs, stack="own", cards=["4090", "3090", "a6000"])
    same, other = named(advice, "GeForce RTX 4090"), named(advice, "GeForce RTX 3090")
    mine = named(advice, "NVIDIA GeForce RTX 4090 (yours)")
    assert (same.origin, same.throughput_per_s) == ("measured", mine.throughput_per_s)
    assert other.origin == "predicted"
    assert (other.throughput_per_s or 0) < (same.throughput_per_s or 0)
    refused = named(advice, "RTX A6000")
    assert refused.cannot_say is not None
    assert "classes do not transfer" in refused.cannot_say


def test_break_even_is_between_the_best_and_others(ask: Ask) -> None:
    """Every break-even names a cheaper and a dearer option, and each count is positive or none."""
    pairs = ask(rank_by="throughput", cards=["4090", "4080", "4070", "3090"], max_devices=1).break_even
    assert {pair.dearer for pair in pairs} == {"GeForce RTX 4090"}
    assert any(pair.examples is not None and pair.examples > 0 for pair in pairs)


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"workload": "resnet-50"}, "Did you mean resnet50"),
        ({"precision": "fp16"}, "unknown precision"),
        ({"cards": ["4075"]}, "Did you mean GeForce RTX 4070"),
        ({"budget": 100}, r"below every card asked about\. The cheapest is GeForce RTX 3050 6GB at 169 USD"),
        ({"budget": -5}, "buys nothing"),
        ({"rank_by": "beauty"}, "unknown ranking"),
        ({"stack": "nowhere"}, "Stacks that have one: pytorch-ngc-20.10"),
        ({"memory_model": "lama-2-7b"}, "llama-2-7b"),
        ({"memory_model": "llama-2-7b:magic"}, "unknown method"),
        ({"assumptions": {"hours_per_day": 30}}, "hours_per_day is 30"),
    ],
)
def test_bad_questions_are_answered(ask: Ask, changes: dict[str, object], message: str) -> None:
    """Each impossible question gets an error that says what to ask instead."""
    with pytest.raises(UsageError, match=message):
        ask(**changes)


def test_text_says_everything(ask: Ask) -> None:
    """The text names stack, assumptions, kinds of figure, what is not ranked and why; brackets survive."""
    text = advice_text(ask(budget=900, memory_model="llama-2-7b:qlora"), width=150)
    for words in (
        "ranked by throughput",
        "Stands on: " + NEWEST,
        "predicted",
        "electricity 0.3 USD/kWh, 4 hours a day, 3 years, resale at 30%",
        "over budget",
        "cannot say: no Blackwell",
        "[recalled, not re-read",
    ):
        assert words in text, words


def test_json_is_plain_data(ask: Ask) -> None:
    """The JSON holds the same options; unknown is null."""
    document = json.loads(advice_json(ask(cards=["4090", "5080"])))
    assert [option["card"] for option in document["options"]][:1] == ["GeForce RTX 4090"]
    assert document["options"][-1]["throughput_per_s"] is None
    assert document["question"]["assumptions"]["hours_per_day"] == 4.0
    assert document["options"][0]["price"]["currency"] == "USD"


def test_command_line(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """``rtxbench advise`` finds prices.toml and results/ in the current folder and prints the currency."""
    monkeypatch.chdir(tmp_path)
    price = '[[price]]\ncard = "4090"\nprice = 1700\ncurrency = "EUR"\ndate = 2025-11-02\nshop = "s"\n'
    (tmp_path / "prices.toml").write_text(price, encoding="utf-8")
    (tmp_path / "results").mkdir()
    write_results(tmp_path / "results")
    run = CliRunner().invoke(app, ["advise", "-w", "resnet50", "--cards", "4090, 4070", "--budget", "2000"])
    assert run.exit_code == 0, run.output
    assert "1,700" in run.output
    assert "no EUR price is known" in run.output
    assert "Yours: Intel Xeon Platinum 8481C" in run.output
    as_json = CliRunner().invoke(app, ["advise", "-w", "resnet50", "--cards", "4090", "--json"])
    assert json.loads(as_json.output)["currency"] == "EUR"


def test_cards_command() -> None:
    """``rtxbench cards`` lists, shows one, prints JSON and the columns."""
    runner = CliRunner()
    assert "GeForce RTX 4090" in runner.invoke(app, ["cards"]).output
    assert "launch price" in runner.invoke(app, ["cards", "4090"]).output
    assert json.loads(runner.invoke(app, ["cards", "4090", "--json"]).output)[0]["msrp_usd"] == 1599
    assert runner.invoke(app, ["cards", "--header"]).output.startswith("name,card_class,")


def test_cards_starts_without_heavy_libraries() -> None:
    """Listing the catalogue imports neither numpy nor pandas nor an engine."""
    import subprocess
    import sys

    code = (
        "import sys; from typer.testing import CliRunner; from rtxbench.cli import app; "
        "assert CliRunner().invoke(app, ['cards']).exit_code == 0; "
        "print([m for m in ('numpy', 'pandas', 'matplotlib', 'scipy', 'tensorflow', 'keras') if m in sys.modules])"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"


def test_examples_of_the_page_work(tmp_path: Path) -> None:
    """The price file and the card line printed in docs/purchase.md are read as they stand."""
    page = (Path(__file__).parents[2] / "docs" / "purchase.md").read_text(encoding="utf-8")
    prices, cards = tmp_path / "prices.toml", tmp_path / "cards.csv"
    prices.write_text(page.split("```toml\n")[1].split("```")[0], encoding="utf-8")
    cards.write_text(page.split("are marked as derived:\n\n```\n")[1].split("```")[0], encoding="utf-8")
    assert load_prices(prices, CARDS).by_card["GeForce RTX 4070 SUPER"].amount == 589.0
    mine = load_cards(cards)["GeForce RTX 4065"]
    assert mine.fp16_flop_per_s == pytest.approx(2 * mine.fp32_flop_per_s)
    assert mine.base_source.startswith("board partner")
