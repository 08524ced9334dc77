"""Successive halving finds the planted best of a known space, under the noise of real launches."""

import random
from collections.abc import Callable, Mapping, Sequence
from itertools import product
from math import log
from pathlib import Path
from statistics import fmean

import pytest

from rtxbench.own.race import BRACKET, launches_of_exhaustive_search, race
from rtxbench.records import RatioRecord
from rtxbench.results.store import load_results

ROOT = Path(__file__).parents[2]
SPEEDS = {
    "precision": {"float32": 1.0, "mixed_bfloat16": 1.45, "mixed_float16": 1.3},
    "compiler": {"none": 1.0, "inductor": 1.2},
    "memory format": {"": 1.0, "channels-last": 1.08},
    "optimizer": {"": 1.0, "fused": 1.06},
    "batch": {"1": 1.0, "2": 1.1, "4": 1.05},
}
"""A space of 72 settings; two parts of it do not go together (below), so that no axis can be chosen alone."""
SETTINGS = [setting for setting in product(*SPEEDS.values()) if setting != ("float32", "none", "", "", "1")]
Setting = tuple[str, ...]


def gain(setting: Setting) -> float:
    """The true ln(speed ÷ plain speed): the product of the parts, but compiling spoils float16 and a large batch."""
    value = sum(log(speeds[name]) for speeds, name in zip(SPEEDS.values(), setting, strict=True))
    spoilt = 0.15 if setting[1] == "inductor" and setting[0] == "mixed_float16" else 0.0
    return value - spoilt - (0.1 if setting[1] == "inductor" and setting[4] == "2" else 0.0)


def noise_of_launches() -> list[float]:
    """Distances of launches' log-ratios from their comparison's mean, of every committed record with three or more.

    A mean of n launches hides 1 in n of the variance; it is put back.
    """
    found = []
    for loaded in load_results([ROOT / "results"]):
        for record in loaded.of_kind(RatioRecord):
            values, mean = record.log_ratios, fmean(record.log_ratios)
            if record.replicate == "launch" and len(values) >= 3:
                widen = (len(values) / (len(values) - 1)) ** 0.5
                found += [widen * (value - mean) for value in values]
    return found


def simulated(noise: Sequence[float], seed: int) -> Callable[[Sequence[Setting]], Mapping[Setting, float | str]]:
    """Launch settings whose truth is known, each with noise that a real launch had."""
    chance = random.Random(seed)
    return lambda settings: {setting: gain(setting) + chance.choice(noise) for setting in settings}


def test_the_planted_best_is_found_in_19_of_20_tries() -> None:
    """By less than a third of the launches of an exhaustive search; the runner-up is 5 % behind."""
    noise = noise_of_launches()
    assert len(noise) > 100
    first, second = sorted(map(gain, SETTINGS), reverse=True)[:2]
    assert 0.04 < first - second < 0.07
    best, exhaustive = max(SETTINGS, key=gain), launches_of_exhaustive_search(len(SETTINGS))
    tries = [race(SETTINGS, simulated(noise, seed), seed=seed) for seed in range(500)]
    hits = sum(found.ranking[0] == best for found in tries)
    launches = max(found.launches for found in tries)
    print(
        f"{hits} of {len(tries)} found the best of {len(SETTINGS) + 1}, by {launches} launches instead of {exhaustive}"
    )
    assert hits >= 0.95 * len(tries)
    assert launches < exhaustive / 3


def test_an_interrupted_race_measures_nothing_twice() -> None:
    """What it had seen is taken over: both together make the launches of one race, and come to the same end."""
    whole = race(SETTINGS, simulated([0.0], 0), seed=0)
    made = 0

    def until_interrupted(settings: Sequence[Setting]) -> Mapping[Setting, float | str]:
        nonlocal made
        made += 1
        if made > 7:
            raise KeyboardInterrupt
        found = {setting: gain(setting) for setting in settings}
        known.update({setting: [*known.get(setting, []), value] for setting, value in found.items()})
        return found

    known: dict[Setting, list[float]] = {}
    with pytest.raises(KeyboardInterrupt):
        race(SETTINGS, until_interrupted, seed=0)
    rest = race(SETTINGS, simulated([0.0], 0), known=known, seed=0)
    assert rest.ranking[0] == whole.ranking[0]
    assert rest.launches == whole.launches - 7


def test_a_finished_race_is_not_raced_again() -> None:
    """With real noise, too: what later rounds have shown of the finalists changes nobody's place in earlier ones."""
    noise = noise_of_launches()
    for seed in range(20):
        whole = race(SETTINGS, simulated(noise, seed), seed=0)
        again = race(SETTINGS, simulated(noise, seed + 1), known=whole.seen, seed=0)
        assert again.launches == 0
        assert again.ranking == whole.ranking


def test_a_setting_that_fails_is_out_with_its_reason() -> None:
    """It takes part in no further launch, and the fastest of the others wins."""
    best = max(SETTINGS, key=gain)

    def launch(settings: Sequence[Setting]) -> Mapping[Setting, float | str]:
        assert len(settings) <= BRACKET
        return {setting: "out of memory" if setting == best else gain(setting) for setting in settings}

    found = race(SETTINGS, launch)
    assert found.failed == {best: "out of memory"}
    assert found.ranking[0] == max((s for s in SETTINGS if s != best), key=gain)


def test_the_launches_to_come_are_told_truly() -> None:
    """With nothing failing, those made and those announced always add up to those there are in the end."""
    said: list[tuple[int, int]] = []
    found = race(SETTINGS, simulated([0.0], 0), told=lambda made, to_come: said.append((made, to_come)))
    assert {made + to_come for made, to_come in said} == {found.launches}
    assert [made for made, _ in said] == list(range(found.launches))


def test_few_settings_are_raced_too() -> None:
    """One to four are finalists from the start, none at all has no winner."""
    assert race(SETTINGS[:1], simulated([0.0], 0)).ranking == SETTINGS[:1]
    assert race([], simulated([0.0], 0)).ranking == []
