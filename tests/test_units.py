"""Quantities as people read them."""

import pytest

from rtxbench.units import (
    format_bytes,
    format_card_memory,
    format_change,
    format_count,
    format_duration,
    format_money,
    format_number,
    format_percent,
    format_power,
    format_quantity,
    format_ratio,
)


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        (format_quantity(35.6e12, "FLOP/s"), "35.6 TFLOP/s"),
        (format_quantity(1200, "/s"), "1.20 k/s"),
        (format_quantity(0, "W"), "0 W"),
        (format_bytes(25769803776), "24.0 GiB"),
        (format_bytes(512), "512 B"),
        (format_duration(0.00021), "210 µs"),
        (format_duration(0.0415), "41.5 ms"),
        (format_duration(2.5), "2.50 s"),
        (format_duration(90), "1 min 30 s"),
        (format_duration(7300), "2 h 1 min"),
        (format_ratio(1.4213), "1.42×"),
        (format_percent(0.0123), "1.2 %"),
        (format_percent(0.07, None), "7 %"),
        (format_change(-0.0123), "-1.2 %"),
        (format_number(0.012345), "0.0123"),
        (format_number(123456.7, 4), "123,457"),
        (format_number(1234.56, 4), "1,235"),
        (format_count(1234567), "1,234,567"),
        (format_money(1599, "USD"), "1,599 USD"),
        (format_power(349.6), "350 W"),
        (format_card_memory(24 * 2**30), "24 GB"),
    ],
)
def test_three_significant_digits_and_the_unit(text: str, expected: str) -> None:
    """Every magnitude keeps three digits and its prefix."""
    assert text == expected
