"""The search for the fastest setting that trains to the same loss: screen, race, check, confirm on fresh launches.

1. Screen: every option alone, its first steps in a process of its own. What fails, or trains to another loss, is out.
2. Race: every combination of what is left, one launch at a time (`rtxbench.own.race`).
3. Check: the finalists' own first losses; a combination may fail where each of its parts does not.
4. Confirm: the winner against the plain case on launches that did not choose it, by the suite's protocol.
"""

import dataclasses
from collections.abc import Callable, Iterable, Mapping, Sequence
from functools import partial
from typing import Final, NamedTuple

from msgspec.structs import replace

from rtxbench.measure.groups import Group
from rtxbench.measure.paired.arms import Arm
from rtxbench.measure.profiles import Profile, ShortWarmUp
from rtxbench.measure.session import Session
from rtxbench.own.extras import NO_MEMORY, own_observation, step_records
from rtxbench.own.first_steps import SAME_LOSS_RATIO, largest_difference
from rtxbench.own.plan import CLAIM, target_name
from rtxbench.own.race import launches_of_exhaustive_search, race
from rtxbench.own.space import SearchOption, asides, combinations, in_less_memory, memory_switches, options
from rtxbench.records import Case, Environment, Observation, RatioRecord
from rtxbench.results.store import LoadedRun
from rtxbench.units import format_percent
from rtxbench.workers.interpreters import worker_spec
from rtxbench.workloads.switches import joined

__all__ = ["Earlier", "Search", "confirmation", "earlier_of"]

_ROUNDS: Final = 6
"""Rounds of a launch in a race."""
Told = Callable[[str, int, int], object]
"""Told what is being done, the part that is done and the part still to come."""


class Earlier(NamedTuple):
    """Findings of an interrupted search."""

    steps: Mapping[Case, Observation]
    raced: Mapping[Case, Sequence[float]]


def earlier_of(runs: Iterable[LoadedRun], plain: Case) -> Earlier:
    """Collect the first steps and the race's launches that earlier runs hold of the plain case's model."""
    steps: dict[Case, Observation] = {}
    raced: dict[Case, list[float]] = {}
    for record in (record for loaded in runs for record in loaded.records):
        match record:
            case Observation(metric="first_loss", case=Case(workload=plain.workload) as case) if record.values:
                steps[case] = record
            case RatioRecord(purpose="race", baseline=baseline, candidate=case) if baseline == plain:
                raced.setdefault(case, []).extend(record.log_ratios)
            case _:
                pass
    return Earlier(steps, raced)


