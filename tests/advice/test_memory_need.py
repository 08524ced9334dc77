import re
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from rtxbench.advice.memory.config_file import model_of_config
from rtxbench.advice.memory.images import IMAGE_MODELS, image_need
from rtxbench.advice.memory.lines import line_through
from rtxbench.advice.memory.models import MODELS, NETWORKS, model_named
from rtxbench.advice.memory.need import CONTEXT_BYTES, Setup, fit_state, largest_batch, network_need, training_need
from rtxbench.advice.memory.practice import FRAMEWORKS, OPTIMIZERS, TUNING_METHODS
from rtxbench.errors import UsageError
from tools.memory_check import compiled_checks, left_out_peak_checks, published_batch_checks, published_peak_checks

GIB = 2**30


@pytest.mark.parametrize("name", MODELS)
def test_dimensions_give_the_stated_parameter_count(name: str) -> None:
    """Each model's dimensions add up to the count its publisher states, within 1.5 %."""
    model = MODELS[name]
    assert model.parameters == pytest.approx(model.stated_parameters, rel=0.015)


def test_full_fine_tuning_costs_eighteen_bytes_a_parameter() -> None:
    """Mixed precision with Adam holds 18 bytes a parameter, float32 holds 16, besides what moves with the batch."""
    model = MODELS["llama-2-7b"]
    for precision, expected in (("mixed_bfloat16", 18), ("float32", 16)):
        need = training_need(model, Setup(precision=precision))
        fixed = need.weights_bytes + need.gradients_bytes + need.optimizer_bytes
        assert fixed / model.parameters == pytest.approx(expected)


def test_methods_need_less_in_their_known_order() -> None:
    """Full > bf16 > LoRA with embeddings > DoRA > LoRA > 8-bit LoRA > QDoRA > QLoRA; the ends as reported for 7B."""
    order = ("full", "full-bf16", "lora-embeddings", "dora", "lora", "int8-lora", "qdora", "qlora")
    assert set(order) == set(TUNING_METHODS)
    need = {m: training_need(MODELS["llama-2-7b"], Setup(tokens=512, method=m)).total_bytes for m in order}
    assert sorted(need, key=lambda method: -need[method]) == list(order)
    assert need["full"] > 100 * GIB
    assert need["qlora"] < 9 * GIB


@pytest.mark.parametrize(
    ("less", "more"),
    [
        ({"checkpointing": True}, {"checkpointing": False}),
        ({"fused_attention": True}, {"fused_attention": False}),
        ({"rank": 8}, {"rank": 128}),
        ({"tokens": 512}, {"tokens": 4096}),
        ({"optimizer": "adam-8bit"}, {"optimizer": "adam"}),
        ({"optimizer": "adam-8bit-paged"}, {"optimizer": "adam-8bit"}),
        ({"framework": "torchtune"}, {"framework": "transformers"}),
        ({"targets": "qv"}, {"targets": "all"}),
        ({"fp8": False}, {"fp8": True}),
    ],
)
def test_each_switch_moves_the_need(less: dict[str, object], more: dict[str, object]) -> None:
    """Recomputing, flash attention, a small rank, short sequences, small slots and a lean framework need less."""
    model = MODELS["llama-3.1-8b"]
    base = Setup(method="lora", tokens=1024)
    totals = [training_need(model, base._replace(**change)).total_bytes for change in (less, more)]
    assert totals[0] < totals[1]


def test_optimizer_in_backward_holds_one_layers_gradients() -> None:
    """Updating during the backward pass leaves one of 32 layers' gradients, which is what torchtune fits in 24 GB."""
    model = MODELS["llama-3.1-8b"]
    lean = Setup(2, 2048, optimizer="adam-8bit-paged", method="full-bf16", framework="torchtune", checkpointing=True)
    kept, fused = (training_need(model, lean._replace(optimizer_in_backward=on)) for on in (False, True))
    assert fused.gradients_bytes == pytest.approx(kept.gradients_bytes / 32)
    assert fused.high_bytes < 24 * GIB < kept.low_bytes


def test_a_mixture_of_experts_holds_all_and_uses_few() -> None:
    """Mixtral's weights are those of eight experts, its activations those of two."""
    mixtral, mistral = MODELS["mixtral-8x7b"], MODELS["mistral-7b"]
    assert mixtral.parameters > 6 * mistral.parameters
    kept = [training_need(m, Setup(method="qlora", tokens=4096, checkpointing=False)) for m in (mixtral, mistral)]
    assert kept[0].activations_bytes < 2 * kept[1].activations_bytes


def test_parts_add_up(tmp_path: Path) -> None:
    """The five parts are the middle of the range, and the range is at most 20 % to either side."""
    for framework in FRAMEWORKS:
        for method in TUNING_METHODS:
            need = training_need(MODELS["qwen3-8b"], Setup(method=method, framework=framework))
            assert sum(need[:5]) == pytest.approx((need.low_bytes + need.high_bytes) / 2)
            assert need.range_ratio <= 0.20
    assert min(row.slot_bytes for row in OPTIMIZERS.values()) == 0


