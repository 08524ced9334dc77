"""Read what a gate may be told, and by whom: a pull request must not set its own bar.

Cases, margins and budget stand in ``[tool.rtxbench.gate]`` of ``pyproject.toml``. Of baseline and candidate the
stricter holds: the smaller margin, and every case that either names; what fails a candidate is the baseline's alone.
Both files belong to whoever wrote the commit, so anything may be in them.
"""

import os
import re
import tomllib
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, Final, NamedTuple

import msgspec

from rtxbench.errors import RecordError, UsageError
from rtxbench.gate.session import Settings
from rtxbench.gate.statistics.decision import DEFAULT_MARGINS, FAIL_EVIDENCE
from rtxbench.results.foreign import open_regular
from rtxbench.units import format_percent

__all__ = [
    "Asked",
    "foreign_bytes",
    "foreign_text",
    "foreign_toml",
    "parse_duration_s",
    "parse_margins",
    "parse_ratio",
    "settings_of",
    "shape_error",
]

_DEFAULT_BUDGET_S: Final = 600.0
_MOST_BYTES: Final = 2**20
_CASE: Final = re.compile(r"[A-Za-z_]\w*(\.[A-Za-z_]\w*)*:[A-Za-z_]\w*", re.ASCII)
_KEYS: Final = {"margin": "step time", "memory_margin": "peak memory", "first_step_margin": "first step"}
"""Key of the table → quantity."""


class Asked(NamedTuple):
    """Options of the command line, which belongs to whoever runs the gate and stands above both trees."""

    cases: tuple[str, ...] = ()
    margins: tuple[str, ...] = ()
    """``5%``, ``peak-memory=3%`` or ``train:bert/first-step=50%``."""
    evidence: float | None = None
    budget: str | None = None


