"""Read the kernels of a program that XLA has compiled for a GPU, from its optimised text.

Every instruction of the entry computation that is no bookkeeping is one launch: a fusion, a library call of cuBLAS or
cuDNN, a copy. FLOPs are those of its products and convolutions; bytes are its operands and its result, of a fusion only
the parts it slices. Bodies of loops count as often as their trip count says, where the compiler knows it, else once.
"""

import re
from collections.abc import Iterator, Mapping
from typing import Final, NamedTuple

from rtxbench.catalog.programs import Kernel

__all__ = ["kernels_of"]

_SIZES: Final[Mapping[str, int]] = {
    "pred": 1, "s4": 1, "u4": 1, "s8": 1, "u8": 1, "s16": 2, "u16": 2, "f16": 2, "bf16": 2, "s32": 4, "u32": 4,
    "f32": 4, "s64": 8, "u64": 8, "f64": 8, "c64": 8,
}  # fmt: skip
_SHAPE: Final = re.compile(r"([a-z]+\d*)\[([\d,]*)\]")
_LINE: Final = re.compile(r"^\s*(ROOT )?%?([\w.\-]+) = (\((?:[^()]|\([^()]*\))*\)|\S+) ([\w\-]+)\((.*)$")
_HEAD: Final = re.compile(r"^(ENTRY )?%?([\w.\-]+) \(.*\{\s*$")
_LAUNCHES_NOTHING: Final = frozenset(
    (
        *("parameter", "constant", "bitcast", "get-tuple-element", "tuple", "after-all", "partition-id"),
        *("async-start", "async-done", "copy-start", "copy-done"),
    )
)


class _Instruction(NamedTuple):
    type: str
    operation: str
    operands: tuple[str, ...]
    rest: str
    """Attributes behind the operands."""
    is_root: bool


_Computation = dict[str, _Instruction]


def kernels_of(text: str) -> list[Kernel]:
    """List the launches of one run of the compiled program.

    Raises:
        ValueError: the text is no HLO module.
    """
    computations, entry = _parsed(text)
    if entry is None:
        raise ValueError("the text has no ENTRY computation")
    return list(_walked(entry, computations))


def _parsed(text: str) -> tuple[dict[str, _Computation], str | None]:
    computations: dict[str, _Computation] = {}
    current, entry = None, None
    for line in text.splitlines():
        head = None if line.startswith(" ") else _HEAD.match(line)
        if head:
            current = computations.setdefault(head.group(2), {})
            entry = head.group(2) if head.group(1) else entry
            continue
        match = _LINE.match(line)
        if match and current is not None:
            root, name, kind, operation, rest = match.groups()
            end = _closing(rest)
            operands = tuple(re.findall(r"%([\w.\-]+)", rest[:end]))
            current[name] = _Instruction(kind, operation, operands, rest[end + 1 :], bool(root))
    return computations, entry


def _closing(text: str) -> int:
    depth = 1
    for place, letter in enumerate(text):
        depth += (letter == "(") - (letter == ")")
        if depth == 0:
            return place
    return len(text)


def _walked(name: str, computations: Mapping[str, _Computation]) -> Iterator[Kernel]:
    computation = computations[name]
    for instruction in computation.values():
        operation = instruction.operation
        if operation in _LAUNCHES_NOTHING:
            continue
        if operation == "call":
            yield from _walked(_named(instruction, "to_apply"), computations)
        elif operation == "while":
            known = re.search(r'known_trip_count":\{"n":"(\d+)"', instruction.rest)
            yield from [*_walked(_named(instruction, "body"), computations)] * (int(known.group(1)) if known else 1)
        else:
            yield _kernel(instruction, computation, computations)


def _kernel(instruction: _Instruction, around: _Computation, computations: Mapping[str, _Computation]) -> Kernel:
    operation = instruction.operation
    moved = sum(_bytes(around[name].type) for name in instruction.operands if name in around)
    moved += _bytes(instruction.type)
    if operation == "fusion":
        body = computations[_named(instruction, "calls")]
        flops, is_half, kind = _product(body, computations)
        moved = _fusion_bytes(instruction, body)
    elif operation == "custom-call":
        flops, is_half, kind = _library_call(instruction, around)
        operation = _target(instruction)
    else:
        flops, is_half, kind = _product({"": instruction}, computations, around)
    return Kernel(operation, kind, is_half, flops, float(moved))