@pytest.mark.parametrize("name", IMAGE_MODELS)
def test_image_generators_need_what_their_switches_say(name: str) -> None:
    """Recomputing, a small image, cached encoders, a quantised base and adapters instead of all weights need less."""
    model, base = IMAGE_MODELS[name], Setup(method="lora", precision="mixed_bfloat16")
    for less, more in (
        ({"checkpointing": True}, {"checkpointing": False}),
        ({"resolution": 512}, {"resolution": 1024}),
        ({"batch_size": 1}, {"batch_size": 4}),
        ({}, {"encoders_resident": True}),
        ({"method": "qlora"}, {"method": "lora"}),
        ({"method": "lora"}, {"method": "dora"}),
        ({"method": "dora"}, {"method": "full-bf16"}),
        ({"optimizer": "adam-8bit", "method": "full-bf16"}, {"method": "full-bf16"}),
        ({"fp8": False}, {"fp8": True}),
    ):
        totals = [image_need(model, base._replace(**change)).total_bytes for change in (less, more)]
        assert totals[0] < totals[1]
    with pytest.raises(UsageError, match="has no lora-embeddings form"):
        image_need(model, base._replace(method="lora-embeddings"))


def test_image_generators_are_those_that_were_published() -> None:
    """Parameters are the publishers' counts; adapters of rank 4 on FLUX's attention, and of rank 64 on klein, too."""
    stated = {"sd-1.5": 0.8595e9, "sdxl": 2.567e9, "flux.1-dev": 11.90e9, "flux.2-klein-4b": 3_875_544_576}
    assert {name: model.parameters for name, model in IMAGE_MODELS.items()} == pytest.approx(stated, rel=1e-3)
    assert 4 * IMAGE_MODELS["flux.1-dev"].attention_widths == 4_669_440
    outputs_left_out = 20 * (12288 + 3072)  # of the single blocks, which that run did not adapt
    assert 64 * (IMAGE_MODELS["flux.2-klein-4b"].linear_widths - outputs_left_out) == 76_677_120


def test_sdxl_fits_where_people_train_it() -> None:
    """Adapters take less than 16 GB (diffusers' README) and all weights 24 GB (sd-scripts' guide), as published."""
    sdxl = IMAGE_MODELS["sdxl"]
    adapters = Setup(method="lora", optimizer="adam-8bit", rank=4, targets="attention", encoders_resident=True)
    every = Setup(method="full-bf16", optimizer="adafactor")
    assert image_need(sdxl, adapters).high_bytes < 16e9
    assert image_need(sdxl, every).high_bytes < 24 * GIB


def test_published_peaks_lie_in_the_range() -> None:
    """Of at least 60 peaks measured by others, 85 % lie in the range, also where their model chose no constant."""
    checks, left_out = published_peak_checks(), left_out_peak_checks()
    assert len(checks) == len(left_out) >= 60
    assert all(check.peak.source for check in checks)
    assert sum(check.inside for check in checks) >= 0.85 * len(checks)
    assert sum(check.inside for check in left_out) >= 0.85 * len(left_out)


def test_any_other_model_by_its_config_file(tmp_path: Path) -> None:
    """A config.json with Llama 3.1 8B's dimensions gives the listed model's need."""
    path = tmp_path / "config.json"
    text = (
        '{"model_type": "llama", "num_hidden_layers": 32, "hidden_size": 4096, "num_attention_heads": 32, '
        '"num_key_value_heads": 8, "intermediate_size": 14336, "vocab_size": 128256, "tie_word_embeddings": false}'
    )
    path.write_text(text, encoding="utf-8")
    mine, listed = model_of_config(path), MODELS["llama-3.1-8b"]
    assert mine.parameters == listed.parameters
    assert training_need(mine, Setup()) == training_need(listed, Setup())


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("{", "is no JSON"),
        ("[1]", "holds no object"),
        ("[" * 100_000, "is no JSON"),
        ("{}", "has no num_hidden_layers, hidden_size"),
        (
            '{"num_hidden_layers": 1e9, "hidden_size": 8, "num_attention_heads": 2, "vocab_size": 9}',
            "is '1000000000.0'",
        ),
        ('{"num_hidden_layers": -1}', "is '-1'"),
        ('{"num_hidden_layers": 99999999999999999999}', "from 1 to 1000"),
        ('{"num_hidden_layers": "__import__"}', "is '__import__'"),
        ('{"n_layer": 2, "n_embd": 10, "n_head": 3, "vocab_size": 9}', "do not divide"),
    ],
)
def test_hostile_config_files_are_told(tmp_path: Path, text: str, message: str) -> None:
    """A broken, incomplete or absurd file ends in an error that says what is wrong with it."""
    path = tmp_path / "config.json"
    path.write_text(text, encoding="utf-8")
    with pytest.raises(UsageError, match=re.escape(message)):
        model_of_config(path)


