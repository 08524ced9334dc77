"""The native PyTorch models are the same models as the suite's, layer for layer, as their sizes tell."""

import importlib.util
import json
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]
_COUNT = """
import json, sys
import native_torch as native
from rtxbench.workloads import WORKLOADS

def native_sizes(model):
    weights = list(model.parameters())
    return [sum(w.numel() for w in weights), sum(w.numel() for w in weights if w.requires_grad)]

def keras_sizes(name):
    model = WORKLOADS[name].build()
    return [model.count_params(), sum(int(w.value.numel()) for w in model.trainable_variables)]

json.dump({
    "bert-mini": (native_sizes(native.bert_base(2, 4, 256, 4)[0]), keras_sizes("bert-mini")),
    "gpt2-mini": (native_sizes(native.gpt2(2, 4, 256, 4, 64)[0]), keras_sizes("gpt2-mini")),
    "llama-mini-lora": (
        native_sizes(native.llama_1b_lora(1, 2, 256, (4, 2), 64, 8192)[0]), keras_sizes("llama-mini-lora")
    ),
}, open(sys.argv[1], "w"))
"""


@pytest.mark.slow
def test_native_models_have_the_parameters_of_their_keras_twins(tmp_path: Path) -> None:
    """BERT and GPT-2 to the last weight; Llama in what is frozen, since Keras's adapters work per head."""
    for needed in ("torch", "transformers", "peft", "keras_hub"):
        if importlib.util.find_spec(needed) is None:
            pytest.skip(f"{needed} is not installed; pip install 'rtxbench[torch]'")
    written = tmp_path / "sizes.json"
    paths = {"PYTHONPATH": f"{ROOT}:{ROOT / 'examples'}", "KERAS_BACKEND": "torch", "PATH": "/usr/bin:/bin"}
    subprocess.run([sys.executable, "-c", _COUNT, str(written)], env=paths, check=True, capture_output=True)
    sizes = json.loads(written.read_text(encoding="utf-8"))
    for name in ("bert-mini", "gpt2-mini"):
        assert sizes[name][0] == sizes[name][1]
    frozen = [total - trained for total, trained in sizes["llama-mini-lora"]]
    assert frozen[0] == frozen[1]