def _product(
    body: _Computation, computations: Mapping[str, _Computation], around: _Computation | None = None
) -> tuple[float, bool, str]:
    """FLOPs of the products in a computation, whether their operands have 16 bits, and the kind."""
    total, is_half, kind = 0.0, False, "memory"
    for instruction in body.values():
        if instruction.operation in ("dot", "convolution"):
            inside = around or body
            flops = _dot(instruction, inside) if instruction.operation == "dot" else _convolution(instruction, inside)
            total += flops
            is_half |= _is_half(inside, instruction)
            kind = "conv" if instruction.operation == "convolution" else "gemm"
        elif instruction.operation == "fusion":
            inner = _product(computations[_named(instruction, "calls")], computations)
            total, is_half, kind = total + inner[0], is_half or inner[1], inner[2] if inner[0] else kind
    return total, is_half, kind


def _library_call(instruction: _Instruction, around: _Computation) -> tuple[float, bool, str]:
    target = _target(instruction)
    if "conv" in target and "dim_labels" in instruction.rest:
        return _convolution(instruction, around, target), _is_half(around, instruction), "conv"
    contracted = re.search(r'"lhs_contracting_dimensions":\[([^\]]*)\]', instruction.rest)
    if contracted:
        left = _shapes(around[instruction.operands[0]].type)[0][1]
        depth = _count([left[int(place)] for place in re.findall(r"\d+", contracted.group(1))])
        flops = 2.0 * _count(_shapes(instruction.type)[0][1]) * depth
        return flops, _is_half(around, instruction), "gemm"
    return 0.0, False, "memory"


def _target(instruction: _Instruction) -> str:
    found = re.search(r'custom_call_target="([^"]+)"', instruction.rest)
    return found.group(1) if found else "custom-call"


def _is_half(around: _Computation, instruction: _Instruction) -> bool:
    return _shapes(around[instruction.operands[0]].type)[0][0] in ("f16", "bf16")


def _dot(instruction: _Instruction, around: _Computation) -> float:
    left = _shapes(around[instruction.operands[0]].type)[0][1]
    places = re.search(r"lhs_contracting_dims=\{([\d,]*)\}", instruction.rest)
    depth = _count([left[int(place)] for place in places.group(1).split(",") if place]) if places else 1
    return 2.0 * _count(_shapes(instruction.type)[0][1]) * depth


def _convolution(instruction: _Instruction, around: _Computation, target: str = "") -> float:
    """2 × outputs × filter ÷ output channels, whichever of the three the result is."""
    labels = re.search(r"dim_labels=\w+_(\w+)->\w+", instruction.rest)
    left, right = (_shapes(around[name].type)[0][1] for name in instruction.operands[:2])
    result = _shapes(instruction.type)[0][1]
    filters, outputs = right, result
    if "BackwardInput" in target:
        outputs = left
    elif "BackwardFilter" in target:
        filters, outputs = result, right
    channels = filters[labels.group(1).index("o")] if labels else 1
    return 2.0 * _count(outputs) * _count(filters) / channels


def _fusion_bytes(instruction: _Instruction, body: _Computation) -> int:
    """Operands, only the slices where slices are all that is read; the result, only the update where it is in place."""
    users: dict[str, list[_Instruction]] = {}
    for inner in body.values():
        for name in inner.operands:
            users.setdefault(name, []).append(inner)
    read = sum(
        min(_bytes(inner.type), _sliced(name, users)) for name, inner in body.items() if inner.operation == "parameter"
    )
    root = next((inner for inner in body.values() if inner.is_root), None)
    if root is not None and root.operation == "dynamic-update-slice" and root.operands[1] in body:
        return int(read) + _bytes(body[root.operands[1]].type)
    return int(read) + _bytes(instruction.type)


def _sliced(name: str, users: Mapping[str, list[_Instruction]]) -> float:
    total = 0.0
    for user in users.get(name, []):
        if user.operation in ("dynamic-slice", "slice", "gather"):
            total += _bytes(user.type)
        elif not (user.operation == "dynamic-update-slice" and user.operands[0] == name):
            return float("inf")
    return total


def _named(instruction: _Instruction, attribute: str) -> str:
    found = re.search(rf"{attribute}=%?([\w.\-]+)", instruction.rest)
    if found is None:
        raise ValueError(f"{instruction.operation} names no {attribute}")
    return found.group(1)


def _shapes(text: str) -> list[tuple[str, list[int]]]:
    found = [(kind, [int(n) for n in sizes.split(",") if n]) for kind, sizes in _SHAPE.findall(text) if kind in _SIZES]
    return found or [("pred", [])]


def _bytes(text: str) -> int:
    return sum(_SIZES[kind] * _count(sizes) for kind, sizes in _shapes(text))


def _count(sizes: list[int]) -> int:
    total = 1
    for size in sizes:
        total *= size
    return total
