import pytest
from hypothesis import given
from hypothesis import strategies as st

from rtxbench.advice.memory.models import MODELS, NETWORKS, model_named
from rtxbench.advice.memory.need import (
    CONTEXT_BYTES,
    TUNING_METHODS,
    Setup,
    fit_state,
    largest_batch,
    line_through,
    network_need,
    training_need,
)
from rtxbench.errors import UsageError
from tools.memory_check import compiled_checks, published_batch_checks, published_peak_checks

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
    """Full > LoRA > 8-bit LoRA > QLoRA, and each within what people report for a 7B model."""
    need = {m: training_need(MODELS["llama-2-7b"], Setup(tokens=512, method=m)) for m in TUNING_METHODS}
    assert need["full"].low_bytes > need["full-bf16"].low_bytes > need["lora"].low_bytes
    assert need["lora"].low_bytes > need["int8-lora"].low_bytes > need["qlora"].low_bytes
    assert need["full"].low_bytes > 100 * GIB
    assert need["qlora"].low_bytes < 6 * GIB


def test_published_batches_lie_in_the_computed_range() -> None:
    """Of the largest batches people published per card, at least 80 % lie in the computed range, none far outside."""
    checks = published_batch_checks()
    assert len(checks) == 36
    assert sum(check.inside for check in checks) / len(checks) >= 0.80
    assert all(
        0.85 * check.smallest_largest <= check.published_batch <= 1.15 * check.largest_largest for check in checks
    )


def test_published_peaks_lie_within_ten_percent_of_the_range() -> None:
    """Peaks measured on GPUs by others lie in the range or within 10 % of it."""
    assert all(abs(check.outside_ratio) <= 0.10 for check in published_peak_checks())


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
