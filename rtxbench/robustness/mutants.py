"""Derive hostile results files from real records: seeded, so that every failure can be repeated by its number."""

import json
import random
from collections.abc import Callable, Sequence
from importlib import resources
from typing import Any, Final, TypeAlias

__all__ = ["MUTATIONS", "mutant", "places", "sample_lines"]

_Mutation: TypeAlias = Callable[[list[bytes], random.Random], list[bytes]]

_MARKUP: Final = '"><meta http-equiv=refresh content=0;url=//127.0.0.1:9/><script>alert(1)</script><b y="'
_NUMBERS: Final = (0, -1, -0.0, 0.5, 5e-324, 1e308, -1e308, 2**53, 2**63, 2**64, -(2**63), 10**400)
_WORDS: Final = (
    "",
    "NaN",
    "Infinity",
    "\x1b[2J\x1b]0;title\x07",
    "\u202e",
    "\x00",
    "a\nb",
    "::set-output name=x::y",
    "\ud800",
)
_CODE: Final = ("../../x", "C:\\x", "=1+1", "[/x]", "$\\input{x}", "%s{0}{{}}", _MARKUP, "x" * 5000)
_NASTY: Final[tuple[Any, ...]] = (None, True, [], {}, [[]], [None], *_NUMBERS, *_WORDS, *_CODE)
"""Values that stand where something else belongs."""
_RAW: Final = (
    b"\xff\xfe",
    b"\xed\xa0\x80",
    b"\xef\xbb\xbf",
    b"\x00",
    b"\r",
    b"\n\n",
    b"NaN",
    b"1e999",
    b"[" * 3000,
    b'{"a":' * 3000,
)


def sample_lines() -> list[bytes]:
    """Lines of a small results file with one real record of every kind, header first."""
    text = resources.files("rtxbench.robustness").joinpath("sample.jsonl").read_bytes()
    return text.splitlines(keepends=True)


def mutant(lines: Sequence[bytes], number: int, most_lines: int | None = None) -> bytes:
    """Return the ``number``-th mutant of a results file.

    Args:
        lines: of the healthy file, header first.
        number: which mutant; the same number gives the same bytes.
        most_lines: number of records to keep, drawn at random; all where ``None``.
    """
    draw = random.Random(number)
    kept = list(lines)
    if most_lines is not None:
        kept = [lines[0], *draw.sample(list(lines[1:]), min(most_lines, len(lines) - 1))]
    for _ in range(draw.choice((1, 1, 1, 2, 3))):
        kept = draw.choice(tuple(MUTATIONS.values()))(kept, draw)
    return b"".join(kept)


def _in_one_line(change: Callable[[bytes, random.Random], bytes]) -> _Mutation:
    def mutate(lines: list[bytes], draw: random.Random) -> list[bytes]:
        """Change one line, drawn at random."""
        if not lines:
            return lines
        chosen = draw.randrange(len(lines))
        return [change(line, draw) if number == chosen else line for number, line in enumerate(lines)]

    return mutate


def _flipped(line: bytes, draw: random.Random) -> bytes:
    data = bytearray(line)
    for _ in range(draw.randint(1, 4)):
        if data:
            data[draw.randrange(len(data))] = draw.randrange(256)
    return bytes(data)


def _inserted(line: bytes, draw: random.Random) -> bytes:
    place = draw.randrange(len(line) + 1)
    return line[:place] + draw.choice(_RAW) + line[place:]


def _cut(lines: list[bytes], draw: random.Random) -> list[bytes]:
    data = b"".join(lines)
    return [data[: draw.randrange(len(data) + 1)]]


def _doubled(lines: list[bytes], draw: random.Random) -> list[bytes]:
    return [*lines, draw.choice(lines)] if lines else lines


def _dropped(lines: list[bytes], draw: random.Random) -> list[bytes]:
    chosen = draw.randrange(len(lines)) if lines else 0
    return [line for number, line in enumerate(lines) if number != chosen]


def _shuffled(lines: list[bytes], draw: random.Random) -> list[bytes]:
    return draw.sample(lines, len(lines))


def _with_json(change: Callable[[Any, Any, random.Random], None]) -> _Mutation:
    """Change one place of one line's document; a line that is no document stays as it is."""

    def mutate(line: bytes, draw: random.Random) -> bytes:
        """Change one place, drawn at random, of a line that is JSON; other lines stay."""
        try:
            document = json.loads(line)
        except (ValueError, RecursionError):
            return line
        found = places(document)
        if not found:
            return line
        holder, key = draw.choice(found)
        change(holder, key, draw)
        return json.dumps(document, separators=(",", ":")).encode() + b"\n"

    return _in_one_line(mutate)


def places(node: Any) -> list[tuple[Any, Any]]:
    """List every (dict or list, key or index) inside a decoded document."""
    keys = list(node) if isinstance(node, dict) else range(len(node)) if isinstance(node, list) else []
    here = [(node, key) for key in keys]
    return here + [place for _, key in here for place in places(node[key])]


def _replace(holder: Any, key: Any, draw: random.Random) -> None:
    holder[key] = draw.choice(_NASTY)


def _scale(holder: Any, key: Any, draw: random.Random) -> None:
    if isinstance(holder[key], int | float) and not isinstance(holder[key], bool):
        factor = draw.choice((-1, 0, 1e-300, 1e3, 1e30, 1e300))
        try:
            scaled = holder[key] * factor
        except OverflowError:  # an integer that an earlier change put there, beyond any float
            return
        holder[key] = 1e308 if abs(scaled) == float("inf") else scaled


def _remove(holder: Any, key: Any, _draw: random.Random) -> None:
    del holder[key]


def _rename(holder: Any, key: Any, draw: random.Random) -> None:
    if isinstance(holder, dict):
        holder[draw.choice(("unknown", "kind", "x" * 300, _MARKUP))] = holder.pop(key)


def _empty(holder: Any, key: Any, _draw: random.Random) -> None:
    if isinstance(holder[key], dict | list | str):
        holder[key] = type(holder[key])()


MUTATIONS: Final[dict[str, _Mutation]] = {
    "bytes changed": _in_one_line(_flipped),
    "bytes put in": _in_one_line(_inserted),
    "cut short": _cut,
    "line doubled": _doubled,
    "line dropped": _dropped,
    "lines shuffled": _shuffled,
    "value replaced": _with_json(_replace),
    "value replaced again": _with_json(_replace),
    "number scaled": _with_json(_scale),
    "value removed": _with_json(_remove),
    "key renamed": _with_json(_rename),
    "value emptied": _with_json(_empty),
}
"""Name → the change of a file; add a row to look for another kind of fault."""
