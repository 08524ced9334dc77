"""Each engine is judged by its own CUDA build: wheels × drivers × cards."""

from dataclasses import replace
from pathlib import Path

import pytest

from rtxbench.doctor.checks import as_text, examine
from rtxbench.doctor.engine_checks import why_engine_cannot
from rtxbench.doctor.installation import CardProbe, Installation, InstalledCard, inspect_installation
from rtxbench.hardware.cuda_libraries import TENSORFLOW_CUDA_LIBRARIES
from tests.fake_site import FakeSite

# What the wheels on PyPI say of themselves: name → (engine, CUDA version they are built for).
WHEELS = {
    "tensorflow 2.21.0": ("tensorflow", "12.5.1"),
    "torch 2.10.0": ("torch", "12.8"),
    "torch 2.11.0": ("torch", "13.0"),
    "torch 2.15.0": ("torch", "13.2"),
    "torch 2.6.0": ("torch", "12.4"),
    "jax-cuda12-plugin 0.10.2": ("jax", "12"),
    "jax-cuda13-plugin 0.10.2": ("jax", "13"),
}
# Driver branch → highest CUDA version it serves.
DRIVERS = {"535": "12.2", "550": "12.4", "570": "12.8", "580": "13.0"}
CARDS = {"RTX 3090": (8, 6), "RTX 4070": (8, 9), "RTX 5090": (12, 0)}


def installed(folder: Path, wheel: str, driver: str, card: str) -> Installation:
    site = FakeSite(folder / "site-packages")
    site.distribution("keras", "3.15.1")
    site.distribution("nvidia-ml-py", "13.0")
    engine, cuda = WHEELS[wheel]
    names = frozenset(library.file for library in TENSORFLOW_CUDA_LIBRARIES) if engine == "tensorflow" else frozenset()
    if engine == "tensorflow":
        site.tensorflow()
    elif engine == "torch":
        site.torch(wheel.split()[1], cuda)
    else:
        site.distribution("jax", "0.10.2")
        site.distribution(*wheel.split())
    cards = (InstalledCard(f"NVIDIA GeForce {card}", CARDS[card]),)
    probe = CardProbe(cards, f"{driver}.10", DRIVERS[driver])
    return inspect_installation(
        lambda: probe, [site.folder], folder / "root", lambda name: None if name in names else "no", {}
    )


def outcome(wheel: str, driver: str, card: str) -> str:
    """What must be found, from NVIDIA's and the wheels' own statements."""
    engine, cuda = WHEELS[wheel]
    if int(cuda.split(".")[0]) > int(DRIVERS[driver].split(".")[0]):
        return "driver"
    if CARDS[card][0] == 12 and (engine == "tensorflow" or (engine == "torch" and cuda == "12.4")):
        return "kernels"
    return "runs"


@pytest.mark.parametrize("card", CARDS)
@pytest.mark.parametrize("driver", DRIVERS)
@pytest.mark.parametrize("wheel", WHEELS)
def test_the_matrix_of_wheels_drivers_and_cards(tmp_path: Path, wheel: str, driver: str, card: str) -> None:
    """Faults 6 and 15: every combination runs, or names the driver or the kernels, and the plan refuses the same."""
    facts = installed(tmp_path, wheel, driver, card)
    engine = WHEELS[wheel][0]
    failures = {f.subject.rpartition(" ")[2] for f in examine(facts, engine) if f.state == "fail"}
    expected = outcome(wheel, driver, card)
    assert failures - {"Keras"} == (set() if expected == "runs" else {expected})
    refused = why_engine_cannot(engine, facts)
    assert (refused is None) == (expected == "runs")
    if refused is not None:
        assert refused.endswith(".") or refused.endswith(")")


def test_pytorch_for_cuda_13_on_driver_550_is_told_of_pytorch(tmp_path: Path) -> None:
    """Fault 6: the driver is named beside PyTorch's own CUDA, with the wheels that it can serve; TensorFlow is not."""
    findings = {f.subject: f for f in examine(installed(tmp_path, "torch 2.15.0", "550", "RTX 4070"))}
    finding = findings["PyTorch driver"]
    assert (finding.state, "580" in finding.next_step, "cu126" in finding.next_step) == ("fail", True, True)
    assert "13.2" in finding.what


def test_an_engine_that_nobody_installed_for_the_card_only_warns(tmp_path: Path) -> None:
    """Fault 6: in JAX's environment a TensorFlow without CUDA libraries is no fault, unless it is what is to run."""
    facts = installed(tmp_path, "jax-cuda12-plugin 0.10.2", "580", "RTX 5090")
    site = FakeSite(tmp_path / "site-packages")
    site.tensorflow()
    facts = inspect_installation(lambda: facts.probe, [site.folder], tmp_path / "root", lambda name: "no", {})
    by_default = {f.subject: f.state for f in examine(facts)}
    asked = {f.subject: f.state for f in examine(facts, "tensorflow")}
    assert by_default["TensorFlow"] == "warn"
    assert asked["TensorFlow"] == "fail"
    assert as_text(examine(facts, "tensorflow"), "tensorflow").endswith(
        "run `rtxbench doctor --engine tensorflow` again."
    )


def test_a_machine_with_nothing_to_fix_is_told_what_to_run() -> None:
    """Point 3: the doctor ends with the next command."""
    assert as_text([], "jax") == "Nothing to fix. Next: `rtxbench run --engine jax`."


@pytest.mark.parametrize(
    ("compiler", "headers", "said"),
    [(None, True, "no C compiler"), ("gcc", False, "no Python.h"), (None, False, "no C compiler and no Python.h")],
)
def test_inductor_without_its_toolchain_is_a_warning(
    tmp_path: Path, compiler: str | None, headers: bool, said: str
) -> None:
    """Fault 17: Inductor compiles C for every kernel it makes, and fails at the first where it cannot."""
    facts = replace(installed(tmp_path, "torch 2.11.0", "580", "RTX 4070"), c_compiler=compiler, python_headers=headers)
    finding = {f.subject: f for f in examine(facts)}["PyTorch's compiler"]
    assert (finding.state, finding.what) == ("warn", f"{said} for torch.compile")
    whole = replace(facts, c_compiler="gcc", python_headers=True)
    assert "PyTorch's compiler" not in {f.subject for f in examine(whole)}
