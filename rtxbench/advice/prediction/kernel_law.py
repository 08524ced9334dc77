"""Time of a training step as a roofline per kernel, with a few constants that are the same for every card and model.

    t = Σ kernels  max(FLOP ÷ (e · F), byte ÷ (m · M)) + launch

F is the card's paper rate for the operands' width, M its paper bandwidth; convolutions have an efficiency of their own.
Two corrections tell cards apart that look alike on paper, each one exponent: bandwidth counts only in part where there
are few multiprocessors to ask for it (M^(1−g) · (SM × clock)^g), and a card whose power limit cannot feed its
multiprocessors at boost clock runs below it. The seven constants are fitted to published ratios of cards, in which
whatever is common to a software stack cancels.

A law of this kind crosses card classes, which no law of the whole model does (docs/prediction.md). It needs the list of
kernels of the model (`rtxbench.catalog.programs`), and says nothing (NaN) of a model without.
Roofline: Williams et al., CACM 52(4), 2009; per kernel: Yu et al., "Habitat", USENIX ATC 2021.
"""

import math
from collections.abc import Callable, Mapping, Sequence
from typing import Final, NamedTuple, TypeAlias

import numpy as np
from numpy.typing import NDArray

from rtxbench.advice.prediction.points import Floats, Points
from rtxbench.catalog.programs import Program, load_programs, width_that_ran

__all__ = [
    "Constants",
    "Programs",
    "fit_constants",
    "fit_kernel_roofline",
    "has_program",
    "roofline_law",
    "step_seconds",
]

Programs: TypeAlias = Mapping[tuple[str, str], Program]
"""(model, width) → its kernels."""


class Constants(NamedTuple):
    """The fitted seven; logarithms but for the exponents."""

    log_compute: float
    """Share of the paper FLOP/s that products reach."""
    log_memory: float
    """Share of the paper bandwidth."""
    log_launch_us: float
    """Fixed time of a launch, µs."""
    multiprocessors: float
    """g: weight of SM × clock in the bandwidth that a kernel gets."""
    log_power: float
    """Power per multiprocessor and cycle from which on boost clock is held, nW·s."""
    throttle: float
    """Exponent of the clock in what power there is below that."""
    log_convolution: float
    """Efficiency of convolutions ÷ that of other products."""


START: Final = Constants(-0.2, -0.3, 0.0, 0.35, 0.5, 0.8, -0.8)
"""Starting point of the search; the least is the same from the prior."""
PRIOR: Final = Constants(math.log(0.8), math.log(0.8), math.log(3.0), 0.2, math.log(1.6), 0.4, 0.0)
SPREAD: Final = Constants(0.3, 0.3, 1.0, 0.3, 0.3, 0.15, 0.3)
"""Standard deviations of the prior, which holds where the data says nothing."""
_TYPICAL_ERROR: Final = 0.1
_REFERENCE: Final = (math.log(936e9), math.log(82 * 1.695e9))
"""Bandwidth and SM × clock at which the correction is 1 (RTX 3090); its choice moves every card alike."""
_SHARPNESS: Final = 8.0


class _Work(NamedTuple):
    """The kernels of every point (n × k, padded with zeros) at the paper rates of its card."""

    product_s: Floats
    convolution_s: Floats
    memory_s: Floats
    repeats: Floats
    launches: Floats
    """All of a step (n)."""
    log_balance: Floats
    """Bandwidth over SM × clock, relative to the reference card (n)."""
    log_power_nws: Floats


def has_program(model: str) -> bool:
    """Tell whether the package holds the kernels of a published model."""
    return (model, "full") in load_programs()


def fit_kernel_roofline(train: Points, settings: Mapping[str, float]) -> Callable[[Points], Floats]:
    """Fit the constants of a law of `METHODS` to ``train``; NaN for models without a program.

    ``settings`` may leave corrections out: ``{"power": 0}`` or ``{"convolutions": 0}``.
    """
    return roofline_law(fit_constants(train, settings), load_programs())


