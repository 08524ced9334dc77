"""A plain PyTorch module trains as its user's own loop trains it, in every precision, and errs in sentences."""

import math
from typing import Any

import pytest

from rtxbench.errors import MeasurementError, RtxbenchError
from rtxbench.records import Case
from rtxbench.workloads.own import OwnModel

torch = pytest.importorskip("torch")
CASE = Case(workload="model:train.build@00000000", batch_size=8, engine="torch")


def own(**changes: Any) -> OwnModel:
    torch.manual_seed(0)
    model = torch.nn.Sequential(torch.nn.Linear(8, 16), torch.nn.BatchNorm1d(16), torch.nn.Linear(16, 3))
    batch = torch.randn(8, 8), torch.randint(0, 3, (8,))
    made = OwnModel(model, batch, torch.nn.functional.cross_entropy, lambda weights: torch.optim.SGD(weights, lr=0.1))
    return made._replace(**changes)


def step_of(given: OwnModel, precision: str = "float32") -> Any:
    from msgspec.structs import replace

    from rtxbench.engines.torch.native import NativeStep

    return NativeStep(torch, replace(CASE, precision=precision), given, slice(None), 0)


def by_hand(given: OwnModel, steps: int, dtype: Any = None) -> float:
    """The loop a user writes."""
    optimizer = given.optimizer(given.model.parameters())
    inputs, labels = given.batch
    for _ in range(steps):
        optimizer.zero_grad()
        with torch.autocast("cpu", dtype=dtype, enabled=dtype is not None):
            loss = given.loss(given.model(inputs), labels)
        loss.backward()
        optimizer.step()
    return float(loss.detach())


@pytest.mark.parametrize(("precision", "dtype"), [("float32", None), ("mixed_bfloat16", "bfloat16")])
def test_it_trains_to_the_loss_of_the_loop_a_user_writes(precision: str, dtype: str | None) -> None:
    """Nothing is added and nothing left out: the same loss to the last bit, also after FLOPs were counted."""
    step = step_of(own(), precision)
    step.activate()
    step.run(3)
    assert step.flops().value > 0
    assert step.work().kernels > 0
    step.run(2)
    assert step.loss() == by_hand(own(), 5, getattr(torch, dtype) if dtype else None)


def test_float16_scales_its_loss() -> None:
    """The optimizer still sees finite gradients and the loss falls."""
    step = step_of(own(), "mixed_float16")
    step.run(1)
    first = step.loss()
    step.run(30)
    assert step.loss() < first


def test_without_an_optimizer_adamw_is_taken_and_named() -> None:
    """What was not asked for is said beside the figure."""
    step = step_of(own(optimizer=None))
    step.run(1)
    assert step.notes()["optimizer"] == "AdamW, fused"
    assert step.state_bytes().value > 2 * step.gradient_bytes().value


@pytest.mark.parametrize(
    ("changes", "said"),
    [
        ({"loss": lambda outputs, labels: outputs}, "no scalar"),
        ({"loss": lambda outputs, labels: 1.0}, "no scalar"),
        ({"loss": lambda outputs, labels: torch.zeros(())}, "no scalar"),
        ({"loss": lambda outputs, labels: outputs.nothing}, "raised AttributeError"),
        ({"batch": [1, 2, 3]}, "neither a dict nor"),
    ],
)
def test_a_step_that_cannot_train_is_a_sentence(changes: dict[str, Any], said: str) -> None:
    """A wrong loss or batch names itself and what to return instead."""
    with pytest.raises(RtxbenchError, match=said):
        step_of(own(**changes)).run(1)


def test_running_out_of_memory_is_told_apart_from_a_mistake() -> None:
    """The remedy is another one."""

    def loss(outputs: Any, labels: Any) -> Any:
        raise RuntimeError("DefaultCPUAllocator: can't allocate memory: you tried to allocate 10 bytes")

    with pytest.raises(MeasurementError, match="out of device memory"):
        step_of(own(loss=loss)).run(1)


def test_a_loss_that_is_no_number_is_reported_as_such() -> None:
    """The measuring side then gives the case up with its reason."""
    step = step_of(own(loss=lambda outputs, labels: outputs.mean() * math.nan))
    step.run(1)
    assert math.isnan(step.loss())
