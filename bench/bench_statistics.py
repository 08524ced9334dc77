"""What the statistics promise, printed: interval coverage and the gate's operating characteristics (simulated)."""

import pytest
from pytest_benchmark.fixture import BenchmarkFixture

from rtxbench.gate.statistics.operating_characteristics import coverage_table, gate_table

pytestmark = pytest.mark.harness


@pytest.mark.benchmark(group="statistics")
def test_coverage_of_the_95_percent_interval(benchmark: BenchmarkFixture) -> None:
    """Coverage at J = 5 and 8 in four noise regimes is nominal within 1.5 points."""
    rows = benchmark.pedantic(coverage_table, rounds=1, iterations=1)
    for row in rows:
        benchmark.extra_info[f"{row.regime}, J = {row.launches}"] = f"{row.share.value:.1%}"
        assert abs(row.share.value - 0.95) <= 0.015, row


@pytest.mark.benchmark(group="statistics")
def test_gate_false_alarms_and_power(benchmark: BenchmarkFixture) -> None:
    """No false alarm at 0 %, at least 95 % found at 5 %, in four noise regimes."""
    rows = benchmark.pedantic(gate_table, kwargs={"gates": 300}, rounds=1, iterations=1)
    for row in rows:
        benchmark.extra_info[f"{row.regime}, {row.slowdown_ratio:.0%}"] = f"{row.regression.value:.1%} fail"
        assert row.slowdown_ratio != 0.0 or row.regression.value == 0.0, row
        assert row.slowdown_ratio != 0.05 or row.regression.value >= 0.95, row