def roofline_law(constants: Constants, programs: Programs) -> Callable[[Points], Floats]:
    """Log throughput up to a constant per case (n) of the models that ``programs`` has, NaN of others."""

    def law(points: Points) -> Floats:
        """Predict log throughput (n) from batch and step time; NaN where no program is known."""
        result = np.full(len(points), np.nan)
        known = np.array(
            [(str(model), "full") in programs or (str(model), "half") in programs for model in points.model]
        )
        if known.any():
            chosen = points.take(known)
            widths = zip(chosen.model, chosen.precision, strict=True)
            works = [programs[str(m), width_that_ran(str(m), str(p))] for m, p in widths]
            result[known] = chosen.log_batch - np.log(_seconds(constants, _work(chosen, works)))
        return result

    return law


def fit_constants(train: Points, settings: Mapping[str, float] | None = None) -> Constants:
    """Least squares with a soft threshold on ratios within one stack, model and precision, over all card classes."""
    from scipy.optimize import least_squares

    points = train.take(_known(train))
    work = _work(points)
    _, case = np.unique(points.case, return_inverse=True)
    size = np.bincount(case)
    spread = np.array(SPREAD)
    for name, field in (("power", "throttle"), ("convolutions", "log_convolution")):
        if settings and settings.get(name) == 0:
            spread[Constants._fields.index(field)] = 1e-6
    free = spread > 1e-3
    prior, start = np.array(PRIOR) * free, np.array(START) * free

    def residuals(values: Floats) -> Floats:
        rest = points.log_throughput - points.log_batch + np.log(_seconds(Constants(*values), work))
        rest = rest - (np.bincount(case, weights=rest) / size)[case]
        return np.concatenate([rest / _TYPICAL_ERROR, (values - prior) / spread])

    return Constants(*(float(value) for value in least_squares(residuals, start, loss="soft_l1").x))


def step_seconds(constants: Constants, points: Points, programs: Sequence[Program]) -> Floats:
    """Predict the seconds of a step of each program on the card of each point (n), at the point's batch."""
    return _seconds(constants, _work(points, programs))


def _known(points: Points) -> NDArray[np.bool_]:
    return np.array([has_program(str(model)) for model in points.model], dtype=bool)


def _work(points: Points, programs: Sequence[Program] | None = None) -> _Work:
    if programs is None:
        widths = zip(points.model, points.precision, strict=True)
        programs = [load_programs()[str(m), width_that_ran(str(m), str(p))] for m, p in widths]
    shape = (len(points), max((len(program.launches) for program in programs), default=0))
    product, convolution, memory, repeats = (np.zeros(shape) for _ in range(4))
    for i, program in enumerate(programs):
        batch, place = math.exp(points.log_batch[i]), slice(0, len(program.launches))
        rate = np.where(program.is_half, points.log_flops[i], points.log_full_flops[i])
        seconds, is_convolution = program.flops(batch) / np.exp(rate), program.kind == "conv"
        convolution[i, place], product[i, place] = seconds * is_convolution, seconds * ~is_convolution
        memory[i, place] = program.moved_bytes(batch) / np.exp(points.log_bandwidth[i])
        repeats[i, place] = program.launches
    balance = (points.log_bandwidth - _REFERENCE[0]) - (points.log_waves - _REFERENCE[1])
    power = points.log_power + math.log(1e9)
    return _Work(product, convolution, memory, repeats, repeats.sum(axis=1), balance, power)


def _seconds(constants: Constants, work: _Work) -> Floats:
    lack = np.logaddexp(0.0, _SHARPNESS * (constants.log_power - work.log_power_nws)) / _SHARPNESS
    log_clock = -constants.throttle * lack  # of what boost clock would be
    convolutions = work.convolution_s * math.exp(-constants.log_compute - constants.log_convolution)
    compute = (work.product_s * math.exp(-constants.log_compute) + convolutions) * np.exp(-log_clock)[:, None]
    log_traffic = constants.multiprocessors * (work.log_balance - log_clock) - constants.log_memory
    memory = work.memory_s * np.exp(log_traffic)[:, None]
    busy = np.einsum("nk,nk->n", work.repeats, np.maximum(compute, memory))
    return np.asarray(busy + work.launches * math.exp(constants.log_launch_us) * 1e-6, dtype=np.float64)