def test_a_missing_or_huge_config_file_is_told(tmp_path: Path) -> None:
    """No file, and a file too large to be one, are errors that name the path."""
    with pytest.raises(UsageError, match="cannot read"):
        model_of_config(tmp_path / "config.json")
    huge = tmp_path / "model.json"
    huge.write_bytes(b" " * ((1 << 20) + 1))
    with pytest.raises(UsageError, match="larger than any"):
        model_of_config(huge)


def test_published_batches_lie_in_the_computed_range() -> None:
    """Of the largest batches people published per card, at least 80 % lie in the computed range, none far outside."""
    checks = published_batch_checks()
    assert len(checks) >= 66
    assert sum(check.inside for check in checks) / len(checks) >= 0.80
    assert all(
        0.85 * check.smallest_largest <= check.published_batch <= 1.15 * check.largest_largest for check in checks
    )


def test_compiled_peaks_are_linear_within_ten_percent() -> None:
    """The line through an engine's peaks meets every peak between within 10 %, and nine of ten beyond."""
    checks = list(compiled_checks())
    assert {check.workload for check in checks} >= {"mlp", "mlp-wide", "cnn", "resnet50", "bert-base"}
    between = [abs(check.error_ratio) for check in checks if check.how.startswith("between")]
    beyond = [abs(check.error_ratio) for check in checks if check.how.startswith("beyond")]
    assert max(between) <= 0.10
    assert sum(error <= 0.10 for error in beyond) >= 0.8 * len(beyond)


@given(batch=st.integers(1, 64), tokens=st.integers(16, 2048))
def test_more_work_never_needs_less(batch: int, tokens: int) -> None:
    """Memory grows with batch and with sequence length, and the upper end is above the lower."""
    model = MODELS["llama-3.2-1b"]
    need = training_need(model, Setup(batch_size=batch, tokens=tokens))
    assert training_need(model, Setup(batch_size=batch + 1, tokens=tokens)).low_bytes > need.low_bytes
    assert training_need(model, Setup(batch_size=batch, tokens=tokens + 1)).low_bytes > need.low_bytes
    assert need.high_bytes > need.low_bytes > CONTEXT_BYTES


@given(fixed=st.integers(0, 10**6), slope=st.integers(1, 10**4), memory=st.integers(0, 10**8))
def test_largest_batch_is_the_largest(fixed: int, slope: int, memory: int) -> None:
    """The found batch fits and the next does not."""
    found = largest_batch(lambda batch: fixed + slope * batch, memory)
    assert fixed + slope * (found + 1) > memory or found >= 1 << 20
    assert found == 0 or fixed + slope * found <= memory


def test_three_answers() -> None:
    """Fits, tight and no follow from the two ends of the range."""
    assert [fit_state(4, 6, memory) for memory in (6, 5, 3)] == ["fits", "tight", "no"]


def test_line_from_two_peaks() -> None:
    """Two peaks give fixed part and slope; one peak or a falling one is refused."""
    line = line_through({8: 100.0, 24: 260.0}, "measured")
    assert (line.fixed_bytes, line.bytes_per_example) == (20.0, 10.0)
    assert line.need_bytes(40) == 420.0
    with pytest.raises(UsageError, match="two batch sizes"):
        line_through({8: 100.0}, "measured")
    with pytest.raises(UsageError, match="falls from batch 8 to batch 24"):
        line_through({8: 260.0, 24: 100.0}, "measured")


@pytest.mark.parametrize(
    ("setup", "message"),
    [
        (Setup(method="magic"), "unknown method"),
        (Setup(optimizer="lion"), "unknown optimizer"),
        (Setup(method="full-bf16", precision="float32"), "has no float32 form"),
    ],
)
def test_unknown_setups_are_told(setup: Setup, message: str) -> None:
    """A method, optimizer or combination that does not exist is an error with the choices."""
    with pytest.raises(UsageError, match=message):
        training_need(MODELS["bert-base"], setup)


def test_a_convolutional_network_is_only_trained_in_full() -> None:
    """ResNet-50 has no LoRA form here, and its activations halve in mixed precision."""
    network = NETWORKS["resnet50"]
    with pytest.raises(UsageError, match="has no lora form"):
        network_need(network, Setup(method="lora"))
    full, half = (network_need(network, Setup(8, precision=p)).activations_bytes for p in ("tf32", "mixed_float16"))
    assert full == 2 * half


def test_unknown_model_offers_the_nearest() -> None:
    """``llama-7b`` is nobody's name for it; the real ones are offered."""
    with pytest.raises(UsageError, match="llama-2-7b"):
        model_named("llama-7b")
