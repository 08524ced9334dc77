"""What a GPU self-test tries, and that it is planned to end in three minutes."""

from rtxbench.gpu_selftest.request import LIMIT_S, GpuSelftestRequest, Pace, planned_s


def test_three_engines_in_every_precision_fit_into_three_minutes() -> None:
    """By the time that workers were seen to take to start, build and prove; the limit then holds it to that."""
    assert planned_s(3, Pace()) <= LIMIT_S == 180


def test_a_card_is_asked_only_for_what_it_has() -> None:
    """Turing has float16 Tensor Cores and neither TF32 nor bfloat16; a card of unknown capability is asked for all."""
    request = GpuSelftestRequest()
    assert list(request.precisions("jax", 7.5)) == ["float32", "mixed_float16"]
    assert len(list(request.precisions("jax", None))) == 4


def test_cases_have_the_compiler_that_users_get() -> None:
    """JAX compiles, the others do not unless asked; the arms in turns are float32 and what users turn to first."""
    request = GpuSelftestRequest()
    assert [request.case(engine, "float32").compiler for engine in request.engines] == ["none", "xla", "none"]
    assert [case.precision for case in request.turn_cases("torch")] == ["float32", "mixed_float16"]
