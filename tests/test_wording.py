"""Cases and comparisons are said in words, and two different comparisons never in the same words."""

import ast
from itertools import combinations
from pathlib import Path

from msgspec.structs import replace

from rtxbench.records import Case
from rtxbench.wording import in_words, say, say_change, say_common, say_flag, say_pair, say_stack, say_training

ROOT = Path(__file__).parents[1]

PLAIN = Case(workload="resnet14-64px", batch_size=8, placement="cpu")


def test_a_comparison_says_the_change_first_and_no_id() -> None:
    """The sentence names the change, then the model and batch, and holds no code form."""
    said = say_pair(replace(PLAIN, precision="mixed_bfloat16"), PLAIN)
    assert said == "bfloat16 instead of float32, ResNet-14, batch 8, on the CPU"
    assert say_pair(replace(PLAIN, batch_size=256), PLAIN) == "batch 256 instead of batch 8, ResNet-14, on the CPU"
    assert say(PLAIN) == "ResNet-14, float32, batch 8, on the CPU"


def test_a_default_is_not_said_beside_another_word() -> None:
    """An engine that brings its compiler is not held against `no compiler`."""
    said = say_pair(replace(PLAIN, engine="jax", compiler="xla"), PLAIN)
    assert said.startswith("JAX, XLA instead of TensorFlow, ResNet-14")


def test_different_comparisons_are_said_differently() -> None:
    """Verdicts group records by this sentence: a shared one would judge two comparisons as one."""
    changes = [
        {"precision": "mixed_float16"}, {"precision": "mixed_bfloat16"}, {"engine": "jax"}, {"batch_size": 64},
        {"engine": "jax", "compiler": "xla"}, {"compiler": "xla"}, {"placement": "gpu"}, {"variant": "fused-norm"},
        {"placement": "mirrored", "device_count": 2}, {"placement": "mirrored", "device_count": 4},
        {"workload": "cnn"}, {"precision": "mixed_float16", "variant": "fused-norm"},
    ]  # fmt: skip
    cases = [PLAIN, *(replace(PLAIN, **change) for change in changes)]  # type: ignore[arg-type]
    said = [say_pair(candidate, baseline) for baseline, candidate in combinations(cases, 2)]
    assert len(set(said)) == len(said)


def test_keras_on_pytorch_is_never_called_pytorch() -> None:
    """Records of before there was a native form say so, too; the engine's name tells the two forms apart."""
    keras = replace(PLAIN, engine="torch")
    native = replace(keras, variant="native")
    assert "Keras on PyTorch" in say(keras)
    assert say(native) == "ResNet-14, float32, PyTorch, batch 8, on the CPU"
    assert say_change(native, keras) == "PyTorch instead of Keras on PyTorch"
    assert "PyTorch" not in say_common(native, keras)
    assert say_change(native, PLAIN) == "PyTorch instead of TensorFlow"
    assert "Keras on PyTorch" not in say(replace(keras, workload="model:train.build@00000000"))


def _codes_of_flags() -> set[str]:
    """Return every code that the package gives a flag or a recorder's event, read from its source."""
    given = set()
    for path in (ROOT / "rtxbench").rglob("*.py"):
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
            if not isinstance(node, ast.Call):
                continue
            name = getattr(node.func, "id", getattr(node.func, "attr", ""))
            first = [node.args[0]] if name in ("_flag", "_Limit") and node.args else []
            named = [k.value for k in node.keywords if k.arg == "code" and name in ("Flag", "write")]
            found = [value.value for value in (*first, *named) if isinstance(value, ast.Constant)]
            given |= {value for value in found if isinstance(value, str)}
    return given


def test_every_flag_is_said_in_words() -> None:
    """A reader never meets the code of a flag or of a recorder's event."""
    codes = _codes_of_flags()
    assert {"steal", "cpu-pressure", "not-converged", "gpu-lost"} <= codes
    assert [code for code in sorted(codes) if say_flag(code) in (code, code.replace("-", " "))] == []


def test_what_others_published_is_said_in_words() -> None:
    """Ids of precisions, fine-tunings and software stacks become what their users call them."""
    assert in_words("mixed_bfloat16 against float32, then mixed_float16") == "bfloat16 against float32, then float16"
    assert say_training("llama-2-7b:qlora") == "Llama 2 7B with QLoRA"
    assert say_training("bert-large:full") == "BERT-large in full"
    assert say_stack("pytorch-1.13-ngc-22.10") == "PyTorch 1.13 (NGC 22.10)"
    assert say_stack("pytorch-ngc-20.10") == "PyTorch (NGC 20.10)"