@dataclasses.dataclass
class Search:
    """One search; every figure and every reason is stored as soon as it is known."""

    session: Session
    plain: Case
    labels: Mapping[str, str]
    keras: bool
    earlier: Earlier
    compilers: Sequence[str] = ()
    """That were asked for; none for all."""
    told: Told = lambda what, made, to_come: None

    def __post_init__(self) -> None:
        self._losses: dict[Case, tuple[float, ...]] = {}
        self._too_large: set[Case] = set()
        self._race_groups = 0

    def run(self, environment: Environment) -> tuple[Case, list[Case]] | None:
        """Find the winner, and its forms that need less memory; ``None`` where nothing beats the plain case.

        Raises:
            KeyboardInterrupt: what was measured is stored.
        """
        able, skipped = options(self.plain, environment, keras=self.keras, compilers=self.compilers)
        for case, reason in skipped:
            self._reject(case, reason)
        allowed = self._screened(able)
        settings = combinations(self.plain, allowed)
        winner, launches = self._raced(settings)
        self._store_outcome(winner, launches, len(settings))
        if winner is None:
            return None
        case, _ = winner
        return case, [cheaper for cheaper in asides(case, allowed) if self._trains_alike(cheaper)]

    def _raced(self, settings: Sequence[Case]) -> tuple[tuple[Case, float] | None, int]:
        """Race until a finalist that is faster than the plain case trains alike; returns it, its score and launches.

        Where none of the finalists does, the others race on with what they have shown.
        """
        seen: Mapping[Case, Sequence[float]] = self.earlier.raced
        left, launches = list(settings), 0
        while True:
            known = {case: seen.get(case, ()) for case in left}
            found = race(left, self._launch, known=known, told=partial(self.told, "racing"))
            launches += found.launches
            for case, reason in found.failed.items():
                self._reject(case, reason)
            faster = [case for case in found.ranking if found.score(case) > 0]
            for case in faster:
                if self._trains_alike(case):
                    return (case, found.score(case)), launches
            if not faster:
                return None, launches
            left = [case for case in left if case not in faster and case not in found.failed]
            seen = found.seen

    def _screened(self, able: Sequence[SearchOption]) -> list[SearchOption]:
        self._steps(self.plain)
        allowed = []
        for number, option in enumerate(able):
            self.told("trying each option", number, len(able) - number)
            if self._trains_alike(option.of(self.plain)):
                allowed.append(option)
            elif option.of(self.plain) in self._too_large:
                forms = in_less_memory(option, allowed)
                allowed += [form for form in forms if self._trains_alike(form.of(self.plain))]
        return allowed

    def _steps(self, case: Case) -> str | None:
        """Train a case's first steps, if nobody has; returns why there are no losses, if there are none."""
        if case in self._losses:
            return None
        found = self.earlier.steps.get(case)
        records = [found] if found is not None else step_records(self.session.run_id, case, self.labels)
        for record in records if found is None else ():
            self.session.append(record)
        self._losses[case] = records[0].values
        if records[0].labels.get("failed") == NO_MEMORY:
            self._too_large.add(case)
        return records[0].reason

    def _trains_alike(self, case: Case) -> bool:
        """Hold a case's first losses against those of the plain case at the same batch; a difference is a record.

        Where that batch is too large for the plain case, it has the switches that make room for it, too: they were
        seen to train alike at the plain case's own batch.
        """
        reference = replace(self.plain, batch_size=case.batch_size)
        if reference in self._too_large:
            reference = replace(reference, variant=joined(memory_switches(case)))
        for tried in dict.fromkeys((reference, case)):
            reason = self._steps(tried)
            if not self._losses[tried]:
                self._reject(case, reason or "its first steps gave no loss")
                return False
        worst = largest_difference(self._losses[reference], self._losses[case])
        if len(self._losses[case]) < len(self._losses[reference]) or worst > SAME_LOSS_RATIO:
            self._reject(case, f"the losses of its first steps differ from float32's by up to {format_percent(worst)}")
            return False
        return True

    def _reject(self, case: Case, reason: str) -> None:
        record = own_observation(
            self.session.run_id, "search_rejected", (), case, self.labels, replicate="search", reason=reason
        )
        self.session.append(record)

    def _launch(self, settings: Sequence[Case]) -> dict[Case, float | str]:
        """Make one launch of the plain case and some settings; what it showed is stored."""
        self._race_groups += 1
        name = f"{CLAIM}-race/{target_name(self.plain)}-{self._race_groups}"
        arms = [Arm(case=case, spec=worker_spec(case.engine)) for case in (self.plain, *settings)]
        with self.session.for_a_time(race_profile(self.session.profile)):
            outcome = self.session.measure_arms({name: arms}, purpose="race")[name]
        if outcome.interrupted:
            raise KeyboardInterrupt
        shown: dict[Case, float | str] = {r.candidate: r.log_ratios[0] for r in outcome.ratios if r.log_ratios}
        for case in settings:
            if case not in shown:
                record = outcome.cases.get(case)
                shown[case] = (record.reason if record is not None else None) or "its launch brought no figure"
        return {case: shown[case] for case in settings}

    def _store_outcome(self, winner: tuple[Case, float] | None, launches: int, settings: int) -> None:
        labels = {
            **self.labels,
            "combinations": str(settings),
            "launches": str(launches),
            "exhaustive_launches": str(launches_of_exhaustive_search(settings)),
        }
        case, values = (self.plain, ()) if winner is None else (winner[0], (winner[1],))
        reason = None if winner is not None else "nothing that trains to the same loss was faster than what you run now"
        record = own_observation(
            self.session.run_id,
            "search_log_ratio",
            values,
            case,
            labels,
            replicate="search",
            reason=reason,
        )
        self.session.append(record)


def race_profile(profile: Profile) -> Profile:
    """Shorten a profile to one launch of a race: no repetition, nothing alone, no figure that a race does not need."""
    return dataclasses.replace(
        profile,
        launches_min=1,
        launches_max=1,
        rounds=min(profile.rounds, _ROUNDS),
        rounds_max=0,
        retries=0,
        solo_blocks=0,
        warm_up=ShortWarmUp(seconds=min(0.5, profile.block_s * 3)),
        block_s=min(profile.block_s, 0.15),
        sustained_gpu_s=0.0,
        sustained_cpu_s=0.0,
        peaks_alone=False,
    )


def confirmation(plain: Case, winner: Case, beside: Sequence[Case]) -> Group:
    """Make the group whose fresh launches say what the winner gains, and what its forms cost and free."""
    name = f"{CLAIM}/{target_name(plain)}-search"
    return Group(name, CLAIM, plain.workload, plain, (winner, *beside))
