"""Ceilings of a fast card: what is timed is products, not waiting for them."""

import pytest

from rtxbench.diagnosis.ceilings import ProductFormat, _gemm
from rtxbench.engines.contract import DeviceControls

pytest.importorskip("keras")


class Counting:
    """Device controls that count what is waited for and what is multiplied."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch) -> None:
        from keras import ops

        self.products = self.waits = 0
        multiply = ops.matmul

        def counted(left: object, right: object) -> object:
            self.products += 1
            return multiply(left, right)

        monkeypatch.setattr(ops, "matmul", counted)

    def controls(self, kind: str) -> DeviceControls:
        return DeviceControls(
            kind=kind,
            scope=lambda: None,
            synchronize=self.wait,
            set_tf32=lambda _on: None,
            trace=lambda f: f,
            fuses=True,
        )

    def wait(self, _tensor: object) -> None:
        self.waits += 1


@pytest.mark.parametrize(("kind", "chained"), [("gpu", 10), ("cpu", 1)])
def test_a_gpu_is_waited_for_once_in_ten_products(monkeypatch: pytest.MonkeyPatch, kind: str, chained: int) -> None:
    """Fault 17: one product of an H100 takes 1.4 ms and waiting 0.1 ms: its ceiling read a tenth too low."""
    counting = Counting(monkeypatch)
    found = _gemm(ProductFormat("float32", "float32", False), 0.2, counting.controls(kind))
    assert counting.products == chained * counting.waits
    assert found.values
