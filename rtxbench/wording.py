"""Cases and comparisons in the words a reader uses: ``bfloat16 instead of float32, ResNet-14, batch 8``.

Ids (``resnet14-64px/mixed_bfloat16/cpu/b8``) are for command lines and data files; every sentence for a person is
made here. `NAMES` is the extension point: a workload or a variant without a row is shown under its own name.
"""

import math
import re
from collections.abc import Iterable, Mapping, Sequence
from typing import Final

from rtxbench.records import NATIVE, Case, RatioRecord
from rtxbench.units import format_percent

__all__ = [
    "NAMES",
    "engine_name",
    "in_words",
    "name_of",
    "say",
    "say_change",
    "say_common",
    "say_flag",
    "say_headline",
    "say_metric",
    "say_pair",
    "say_stack",
    "say_training",
]

NAMES: Final[Mapping[str, str]] = {
    # precisions
    "float32": "float32",
    "tf32": "TF32",
    "mixed_float16": "float16",
    "mixed_bfloat16": "bfloat16",
    "int8": "int8",
    # engines and compilers
    "tensorflow": "TensorFlow",
    "jax": "JAX",
    "torch": "PyTorch",
    "python": "your own step",
    "xla": "XLA",
    "inductor": "torch.compile",
    # workloads
    "mlp": "a small dense net",
    "mlp-wide": "a wide dense net",
    "cnn": "a small CNN",
    "resnet14-64px": "ResNet-14",
    "resnet50": "ResNet-50",
    "resnet50-64px": "ResNet-50 (64 px)",
    "mobilenetv3": "MobileNetV3",
    "convnext-tiny": "ConvNeXt-Tiny",
    "efficientnet-v2-b0": "EfficientNetV2-B0",
    "bert": "BERT-base",
    "bert-base": "BERT-base",
    "bert-base-half": "half of BERT-base",
    "bert-large": "BERT-large",
    "bert-mini": "BERT-mini",
    "bert-mini-half": "half of BERT-mini",
    "bert-small": "BERT-small",
    "bert-small-half": "half of BERT-small",
    "llama-mini-lora": "a small Llama with LoRA",
    "llama-1b-lora": "Llama 1B with LoRA",
    "llama-1b-lora-int8": "Llama 1B with LoRA over int8",
    "llama-3b-lora": "Llama 3B with LoRA",
    "llama-8b-lora": "Llama 8B with LoRA",
    "llama-mini-lora-int8": "a small Llama with LoRA over int8",
    "mlp-split": "a dense net split over devices",
    "gpt2": "GPT-2",
    "gpt2-mini": "a small GPT-2",
    "digits-cnn": "the digits CNN",
    "conv-full": "full convolutions",
    "conv-separable": "separable convolutions",
    # placements
    "cpu": "on the CPU",
    "gpu": "on the GPU",
    "mirrored": "MirroredStrategy",
    "data-parallel": "data parallel",
    "model-parallel": "model parallel",
    "ddp": "DistributedDataParallel",
    "ddp-nodes": "DistributedDataParallel over several machines",
    "ddp-nodes-cpu": "DistributedDataParallel over several machines' CPUs",
    "data-parallel-nodes": "data parallel over several machines",
    "data-parallel-nodes-cpu": "data parallel over several machines' CPUs",
    "multi-worker": "MultiWorkerMirroredStrategy",
    "multi-worker-cpu": "MultiWorkerMirroredStrategy on several machines' CPUs",
    "mirrored-logical": "MirroredStrategy on logical CPU devices",
    "data-parallel-logical": "data parallel on logical CPU devices",
    "model-parallel-logical": "model parallel on logical CPU devices",
    "ddp-logical": "DistributedDataParallel over CPU processes",
    # variants and arms of trials
    "fused-norm": "fused normalisation",
    "early-stopping": "early stopping",
    "all-epochs": "all epochs",
    "raw": "raw images",
    "normalised": "normalised images",
    "augmented": "augmented images",
    "whole": "all layers",
    "half-layers": "half the layers",
    # file formats of a saved model
    "keras": "Keras format",
    "h5": "HDF5",
    "saved-model": "SavedModel",
    "onnx": "ONNX",
}
"""Id → what a reader calls it."""

