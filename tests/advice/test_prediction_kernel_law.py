"""A law of kernels: what it says of cards and programs that are made up."""

import dataclasses

import numpy as np
import pytest

from rtxbench.advice.prediction.kernel_law import PRIOR, fit_constants, fit_kernel_roofline, step_seconds
from rtxbench.advice.prediction.points import Experiment, Points, points_of
from rtxbench.catalog.cards import load_cards
from rtxbench.catalog.programs import Kernel, Program, load_programs, program_of, width_that_ran
from rtxbench.errors import RtxbenchError

CARDS = load_cards()
BATCHES = (4, 8)


def program(flops: float, moved_bytes: float, kernels: int = 100) -> Program:
    """Equal kernels whose work grows in proportion to the batch."""
    steps = [[Kernel("mm", "gemm", True, flops * b, moved_bytes * b)] * kernels for b in BATCHES]
    return program_of(steps[0], steps[1], BATCHES)


def seconds(card: str, work: Program, batch: int = 64) -> float:
    points = points_of([(CARDS[card], Experiment("s", "m", "mixed_float16"), batch, 1.0)])
    return float(step_seconds(PRIOR, points, [work])[0])


def test_a_kernel_takes_the_longer_of_its_two_times() -> None:
    """FLOPs (or bytes) that the roofline hides cost nothing; those that it shows cost in proportion."""
    compute, memory = program(1e12, 1e6), program(1e3, 1e9)
    assert seconds("GeForce RTX 3090", program(1e12, 2e6)) == pytest.approx(seconds("GeForce RTX 3090", compute))
    assert seconds("GeForce RTX 3090", program(2e12, 1e6)) == pytest.approx(
        2 * seconds("GeForce RTX 3090", compute), rel=0.01
    )
    assert seconds("GeForce RTX 3090", program(2e3, 1e9)) == pytest.approx(seconds("GeForce RTX 3090", memory))


def test_small_kernels_cost_their_launch_on_every_card() -> None:
    """A program of tiny kernels is as fast on an RTX 4090 as on an RTX 3070: launches decide."""
    tiny = program(1.0, 1.0)
    assert seconds("GeForce RTX 4090", tiny) == pytest.approx(seconds("GeForce RTX 3070", tiny), rel=0.01)


def test_a_low_power_limit_slows_products() -> None:
    """The A10 has an RTX 3090's chip at 150 W: slower at products than its paper rate says."""
    work = program(1e12, 1e6)
    paper = CARDS["GeForce RTX 3090"].fp16_flop_per_s, CARDS["A10"].fp16_flop_per_s
    assert paper[0] is not None and paper[1] is not None
    assert seconds("A10", work) / seconds("GeForce RTX 3090", work) > 1.1 * paper[0] / paper[1]


def test_constants_are_found_again() -> None:
    """Throughputs made by the law with known constants give those constants back, and with them unseen cards."""
    truth = PRIOR._replace(multiprocessors=0.5, throttle=0.6, log_launch_us=1.5)
    names = (
        "GeForce RTX 3070",
        "GeForce RTX 3090",
        "GeForce RTX 4090",
        "RTX A6000",
        "RTX A4000",
        "A10",
        "A100 PCIe 40GB",
    )
    models = ("resnet50", "bert_base_squad", "ncf", "gnmt", "vgg16", "ssd")
    entries = [
        (CARDS[n], Experiment("s", m, p), b, 1.0)
        for n in names for m in models for p in ("tf32", "mixed_float16") for b in (8,)
    ]  # fmt: skip
    points = points_of(entries)
    works = [
        load_programs()[str(m), width_that_ran(str(m), str(p))]
        for m, p in zip(points.model, points.precision, strict=True)
    ]
    made = dataclasses.replace(points, log_throughput=points.log_batch - np.log(step_seconds(truth, points, works)))
    unseen = made.card == "RTX A6000"
    law = fit_kernel_roofline(made.take(~unseen), {})
    ratio = law(made) - made.log_throughput
    off = [abs(ratio[i] - ratio[(made.case == made.case[i]) & ~unseen].mean()) for i in np.flatnonzero(unseen)]
    assert np.median(off) < 0.02
    assert fit_constants(made).multiprocessors == pytest.approx(0.5, abs=0.15)


def test_a_model_without_kernels_is_not_guessed() -> None:
    """NaN for a published model that nobody recorded."""
    points = points_of(
        [(CARDS["GeForce RTX 3090"], Experiment("s", m, "tf32"), 8, 1.0) for m in ("resnet50", "unheard")]
    )
    both = fit_kernel_roofline(_pair(), {})(points)
    assert not np.isnan(both[0])
    assert np.isnan(both[1])


def _pair() -> Points:
    names = ("GeForce RTX 3090", "RTX A6000")
    return points_of([(CARDS[name], Experiment("s", "resnet50", "tf32"), 8, 100.0) for name in names])


def test_lines_through_two_batches_give_a_third() -> None:
    """A kernel of 10 + 2 b FLOPs and 5 + 3 b bytes, by hand, at batch 100; likes are summed, totals kept."""
    steps = [
        [Kernel("mm", "gemm", False, 10 + 2 * b, 5 + 3 * b)] * 3 + [Kernel("add", "memory", False, 0, b)]
        for b in BATCHES
    ]
    work = program_of(steps[0], steps[1], BATCHES)
    assert float(work.launches @ work.flops(100)) == pytest.approx(3 * 210)
    assert float(work.launches @ work.moved_bytes(100)) == pytest.approx(3 * 305 + 100)
    assert work.launches.sum() == 4


def test_a_step_that_changes_with_its_batch_is_refused() -> None:
    """Other kernels at another batch size: nothing is extrapolated."""
    one, other = Kernel("mm", "gemm", False, 1, 1), Kernel("add", "memory", False, 0, 1)
    with pytest.raises(RtxbenchError, match="other kernels"):
        program_of([one], [other], BATCHES)


def test_recorded_programs_count_what_is_known() -> None:
    """ResNet-50 has 4.1 GMAC forward: six times that in FLOPs a step, less the first layer's input gradient."""
    work = load_programs()["resnet50", "full"]
    assert float(work.launches @ work.flops_per_example) == pytest.approx(6 * 4.09e9 - 2 * 0.118e9, rel=0.01)
    half = load_programs()["resnet50", "half"]
    assert float(half.launches @ half.bytes_per_example) < 0.6 * float(work.launches @ work.bytes_per_example)


def test_what_was_published_as_mixed_ran_in_full() -> None:
    """WaveGlow's two published precisions differ by 2 % at most: its kernels are those of full width."""
    assert width_that_ran("waveglow", "mixed_float16") == "full"
    assert width_that_ran("resnet50", "mixed_bfloat16") == "half"
    assert width_that_ran("resnet50", "tf32") == "full"
