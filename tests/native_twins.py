"""The native and the Keras form of workloads side by side, found in a process of its own: Keras on PyTorch.

``python -m tests.native_twins WORKLOAD…`` prints one JSON object per workload: parameters, FLOPs by one counter, and
the loss of both forms on one batch once the Keras form's kernels are copied into the native one. Biases and
normalisations start alike in both (zero, and the identity); dropout is off, since the two draw other masks.
"""

import json
import os
import sys
from collections.abc import Iterator
from typing import Any

Copied = Iterator[tuple[str, Any]]


def _heads(kernel: Any) -> Any:
    """(inputs, heads, width) → (inputs, outputs)."""
    return kernel.reshape(kernel.shape[0], -1)


def _layers(kernels: dict[str, Any]) -> int:
    return 1 + max(
        int(path.split("/")[0].rsplit("_", 1)[1]) for path in kernels if path.startswith("transformer_layer")
    )


def _bert(kernels: dict[str, Any]) -> Copied:
    embeddings = {"word": "token", "position": "position", "token_type": "segment"}
    for ours, theirs in embeddings.items():
        yield f"bert.embeddings.{ours}_embeddings.weight", kernels[f"{theirs}_embedding/embeddings"]
    for index in range(_layers(kernels)):
        here, there = f"bert.encoder.layer.{index}", f"transformer_layer_{index}"
        for name in ("query", "key", "value"):
            yield (
                f"{here}.attention.self.{name}.weight",
                _heads(kernels[f"{there}/self_attention_layer/{name}/kernel"]).T,
            )
        out = kernels[f"{there}/self_attention_layer/attention_output/kernel"]
        yield f"{here}.attention.output.dense.weight", out.reshape(-1, out.shape[-1]).T
        yield f"{here}.intermediate.dense.weight", kernels[f"{there}/feedforward_intermediate_dense/kernel"].T
        yield f"{here}.output.dense.weight", kernels[f"{there}/feedforward_output_dense/kernel"].T
    yield "bert.pooler.dense.weight", kernels["pooled_dense/kernel"].T
    yield "classifier.weight", kernels["classifier/kernel"].T


def _gpt2(kernels: dict[str, Any]) -> Copied:
    import numpy as np

    yield "transformer.wte.weight", kernels["token_embedding/embeddings"]
    yield "transformer.wpe.weight", kernels["position_embedding/embeddings"]
    for index in range(_layers(kernels)):
        here, there = f"transformer.h.{index}", f"transformer_layer_{index}"
        parts = [_heads(kernels[f"{there}/self_attention/{name}/kernel"]) for name in ("query", "key", "value")]
        yield f"{here}.attn.c_attn.weight", np.concatenate(parts, axis=1)  # (inputs, outputs), unlike nn.Linear
        out = kernels[f"{there}/self_attention/attention_output/kernel"]
        yield f"{here}.attn.c_proj.weight", out.reshape(-1, out.shape[-1])
        yield f"{here}.mlp.c_fc.weight", kernels[f"{there}/feedforward_intermediate_dense/kernel"]
        yield f"{here}.mlp.c_proj.weight", kernels[f"{there}/feedforward_output_dense/kernel"]


def _llama(kernels: dict[str, Any]) -> Copied:
    root = "base_model.model"
    yield f"{root}.model.embed_tokens.weight", kernels["token_embedding/embeddings"]
    yield f"{root}.lm_head.weight", kernels["token_embedding/reverse_embeddings"].T
    dense = {"gate": "gate", "up": "intermediate", "down": "output"}
    for index in range(_layers(kernels)):
        here, there = f"{root}.model.layers.{index}", f"transformer_layer_{index}"
        for name, adapted in (("query", ".base_layer"), ("key", ""), ("value", ".base_layer")):
            kernel = _heads(kernels[f"{there}/self_attention/{name}/kernel"])
            yield f"{here}.self_attn.{name[0]}_proj{adapted}.weight", kernel.T
        out = kernels[f"{there}/self_attention/attention_output/kernel"]
        yield f"{here}.self_attn.o_proj.weight", out.reshape(-1, out.shape[-1]).T
        for ours, theirs in dense.items():
            yield f"{here}.mlp.{ours}_proj.weight", kernels[f"{there}/feedforward_{theirs}_dense/kernel"].T


