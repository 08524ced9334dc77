import json
import re
from collections.abc import Callable
from pathlib import Path

import msgspec
import pytest
from typer.testing import CliRunner

from rtxbench.advice.memory.need import CONTEXT_BYTES
from rtxbench.advice.options import advise
from rtxbench.advice.prediction.batches import published_need
from rtxbench.advice.prediction.forecast import Forecaster
from rtxbench.advice.prediction.points import Experiment
from rtxbench.advice.question import Advice, Option, Question
from rtxbench.advice.text import advice_json, advice_text
from rtxbench.catalog.cards import load_cards
from rtxbench.catalog.prices import load_prices
from rtxbench.catalog.published import curated
from rtxbench.cli import app
from rtxbench.errors import UsageError
from rtxbench.results.store import LoadedRun, load_results
from tests.synthetic import write_results
from tools.buyers import answers

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
    assert any("predicted from 9 published cards" in why for why in predicted.why)
    assert any("only Ada Lovelace card" in why for why in predicted.why)


def test_one_stack_only(ask: Ask) -> None:
    """No ranked figure is of another stack than the basis, though others are published."""
    advice = ask(cards=["3070", "3080 10gb", "3090", "4090"])
    assert {option.stack for option in advice.options if option.rank} == {NEWEST}
    older = ask(cards=["3070", "3090"], stack="pytorch-ngc-20.10")
    assert named(older, "GeForce RTX 3070").origin == "published"


def test_a_publishers_other_stack_anchors_a_card(ask: Ask) -> None:
    """RTX 3070 was published in an older stack beside the 3090: the 3090 of this stack times that ratio, exactly."""
    old = {o.card: o for o in ask(cards=["3070", "3090"], stack="pytorch-ngc-20.10", max_devices=1).options}
    new = {o.card: o for o in ask(cards=["3070", "3090", "4090"], max_devices=1).options}
    mine = new["GeForce RTX 3070"]
    assert mine.predicted_by == "publisher's ratio"
    assert any("measured in pytorch-ngc-20.10" in why for why in mine.why)
    ratio = (old["GeForce RTX 3070"].throughput_per_s or 0) / (old["GeForce RTX 3090"].throughput_per_s or 1)
    by_3090 = ratio * (new["GeForce RTX 3090"].throughput_per_s or 0)
    assert mine.throughput_per_s == pytest.approx(by_3090, rel=0.10)
    low, high = mine.low_per_s or 0, mine.high_per_s or 0
    assert high / low < (new["GeForce RTX 3090"].throughput_per_s or 0)


def test_several_cards_where_asked(ask: Ask) -> None:
    """Two, four and eight of each with a range; eight GeForce cards are said not to be known; memory is one card's."""
    advice = ask(cards=["4080", "a5000"], max_devices=8)
    four, eight = named(advice, "4× GeForce RTX 4080"), named(advice, "8× GeForce RTX 4080")
    single = named(advice, "GeForce RTX 4080")
    assert four.predicted_by == "scaling of several"
    assert four.throughput_per_s is not None
    assert single.throughput_per_s is not None
    assert 2 < four.throughput_per_s / single.throughput_per_s < 4
    assert four.memory == single.memory
    assert (four.high_per_s or 0) / (four.low_per_s or 1) >= (single.high_per_s or 0) / (single.low_per_s or 1)
    assert eight.throughput_per_s is None
    assert "not known for eight GeForce cards" in (eight.cannot_say or "")
    assert named(advice, "8× RTX A5000").throughput_per_s is not None


def test_published_machines_of_four_are_published(ask: Ask) -> None:
    """Four RTX PRO 4500 fine-tuning Llama 3.1 8B were published: shown as such, ranked by speed without a price."""
    cards = ["RTX PRO 4500 Blackwell", "RTX PRO 6000 Blackwell Server Edition"]
    advice = ask("llama-3.1-8b:lora", precision="bf16", cards=cards, max_devices=4)
    four = named(advice, "4× RTX PRO 4500 Blackwell")
    assert (four.origin, four.throughput_per_s) == ("published", pytest.approx(10717))
    assert advice.ranked_by == "throughput"
    assert advice.unit == "tokens"


