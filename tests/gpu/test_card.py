"""`rtxbench selftest gpu` on a real card: ``pytest -m gpu``. Skipped with the reason where there is none.

Every bundle beside this file is held against the same assumptions, on any machine.
"""

from pathlib import Path

import pytest

from rtxbench.gpu_selftest.bundle import Bundle, load_bundle
from rtxbench.gpu_selftest.checks import CHECKS, check_bundle, checks_text
from rtxbench.gpu_selftest.request import GpuSelftestRequest
from rtxbench.gpu_selftest.session import run_gpu_selftest
from rtxbench.hardware.environment import gpus

BUNDLES = sorted(Path(__file__).parent.glob("*.json"))


@pytest.fixture(scope="session")
def seen() -> Bundle:
    """Everything this machine's card showed."""
    missing: dict[str, str] = {}
    if not gpus(missing):
        pytest.skip(f"no NVIDIA GPU: {missing.get('gpus')}")
    bundle = run_gpu_selftest(GpuSelftestRequest(), print)
    print(checks_text(bundle, check_bundle(bundle)))
    return bundle


@pytest.mark.gpu
@pytest.mark.timeout(600)
@pytest.mark.parametrize("name", CHECKS)
def test_what_is_assumed_of_cards_holds_on_this_one(seen: Bundle, name: str) -> None:
    """Each assumption on its own; what this card cannot show (GPM before Hopper) is skipped with the reason."""
    check = next(check for check in check_bundle(seen) if check.name == name)
    if check.state == "unknown":
        pytest.skip(check.sentence)
    assert check.state == "holds", check.sentence


@pytest.mark.parametrize("path", BUNDLES, ids=lambda path: path.stem)
def test_what_is_assumed_of_cards_holds_in_every_bundle(path: Path) -> None:
    """A bundle that a user sent is a fixture from then on: no later change may contradict a real card."""
    broken = [f"{check.name}: {check.sentence}" for check in check_bundle(load_bundle(path)) if check.state == "broken"]
    assert broken == []
