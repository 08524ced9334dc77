"""Round trips of formats that cannot write this model, or are not there."""

from pathlib import Path
from typing import Any

import numpy as np
import pytest

from rtxbench.errors import UnavailableError
from rtxbench.trials import deploying

EXPECTED = deploying._Expected(np.zeros((2, 1), "float32"), np.zeros(2, "int32"), np.ones((2, 1), "float32"))


def refusing(error: Exception) -> deploying._Format:
    def save(_model: Any, _path: Path) -> None:
        raise error

    return deploying._Format(".x", save, lambda path: lambda images: images)


@pytest.mark.parametrize(
    ("error", "reason"),
    [
        (NotImplementedError(), "NotImplementedError: without a message"),
        (ValueError("Unknown layer: X\nand much more"), "ValueError: Unknown layer: X"),
        (UnavailableError("onnx is not installed.", next_step="Install it."), "onnx is not installed. Install it."),
    ],
)
def test_a_format_that_cannot_be_written_is_a_result_with_its_reason(
    error: Exception, reason: str, tmp_path: Path
) -> None:
    """What a library says, its first line, or that it said nothing; the other formats go on."""
    found = deploying._round_trip(None, refusing(error), tmp_path, EXPECTED)
    assert (found.reason, found.size_bytes) == (reason, None)


def test_a_mistake_of_our_own_is_no_property_of_a_format(tmp_path: Path) -> None:
    """What no library raises of a file ends the trial: a missing key or attribute is a fault to mend."""
    with pytest.raises(KeyError):
        deploying._round_trip(None, refusing(KeyError("x")), tmp_path, EXPECTED)
