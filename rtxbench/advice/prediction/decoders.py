"""The kernels of fine-tuning a language model, composed from its dimensions.

Nobody lists the kernels of every decoder there is, and a model known by its ``config.json`` alone cannot be run. What
PyTorch launches for one layer follows from the dimensions, though: the products with their FLOPs, and between them the
passes over activations that Transformers' code makes one by one. The passes were counted on recordings of Transformers'
Llama with PEFT's LoRA, to which a test holds the composition.

One example is one sequence. A quantised base is unpacked before every product that reads it (QLoRA, arXiv:2305.14314,
section 3), and with recomputation the layers' forward pass runs twice.
"""

from collections.abc import Iterator, Sequence
from typing import Final, NamedTuple

import numpy as np

from rtxbench.advice.memory.models import Model
from rtxbench.advice.memory.need import Setup
from rtxbench.advice.memory.practice import TUNING_METHODS, TuningMethod
from rtxbench.catalog.programs import Program
from rtxbench.lookup import named

__all__ = ["DECODER_FORMS", "decoder_program"]

DECODER_FORMS: Final = ("llama",)
"""Forms of `Model` that the composition speaks of."""
_HALF_BYTES: Final = 2

# Bytes that Transformers' eager code moves per element of a layer's activations, forward and backward, and launches.
_NORM: Final = (36, 70, 8, 17)
_ROTARY: Final = (20, 24, 5, 6)
_RESIDUAL: Final = (6, 0, 1, 0)
_GATE: Final = (10, 18, 2, 3)
_JOIN: Final = (0, 6, 0, 1)
"""Gradients of two paths that meet in one input."""
_ADAPTED_INPUT: Final = (0, 6, 0, 1)
_ADAPTED_OUTPUT: Final = (10, 4, 2, 1)
"""An adapter's output is scaled and added."""
_LOSS: Final = (24, 28, 4, 4)
"""Per logit: a float32 copy, its softmax, the gradient and its way back to 16 bit."""
_DORA_WEIGHT: Final = (22, 0, 6, 0)
"""Per weight: the product of the adapters, added to the weight, and the norm of its rows."""
_OPTIMIZER_BYTES: Final = {True: 14.0, False: 30.0}
"""Per trained parameter held in 16 bit (True) or in float32: read and written once, Adam's two moments too."""
_CAST_BYTES: Final = 6.0
"""Per float32 master weight and pass: autocast makes a 16-bit copy."""
_UNPACKED_BYTES: Final = 2.0


class _Row(NamedTuple):
    """Kernels of a kind: FLOPs and bytes of one, apart from the batch and for each example."""

    kind: str
    launches: float
    flops_per_example: float
    bytes_fixed: float
    bytes_per_example: float
    flops_fixed: float = 0.0


class _Step(NamedTuple):
    """A step and the way it is run."""

    model: Model
    method: TuningMethod
    tokens: int
    rank: int
    adapted: frozenset[int]
    """Places in `Model.attention_shapes` + `Model.mlp_shapes` that carry an adapter."""
    passes: int
    """Forward passes: two where activations are recomputed."""


def decoder_program(model: Model, setup: Setup) -> Program:
    """Compose the kernels of one fine-tuning step of ``model``, an example being ``setup.tokens`` tokens.

    Raises:
        ValueError: the model is none of `DECODER_FORMS`.
    """
    if model.form not in DECODER_FORMS:
        raise ValueError(f"{model.name} is of the form {model.form}, of which no composition is known")
    method = named(TUNING_METHODS, setup.method, "method")
    recomputed = method.checkpointing if setup.checkpointing is None else setup.checkpointing
    places = range(4 if setup.targets == "all" and model.experts > 1 else 7)
    adapted = frozenset(places if setup.targets == "all" else (0, 2)) if method.base_bytes is not None else frozenset()
    step = _Step(model, method, setup.tokens or model.tokens, setup.rank, adapted, 2 if recomputed else 1)
    rows = [row._replace(launches=row.launches * model.layers) for row in _layer(step)]
    return _program([*rows, *_head(step), *_update(step)])


def _layer(step: _Step) -> Iterator[_Row]:
    model, tokens = step.model, step.tokens
    for place, (inputs, outputs) in enumerate((*model.attention_shapes, *model.mlp_shapes)):
        yield from _linear(step, inputs, outputs, place)
    query, narrow = model.query_width, model.key_value_width
    # Causal attention without a score matrix: half of the square, the backward pass computing it anew.
    square, moved = 2.0 * tokens * tokens * query, 2.0 * tokens * (query + narrow) * _HALF_BYTES
    yield _Row("gemm", step.passes, square, 0.0, moved)
    yield _Row("gemm", 1, 2.5 * square, 0.0, 2 * moved)
    wide = model.intermediate * model.active_experts
    for passes, width, count in (
        (_NORM, model.hidden, 2),
        (_ROTARY, query, 1),
        (_ROTARY, narrow, 1),
        (_RESIDUAL, model.hidden, 2),
        (_GATE, wide, 1),
        (_JOIN, model.hidden, 3),
    ):
        yield from _elementwise(step, passes, width, count)


