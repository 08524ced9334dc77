"""Read what ``claims.toml`` says about measuring: designs, and workloads, batches and precisions by profile."""

from typing import Generic, Literal, TypeAlias, TypeVar

import msgspec

__all__ = ["DesignName", "Levels", "PlanRow", "Survey"]

DesignName: TypeAlias = Literal[
    "precisions", "placements", "devices", "batches", "pair", "engines", "variants", "native", "trial"
]

_Value = TypeVar("_Value")
_ORDER = ("smoke", "quick", "standard", "full")


class _ByKind(msgspec.Struct, Generic[_Value], frozen=True, kw_only=True, forbid_unknown_fields=True):
    cpu: tuple[_Value, ...] = ()
    """On a machine without an NVIDIA GPU."""
    gpu: tuple[_Value, ...] = ()
    """On a machine with one or more."""


class Levels(msgspec.Struct, Generic[_Value], frozen=True, kw_only=True, forbid_unknown_fields=True):
    """Values by profile, each alike for every machine or apart for ``cpu`` and ``gpu``.

    A profile that is left out takes the values of the next shorter one.
    """

    smoke: tuple[_Value, ...] | _ByKind[_Value] | None = None
    quick: tuple[_Value, ...] | _ByKind[_Value] | None = None
    standard: tuple[_Value, ...] | _ByKind[_Value] | None = None
    full: tuple[_Value, ...] | _ByKind[_Value] | None = None

    def of(self, profile: str, kind: str) -> tuple[_Value, ...]:
        """Give the values of a profile on a machine of a kind (``cpu`` or ``gpu``)."""
        for name in reversed(_ORDER[: _ORDER.index(profile) + 1]):
            level: tuple[_Value, ...] | _ByKind[_Value] | None = getattr(self, name)
            if isinstance(level, _ByKind):
                return level.gpu if kind == "gpu" else level.cpu
            if level is not None:
                return level
        return ()


class PlanRow(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """One way in which a claim or survey is measured. Baselines and candidates follow from its comparisons."""

    designs: tuple[DesignName, ...]
    """Rows of `rtxbench.planning.designs.DESIGNS`, or ``trial``: a row of `rtxbench.trials.table.TRIALS`."""
    workloads: Levels[str] = Levels()
    """Selectors: a name, a pattern, ``family:vision``, or ``largest:PATTERN`` (the largest that the memory holds)."""
    batches: Levels[int] = Levels()
    """For ``batches``: sizes in examples over all devices; the first is the baseline."""
    precisions: Levels[str] = Levels()
    """For ``engines`` and ``native``: each compared on its own."""
    variants: tuple[str, ...] = ()
    """For ``variants``: rows of `rtxbench.workloads.variants.VARIANTS`."""
    batch_of: Literal["cpu", "gpu"] = "gpu"
    """For ``placements``: the kind of device whose default batch size both arms take."""
    shown: str = ""
    """For ``trial``: metric in seconds that pytest-benchmark's table shows; empty for the whole trial's duration."""


class Survey(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """Measurements for a section of the report that no claim judges."""

    id: str
    title: str
    section: str
    """Id of the report's section that shows it."""
    measured: str
    plan: tuple[PlanRow, ...]
