"""Names that users type, and what they are told of those that do not exist."""

import pytest

from rtxbench.errors import UsageError
from rtxbench.lookup import named, suggestion


def test_a_row_is_found_by_its_exact_name() -> None:
    """The row itself, never a near one."""
    assert named({"a": 1, "ab": 2}, "ab", "thing") == 2
    with pytest.raises(UsageError, match="unknown thing 'A'"):
        named({"a": 1, "ab": 2}, "A", "thing")


def test_a_short_table_is_listed_and_of_a_long_one_the_nearest_are_offered() -> None:
    """Eight names fit in a sentence; of more, those that look like it, and all where none does."""
    short = dict.fromkeys(("float32", "tf32", ""))
    assert suggestion(short, "float23") == "Did you mean float32? There are: float32, tf32, ''."
    long = {f"card-{number}": None for number in range(3060, 3070)}
    assert suggestion(long, "card-306O") == "Did you mean card-3069 or card-3068 or card-3067?"
    assert "card-3060, card-3061" in suggestion(long, "dishwasher")
