"""Define a claim and read files of claims: ``bench/claims.toml`` or a person's own.

A claim's *comparisons* say which paired records may speak for it and how they are judged; its *limits* bound
observed figures. `rtxbench.verdicts.judge` applies them.
"""

import math
import tomllib
from pathlib import Path
from typing import Final, Literal, TypeAlias

import msgspec

from rtxbench.errors import UsageError
from rtxbench.records import NATIVE
from rtxbench.verdicts.plan_rows import PlanRow, Survey

__all__ = [
    "TEMPLATE",
    "CaseSelectors",
    "Claim",
    "Comparison",
    "Elsewhere",
    "Limit",
    "claims_path",
    "load_claims",
    "load_surveys",
    "select_claims",
]

Field: TypeAlias = Literal[
    "workload", "batch_size", "precision", "placement", "engine", "compiler", "device_count", "variant"
]

TEMPLATE: Final = """\
# A claim of your own. Check it:  rtxbench claims --file mine.toml
# Measure what it compares:       rtxbench run --file mine.toml --profile standard
# Judge it:                       rtxbench claims --file mine.toml --results results

[[claim]]
id = "my-4070-mixed"
title = "My RTX 4070 trains BERT-base at least 1.5 times as fast in mixed precision"
says = "Mixed precision gives at least 1.5 times the throughput of float32 on this card."
measured = "Training throughput, mixed_float16 against strict float32, same batch."
gpu_name = ["*RTX 4070*"]       # patterns; leave out for any machine
needs_gpus = 1
needs_equal_quality = false     # true: counts only where equal-quality holds for the precision, too

[[claim.comparisons]]
name = "mixed precision against float32"
varies = ["precision"]          # the arms differ in this and in nothing else
rule = "at-least"               # or "no-difference" with margin_ratio alone
threshold_ratio = 1.5
margin_ratio = 0.05             # supported from 1.5 on, refuted below 1.5 x 0.95
baseline = { workload = ["bert-base"], precision = ["float32"], placement = ["gpu"] }
candidate = { workload = ["bert-base"], precision = ["mixed_float16"], placement = ["gpu"] }

[[claim.plan]]
designs = ["precisions"]        # what is measured: every precision that the comparison takes
workloads.smoke = ["bert-base"] # longer profiles measure the same unless they are listed, too
"""
"""Output of ``rtxbench claims --template``."""