def _resnet(kernels: dict[str, Any]) -> Copied:
    for path, kernel in kernels.items():
        layer = path.split("/")[0]
        if layer == "predictions":
            yield "fc.weight", kernel.T
        elif layer == "conv1_conv":
            yield "conv1.weight", kernel.transpose(3, 2, 0, 1)
        else:  # conv3_block1_0_conv
            stage, block, number = int(layer[4]) - 1, int(layer.split("block")[1][0]) - 1, layer.split("_")[2]
            name = "downsample.0" if number == "0" else f"conv{number}"
            yield f"layer{stage}.{block}.{name}.weight", kernel.transpose(3, 2, 0, 1)


def _in_order(kernels: dict[str, Any], native: Any) -> Copied:
    names = [name for name, value in native.named_parameters() if value.ndim > 1]
    channels = 0
    for name, kernel in zip(names, kernels.values(), strict=True):
        if kernel.ndim == 4:
            yield name, kernel.transpose(3, 2, 0, 1)
        elif channels and kernel.shape[0] != channels:  # flattened (height, width, channels)
            yield name, kernel.reshape(-1, channels, kernel.shape[1]).swapaxes(0, 1).reshape(kernel.shape).T
        else:
            yield name, kernel.T
        channels = kernel.shape[-1] if kernel.ndim == 4 else 0


_COPIES = {"bert": _bert, "gpt2": _gpt2, "llama": _llama, "resnet50": _resnet}


def _copy(name: str, keras_model: Any, native: Any) -> None:
    import torch

    every = {weight.path: weight.value.detach().cpu().numpy() for weight in keras_model.weights}
    kernels = {path: value for path, value in every.items() if value.ndim > 1 and "lora" not in path}
    copy = next((copy for start, copy in _COPIES.items() if name.startswith(start)), None)
    pairs = copy(kernels) if copy is not None else _in_order(kernels, native)
    state = dict(native.named_parameters(remove_duplicate=False))
    with torch.no_grad():
        for parameter, value in state.items():
            if parameter.endswith(".bias"):
                value.zero_()
        for parameter, value in pairs:
            state[parameter].copy_(torch.from_numpy(value.copy()))


def _sizes(parameters: Any) -> list[int]:
    return [sum(w.numel() for w in parameters), sum(w.numel() for w in parameters if w.requires_grad)]


def twin_facts(name: str) -> dict[str, Any]:
    """Build both forms of a workload on one batch of two."""
    import keras
    import numpy as np
    import torch

    from rtxbench.engines import load_engine
    from rtxbench.records import NATIVE, Case
    from rtxbench.workloads import workload_named

    engine, row = load_engine("torch"), workload_named(name)
    assert row.native is not None
    steps = [engine.build(Case(workload=name, batch_size=2, engine="torch", variant=v), 0) for v in ("", NATIVE)]
    flops = [step.flops().value for step in steps]
    keras.utils.set_random_seed(0)
    batch = row.batch(2, np.random.default_rng(1))
    twin, native = row.build(), row.native.build()
    sizes = [
        [twin.count_params(), sum(int(w.value.numel()) for w in twin.trainable_variables)],
        _sizes(list(native.parameters())),
    ]
    _copy(name, twin, native)
    training = row.family != "language"
    native.train(training)
    loss_of = keras.losses.SparseCategoricalCrossentropy(from_logits=row.from_logits, reduction=None)
    ours = row.native.batch(batch)
    with torch.no_grad(), keras.device("cpu"):
        theirs = loss_of(batch[1], twin(batch[0], training=training)).mean()
        loss = native(**ours).loss if isinstance(ours, dict) else row.native.loss(native(ours[0]), ours[1])
    return {"name": name, "flops": flops, "sizes": sizes, "losses": [float(theirs), float(loss)]}


if __name__ == "__main__":
    os.environ["KERAS_BACKEND"] = "torch"
    for workload in sys.argv[1:]:
        print(json.dumps(twin_facts(workload)), flush=True)
