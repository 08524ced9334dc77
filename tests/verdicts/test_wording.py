"""The words of a verdict."""

import re
from pathlib import Path
from typing import Final

from rtxbench import verdicts
from rtxbench.verdicts.wording import say_reason

_ROOM: Final = Path(verdicts.__file__).parent
_JUDGES: Final = ("matching.py", "subjects.py", "whole.py", "statistics/decision.py")
_OTHER_IDS: Final = {"at-least", "no-difference", "likely-yes", "likely-no", "not-measured", "bare-loop"}
"""Ids in these modules that are no reason."""


def test_every_reason_is_said_in_words() -> None:
    """Every reason that a verdict can have, read from the modules that give one, has words of its own."""
    text = "".join((_ROOM / name).read_text(encoding="utf-8") for name in _JUDGES)
    reasons = set(re.findall(r'"([a-z]+(?:-[a-z]+)+)"', text)) - _OTHER_IDS
    assert {"no-gpu", "interval-crosses-threshold", "quality-unproven", "case-skipped"} <= reasons
    assert [reason for reason in sorted(reasons) if say_reason(reason) == reason.replace("-", " ")] == []
