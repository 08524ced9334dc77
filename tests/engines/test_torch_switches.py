"""Switches of a plain PyTorch step: each changes how a step is made, and not what it trains."""

import copy

import pytest

from rtxbench.errors import UnavailableError
from rtxbench.records import Case
from rtxbench.workloads.own import OwnModel

torch = pytest.importorskip("torch")


def steps(model, batch, variant, steps=4, optimizer=None):
    """The losses of the first steps of a copy of the model, under some switches."""
    from rtxbench.engines.torch.native import NativeStep

    case = Case(workload="model:train.build@1a2b3c4d", batch_size=8, engine="torch", variant=variant)
    made = optimizer or (lambda parameters: torch.optim.AdamW(parameters, lr=1e-2))
    own = OwnModel(copy.deepcopy(model), batch, torch.nn.functional.cross_entropy, made)
    step = NativeStep(torch, case, own, slice(None), 0)
    losses = []
    for _ in range(steps):
        step.run(1)
        losses.append(step.loss())
    return losses


def convolutions():
    torch.manual_seed(0)
    blocks = [torch.nn.Sequential(torch.nn.Conv2d(3, 3, 3, padding=1), torch.nn.ReLU()) for _ in range(3)]
    model = torch.nn.Sequential(*blocks, torch.nn.AdaptiveAvgPool2d(2), torch.nn.Flatten(), torch.nn.Linear(12, 4))
    return model, (torch.rand(8, 3, 8, 8), torch.randint(0, 4, (8,)))


@pytest.mark.parametrize(
    "variant",
    [
        "channels-last",
        "fused-optimizer",
        "checkpointing",
        "accumulate-4",
        "channels-last+checkpointing+fused-optimizer",
    ],
)
def test_a_switch_trains_to_the_same_losses(variant: str) -> None:
    """Step by step, from the same weights and batch."""
    model, batch = convolutions()
    assert steps(model, batch, variant) == pytest.approx(steps(model, batch, ""), rel=1e-4)


@pytest.mark.parametrize(
    ("variant", "said"),
    [
        ("channels-last", "no two-dimensional convolution"),
        ("cudnn-benchmark", "no convolution"),
        ("checkpointing", "no list of repeated blocks"),
        ("sdpa-attention", "says nothing of its attention"),
        ("fused-optimizer", "LBFGS has no fused form"),
    ],
)
def test_a_switch_that_would_change_nothing_is_refused(variant: str, said: str) -> None:
    """Measured under another name, the plain step would be the worst kind of result."""
    batch = torch.rand(8, 12), torch.randint(0, 4, (8,))
    with pytest.raises(UnavailableError, match=said):
        steps(torch.nn.Linear(12, 4), batch, variant, optimizer=torch.optim.LBFGS)


def test_what_is_thrown_already_is_refused() -> None:
    """An optimizer that is fused cannot be fused, nor a batch of eight be cut into an uneven number of parts."""
    model, batch = convolutions()
    with pytest.raises(UnavailableError, match="fused already"):
        steps(model, batch, "fused-optimizer", optimizer=lambda p: torch.optim.AdamW(p, fused=True))
    with pytest.raises(UnavailableError, match="no 3 equal parts"):
        steps(model, batch, "accumulate-3")


def test_checkpointing_keeps_fewer_activations() -> None:
    """The backward pass holds less than it does without."""
    from rtxbench.engines.torch.switches import Switches

    kept = []
    for variant in ("", "checkpointing"):
        model, (images, _) = convolutions()
        held = 0

        def pack(tensor):
            nonlocal held
            held += tensor.numel()
            return tensor

        with torch.autograd.graph.saved_tensors_hooks(pack, lambda tensor: tensor):
            Switches(torch, variant).on_model(model)(images).sum().backward()
        kept.append(held)
    assert kept[1] < kept[0]
