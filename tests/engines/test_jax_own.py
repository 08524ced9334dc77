"""A JAX step of the user's own: Adam as published, mixed precision in float32 weights, refusals in words."""

from typing import Any

import numpy as np
import pytest
from msgspec.structs import replace

from rtxbench.errors import RtxbenchError
from rtxbench.records import Case
from rtxbench.workloads.own import OwnModel

jax = pytest.importorskip("jax")
CASE = Case(workload="model:train.build@00000000", batch_size=4, engine="jax", compiler="xla")


def loss(parameters: Any, batch: Any) -> Any:
    return jax.numpy.mean((batch @ parameters["weight"]) ** 2)


OWN = OwnModel({"weight": np.ones((3, 2), "float32")}, np.ones((4, 3), "float32"), loss)


def test_adams_first_step_moves_every_weight_by_the_learning_rate() -> None:
    """Kingma & Ba, section 2.1: the first effective step is the learning rate, whatever the gradient."""
    from rtxbench.engines.jax.own import own_parts

    parts = own_parts(jax, CASE, OWN)
    (weights, _), first = parts.step(parts.state, OWN.batch)
    assert float(first) == pytest.approx(9.0)
    np.testing.assert_allclose(weights["weight"], 1 - 1e-3, rtol=1e-6)


def test_a_reduced_precision_computes_in_it_and_keeps_float32_weights() -> None:
    """The loss sees bfloat16, the state does not."""
    from rtxbench.engines.jax.own import own_parts

    seen: list[Any] = []

    def watching(parameters: Any, batch: Any) -> Any:
        seen.extend((parameters["weight"].dtype, batch.dtype))
        return loss(parameters, batch)

    parts = own_parts(jax, replace(CASE, precision="mixed_bfloat16"), OWN._replace(loss=watching))
    (weights, _), _ = parts.step(parts.state, OWN.batch)
    assert {str(dtype) for dtype in seen} == {"bfloat16"}
    assert weights["weight"].dtype == "float32"


@pytest.mark.parametrize(
    ("case", "changes", "said"),
    [
        (replace(CASE, precision="mixed_float16"), {}, "underflow"),
        (replace(CASE, placement="data-parallel", device_count=2), {}, "split"),
        (CASE, {"loss": "mse"}, "not a function"),
        (CASE, {"optimizer": "adam"}, "no init and update"),
    ],
)
def test_what_the_contract_cannot_give_is_refused(case: Case, changes: dict[str, Any], said: str) -> None:
    """Nothing trains something else in silence."""
    from rtxbench.engines.jax.own import own_parts

    with pytest.raises(RtxbenchError, match=said):
        own_parts(jax, case, OWN._replace(**changes))