def test_assumed_batches_fit(ask: Ask) -> None:
    """No card is predicted at a batch that its memory cannot hold by the memory model of the same model."""
    for workload, model in (("bert-base", "bert_base_squad"), ("bert-large", "bert_large_squad")):
        need = published_need(Experiment(NEWEST, model, "mixed_float16"))
        assert need is not None
        predicted = [o for o in ask(workload, max_devices=1).options if o.predicted_by == "law"]
        assert len(predicted) > 15
        for option in predicted:
            assert option.card is not None
            assert need(option.batch_size or 0) <= CARDS[option.card].memory_bytes, option.name


def test_rtx_50_is_predicted_and_a_card_without_rates_is_refused(ask: Ask) -> None:
    """Blackwell was checked on the RTX 5090, so RTX 5080 has a figure; RTX 5090 D has no verified rate and none."""
    advice = ask(cards=["5080", "5090 d", "4080"])
    assert named(advice, "GeForce RTX 5080").origin == "predicted"
    refused = named(advice, "GeForce RTX 5090 D")
    assert (refused.rank, refused.throughput_per_s) == (None, None)
    assert refused.cannot_say == "no verified mixed_float16 rate of this card"


def test_memory_and_price_of_refused_cards_are_printed(ask: Ask) -> None:
    """A card whose speed is refused still shows its price and whether the model fits."""
    text = advice_text(ask(cards=["h200 nvl", "4090"], memory_model="llama-3-8b:qlora"))
    line = next(line for line in text.splitlines() if "H200 NVL" in line and "≤" in line)
    assert "fits" in line


def test_memory_model_batch_does_not_move_the_speed(ask: Ask) -> None:
    """``--batch-size`` beside a memory model is that model's: the ranking by speed stays as it is without it."""
    cards = ["4080", "3090"]
    with_batch = ask(cards=cards, memory_model="llama-3-8b:qlora", batch_size=4, max_devices=1)
    without = ask(cards=cards, memory_model="llama-3-8b:qlora", max_devices=1)
    speeds = [{o.name: o.throughput_per_s for o in advice.options} for advice in (with_batch, without)]
    assert speeds[0] == speeds[1]
    assert named(with_batch, "GeForce RTX 4080").memory.batch_size == 4  # type: ignore[union-attr]


def test_memory_and_speed_speak_of_the_same_examples(ask: Ask) -> None:
    """BERT-base is published at 384 tokens: its memory column is computed at 384, not at the model's default of 128."""
    memory = named(ask(cards=["3090"]), "GeForce RTX 3090").memory
    assert memory is not None
    assert "384 tokens" in memory.model
    assert memory.largest_batch < 150


def test_bert_large_is_a_workload(ask: Ask) -> None:
    """The published stand-in makes bert-large answerable, with its memory known, by either name."""
    for name in ("bert-large", "bert_large_squad"):
        memory = named(ask(name, cards=["3090"]), "GeForce RTX 3090").memory
        assert memory is not None, name
        assert memory.model.startswith("bert-large")


@pytest.mark.parametrize(
    ("typed", "meant"), [("fp16", "mixed_float16"), ("FP16", "mixed_float16"), ("fp32", "float32")]
)
def test_people_type_other_names(ask: Ask, typed: str, meant: str) -> None:
    """fp16, adamw and LoRA are understood."""
    advice = ask(precision=typed, optimizer="adamw", memory_model="llama-3-8b:LoRA", cards=["4090"])
    assert (advice.question.precision, advice.question.optimizer) == (meant, "adam")
    assert "lora" in named(advice, "GeForce RTX 4090").memory.model  # type: ignore[union-attr]