class _Strict(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """A misspelt key in a claims file is an error, never silently ignored."""


class CaseSelectors(_Strict, frozen=True, kw_only=True):
    """Selectors of the cases on one side of a comparison: shell-style patterns per field; empty means any."""

    workload: tuple[str, ...] = ()
    precision: tuple[str, ...] = ()
    placement: tuple[str, ...] = ()
    engine: tuple[str, ...] = ()
    compiler: tuple[str, ...] = ()
    variant: tuple[str, ...] = ("", NATIVE)
    """By default only the workload as users get it, in its Keras form or its native one."""
    minimum_devices: int = 1


class Comparison(_Strict, frozen=True, kw_only=True):
    """One kind of paired evidence and the rule that judges it."""

    name: str
    """Short name of this part of the claim, for example ``GPU against CPU``."""
    varies: tuple[Field, ...]
    """The two arms differ in all of these fields …"""
    may_vary: tuple[Field, ...] = ()
    """… and perhaps in these, and in nothing else."""
    rule: Literal["at-least", "no-difference"]
    threshold_ratio: float | None = None
    """For ``at-least``: the ratio c that is claimed."""
    margin_ratio: float = 0.05
    """m: *at least c* is refuted below c(1 − m); *no difference* is judged at [1 / (1 + m), 1 + m]."""
    metric: str = "throughput"
    was_metric: str = ""
    """The metric it was judged by before: records of it no longer speak, and a verdict says so."""
    baseline: CaseSelectors = CaseSelectors()
    candidate: CaseSelectors = CaseSelectors()
    replicate: Literal["launch", "seed"] = "launch"
    minimum_replicates: int | None = None
    """Fewer launches or seeds give no verdict; by default 3 launches or 5 seeds."""
    required: bool = True
    """The claim as a whole rests on this part; otherwise it is shown beside it."""

    @property
    def least_replicates(self) -> int:
        """Launches or seeds below which nothing is judged."""
        return self.minimum_replicates or {"launch": 3, "seed": 5}[self.replicate]


class Limit(_Strict, frozen=True, kw_only=True):
    """An observed figure that may nowhere exceed ``maximum`` (a property, not an average)."""

    name: str
    metric: str
    maximum: float
    minimum_values: int = 5
    labels: dict[str, tuple[str, ...]] = {}
    """Patterns the observation's labels must match; a label that is not named may be anything."""
    required: bool = True


class Fit(_Strict, frozen=True, kw_only=True):
    """Workloads that must train on a GPU of the machine without running out of its memory."""

    name: str
    workload: tuple[str, ...]
    """Selectors, as those of an `CaseSelectors`."""
    required: bool = True


class Elsewhere(_Strict, frozen=True, kw_only=True):
    """The published measurements that may speak of a claim about cards, beside its verdict and never in it."""

    cards: tuple[str, ...]
    """Patterns of catalogue names, for example ``GeForce RTX 40*``."""
    compare: tuple[tuple[str, str], ...] = ()
    """Pairs of cards (candidate, baseline), compared over every model published for both in one software stack."""
    models: tuple[str, ...]
    """Published names of the models the claim is about; the first is the one predicted for cards nobody published."""
    precision: str = "mixed_float16"
    memory_models: tuple[str, ...] = ()
    """Model that should fit, as ``NAME:METHOD`` of the memory model, for example ``llama-2-7b:qlora``."""
    workloads: tuple[str, ...] = ()
    """The suite's workloads whose measurements on such a card, on any machine of the results, stand beside it."""


class Claim(_Strict, frozen=True, kw_only=True):
    """One statement that can be true or false on a machine."""

    id: str
    title: str
    says: str
    """The claim in our words."""
    measured: str
    """The measurement that a verdict needs, and the choice of its thresholds."""
    kind: Literal["claim", "finding", "user"] = "user"
    """claim: the article's; finding: a figure of this machine that answers a related question; user: your own."""
    reproduce: str = ""
    """The exact command that measures it."""
    where: str = ""
    """Machine to run it on when this one cannot."""
    needs_gpus: int = 0
    """NVIDIA GPUs the machine must have for any evidence to count."""
    gpu_name: tuple[str, ...] = ()
    """Patterns of which one GPU's name must match, for example ``*RTX 4070*``; empty means any."""
    needs_equal_quality: bool = False
    """A faster precision counts only where equal-quality holds for the same precision and placement."""
    comparisons: tuple[Comparison, ...] = ()
    limits: tuple[Limit, ...] = ()
    fits: tuple[Fit, ...] = ()
    plan: tuple[PlanRow, ...] = ()
    """Plan by which `rtxbench run` measures it."""
    not_testable: str = ""
    """Reason why nothing can measure it."""
    sources: tuple[str, ...] = ()
    elsewhere: Elsewhere | None = None
    """Facts known beyond this machine, labelled, for claims about cards one may not own."""

    @property
    def required_parts(self) -> tuple[str, ...]:
        """Names of the comparisons, limits and fits the claim as a whole rests on."""
        comparisons = tuple(part.name for part in self.comparisons if part.required)
        limits = tuple(part.name for part in self.limits if part.required)
        return (*comparisons, *limits, *(part.name for part in self.fits if part.required))


class _ClaimsFile(_Strict, frozen=True, kw_only=True):
    claim: tuple[Claim, ...]
    survey: tuple[Survey, ...] = ()


def claims_path() -> Path:
    """Locate the suite's claims: beside the package in a wheel, in ``bench/`` of a checkout.

    Raises:
        UsageError: neither is there.
    """
    package = Path(__file__).resolve().parent.parent
    candidates = (package / "claims.toml", package.parent / "bench" / "claims.toml")
    for candidate in candidates:
        if candidate.is_file():
            return candidate
    raise UsageError("the suite's claims.toml is missing from this installation.", next_step="Reinstall rtxbench.")


def load_claims(path: Path | None = None) -> list[Claim]:
    """Read and check a claims file; without ``path`` the suite's own.

    Raises:
        UsageError: the file is missing, is not TOML, has an unknown or ill-typed key, or states a claim that a
            case compared with itself could satisfy.
    """
    source = claims_path() if path is None else path
    document = _read(source)
    for claim in document.claim:
        _check(claim, source)
    _check_unique(document.claim, source)
    measured_by = _COMMAND if path is None else f"rtxbench run --file {source} --claim {{id}}"
    return [_with_command(claim, measured_by) for claim in document.claim]


def load_surveys() -> list[Survey]:
    """Read what the suite measures for the report alone.

    Raises:
        UsageError: as `load_claims`.
    """
    return list(_read(claims_path()).survey)


def _with_command(claim: Claim, command: str) -> Claim:
    """Fill in the command that measures a claim; it follows from the id unless the row has one of its own."""
    if claim.reproduce or not claim.plan:
        return claim
    return msgspec.structs.replace(claim, reproduce=command.format(id=claim.id))


_COMMAND: Final = "pytest bench/bench_claims.py --benchmark-only --claim {id}"


def _read(source: Path) -> _ClaimsFile:
    try:
        return msgspec.convert(tomllib.loads(source.read_text(encoding="utf-8")), _ClaimsFile, strict=True)
    except OSError as error:
        raise UsageError(f"cannot read {source}: {error.strerror}.", next_step="Check the path.") from error
    except UnicodeDecodeError as error:
        raise UsageError(f"{source} is not UTF-8 text.", next_step="Save it as UTF-8.") from error
    except msgspec.ValidationError as error:
        raise UsageError(
            f"{source}: {error}.", next_step="`rtxbench claims --template` prints a file that is right."
        ) from error
    except (ValueError, RecursionError) as error:  # malformed, a date or a number out of range, nested too deeply
        raise UsageError(f"{source} is not valid TOML: {error}.", next_step="Mend that line.") from error


def select_claims(claims: list[Claim], claim_id: str | None) -> list[Claim]:
    """Return the claims asked for: all of them, or the one with this id.

    Raises:
        UsageError: no such claim; the message offers the known ids.
    """
    if claim_id is None:
        return claims
    chosen = [claim for claim in claims if claim.id == claim_id]
    if not chosen:
        known = ", ".join(claim.id for claim in claims)
        raise UsageError(f"no claim is called {claim_id!r}.", next_step=f"Known claims: {known}.")
    return chosen


def _check(claim: Claim, source: Path) -> None:
    """Refuse what the types cannot: each message names the claim and the key."""
    problems = [problem for comparison in claim.comparisons for problem in _comparison_problems(comparison)]
    problems += [problem for limit in claim.limits for problem in _limit_problems(limit)]
    if not claim.id or not all(character.isalnum() or character in "-_." for character in claim.id):
        problems.append("`id` must be letters, digits, '-', '_' or '.'")
    if bool(claim.not_testable) == bool(claim.comparisons or claim.limits or claim.fits):
        problems.append("give `comparisons`, `limits` or `fits`, or else `not_testable` with the reason")
    if claim.not_testable and not claim.sources:
        problems.append("`not_testable` needs `sources`")
    if problems:
        raise UsageError(f"{source}: claim {claim.id!r}: {'; '.join(problems)}.", next_step="Mend it and try again.")


def _comparison_problems(comparison: Comparison) -> list[str]:
    where = f"`comparisons` {comparison.name!r}"
    problems = []
    if not comparison.varies:
        problems.append(f"{where}: `varies` is empty, so the arms would be one case compared with itself")
    if "workload" in comparison.varies and len(comparison.baseline.workload) != len(comparison.candidate.workload):
        problems.append(f"{where}: give as many `workload` names to the candidate as to the baseline: they are pairs")
    if comparison.least_replicates < 2:
        problems.append(f"{where}: `minimum_replicates` must be 2 or more, because one launch has no interval")
    if not 0 < comparison.margin_ratio < 1:
        return [*problems, f"{where}: `margin_ratio` must lie between 0 and 1"]
    return problems + [f"{where}: {problem}" for problem in _threshold_problems(comparison)]


def _limit_problems(limit: Limit) -> list[str]:
    problems = []
    if limit.minimum_values < 1:
        problems.append(f"`limits` {limit.name!r}: `minimum_values` must be 1 or more")
    if not 0 <= limit.maximum < math.inf:
        problems.append(f"`limits` {limit.name!r}: `maximum` must be a number of 0 or more")
    return problems


def _threshold_problems(comparison: Comparison) -> list[str]:
    threshold = comparison.threshold_ratio
    if comparison.rule == "no-difference":
        return [] if threshold is None else ["`threshold_ratio` has no meaning for no-difference; use `margin_ratio`"]
    if threshold is None:
        return ["at-least needs `threshold_ratio`"]
    least = 1 / (1 - comparison.margin_ratio)
    if least < threshold < math.inf:
        return []
    return [
        f"`threshold_ratio` {threshold:g} less the margin is not above 1, so a case compared with itself would "
        f"satisfy it; claim more than {least:.4g}"
    ]


def _check_unique(claims: tuple[Claim, ...], source: Path) -> None:
    seen: set[str] = set()
    for claim in claims:
        if claim.id in seen:
            raise UsageError(f"{source}: the id {claim.id!r} is used twice.", next_step="Give each claim its own id.")
        seen.add(claim.id)