_FLAGS: Final[Mapping[str, str]] = {
    "steal": "another guest of this host took CPU time",
    "cgroup-throttled": "the container's CPU quota ran out",
    "cpu-pressure": "other processes wanted the CPU too",
    "cpu-pressure-shows": "other processes wanted the CPU too, and the interval is wide",
    "hw-slowdown": "the GPU slowed down to protect itself",
    "thermal-slowdown": "the GPU slowed down from heat",
    "thermal-slowdown-unequal": "heat slowed one side more than the other",
    "power-cap-unequal": "the power limit held one side back more than the other",
    "gpu-lost": "the GPU stopped answering",
    "gpu-refused": "the driver would not open a GPU",
    "sensor-hung": "a sensor stopped answering",
    "read-hung": "a sensor stopped answering",
    "suspended": "the machine was asleep for a while",
    "not-recorded": "the hardware was not recorded meanwhile",
    "temperature-drift": "the GPU's temperature drifted",
    "clock-variation": "the GPU's clock varied",
    "host-bound": "the GPU waited for the host",
    "energy-disagreement": "two readings of the energy disagree",
    "foreign-gpu-process": "another program used the GPU",
    "processes-unknown": "other users of the GPU could not be listed",
    "work-unproven": "nothing shows that the work ran on this device",
    "no-work": "the work ran elsewhere",
    "not-converged": "training was still improving when it ended",
    "interference": "the baseline runs at another speed when alone",
    "interval-doubled": "the recorder took fewer samples to stay light",
}
"""Code of a flag or of a recorder's event → what a reader is told. A code without a row is written with spaces."""

_OWN: Final = "model:"
"""Begins the name of a workload that is a user's own model: ``model:train.build@1a2b3c4d``."""

_FIELDS: Final = ("precision", "engine", "compiler", "device_count", "placement", "batch_size", "workload", "variant")
"""Fields of a case in the order a sentence names them."""
_UNSAID: Final[Mapping[str, object]] = {
    "precision": "float32",
    "engine": "tensorflow",
    "compiler": "none",
    "device_count": 1,
    "placement": "gpu",
    "variant": "",
}
"""Values that go without saying where both sides of a comparison share them."""
_SILENT: Final = ("compiler", "variant")
"""Fields whose default is only said where nothing else is."""


def name_of(name: str) -> str:
    """Give the words by which a reader calls a workload, precision, engine, compiler, placement or variant."""
    if name.startswith(_OWN):
        function, _, version = name.removeprefix(_OWN).partition("@")
        return f"your model {function} ({version})" if version else f"your model {function}"
    return NAMES.get(name, name)


def engine_name(case: Case) -> str:
    """Name the framework of a case as its users would: Keras's layers on PyTorch are not PyTorch."""
    keras_on_torch = case.engine == "torch" and case.variant != NATIVE and not case.workload.startswith(_OWN)
    return "Keras on PyTorch" if keras_on_torch else name_of(case.engine)


def say(case: Case) -> str:
    """Name one case: ``ResNet-14, bfloat16, batch 8, on the CPU``."""
    words = [name_of(case.workload), name_of(case.precision)]
    words += [_word(field, case) for field in ("engine", "compiler", "variant") if _is_said(field, case)]
    words += [f"{case.device_count} devices"] if case.device_count > 1 else []
    return ", ".join([*words, f"batch {case.batch_size}", name_of(case.placement)])


def say_pair(candidate: Case, baseline: Case, metric: str = "throughput") -> str:
    """Name what changed, then what both sides share: ``bfloat16 instead of float32, ResNet-14, batch 8``."""
    change, common = say_change(candidate, baseline, metric), say_common(candidate, baseline)
    return f"{change}, {common}" if common else change


def say_change(candidate: Case, baseline: Case, metric: str = "throughput") -> str:
    """Name what changed between two cases, and in which figure: ``early stopping instead of all epochs (accuracy)``."""
    changed = _changed(candidate, baseline)
    if "workload" in changed:  # a model's own name comes first, what else differs after it
        changed.insert(0, changed.pop(changed.index("workload")))
    over, under = (_side(changed, case) for case in (candidate, baseline))
    said = f"{over} instead of {under}" if changed else "the same case twice"
    return said if metric == "throughput" else f"{said} ({say_metric(metric)})"


def _changed(candidate: Case, baseline: Case) -> list[str]:
    """Return the fields that differ; a native form against a Keras form is told by the engine's name."""
    changed = [field for field in _FIELDS if getattr(candidate, field) != getattr(baseline, field)]
    if "variant" in changed and candidate.as_published and baseline.as_published:
        changed.remove("variant")
        if "engine" not in changed:
            changed.insert(int("precision" in changed), "engine")
    return changed


def _side(changed: Sequence[str], case: Case) -> str:
    """Name the changed fields of one side; a default says nothing beside another word."""
    if list(changed) == ["batch_size"]:
        return f"batch {case.batch_size}"
    said = [field for field in changed if field not in _SILENT or getattr(case, field) != _UNSAID[field]]
    if "device_count" in said and case.device_count == 1 and "placement" in said:
        said.remove("placement")
    words = [_word(field, case) for field in said or changed]
    return ", ".join(word.removeprefix("on ") if changed[0] == "placement" else word for word in words)


