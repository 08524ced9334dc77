"""A user's own PyTorch model in a real worker process."""

from pathlib import Path

import pytest

from rtxbench.errors import MeasurementError
from rtxbench.own.first_steps import LEAK_BYTES, first_steps, leak_bytes_per_step
from rtxbench.records import Case
from rtxbench.workloads.own import SOURCE_VARIABLE, own_name

pytest.importorskip("torch")

SOURCE = """
import torch
print('{"type": "Ready"}')

class Net(torch.nn.Module):
    def __init__(self):
        super().__init__()
        self.layer = torch.nn.Linear(8, 8)
        self.kept = []

    def forward(self, inputs):
        print("one more step")
        self.kept.append(torch.ones(250_000, 4))
        return self.layer(inputs) * FACTOR

def build(batch_size):
    return Net(), (torch.ones(batch_size, 8), torch.ones(batch_size, 8)), torch.nn.functional.mse_loss
"""


def case_of(path: Path, factor: str, monkeypatch: pytest.MonkeyPatch) -> Case:
    path.write_text(SOURCE.replace("FACTOR", factor), encoding="utf-8")
    monkeypatch.setenv(SOURCE_VARIABLE, f"{path}:build")
    return Case(workload=own_name(path, "build"), batch_size=4, engine="torch")


@pytest.mark.slow
def test_a_chatty_model_that_keeps_its_activations_trains_and_is_found_to_leak(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """What it prints does not reach the protocol; the four megabytes it keeps every step do reach the reader."""
    seen = first_steps(case_of(tmp_path / "leaking.py", "1", monkeypatch))
    assert seen.losses[-1] < seen.losses[0]
    leak = leak_bytes_per_step(seen.memory_bytes)
    assert leak is not None
    assert leak > 10 * LEAK_BYTES


@pytest.mark.slow
def test_a_loss_that_is_no_number_fails_the_case(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """It is named on its way through a protocol that has no such number."""
    with pytest.raises(MeasurementError, match="the loss became nan"):
        first_steps(case_of(tmp_path / "breaking.py", "float('nan')", monkeypatch))
