"""A record that grows is written again under its id; whoever has the last edition has all of them."""

import pytest
from msgspec.structs import replace

from rtxbench.records import Case, Flag, RatioRecord
from rtxbench.results.editions import holds
from tests.judged_runs import paired

FLAG = Flag(code="cpu-pressure", severity="warn", detail="others waited")


@pytest.fixture
def ratio() -> RatioRecord:
    """A ratio as it was stored after a launch."""
    (record,) = (one for one in paired(Case(workload="mlp", batch_size=8), Case(workload="mlp", batch_size=16), 1.1)
                 if isinstance(one, RatioRecord))  # fmt: skip
    return record


def test_the_last_edition_may_come_within_the_second_of_the_one_before(ratio: RatioRecord) -> None:
    """What the trace adds at the end of a short run, or another launch, is more, though the date is the same."""
    flagged = replace(ratio, flags=(FLAG,))
    longer = replace(ratio, log_ratios=(*ratio.log_ratios, 0.1))
    for later in (flagged, longer):
        assert holds({ratio.record_id: later}, ratio)
        assert not holds({ratio.record_id: ratio}, later)


def test_a_copy_that_was_edited_is_no_edition(ratio: RatioRecord) -> None:
    """Other figures under the same launches and date hold nothing of the record."""
    edited = replace(ratio, smallest_effect_ratio=0.5)
    assert not holds({ratio.record_id: edited}, ratio)
    assert not holds({ratio.record_id: replace(edited, log_ratios=(0.5, 0.5))}, ratio)
    assert not holds({}, ratio)