class _Margins(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """One case's own margins."""

    margin: str | float | None = None
    memory_margin: str | float | None = None
    first_step_margin: str | float | None = None


class _Table(_Margins, frozen=True, forbid_unknown_fields=True):
    """``[tool.rtxbench.gate]``."""

    cases: tuple[str, ...] = ()
    budget: str | float | None = None
    evidence: float | None = None
    case: dict[str, _Margins] = {}


def settings_of(asked: Asked, baseline: Path, candidate: Path) -> tuple[Settings, tuple[str, ...]]:
    """Settle what is gated and how strictly.

    Args:
        asked: options of the command line, which win.
        baseline: its tree.
        candidate: its tree.

    Returns:
        The settings, and a note for every wish of the candidate that was not granted.

    Raises:
        UsageError: a file is malformed, a margin makes no sense, or there is no case.
    """
    old, new = _table(baseline / "pyproject.toml"), _table(candidate / "pyproject.toml")
    cases = tuple(dict.fromkeys(asked.cases or (*old.cases, *new.cases)))
    if not cases:
        raise UsageError(
            "nothing to gate.",
            next_step='Pass --cases package.module:function, or set cases = ["…"] under [tool.rtxbench.gate].',
        )
    for case in cases:
        if not _CASE.fullmatch(case):
            raise UsageError(f"{case!r} is not module:function.", next_step="Write for example train.steps:resnet.")
    notes = [f"the candidate no longer names the case {case}; it is gated all the same"
             for case in old.cases if not asked.cases and case not in new.cases]  # fmt: skip
    wanted = parse_margins(asked.margins)
    evidence = [_evidence(one) for one in (asked.evidence, old.evidence, new.evidence) if one is not None]
    lenient = asked.evidence is None and old.evidence is None
    margins, said = _margins(wanted.get("", {}), old, new)
    case_margins = {case: _case_margins(case, old, new, margins) | wanted.get(case, {}) for case in cases}
    budget = next((one for one in (asked.budget, old.budget, new.budget) if one is not None), None)
    settings = Settings(
        cases=cases,
        margins=margins,
        case_margins={case: own for case, own in case_margins.items() if own},
        fail_evidence=FAIL_EVIDENCE if lenient else evidence[0],  # the candidate's own is checked, not taken
        budget_s=_DEFAULT_BUDGET_S if budget is None else parse_duration_s(str(budget)),
    )
    return settings, (*notes, *said)


def parse_ratio(text: str) -> float:
    """Read ``5%`` or ``0.05`` as 0.05.

    Raises:
        UsageError: not a number, or outside 0.5–50 %.
    """
    match = re.fullmatch(r"\s*([0-9]*\.?[0-9]+)\s*(%?)\s*", text, re.ASCII)
    value = float(match[1]) / (100 if match[2] else 1) if match else -1.0
    if not 0.005 <= value <= 0.5:
        raise UsageError(f"{text!r} is no margin.", next_step="Write 0.5% to 50%, for example 5% or 0.05.")
    return value


def parse_margins(texts: Sequence[str]) -> dict[str, dict[str, float]]:
    """Read ``["5%", "a:f/first-step=50%"]`` as case (empty: all) → quantity → ratio.

    Raises:
        UsageError: not of that form.
    """
    found: dict[str, dict[str, float]] = {}
    for text in texts:
        target, _, ratio = text.rpartition("=")
        case, _, name = target.rpartition("/")
        quantity = (name or "step-time").replace("-", " ")
        if quantity not in DEFAULT_MARGINS:
            known = ", ".join(one.replace(" ", "-") for one in DEFAULT_MARGINS)
            raise UsageError(f"{text!r} is no margin: nothing is called {name!r}.", next_step=f"Known: {known}.")
        found.setdefault(case, {})[quantity] = parse_ratio(ratio)
    return found


def parse_duration_s(text: str) -> float:
    """Read ``90s``, ``10m``, ``1.5h`` or plain seconds as seconds.

    Raises:
        UsageError: not a duration above zero.
    """
    match = re.fullmatch(r"\s*([0-9]*\.?[0-9]+)\s*(s|m|min|h|)\s*", text, re.ASCII)
    value_s = float(match[1]) * {"s": 1, "": 1, "m": 60, "min": 60, "h": 3600}[match[2]] if match else 0.0
    if not 0 < value_s < 1e9:
        raise UsageError(f"{text!r} is no duration.", next_step="Write for example 90s, 10m or 1h.")
    return value_s


def foreign_bytes(path: Path, most: int) -> bytes:
    """Read a file of a tree under test.

    Raises:
        UsageError: no regular file, unreadable, or longer than ``most`` bytes.
    """
    try:
        with os.fdopen(open_regular(path), "rb") as stream:
            raw = stream.read(most + 1)
    except RecordError as error:
        raise UsageError(error.message, next_step=error.next_step) from error
    except OSError as error:
        raise UsageError(f"cannot read {path}: {error.strerror}.", next_step="Check the file.") from error
    if len(raw) > most:
        raise UsageError(f"{path} is longer than {most} bytes.", next_step="Take it out of the tree.")
    return raw


def foreign_text(path: Path) -> str:
    """Read a small text file of a tree under test.

    Raises:
        UsageError: no regular file, longer than a MiB, or not UTF-8.
    """
    try:
        return foreign_bytes(path, _MOST_BYTES).decode("utf-8-sig")
    except UnicodeDecodeError as error:
        raise UsageError(f"{path} is not UTF-8.", next_step="Save it as UTF-8.") from error


def foreign_toml(path: Path) -> dict[str, Any]:
    """Read a TOML file of a tree under test; an absent one is empty.

    Raises:
        UsageError: unreadable, or malformed.
    """
    if not os.path.lexists(path):
        return {}
    try:
        return tomllib.loads(foreign_text(path))
    except (ValueError, RecursionError) as error:  # malformed, a date or a number out of range, nested too deeply
        raise UsageError(f"{path} is malformed: {error}.", next_step="Mend it.") from error


def shape_error(path: Path, what: str, error: Exception) -> UsageError:
    """Make the error for a value of the wrong type."""
    return UsageError(f"{path}: {what}: {error}.", next_step="Mend it; docs/ci.md has an example.")


def _table(path: Path) -> _Table:
    table: Any = foreign_toml(path)
    for key in ("tool", "rtxbench", "gate"):
        table = table.get(key, {}) if isinstance(table, dict) else None
    try:
        return msgspec.convert({} if table is None else table, _Table)
    except msgspec.ValidationError as error:
        raise shape_error(path, "[tool.rtxbench.gate]", error) from error


def _margins(asked: Mapping[str, float], old: _Table, new: _Table) -> tuple[dict[str, float], list[str]]:
    """Quantity → margin: the command line's, else the stricter of the two trees', else the default."""
    margins, notes = {}, []
    for key, name in _KEYS.items():
        bar = _ratio(getattr(old, key), DEFAULT_MARGINS[name])
        own = _ratio(getattr(new, key), bar)
        margins[name] = asked.get(name, min(bar, own))
        if own > bar and name not in asked:
            notes.append(
                f"the candidate asks for a {name} margin of {format_percent(own, None)}; the baseline's "
                f"{format_percent(bar, None)} holds"
            )
    return margins, notes


def _case_margins(case: str, old: _Table, new: _Table, margins: Mapping[str, float]) -> dict[str, float]:
    """Return a case's own margins: the baseline may set any, the candidate only stricter ones."""
    before, after = old.case.get(case, _Margins()), new.case.get(case, _Margins())
    own = {}
    for key, name in _KEYS.items():
        bar = _ratio(getattr(before, key), margins[name])
        value = min(bar, _ratio(getattr(after, key), bar))
        if value != margins[name]:
            own[name] = value
    return own


def _ratio(value: str | float | None, otherwise: float) -> float:
    return otherwise if value is None else parse_ratio(str(value))


def _evidence(value: float) -> float:
    if not 20.0 <= value <= 1e6:
        raise UsageError(f"{value:g} is no evidence to fail on.", next_step="Write 20 to 1000000; 100 is the default.")
    return value
