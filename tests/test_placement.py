"""Where a case runs: one table, and no engine that trains under a strategy it does not know."""

import dataclasses

import pytest

from rtxbench import placement as module
from rtxbench.engines.jax import devices as jax_devices
from rtxbench.engines.refusals import refuse, way_of
from rtxbench.engines.tensorflow import engine as tensorflow_engine
from rtxbench.engines.torch import engine as torch_engine
from rtxbench.errors import UnavailableError
from rtxbench.placement import PLACEMENTS, Placement, batch_sharing_placement, is_functional_check
from rtxbench.records import Case

WAYS = {
    "tensorflow": tensorflow_engine.STRATEGIES,
    "jax": jax_devices.STRATEGIES,
    "torch": torch_engine.STRATEGIES,
}


def test_every_engine_a_placement_names_carries_out_its_strategy() -> None:
    """The table and the engines agree, both ways: no strategy promised and absent, none there and unused."""
    promised = {(engine, row.strategy) for row in PLACEMENTS.values() for engine in row.engines or WAYS}
    assert promised == {(engine, strategy) for engine, ways in WAYS.items() for strategy in ways}


@pytest.mark.parametrize("engine", WAYS)
def test_a_strategy_unknown_to_an_engine_raises(engine: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """A placement added as a row alone is refused by the engine; it never trains on one device in silence."""
    row = Placement(name="pipelined", strategy="pipelined", device_kind="cpu", engines=(engine,))
    monkeypatch.setattr(module, "PLACEMENTS", {**PLACEMENTS, row.name: row})
    case = Case(
        workload="mlp",
        batch_size=8,
        engine=engine,
        placement="pipelined",
        device_count=4,
        compiler="xla" if engine == "jax" else "none",
    )
    refuse(case)
    with pytest.raises(UnavailableError, match=f"{engine} has no way to train under the strategy 'pipelined'"):
        way_of(WAYS[engine], case)


def test_a_functional_check_differs_from_its_placement_in_devices_only() -> None:
    """It exercises the same strategy, on a CPU, and says that it proves no speed."""
    for row in (row for row in PLACEMENTS.values() if row.functional_check):
        real = PLACEMENTS[row.name.removesuffix("-logical")]
        assert dataclasses.replace(real, name=row.name, device_kind="cpu", functional_check=True) == row
        assert is_functional_check(row.name) and not is_functional_check(real.name)
    assert not is_functional_check("a-placement-of-tomorrow")


def test_each_engine_shares_a_batch_its_own_way() -> None:
    """What the plan asks of an engine for data parallelism is read from the table."""
    shared = {engine: batch_sharing_placement(engine) for engine in WAYS}
    assert shared == {"tensorflow": "mirrored", "jax": "data-parallel", "torch": "ddp"}
    assert batch_sharing_placement("torch", functional_check=True) == "ddp-logical"
    with pytest.raises(UnavailableError, match="python cannot share"):
        batch_sharing_placement("python")
