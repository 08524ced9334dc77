from pathlib import Path

import pytest

from rtxbench.advice.options import advise
from rtxbench.advice.own_program import REFERENCE, own_program
from rtxbench.advice.question import Question
from rtxbench.advice.text import advice_text
from rtxbench.catalog.cards import load_cards
from rtxbench.catalog.prices import load_prices
from rtxbench.catalog.published import curated
from rtxbench.errors import UsageError

CARDS = load_cards()
TORCH = """
import torch

def build(batch_size=8):
    model = torch.nn.Sequential(torch.nn.Linear(512, 2048), torch.nn.ReLU(), torch.nn.Linear(2048, 10))
    batch = torch.randn(batch_size, 512), torch.zeros(batch_size, dtype=torch.long)
    return model, batch, torch.nn.functional.cross_entropy
"""
JAX = """
import jax.numpy as jnp
import numpy as np

def build(batch_size=8):
    weights = np.zeros((512, 10), "float32")
    return weights, np.zeros((batch_size, 512), "float32"), lambda w, x: jnp.mean((x @ w) ** 2)
"""


def test_a_pytorch_step_is_recorded_and_compared(tmp_path: Path) -> None:
    """Its products have the FLOPs counted by hand, and cards are ranked as multiples of the reference card."""
    pytest.importorskip("torch")
    path = tmp_path / "train.py"
    path.write_text(TORCH, encoding="utf-8")
    own = own_program(f"{path}:build", "mixed_float16", 64)
    flops = float(own.program.launches @ own.program.flops(64))
    # Forward and both gradients of two layers, less the first one's input gradient.
    assert flops == pytest.approx(2 * 64 * (2 * 512 * 2048 + 3 * 2048 * 10))
    question = Question(workload="", own_model=f"{path}:build", batch_size=64, cards=("3090", "4090", "6000 ada"))
    advice = advise(question, CARDS, curated().kept, load_prices(None, CARDS))
    speeds = {option.card: option.throughput_per_s for option in advice.options}
    assert speeds[REFERENCE] == 1.0
    assert all(value is not None and value > 0.5 for value in speeds.values())
    text = advice_text(advice)
    assert f"× {REFERENCE}" in " ".join(text.split())
    assert "per million" not in text


def test_a_jax_step_without_the_compiler_is_its_totals(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Without JAX's CUDA compiler the engine's own cost analysis is taken, and says so."""
    pytest.importorskip("jax")
    path = tmp_path / "train.py"
    path.write_text(JAX, encoding="utf-8")
    own = own_program(f"{path}:build", "float32", 64)
    assert "cost analysis" in own.basis or "compiled by XLA" in own.basis
    assert float(own.program.launches @ own.program.flops(64)) > 2 * 64 * 512 * 10


def test_a_step_that_cannot_be_listed_says_why(tmp_path: Path) -> None:
    """A file that fails is one sentence with what to do, not a traceback."""
    pytest.importorskip("torch")
    path = tmp_path / "train.py"
    path.write_text("import torch\n\ndef build(batch_size=8):\n    raise ValueError('no data')\n", encoding="utf-8")
    with pytest.raises(UsageError, match="no data"):
        own_program(f"{path}:build", "tf32", 8)
    with pytest.raises(UsageError, match=r"file\.py:function"):
        own_program("nowhere.py", "tf32", 8)