def say_common(candidate: Case, baseline: Case) -> str:
    """Name what both sides share, as far as it does not go without saying: ``ResNet-14, batch 8, on the CPU``."""
    changed = _changed(candidate, baseline)
    same = [field for field in _FIELDS if field not in changed]
    order = ["workload", "variant", "precision", "engine", "compiler", "device_count", "batch_size", "placement"]
    return ", ".join(_word(field, candidate) for field in order if field in same and _is_said(field, candidate))


_MIXED: Final = re.compile(r"\bmixed_(b?float16)\b")
_MODEL_WORDS: Final = {"bert": "BERT", "gpt2": "GPT-2", "xl": "XL", "llama": "Llama", "t5": "T5", "vit": "ViT"}
_METHODS: Final = {"full": "in full", "lora": "with LoRA", "qlora": "with QLoRA"}


def in_words(text: str) -> str:
    """Write precisions by their names within a sentence that holds their ids, as records and claims do."""
    return _MIXED.sub(r"\1", text)


def say_training(name: str) -> str:
    """Say what is trained and how: ``llama-2-7b:qlora`` → ``Llama 2 7B with QLoRA``."""
    model, _, method = name.partition(":")
    words = [_MODEL_WORDS.get(word, re.sub(r"(?<=\d)b$", "B", word)) for word in model.split("-")]
    said = NAMES.get(model) or " ".join(words)
    return f"{said} {_METHODS.get(method, method)}".rstrip()


def say_stack(name: str) -> str:
    """Say a published software stack: ``pytorch-1.13-ngc-22.10`` → ``PyTorch 1.13 (NGC 22.10)``."""
    found = re.fullmatch(r"(pytorch|tensorflow|mxnet|jax)(?:-([\d.]+))?(?:-([a-z].*))?", name)
    if found is None:
        return name.replace("-", " ")
    engine = {"pytorch": "PyTorch", "tensorflow": "TensorFlow", "mxnet": "MXNet", "jax": "JAX"}[found[1]]
    rest = (found[3] or "").replace("-", " ").replace("ngc", "NGC")
    return f"{engine} {found[2] or ''}".rstrip() + (f" ({rest})" if rest else "")


def say_flag(code: str) -> str:
    """Say what a flag or a recorder's event means: ``cpu-pressure`` → ``other processes wanted the CPU too``."""
    return _FLAGS.get(code, code.replace("-", " "))


def say_headline(ratios: Iterable[RatioRecord]) -> str:
    """Say the clearest comparison of a run in one sentence to quote; empty without any.

    The clearest has an interval that excludes 1× and lies furthest from it.
    """
    clear = [r for r in ratios if r.ratio.low is not None and r.ratio.high is not None and r.metric == "throughput"]
    apart = [r for r in clear if (r.ratio.low or 0) > 1 or (r.ratio.high or 0) < 1]
    if not clear:
        return ""
    if not apart:
        count = f"{len(clear)} comparisons" if len(clear) > 1 else say_pair(clear[0].candidate, clear[0].baseline)
        return f"No difference could be told apart from chance in {count}."
    best = max(apart, key=lambda record: abs(math.log(record.ratio.value)))
    said, ratio = say_pair(best.candidate, best.baseline), best.ratio
    interval = f"{format_percent(ratio.confidence, None)} interval {ratio.low:.2f} to {ratio.high:.2f}"
    return f"{said[0].upper()}{said[1:]}: {ratio.value:.2f} times as fast ({interval})."


def say_metric(metric: str) -> str:
    """Write a metric's name without its unit: ``validation_accuracy_ratio`` → ``validation accuracy``."""
    for unit in ("_ratio", "_per_s", "_s"):
        metric = metric.removesuffix(unit)
    return metric.replace("_", " ")


def _is_said(field: str, case: Case) -> bool:
    if field == "variant" and case.variant == NATIVE:
        return False  # the engine's name says it
    return bool(getattr(case, field) != _UNSAID.get(field, object()))


def _word(field: str, case: Case) -> str:
    value = getattr(case, field)
    if field == "engine":
        return engine_name(case)
    if field == "batch_size":
        return f"batch {value}"
    if field == "device_count":
        kind = "CPU device" if case.placement.endswith(("-logical", "-cpu")) or case.placement == "cpu" else "GPU"
        return f"{value} {kind}{'' if value == 1 else 's'}"
    if field == "compiler" and value == "none":
        return "uncompiled"
    return name_of(value) if value else "as published"
