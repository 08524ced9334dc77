"""Scaling over nodes from a link: the ring's bytes, the fit to what was measured, the range of a prediction."""

import pytest

from rtxbench.diagnosis.scaling import LinkModel, fitted_link, link_named, predicted_step, ring
from rtxbench.errors import UsageError


def test_a_ring_sends_twice_all_but_one_part_of_the_bytes() -> None:
    """Four ranks, 1 Gbit/s, 125 MB: 1.5 times the bytes over each link, in six messages."""
    link = ring(1e9, 4, latency_s=0.001)
    assert link.all_reduce_s(125e6) == pytest.approx(1.5 + 6 * 0.001)


def test_the_fit_gives_back_the_link_that_made_the_times() -> None:
    """Constant and rate from sizes that span four orders of magnitude."""
    made = LinkModel(300e-6, 90e6)
    found = fitted_link({size: made.all_reduce_s(size) for size in (4096, 2**16, 2**20, 2**26)})
    assert found.constant_s == pytest.approx(made.constant_s, rel=1e-6)
    assert found.bytes_per_s == pytest.approx(made.bytes_per_s, rel=1e-6)


def test_a_step_lies_between_nothing_hidden_and_all_that_can_be() -> None:
    """A short all-reduce can vanish behind the backward pass, a long one only two thirds of the computing's time."""
    link = LinkModel(0.0, 1e9)
    short, long = predicted_step(3.0, 1e9, link), predicted_step(3.0, 10e9, link)
    assert (short.least_step_s, short.most_step_s) == (pytest.approx(3.0), pytest.approx(4.0))
    assert (long.least_step_s, long.most_step_s) == (pytest.approx(11.0), pytest.approx(13.0))


def test_a_links_speed_is_read_in_bits() -> None:
    """`10Gbit` is 10^10 bit/s; a speed without its unit, or in bytes, is refused with an example."""
    assert link_named("10Gbit") == 1e10 and link_named(" 2.5 Mbit/s ") == 2.5e6
    for text in ("10", "10GB", "0Gbit", "-1Gbit", "fast"):
        with pytest.raises(UsageError, match="10Gbit"):
            link_named(text)
