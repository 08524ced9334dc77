"""Native PyTorch forms are the same models as their Keras twins: parameters, FLOPs, the loss of copied weights."""

import importlib.util
import json
import os
import subprocess
import sys
from typing import Any

import pytest

from rtxbench.workloads import WORKLOADS
from tests.engine_facts import require

require("torch")

DENSE = ("mlp", "cnn", "conv-full", "resnet50-64px")
LANGUAGE = ("bert-mini", "gpt2-mini", "llama-mini-lora")
CONVOLUTION_BIASES = 26_560  # before normalisation, which cancels them: Keras's ResNet-50 has them, torchvision's not
MOVING_STATISTICS = 53_120  # parameters to Keras, buffers to PyTorch


def _installed(*names: str) -> bool:
    return all(importlib.util.find_spec(name) is not None for name in names)


@pytest.fixture(scope="module")
def twins() -> dict[str, dict[str, Any]]:
    """Facts of both forms by workload; transformers only where their packages are installed."""
    names = DENSE + (LANGUAGE if _installed("transformers", "peft", "keras_hub") else ())
    settings = {**os.environ, "KERAS_BACKEND": "torch", "OMP_NUM_THREADS": "1"}
    command = [sys.executable, "-m", "tests.native_twins", *names]
    done = subprocess.run(command, capture_output=True, text=True, env=settings, check=False)
    assert done.returncode == 0, done.stderr
    return {fact["name"]: fact for fact in map(json.loads, done.stdout.splitlines())}


def _of(twins: dict[str, dict[str, Any]], name: str) -> dict[str, Any]:
    if name not in twins:
        pytest.skip("transformers, peft or keras-hub is not installed; pip install 'rtxbench[torch]'")
    return twins[name]


@pytest.mark.parametrize("name", DENSE + LANGUAGE)
def test_a_native_form_has_the_loss_of_its_keras_twin(twins: dict[str, dict[str, Any]], name: str) -> None:
    """From the same weights on the same batch: to six digits; four in BERT, where Keras approximates GELU."""
    keras_loss, native_loss = _of(twins, name)["losses"]
    assert native_loss == pytest.approx(keras_loss, rel=1e-4 if name in ("bert-mini", "resnet50-64px") else 1e-6)


@pytest.mark.parametrize("name", DENSE + LANGUAGE)
def test_a_native_form_has_the_operations_of_its_keras_twin(twins: dict[str, dict[str, Any]], name: str) -> None:
    """One counter, equal to the last FLOP; Llama within 4 %, since Keras multiplies its adapters out in every step."""
    keras_flops, native_flops = _of(twins, name)["flops"]
    assert native_flops == pytest.approx(keras_flops, rel=0.04 if "llama" in name else 0)


@pytest.mark.parametrize("name", DENSE + LANGUAGE)
def test_a_native_form_has_the_parameters_of_its_keras_twin(twins: dict[str, dict[str, Any]], name: str) -> None:
    """Each and every one; ResNet less the biases that normalisation cancels, Llama in what is frozen."""
    (keras_all, keras_trained), (native_all, native_trained) = _of(twins, name)["sizes"]
    if name.startswith("resnet"):
        assert native_all == keras_all - CONVOLUTION_BIASES - MOVING_STATISTICS
        assert native_trained == keras_trained - CONVOLUTION_BIASES
    elif "lora" in name:
        assert native_all - native_trained == keras_all - keras_trained
    else:
        assert [native_all, native_trained] == [keras_all, keras_trained]


def test_resnet_is_torchvisions() -> None:
    """The same modules under the same names and shapes, and the same output once the strides stand alike."""
    torch = pytest.importorskip("torch")
    try:
        from torchvision.models import resnet50
    except (ImportError, RuntimeError) as error:  # RuntimeError: its wheel is of another build of PyTorch
        pytest.skip(f"torchvision does not load here: {error}")
    theirs, ours = resnet50(), WORKLOADS["resnet50"].native.build()
    theirs.load_state_dict(ours.state_dict())
    for layer in (theirs.layer2, theirs.layer3, theirs.layer4):
        layer[0].conv1.stride, layer[0].conv2.stride = (2, 2), (1, 1)
    for module in theirs.modules():
        if isinstance(module, torch.nn.BatchNorm2d):
            module.eps = ours.bn1.eps
    images = torch.randn(2, 3, 64, 64)
    torch.testing.assert_close(ours(images), theirs(images), rtol=1e-3, atol=1e-3)


def test_what_stands_against_each_other_has_a_native_form_on_both_sides() -> None:
    """Half of BERT against BERT, a separable against a full convolution: never a native form against Keras's."""
    for name in ("bert-base", "bert-small", "bert-mini"):
        assert (WORKLOADS[name].native is None) == (WORKLOADS[f"{name}-half"].native is None)
    assert (WORKLOADS["conv-full"].native is None) == (WORKLOADS["conv-separable"].native is None)
