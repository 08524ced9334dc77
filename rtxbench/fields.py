"""Types of the fields of a record: bounded numbers and safe names."""

from typing import Annotated, TypeAlias

import msgspec

__all__ = ["Count", "Figure", "LogRatio", "Nanoseconds", "Share", "Slug"]

Slug: TypeAlias = Annotated[str, msgspec.Meta(pattern=r"^(?!.*\.trace$)[A-Za-z0-9_][A-Za-z0-9_.-]{0,119}$")]
"""A name that becomes a folder, a file or an anchor: a stranger's file must not choose another place (nor call a
run ``x.trace``, whose file every reader would take for a trace)."""
Count: TypeAlias = Annotated[int, msgspec.Meta(ge=0, le=2**53)]
"""Bounded, so that a stranger's file overflows neither arrays nor floats."""
Nanoseconds: TypeAlias = Annotated[int, msgspec.Meta(ge=0, le=2**62)]
Figure: TypeAlias = Annotated[float, msgspec.Meta(ge=-1e30, le=1e30)]
"""Any measured quantity: sums and products of a few stay finite."""
LogRatio: TypeAlias = Annotated[float, msgspec.Meta(ge=-50, le=50)]
Share: TypeAlias = Annotated[float, msgspec.Meta(gt=0, lt=1)]
