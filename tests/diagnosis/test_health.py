"""Low points of a machine that only a record of work can show."""

import pytest

from rtxbench.catalog.cards import find_card, load_cards
from rtxbench.diagnosis.health import _generation
from rtxbench.records import Summary


@pytest.mark.parametrize(("reached", "state"), [(4.0, "ok"), (3.0, "low"), (1.0, "low")])
def test_the_pcie_generation_is_judged_under_load(reached: float, state: str) -> None:
    """The highest that a working card reached, against what it is built for; idle it falls to 1 and says nothing."""
    idle, working = (
        Summary(mean=value, p50=value, p95=value, minimum=value, maximum=value, n=9) for value in (1.0, reached)
    )
    seen = [{"pcie_generation": idle}, {"pcie_generation": working}]
    (finding,) = _generation(seen, find_card("RTX 4070", load_cards()))
    assert (finding.subject, finding.state) == ("PCIe generation", state)
    assert bool(finding.next_step) == (state == "low")
    assert _generation([{}], find_card("RTX 4070", load_cards())) == []
