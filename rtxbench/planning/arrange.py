"""Make a plan fit the machine: arms that do not fit on the card together run in pairs; what cannot run is set aside.

::

    all arms of a group on the card  ──fits──►  one group, every arm in the same launches
              │ no
    baseline and one candidate       ──fits──►  one group per candidate
              │ no
    each of them alone               ──fits──►  one group whose arms take turns as whole processes
              │ no
    set aside, with the gigabytes that are missing

Engines that cannot use the cards are set aside first, in the doctor's words.
"""

import dataclasses
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence

from rtxbench.measure.groups import Group
from rtxbench.measure.profiles import Profile
from rtxbench.placement import PLACEMENTS
from rtxbench.planning.duration import Machine, group_s, why_unreachable
from rtxbench.planning.memory import USABLE_SHARE, resident_bytes
from rtxbench.records import Case
from rtxbench.units import format_bytes, format_duration

__all__ = ["arranged"]


def arranged(
    groups: Sequence[Group], machine: Machine, profile: Profile, refused: Mapping[str, str] | None = None
) -> list[Group]:
    """Arrange a plan for one machine.

    Args:
        groups: the plan.
        machine: with a GPU; without one the plan is returned as it is.
        profile: the one that is to run.
        refused: engine → why it cannot use the GPUs.
    """
    able = [_able(group, refused or {}) for group in groups]
    if machine.memory_bytes is None:
        return able
    usable_bytes = machine.memory_bytes * USABLE_SHARE
    parts = [part for group in able for part in _parts(group, usable_bytes)]
    return _in_time([_reachable(part, machine, profile) for part in parts], machine, profile)


def _in_time(groups: Sequence[Group], machine: Machine, profile: Profile) -> list[Group]:
    """Set groups aside where the profile's session has no time for the least launches of all.

    Claims take turns at the time: the first group of each, then the second of each, and so on.
    """
    seen: Counter[str] = Counter()
    turns = []
    for group in groups:
        seen[group.claim] += bool(group.cases)
        turns.append(seen[group.claim])
    kept, spent_s = list(groups), 0.0
    for index in sorted(range(len(groups)), key=lambda index: turns[index]):
        group, needed_s = groups[index], group_s(groups[index], machine, profile)
        if spent_s + needed_s > profile.session_on("gpu"):
            reason = (
                f"profile {profile.name} has no time left for it (about {format_duration(needed_s)}, predicted); use "
                f"`--claim {group.claim}` or a longer profile."
            )
            kept[index] = _aside(group, reason)
        else:
            spent_s += needed_s
    return kept


def _able(group: Group, refused: Mapping[str, str]) -> Group:
    """Set aside the cases on a GPU of engines that cannot use it."""
    broken = [c for c in group.cases if c.engine in refused and PLACEMENTS[c.placement].device_kind == "gpu"]
    if not broken:
        return group
    left = [case for case in group.cases if case not in broken]
    skipped = (*group.skipped, *((case, refused[case.engine]) for case in broken))
    one_engine = len({case.engine for case in group.cases}) == 1
    if len(left) < 2 or (one_engine and group.baseline in broken):
        why = refused[broken[0].engine]
        aside = (*skipped, *((case, why) for case in left))
        return dataclasses.replace(group, baseline=None, candidates=(), skipped=aside)
    return dataclasses.replace(group, baseline=left[0], candidates=tuple(left[1:]), skipped=skipped)


def _parts(group: Group, usable_bytes: float) -> Iterator[Group]:
    """Return one group where all of it fits, else one for each candidate that fits beside the baseline."""
    baseline = group.baseline
    if baseline is None or (resident_bytes(group.cases) or 0.0) <= usable_bytes:
        yield group
        return
    pairs: list[tuple[Case, str | None]] = [
        (case, _why_too_large((baseline, case), usable_bytes)) for case in group.candidates
    ]
    fitting = [case for case, reason in pairs if reason is None]
    in_turn, large = _alone([case for case, reason in pairs if reason is not None], baseline, usable_bytes)
    if not fitting and not in_turn:
        alone = _why_too_large((baseline,), usable_bytes) or large[0][1]
        yield dataclasses.replace(
            group, baseline=None, candidates=(), skipped=(*group.skipped, (baseline, alone), *large)
        )
        return
    if in_turn:
        name = f"{group.name}~apart" if fitting else group.name
        skipped = () if fitting else (*group.skipped, *large)
        yield dataclasses.replace(group, name=name, candidates=tuple(in_turn), skipped=skipped, apart=True)
    for number, case in enumerate(fitting):
        skipped = (*group.skipped, *large) if number == 0 else ()
        name = group.name if len(fitting) == 1 else f"{group.name}~{number + 1}"
        yield dataclasses.replace(group, name=name, candidates=(case,), skipped=skipped)


def _alone(
    cases: Sequence[Case], baseline: Case, usable_bytes: float
) -> tuple[list[Case], tuple[tuple[Case, str], ...]]:
    """Candidates that fit when they have the card for themselves, as the baseline does, and those that do not."""
    bound = _why_too_large((baseline,), usable_bytes)
    reasons = [(case, bound or _why_too_large((case,), usable_bytes)) for case in cases]
    return (
        [case for case, reason in reasons if reason is None],
        tuple((case, reason) for case, reason in reasons if reason is not None),
    )


def _why_too_large(cases: Sequence[Case], usable_bytes: float) -> str | None:
    needed = resident_bytes(cases)
    if needed is None or needed <= usable_bytes:
        return None
    together = "together with its baseline " if len(cases) > 1 else ""
    return (
        f"{together}it needs about {format_bytes(needed)} of device memory (predicted) and this card offers "
        f"{format_bytes(usable_bytes)}; take a smaller workload or `--batch-size`."
    )


def _reachable(group: Group, machine: Machine, profile: Profile) -> Group:
    """Set a group aside whose launches would not be enough for a verdict: no time is spent on half an answer."""
    reason = why_unreachable(group, machine, profile)
    return group if reason is None else _aside(group, reason)


def _aside(group: Group, reason: str) -> Group:
    skipped = (*group.skipped, *((case, reason) for case in group.cases))
    return dataclasses.replace(group, baseline=None, candidates=(), skipped=skipped)