@pytest.mark.parametrize("changes", [{}, {"budget": 1200.0}, {"memory_model": "llama-3-8b:qlora"}, {"rank_by": "cost"}])
def test_text_fits_eighty_columns(ask: Ask, changes: dict[str, object]) -> None:
    """No line of the plain text is longer than 80 columns, and every ranked line starts with its rank."""
    advice = ask(**changes)
    lines = advice_text(advice, width=80).splitlines()
    assert max(map(len, lines)) <= 80
    ranked = [option for option in advice.options if option.rank]
    assert all(any(line.lstrip().startswith(f"{o.rank} ") for line in lines) for o in ranked)


def test_answer_comes_first(ask: Ask) -> None:
    """The first line names a card, its price and its range; three alternatives follow before the table."""
    advice = ask(budget=1200, memory_model="llama-3-8b:qlora")
    text = advice_text(advice)
    assert text.startswith("Under 1,200 USD for Llama 3 8B with QLoRA: ")
    first = next(option for option in advice.options if option.rank == 1)
    assert first.name.removeprefix("GeForce ") in advice.answer
    assert "to spare" in advice.answer
    assert "of BERT-base" in advice.answer
    assert len(advice.alternatives) == 3
    assert text.index("Alternatives:") < text.index("Stands on:")


def test_derived_figures_have_ranges(ask: Ask) -> None:
    """Cost, energy and throughput per price of a predicted card span what its throughput spans."""
    option = named(ask(cards=["4070", "4090"]), "GeForce RTX 4070")
    span = (option.high_per_s or 0) / (option.low_per_s or 1)
    for low, high in (
        (option.cost_low, option.cost_high),
        (option.energy_low_j, option.energy_high_j),
        (option.throughput_per_price_low, option.throughput_per_price_high),
    ):
        assert low is not None
        assert high is not None
        assert high / low == pytest.approx(span)


def test_break_even_has_a_range(ask: Ask) -> None:
    """A break-even against a predicted card spans the range of the ratio; equal prices have none."""
    pairs = ask(rank_by="throughput", cards=["4070", "4070 super", "4070 ti"], max_devices=1).break_even
    assert {(pair.cheaper, pair.dearer) for pair in pairs} == {
        ("GeForce RTX 4070", "GeForce RTX 4070 Ti"),
        ("GeForce RTX 4070 SUPER", "GeForce RTX 4070 Ti"),
    }
    for pair in pairs:
        assert pair.examples_low is not None
        assert pair.examples_high is None or pair.examples_high > pair.examples_low
    assert ask(cards=["4070", "4070 super"], max_devices=1).break_even == ()  # both 599 USD


def test_pairs_are_judged_by_their_own_ratio(ask: Ask) -> None:
    """RTX 4070 against 4060: the absolute ranges come close, the ratio's own range is narrower and decides."""
    advice = ask(rank_by="throughput", cards=["4070", "4060 ti 16gb", "4060"], max_devices=1)
    assert "GeForce RTX 4060" not in advice.indistinguishable


def test_rent_or_buy(ask: Ask) -> None:
    """The hours from which buying costs less: price less resale over what an hour saves, by hand."""
    advice = ask(cards=["4090"], rent=("", 0.5), max_devices=1)
    pair = advice.rent_or_buy
    assert pair is not None
    by_hand = 1599 * 0.7 / (0.5 - 0.55 * 0.3)
    assert pair.hours == pytest.approx(by_hand)
    never = ask(cards=["4090"], rent=("", 0.1), max_devices=1).rent_or_buy
    assert never is not None
    assert never.hours is None


def test_times_yours(ask: Ask, runs: tuple[LoadedRun, ...]) -> None:
    """With a measured RTX 4090 every card is also told as a multiple of it."""
    option = named(ask("resnet50", runs=runs, stack="own", cards=["4080"]), "GeForce RTX 4080")
    assert option.times_yours is not None
    assert option.times_yours.of == "GeForce RTX 4090"
    assert option.times_yours.low < option.times_yours.value < 1


