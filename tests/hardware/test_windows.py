"""Windows and samples: which samples stand for measured time."""

from itertools import pairwise

import numpy as np
from hypothesis import given
from hypothesis import strategies as st

from rtxbench.hardware.windows import Samples, merge_windows, metric_values_in, overlap_ns, values_in
from tests.hardware_traces import SECOND_NS, series

windows = st.lists(
    st.tuples(st.integers(0, 20 * SECOND_NS), st.integers(1, 5 * SECOND_NS)).map(lambda w: (w[0], w[0] + w[1])),
    min_size=1,
    max_size=8,
)


@given(windows)
def test_overlap_of_all_samples_is_the_window_length(chosen):
    """Nothing of a window is lost or counted twice, however windows overlap each other."""
    samples = series(1.0, duration_s=26)
    overlap, _spans = overlap_ns(samples.times_ns, chosen)
    expected = sum(end - start for start, end in merge_windows(chosen))
    assert abs(overlap.sum() - expected) <= 0.11 * SECOND_NS


@given(windows)
def test_merged_windows_are_sorted_and_apart(chosen):
    """Merging leaves disjoint windows in time order."""
    merged = merge_windows(chosen)
    assert all(a_end < b_start for (_a, a_end), (b_start, _b) in pairwise(merged))


def test_only_samples_inside_count():
    """A metric that differs inside and outside the windows yields the inside value alone."""
    metric = series(lambda t: np.where((t > 10) & (t <= 20), 7.0, 1.0))
    assert set(values_in(metric, [(10 * SECOND_NS, 20 * SECOND_NS)])) == {7.0}


def test_a_window_shorter_than_the_sampling_period_still_has_a_sample():
    """Slow metrics speak for short blocks too: the sample whose time covers the block is taken."""
    slow = Samples(np.arange(5) * SECOND_NS, np.arange(5.0))
    assert list(values_in(slow, [(int(2.4 * SECOND_NS), int(2.6 * SECOND_NS))])) == [3.0]


def test_an_average_over_longer_than_a_block_tells_of_no_arm():
    """Fault 9: Tensor activity read once a second over blocks of a quarter: none, rather than the arms mixed."""
    blocks = [(n * SECOND_NS // 2, n * SECOND_NS // 2 + SECOND_NS // 4) for n in range(40)]
    slow = series(0.35, duration_s=25, interval_s=1.0)
    assert values_in(slow, blocks).size > 0
    assert metric_values_in("tensor_activity_ratio", slow, blocks).size == 0


def test_an_average_that_fits_into_a_block_tells_of_its_arm_alone():
    """Fault 9: read ten times a second, the intervals that lie inside one arm's blocks give that arm's activity."""
    blocks = [(n * SECOND_NS // 2, n * SECOND_NS // 2 + SECOND_NS // 4) for n in range(1, 40)]
    # What the counter would read: the mean of a square wave (0.6 in these blocks, 0 between) over the last 0.1 s.
    moments = np.arange(0, 25, 0.001)
    true = np.where(moments % 0.5 < 0.25, 0.6, 0.0)
    ends = np.arange(0.13, 20, 0.1)
    read = np.array([true[(moments > t - 0.1) & (moments <= t)].mean() for t in ends])
    fast = Samples((ends * 1e9).astype(np.int64), read)
    values = metric_values_in("tensor_activity_ratio", fast, blocks)
    assert values.size >= 20
    assert np.abs(values - 0.6).max() < 0.02


def test_no_windows_no_values():
    """An empty list of windows selects nothing."""
    assert values_in(series(1.0), []).size == 0
