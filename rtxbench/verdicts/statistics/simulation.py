"""Simulate what the verdict rule promises, under noise as found in real records, beside the first edition's rule.

A launch's log-ratio D is drawn from the regime. The first edition's rule lives here alone, for comparison: the 95 %
interval of five launches against one line, c(1 - m), and no verdict where its half-width is above 3 %. Every figure is
*simulated*; ``rtxbench selftest statistics`` prints the table.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, Final, Literal, NamedTuple

import numpy as np
from numpy.typing import NDArray

from rtxbench.records import Estimate
from rtxbench.stats import ADAPTIVE_STOP_INFLATION, student_t, wilson
from rtxbench.units import format_count
from rtxbench.verdicts.claims import Comparison
from rtxbench.verdicts.statistics.decision import ROUGH_HALF_WIDTH, decide
from rtxbench.verdicts.statistics.pooling import LogRatio

if TYPE_CHECKING:
    from rich.table import Table

__all__ = [
    "EDITIONS",
    "VERDICT_REGIMES",
    "VerdictRate",
    "VerdictRegime",
    "false_rates",
    "render_verdict_table",
    "verdict_rates",
    "verdict_table",
]

CLAIM: Final = Comparison(name="simulated", varies=("precision",), rule="at-least", threshold_ratio=1.1)
"""At least 1.1 with a margin of 5 %: supported from 1.1 on, refuted below 1.045."""
CLAIMED_RATIO: Final = 1.1
REFUTED_BELOW_RATIO: Final = 1.1 * 0.95
_LOOKS: Final = (3, 4, 6, 8)
"""Launches after which a session asks: the least number, then even ones."""
_MOST_LAUNCHES: Final = _LOOKS[-1]

Outcome = Literal["supported", "refuted", "inconclusive"]
_Draw = Callable[[np.random.Generator, int, int], NDArray[np.float64]]


class VerdictRegime(NamedTuple):
    """The scatter of a machine's log-ratios about the truth."""

    name: str
    meaning: str
    draw: _Draw
    """(generator, comparisons, launches) → deviations, shape (comparisons, launches)."""


def _normal(sd: float) -> _Draw:
    return lambda generator, comparisons, launches: generator.normal(0.0, sd, (comparisons, launches))


def _unlike(generator: np.random.Generator, comparisons: int, launches: int) -> NDArray[np.float64]:
    """Draw for each comparison a spread of its own, as the records': prior degrees 4.8, standard deviation 2.75 %."""
    sds = 0.0275 * np.sqrt(4.8 / generator.chisquare(4.8, (comparisons, 1)))
    return np.asarray(generator.normal(0.0, 1.0, (comparisons, launches)) * sds)


def _bimodal(persistence: float) -> _Draw:
    """Either arm's process is 15 % slower in half of its launches; the mode stays with this correlation."""

    def draw(generator: np.random.Generator, comparisons: int, launches: int) -> NDArray[np.float64]:
        """Draw log-ratios (comparisons × launches) whose arms are each in a fast or a 15 % slower mode."""
        modes = generator.random((comparisons, launches, 2)) < 0.5
        stays = generator.random((comparisons, launches, 2)) < persistence
        for launch in range(1, launches):
            modes[:, launch] = np.where(stays[:, launch], modes[:, launch - 1], modes[:, launch])
        slow = np.log(1.15) * (modes[..., 1].astype(float) - modes[..., 0].astype(float))
        return np.asarray(slow + generator.normal(0.0, 0.014, (comparisons, launches)))

    return draw


def _session(generator: np.random.Generator, comparisons: int, launches: int) -> NDArray[np.float64]:
    """Shift a comparison's launches together by 1.5 %, beside 1.5 % of each launch."""
    hour = generator.normal(0.0, 0.015, (comparisons, 1))
    return np.asarray(hour + generator.normal(0.0, 0.015, (comparisons, launches)))


VERDICT_REGIMES: Final = (
    VerdictRegime("smooth", "launches scatter by 1.4 %, the records' lowest tenth", _normal(0.014)),
    VerdictRegime("records", "comparisons as unlike as on record, 2.75 % in the middle", _unlike),
    VerdictRegime("rough", "launches scatter by 3 %", _normal(0.03)),
    VerdictRegime("bimodal", "15 % slower in half of the launches, either arm", _bimodal(0.0)),
    VerdictRegime("persisting", "the same, and the mode stays from launch to launch", _bimodal(0.8)),
    VerdictRegime("session", "the hour shifts all launches by 1.5 %", _session),
)
"""Noise of the launches' log-ratios; the last three are hard on every rule."""


def _first_edition(deviations: NDArray[np.float64], truth: float) -> Outcome:
    data = deviations[:5] + truth
    half = student_t(0.975, 4) * float(data.std(ddof=1)) / 5**0.5
    line = np.log(REFUTED_BELOW_RATIO)
    if half > ROUGH_HALF_WIDTH:
        return "inconclusive"
    return "supported" if data.mean() - half >= line else "refuted" if data.mean() + half < line else "inconclusive"