def test_a_laptop_owner_is_told_why(ask: Ask, runs: tuple[LoadedRun, ...]) -> None:
    """With nothing but a laptop measured, the advice says why it scales to no other card, not to measure again."""
    laptops = tuple(loaded for loaded in runs if "Laptop" in str(loaded.run.environment.gpus))
    assert laptops
    advice = ask("mlp", runs=laptops, cards=["4090"], precision="float32")
    assert "whose speed follows the power limit" in advice.basis_note


def test_memory_of_a_laptop_is_answered_by_name(ask: Ask) -> None:
    """A laptop GPU asked for by name has its memory and its reason, and is not among the cards nobody asked for."""
    option = named(ask(cards=["4090 laptop gpu"], memory_model="qwen3-8b:qlora"), "GeForce RTX 4090 Laptop GPU")
    assert option.memory is not None
    assert option.memory.state == "fits"
    assert option.cannot_say is not None
    assert not any("Laptop" in each.name for each in ask().options)


def test_own_small_networks_are_not_predicted(ask: Ask, runs: tuple[LoadedRun, ...]) -> None:
    """A workload nobody published on several cards (launch-bound ones are such) is not scaled to other cards."""
    advice = ask("mlp", runs=runs, cards=["4080", "4090"], precision="float32")
    assert named(advice, "GeForce RTX 4080").throughput_per_s is None


def test_a_memory_question_without_speed_is_ranked_by_price(ask: Ask) -> None:
    """Who holds the model is answered by the cheapest card that does, though no speed is known."""
    advice = ask("bert-base", precision="bf16", memory_model="llama-3-8b:qlora")
    assert advice.ranked_by == "price"
    first = next(option for option in advice.options if option.rank == 1)
    assert first.memory is not None
    assert first.memory.state in ("fits", "tight")


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
    assert [option.throughput_per_s for option in advice.options] == [None]


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
    assert re.search(r"at least 1[3-6]", small.excluded)
    assert large.memory is not None
    assert large.memory.state == "fits"
    assert sum(part.value_bytes for part in large.memory.parts) == pytest.approx(
        (large.memory.low_bytes + large.memory.high_bytes) / 2
    )
    tight = named(ask(cards=["4060"], memory_model="llama-2-7b:qlora"), "GeForce RTX 4060")
    assert any("is tight" in why for why in tight.why)


def test_practice_that_fits_is_said_to_fit(ask: Ask) -> None:
    """Llama 3.1 8B trained in full on 24 GB with paged 8-bit Adam in the backward pass: published, 18.9 GiB."""
    setup = {"framework": "torchtune", "optimizer_in_backward": True, "checkpointing": True}
    how = {"memory_model": "llama-3.1-8b:full-bf16", "optimizer": "paged_adamw_8bit", "batch_size": 2, "tokens": 2048}
    memory = named(ask(cards=["4090"], setup=setup, **how), "GeForce RTX 4090").memory
    assert memory is not None
    assert memory.state == "fits"
    assert memory.low_bytes < 18.9 * 2**30 + CONTEXT_BYTES < memory.high_bytes


def test_what_surely_fits_comes_before_what_may(ask: Ask) -> None:
    """The faster card for the money may not hold the model: the other is named, and the first says why it is behind."""
    advice = ask("", cards=["4080", "3090"], memory_model="llama-3-8b:qlora", batch_size=4)
    assert [option.name for option in advice.options] == ["GeForce RTX 3090", "GeForce RTX 4080"]
    assert "of the cards that surely hold it" in advice.answer
    assert "it may not fit" in advice.alternatives[0].text


def test_one_card_is_answered_with_yes_perhaps_or_no(ask: Ask) -> None:
    """Whoever asks about one card learns whether it holds the model, in words and without ids."""
    told = [ask("", cards=[c], memory_model="qwen2.5-14b:qlora").answer for c in ("4090", "4080", "3060 12gb")]
    assert told[0].startswith("Yes: Qwen2.5 14B with QLoRA fits RTX 4090 with ")
    assert told[1].startswith("Perhaps: Qwen2.5 14B with QLoRA takes ")
    assert told[2].startswith("No: Qwen2.5 14B with QLoRA takes at least ")