def _linear(step: _Step, inputs: int, outputs: int, place: int) -> Iterator[_Row]:
    """List a linear map, of all the experts that a token meets, with its adapter if it has one."""
    model, method = step.model, step.method
    is_mlp = place >= len(model.attention_shapes)
    used, stored = (model.active_experts, model.experts) if is_mlp else (1, 1)
    rows = step.tokens * used
    forward = _product(rows, inputs, outputs, stored)
    yield forward._replace(launches=forward.launches * step.passes)
    yield forward  # the gradient of the inputs
    if method.base_bytes is None:
        yield forward  # that of the weights
        if not method.half_weights:
            yield _Row("memory", step.passes + 1, 0.0, _CAST_BYTES * inputs * outputs * stored, 0.0)
    elif method.base_bytes < _HALF_BYTES:
        unpacked = (method.base_bytes + _UNPACKED_BYTES) * inputs * outputs * stored
        yield _Row("memory", step.passes + 1, 0.0, unpacked, 0.0)
    if place in step.adapted:
        yield from _adapter(step, inputs, outputs)


def _adapter(step: _Step, inputs: int, outputs: int) -> Iterator[_Row]:
    down, up = (_product(step.tokens, *shape, 1) for shape in ((inputs, step.rank), (step.rank, outputs)))
    for row in (down, up):
        yield row._replace(launches=step.passes + 2.0)  # forward, and the gradients of inputs and of weights
    yield from _elementwise(step, _ADAPTED_INPUT, inputs, 1)
    yield from _elementwise(step, _ADAPTED_OUTPUT, outputs, 1)
    if step.method.decomposes:
        weights = float(inputs * outputs)
        yield _Row("gemm", step.passes, 0.0, _HALF_BYTES * weights, 0.0, 2.0 * weights * step.rank)
        yield _Row("memory", _DORA_WEIGHT[2] * step.passes, 0.0, _DORA_WEIGHT[0] / _DORA_WEIGHT[2] * weights, 0.0)
        yield from _elementwise(step, _ADAPTED_OUTPUT, outputs, 2)


def _head(step: _Step) -> Iterator[_Row]:
    """List embedding, last norm, logits and loss: run once, never recomputed."""
    model, once = step.model, step._replace(passes=1)
    logits = _product(step.tokens, model.hidden, model.vocabulary, 1)
    trained = step.method.base_bytes is None or step.method.trains_embeddings
    yield logits._replace(launches=3.0 if trained else 2.0)
    yield from _elementwise(once, _NORM, model.hidden, 1)
    yield from _elementwise(once, _RESIDUAL, model.hidden, 1)
    yield from _elementwise(once, _LOSS, model.vocabulary, 1)


def _update(step: _Step) -> Iterator[_Row]:
    method, model = step.method, step.model
    if method.base_bytes is None:
        yield _Row("memory", 1, 0.0, _OPTIMIZER_BYTES[method.half_weights] * model.parameters, 0.0)
        return
    shapes = (*model.attention_shapes, *model.mlp_shapes)
    adapters = model.layers * step.rank * sum(sum(shapes[place]) for place in step.adapted)
    embeddings = model.embedding_parameters if method.trains_embeddings else 0
    yield _Row("memory", 1, 0.0, _OPTIMIZER_BYTES[False] * (adapters + embeddings), 0.0)


def _product(rows: int, inputs: int, outputs: int, stored: int) -> _Row:
    weights, moved = float(inputs * outputs * stored), float(rows * (inputs + outputs))
    return _Row("gemm", 1, 2.0 * rows * inputs * outputs, _HALF_BYTES * weights, _HALF_BYTES * moved)


def _elementwise(step: _Step, passes: tuple[int, int, int, int], width: int, count: int) -> Iterator[_Row]:
    forward, backward, launches, backward_launches = passes
    for moved, number, times in ((forward, launches, step.passes), (backward, backward_launches, 1)):
        if number:
            yield _Row("memory", float(count * number * times), 0.0, 0.0, moved / number * width * step.tokens)


def _program(rows: Sequence[_Row]) -> Program:
    def column(name: str) -> np.ndarray:
        return np.array([getattr(row, name) for row in rows], dtype=np.float64)

    return Program(
        kind=np.array([row.kind for row in rows], dtype=np.str_),
        is_half=np.ones(len(rows), dtype=bool),
        launches=column("launches"),
        flops_fixed=column("flops_fixed"),
        flops_per_example=column("flops_per_example"),
        bytes_fixed=column("bytes_fixed"),
        bytes_per_example=column("bytes_per_example"),
    )
