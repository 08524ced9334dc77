import csv
import math
from functools import cache
from importlib import resources

import numpy as np
import pytest

from rtxbench.advice.memory.models import MODELS
from rtxbench.advice.memory.need import Setup
from rtxbench.advice.memory.practice import TUNING_METHODS
from rtxbench.advice.options import advise
from rtxbench.advice.prediction.decoder_speeds import pair_checks, speed_checks
from rtxbench.advice.prediction.decoders import decoder_program
from rtxbench.advice.prediction.forecast import DECODER_STACK, Forecaster, published_forecaster
from rtxbench.advice.prediction.points import Experiment, points_of
from rtxbench.advice.question import Question
from rtxbench.catalog.cards import load_cards
from rtxbench.catalog.prices import load_prices
from rtxbench.catalog.programs import Program
from rtxbench.catalog.published import curated


@cache
def forecaster() -> Forecaster:
    return published_forecaster()


def _flops(program: Program, batch: int = 1) -> float:
    return float(program.launches @ program.flops(batch))


@pytest.mark.parametrize(("method", "recomputed"), [("lora", True), ("full-bf16", False)])
def test_the_composition_is_what_transformers_launches(method: str, recomputed: bool) -> None:
    """FLOPs within 5 %, bytes within 12 % and launches within a quarter of the recorded step of Transformers' Llama."""
    pytest.importorskip("torch")
    pytest.importorskip("transformers")
    pytest.importorskip("peft")
    from tools.decoder_recording import recorded_decoder

    model = MODELS["llama-3.1-8b"]._replace(layers=2)
    setup = Setup(tokens=256, method=method, checkpointing=recomputed)
    recorded, program = recorded_decoder(model, setup), decoder_program(model, setup)
    moved = float(program.launches @ program.moved_bytes(1))
    assert _flops(program) == pytest.approx(sum(kernel.flops for kernel in recorded), rel=0.05)
    assert moved == pytest.approx(sum(kernel.moved_bytes for kernel in recorded), rel=0.12)
    assert program.launches.sum() == pytest.approx(len(recorded), rel=0.25)


def test_the_flops_are_those_of_the_textbook() -> None:
    """LoRA with recomputation costs six FLOPs a token and weight of the layers, full fine-tuning without costs six."""
    model, tokens = MODELS["llama-2-7b"], 512
    for method, recomputed in (("lora", True), ("full-bf16", False)):
        program = decoder_program(model, Setup(tokens=tokens, method=method, checkpointing=recomputed))
        assert _flops(program) / (6 * tokens * model.layer_parameters) == pytest.approx(1.0, abs=0.08)


def test_a_quantised_base_is_read_more_often_and_computed_alike() -> None:
    """QLoRA moves more bytes than LoRA apart from the batch, as its weights are unpacked, and has its FLOPs."""
    programs = [decoder_program(MODELS["llama-3-8b"], Setup(method=method)) for method in ("lora", "qlora")]
    lora, qlora = (float(program.launches @ program.bytes_fixed) for program in programs)
    assert qlora > 1.5 * lora
    assert _flops(programs[0]) == _flops(programs[1])


def test_every_method_of_every_decoder_has_a_program() -> None:
    """Nothing negative or unknown comes out for any model and method, mixtures of experts among them."""
    for model in (model for model in MODELS.values() if model.form == "llama"):
        for method in TUNING_METHODS:
            program = decoder_program(model, Setup(method=method, tokens=128))
            assert np.isfinite(program.flops(1)).all()
            assert (program.launches > 0).all()
    with pytest.raises(ValueError, match="of which no composition is known"):
        decoder_program(MODELS["bert-base"], Setup())


def test_published_speeds_have_a_source_and_a_card() -> None:
    """Every published fine-tuning speed names where it was read, and is of a catalogued card and a listed model."""
    with resources.files("rtxbench.catalog").joinpath("llm_speeds.csv").open(encoding="utf-8") as stream:
        rows = list(csv.DictReader(stream))
    assert len(rows) >= 60
    cards = load_cards()
    assert all(row["source"] and row["card"] in cards and row["model"] in MODELS for row in rows)


def test_the_stated_range_covers_published_speeds() -> None:
    """Nine of ten published speeds lie in the range stated, and no published pair of cards beyond that of ratios."""
    level = forecaster().level
    checks = speed_checks(forecaster().constants, load_cards())
    errors = [abs(check.log_error - level.log_factor) for check in checks if check.sets_the_level]
    assert len(errors) == level.figures >= 40
    assert np.mean(np.array(errors) <= level.log_half_width) >= 0.9
    pairs = pair_checks(checks)
    assert len(pairs) == level.pairs >= 3
    assert all(abs(a.log_error - b.log_error) <= level.pair_log_half_width + 1e-9 for a, b in pairs)


def test_a_models_own_kernels_decide_between_cards() -> None:
    """A program that only moves bytes ranks by bandwidth, one that only multiplies by arithmetic."""
    cards = load_cards()
    names = ("GeForce RTX 3090", "GeForce RTX 4090")  # much the same bandwidth, twice the arithmetic
    ratios = {}
    for kind, flops, moved in (("memory", 0.0, 1e9), ("gemm", 1e12, 1.0)):
        program = Program(np.array([kind]), np.array([True]), *(np.array([v]) for v in (1.0, 0.0, flops, 0.0, moved)))
        mine = forecaster().with_programs({("mine", "half"): program})
        case = Experiment("s", "mine", "mixed_float16")
        slow, fast = (mine._law(points_of([(cards[name], case, 8, 1.0)]))[0] for name in names)
        ratios[kind] = math.exp(fast - slow)
    assert ratios["memory"] < 1.5 < ratios["gemm"]


@pytest.mark.parametrize("asked", ["llama-2-7b:qlora", "qwen3-14b:lora", "mixtral-8x7b:qlora"])
def test_a_buyer_who_names_a_language_model_is_ranked_by_it(asked: str) -> None:
    """The speed is that of the model in tokens, predicted with a range, and a note says how far it holds."""
    cards = load_cards()
    question = Question(workload="", memory_model=asked, cards=("4090", "3090", "a6000"))
    advice = advise(question, cards, curated().kept, load_prices(None, cards), (), forecaster())
    assert advice.basis == DECODER_STACK
    assert advice.unit == "tokens"
    assert "BERT" not in advice.answer
    known = [option for option in advice.options if option.throughput_per_s is not None]
    assert {option.origin for option in known} == {"predicted"}
    assert all(option.low_per_s < option.throughput_per_s < option.high_per_s for option in known)  # type: ignore[operator]
    assert any("published pairs" in note for note in advice.notes)
