"""Define the result of one of the doctor's checks."""

from collections.abc import Callable
from typing import Literal

import msgspec

from rtxbench.doctor.installation import Installation

__all__ = ["Check", "Finding"]


class Finding(msgspec.Struct, frozen=True):
    """The result of one check."""

    state: Literal["ok", "warn", "fail"]
    """fail: something a user wants will not run. warn: it runs, with a loss. ok: nothing to do."""
    subject: str
    what: str
    why: str = ""
    """Consequence or origin of the finding."""
    next_step: str = ""


Check = Callable[[Installation], Finding | None]