def test_an_image_generator_is_ranked_by_price_among_those_that_hold_it(ask: Ask) -> None:
    """No speed is shown where none is known, least of all another model's."""
    advice = ask("", budget=900.0, memory_model="sdxl:lora")
    assert advice.ranked_by == "price"
    assert all(option.throughput_per_s is None for option in advice.options)
    assert "SDXL with LoRA" in advice.answer


def test_a_config_file_is_a_memory_model(ask: Ask, tmp_path: Path) -> None:
    """``--memory-model path/config.json:qlora`` answers for a model nobody listed."""
    path = tmp_path / "mine" / "config.json"
    path.parent.mkdir()
    sizes = {"num_hidden_layers": 16, "hidden_size": 2048, "num_attention_heads": 16, "vocab_size": 50000}
    path.write_text(json.dumps(sizes), encoding="utf-8")
    advice = ask(cards=["4060"], memory_model=f"{path}:qlora")
    memory = named(advice, "GeForce RTX 4060").memory
    assert memory is not None
    assert memory.model.startswith("mine, qlora")
    assert "mine with QLoRA fits" in advice.answer


def test_two_cards_only_where_published(ask: Ask) -> None:
    """Two 4090 are listed with the published efficiency and the missing NVLink; two 4070 are not listed."""
    advice = ask(cards=["4090", "4070"])
    pair = named(advice, "2× GeForce RTX 4090")
    assert pair.price is not None
    assert pair.price.amount == 2 * 1599
    assert any("91 % of twice one (no NVLink)" in why for why in pair.why)
    assert any("no NVLink" in note for note in advice.notes)
    assert not [option for option in advice.options if option.name == "2× GeForce RTX 4070"]
    assert not [option for option in ask(cards=["4090"], max_devices=1).options if option.devices > 1]


def test_a_batch_nobody_published_moves_every_card(ask: Ask) -> None:
    """Asked for another batch than the published one, every card is put at it, and none passes for published."""
    advice = ask(cards=["4090", "4070"], batch_size=16, max_devices=1)
    assert {(option.batch_size, option.origin) for option in advice.options} == {(16, "predicted")}
    moved = named(advice, "GeForce RTX 4090")
    assert any("nobody published batch 16" in why for why in moved.why)
    assert (moved.throughput_per_s or 0) < 297.0


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
    assert owned["NVIDIA GeForce RTX 3060 Laptop GPU (yours)"].card == "GeForce RTX 3060 Laptop GPU"
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
    crossed = named(advice, "RTX A6000")
    assert crossed.origin == "predicted"
    assert (crossed.low_per_s or 0) < (crossed.throughput_per_s or 0) < (same.throughput_per_s or 0)


def test_break_even_is_between_the_best_and_others(ask: Ask) -> None:
    """Every break-even names a cheaper and a dearer option, and each count is positive or none."""
    pairs = ask(rank_by="throughput", cards=["4090", "4080", "4070", "3090"], max_devices=1).break_even
    assert {pair.dearer for pair in pairs} == {"GeForce RTX 4090"}
    assert any(pair.examples is not None and pair.examples > 0 for pair in pairs)


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"workload": "resnet-50"}, "Did you mean resnet50"),
        ({"precision": "fp7"}, "unknown precision"),
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
        "pred",
        "electricity 0.3 USD/kWh, 4 hours a day, 3 years, resale at 30 %",
        "over budget",
        "[recalled, not re-read",
    ):
        assert words in " ".join(text.split()), words


def test_json_is_plain_data(ask: Ask) -> None:
    """The JSON holds the same options; unknown is null."""
    document = json.loads(advice_json(ask(cards=["4090", "5090 d"])))
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


def test_the_buyers_table_is_todays() -> None:
    """Eight buyers' answers in docs/purchase.md are what the command says now."""
    page = (Path(__file__).parents[2] / "docs" / "purchase.md").read_text(encoding="utf-8")
    assert answers() in page