def _outcome(data: NDArray[np.float64], widened: float = 1.0) -> Outcome:
    error = widened * float(data.std(ddof=1)) / data.size**0.5
    ratio = LogRatio(float(data.mean()), error, data.size - 1.0, data.size, float(np.diff(np.sort(data)).max()))
    state = decide(ratio, CLAIM, doubtful=widened > 1).state
    return "supported" if state == "supported" else "refuted" if state == "refuted" else "inconclusive"


def _five_launches(deviations: NDArray[np.float64], truth: float) -> Outcome:
    return _outcome(deviations[:5] + truth)


def _three_launches(deviations: NDArray[np.float64], truth: float) -> Outcome:
    return _outcome(deviations[:3] + truth)


def _until_decided(deviations: NDArray[np.float64], truth: float) -> Outcome:
    """Looked at as a session does, up to eight launches, the interval widened for it."""
    outcomes = (_outcome(deviations[:count] + truth, ADAPTIVE_STOP_INFLATION) for count in _LOOKS)
    return next((outcome for outcome in outcomes if outcome != "inconclusive"), "inconclusive")


EDITIONS: Final[dict[str, Callable[[NDArray[np.float64], float], Outcome]]] = {
    "first edition, 5 launches": _first_edition,
    "5 launches": _five_launches,
    "3 launches": _three_launches,
    "3 to 8 launches, until decided": _until_decided,
}
"""Rules by name; the first is there for comparison only."""
FALSE_SUPPORT_AT: Final = {"first edition, 5 launches": REFUTED_BELOW_RATIO}
"""The ratio from which a rule means to support, where it is not the claimed one: its own line."""


class VerdictRate(NamedTuple):
    """Frequency with which a rule supports and refutes "at least 1.1 times" at one true ratio."""

    regime: str
    rule: str
    truth_ratio: float
    supported: Estimate
    refuted: Estimate


def verdict_rates(
    regime: VerdictRegime, rule: str, truth_ratio: float, verdicts: int, generator: np.random.Generator
) -> VerdictRate:
    """Judge simulated comparisons by one rule.

    Args:
        regime: noise of the launches.
        rule: row of `EDITIONS`.
        truth_ratio: the true ratio of all of them.
        verdicts: simulated.
        generator: advanced by the simulation.
    """
    truth = float(np.log(truth_ratio))
    deviations = regime.draw(generator, verdicts, _MOST_LAUNCHES)
    outcomes = [EDITIONS[rule](row, truth) for row in deviations]
    counts = {state: outcomes.count(state) for state in ("supported", "refuted")}
    return VerdictRate(
        regime.name,
        rule,
        truth_ratio,
        wilson(counts["supported"], len(outcomes)),
        wilson(counts["refuted"], len(outcomes)),
    )


def false_rates(
    regime: VerdictRegime, rule: str, verdicts: int, generator: np.random.Generator
) -> tuple[VerdictRate, VerdictRate]:
    """False support and false refutation where they are most likely: the truth on the line of either."""
    support_at = FALSE_SUPPORT_AT.get(rule, CLAIMED_RATIO)
    supporting = verdict_rates(regime, rule, support_at, verdicts, generator)
    refuting = verdict_rates(regime, rule, REFUTED_BELOW_RATIO, verdicts, generator)
    return supporting, refuting


def verdict_table(
    verdicts: int = 2000, truths: tuple[float, ...] = (0.5, 0.9, 1.0, 1.2, 1.5), seed: int = 22
) -> list[tuple[VerdictRate, VerdictRate, list[VerdictRate]]]:
    """Simulate every rule in every regime: the false rates on its two lines, then what it does at the given truths.

    The rules of one regime see the same launches, so that their difference is no luck of the draw.
    """
    rows = []
    for regime in VERDICT_REGIMES:
        for rule in EDITIONS:
            generator = np.random.default_rng(seed)
            false = false_rates(regime, rule, verdicts, generator)
            rows.append((*false, [verdict_rates(regime, rule, truth, verdicts, generator) for truth in truths]))
    return rows


def render_verdict_table(verdicts: int) -> Table:
    """Draw the table as ``rtxbench selftest statistics`` prints it."""
    from rich.table import Table

    rows = verdict_table(verdicts)
    title = (
        f'Verdicts on "at least 1.1 times" (margin 5 %), {format_count(verdicts)} per cell, simulated: '
        "% supported / % refuted"
    )
    table = Table(
        title=title, caption="False: the truth lies on the very line of the rule, where errors are likeliest."
    )
    for name in ("noise of a launch", "rule", "false support", "false refutation"):
        table.add_column(name)
    for rate in rows[0][2]:
        table.add_column(f"true {rate.truth_ratio:g}×", justify="right")
    for supporting, refuting, at_truths in rows:
        cells = [f"{_percent(rate.supported)} / {_percent(rate.refuted)}" for rate in at_truths]
        false = f"{_percent(supporting.supported)} %", f"{_percent(refuting.refuted)} %"
        table.add_row(supporting.regime, supporting.rule, *false, *cells)
    return table


def _percent(share: Estimate) -> str:
    return f"{100 * share.value:.1f}"
