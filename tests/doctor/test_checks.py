"""The doctor's checks against fake installations."""

import json
import subprocess
import sys
from collections.abc import Mapping
from pathlib import Path

import pytest

from rtxbench.doctor.checks import CHECKS, Finding, as_text, examine
from rtxbench.doctor.installation import CardProbe, InstalledCard, inspect_installation
from rtxbench.hardware.cuda_libraries import TENSORFLOW_CUDA_LIBRARIES
from tests.fake_site import CPU_BUILD_INFO, FakeSite

CARD_4090 = CardProbe(cards=(InstalledCard("NVIDIA GeForce RTX 4090", (8, 9)),), driver="570.10", cuda_driver="12.8")
CARD_5090 = CardProbe(cards=(InstalledCard("NVIDIA GeForce RTX 5090", (12, 0)),), driver="580.10", cuda_driver="13.0")
NO_CARD = CardProbe(error="libnvidia-ml.so.1 is not installed.")


@pytest.fixture
def site(tmp_path: Path) -> FakeSite:
    made = FakeSite(tmp_path / "site-packages")
    made.distribution("keras", "3.15.1")
    made.distribution("keras-hub", "0.32.0")
    made.distribution("nvidia-ml-py", "13.0")
    return made


def found(
    site: FakeSite,
    probe: CardProbe = NO_CARD,
    opens: frozenset[str] = frozenset(),
    environ: Mapping[str, str] | None = None,
) -> dict[str, Finding]:
    """Findings by subject; `opens` are the library names the pretended system loader knows."""

    def load(name: str) -> str | None:
        known = name in opens or (name.startswith("/") and Path(name).read_bytes() != b"broken")
        return None if known else f"{name}: cannot open shared object file"

    root = site.folder.parent / "root"
    facts = inspect_installation(lambda: probe, [site.folder], root, load, environ or {})
    return {finding.subject: finding for finding in examine(facts)}


def install_cuda_libraries(site: FakeSite, package: Path, unseen: str = "") -> None:
    """All of TensorFlow's gate as files; the RUNPATH names every folder but that of `unseen`."""
    folders = []
    for library in TENSORFLOW_CUDA_LIBRARIES:
        path = site.folder / library.folder / library.file
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(b"library")
        if library.file != unseen:
            folders.append(f"$ORIGIN/../{library.folder}")
    (package / "libtensorflow_framework.so.2").write_bytes(b"\0ELF\0" + ":".join(folders).encode() + b"\0")


def test_library_outside_the_runpath_is_named_with_its_cure(site: FakeSite) -> None:
    """The 2.21 fault: libcusolver.so.11 is installed, TensorFlow does not look there, and the doctor says where."""
    install_cuda_libraries(site, site.tensorflow(), unseen="libcusolver.so.11")
    finding = found(site, CARD_4090)["CUDA libraries"]
    assert finding.state == "warn"
    assert finding.what == "libcusolver.so.11 is installed where TensorFlow 2.21.0 does not look"
    assert f"LD_LIBRARY_PATH={site.folder}/nvidia/cusolver/lib" in finding.next_step


def test_all_libraries_in_the_runpath_is_ok(site: FakeSite) -> None:
    """A TensorFlow that finds its whole gate gets no complaint."""
    install_cuda_libraries(site, site.tensorflow())
    assert found(site, CARD_4090)["CUDA libraries"].state == "ok"


def test_one_absent_library_is_named_by_file_and_wheel(site: FakeSite) -> None:
    """A single missing file fails the gate; its exact name and its wheel are in the message."""
    install_cuda_libraries(site, site.tensorflow())
    (site.folder / "nvidia/cufft/lib/libcufft.so.11").unlink()
    finding = found(site, CARD_4090)["CUDA libraries"]
    assert finding.state == "fail"
    assert finding.what == "TensorFlow cannot open libcufft.so.11"
    assert "nvidia-cufft-cu12" in finding.next_step


def test_a_library_that_does_not_open_shows_the_loaders_words(site: FakeSite) -> None:
    """A damaged file is reported with what the loader said, not as missing."""
    install_cuda_libraries(site, site.tensorflow())
    (site.folder / "nvidia/cudnn/lib/libcudnn.so.9").write_bytes(b"broken")
    finding = found(site, CARD_4090)["CUDA libraries"]
    assert finding.state == "fail"
    assert "libcudnn.so.9: cannot open shared object file" in finding.why


def test_system_wide_cuda_counts_as_found(site: FakeSite) -> None:
    """Libraries the loader finds by name need no wheel."""
    site.tensorflow()
    names = frozenset(library.file for library in TENSORFLOW_CUDA_LIBRARIES)
    assert found(site, CARD_4090, opens=names)["CUDA libraries"].state == "ok"


def test_tensorflow_without_cuda_wheels_beside_a_card(site: FakeSite) -> None:
    """`pip install tensorflow` without the extra trains on the CPU; the doctor fails it and names the extra."""
    site.tensorflow()
    finding = found(site, CARD_4090)["TensorFlow"]
    assert finding.state == "fail"
    assert "without its CUDA libraries" in finding.what
    assert ".[cuda]" in finding.next_step


def test_cpu_only_build_beside_a_card(site: FakeSite) -> None:
    """tensorflow-cpu beside a card is called a CPU-only build."""
    site.tensorflow(build_info=CPU_BUILD_INFO)
    assert "CPU-only build" in found(site, CARD_4090)["TensorFlow"].what


def test_tensorflow_on_a_machine_without_a_card_is_fine(site: FakeSite) -> None:
    """Without a card there is nothing to fix about CUDA, and the exit is clean."""
    site.tensorflow()
    findings = found(site)
    assert "TensorFlow" not in findings
    assert not any(finding.state == "fail" for finding in findings.values())
    assert "libnvidia-ml.so.1" in findings["NVIDIA card"].why


def test_rtx_50_is_told_to_use_another_engine(site: FakeSite) -> None:
    """sm_120 is above what TensorFlow is built for: JAX or PyTorch there."""
    install_cuda_libraries(site, site.tensorflow())
    finding = found(site, CARD_5090)["TensorFlow kernels"]
    assert finding.state == "fail"
    assert "sm_120" in finding.what
    assert "--engine jax" in finding.next_step


def test_rtx_40_is_not_told_to_use_another_engine(site: FakeSite) -> None:
    """sm_89 is built in."""
    install_cuda_libraries(site, site.tensorflow())
    assert "TensorFlow kernels" not in found(site, CARD_4090)


def test_driver_older_than_the_build(site: FakeSite) -> None:
    """A driver that serves CUDA 11 cannot run a CUDA 12 build."""
    site.tensorflow()
    old = CARD_4090._replace(cuda_driver="11.8")
    assert found(site, old)["TensorFlow driver"].state == "fail"


def test_card_on_the_bus_without_a_driver(site: FakeSite) -> None:
    """A card that only PCI sees means the driver is missing, and that is said."""
    device = site.folder.parent / "root/sys/bus/pci/devices/0000:01:00.0"
    device.mkdir(parents=True)
    (device / "vendor").write_text("0x10de\n")
    (device / "class").write_text("0x030000\n")
    finding = found(site)["NVIDIA card"]
    assert finding.state == "fail"
    assert "nvidia-smi" in finding.next_step


def test_hidden_cards(site: FakeSite) -> None:
    """CUDA_VISIBLE_DEVICES=-1 hides every card; a real index does not."""
    assert found(site, CARD_4090, environ={"CUDA_VISIBLE_DEVICES": "-1"})["CUDA_VISIBLE_DEVICES"].state == "fail"
    assert "CUDA_VISIBLE_DEVICES" not in found(site, CARD_4090, environ={"CUDA_VISIBLE_DEVICES": "0"})


@pytest.mark.parametrize(("version", "state"), [("11.5.3", "fail"), ("13.0.1", "warn")])
def test_deprecated_pynvml_beside_nvidia_ml_py(site: FakeSite, version: str, state: str) -> None:
    """The old pynvml hides NVIDIA's module; the newer wrapper is only noise."""
    site.distribution("pynvml", version)
    finding = found(site, CARD_4090)["NVML binding"]
    assert finding.state == state
    assert "pip uninstall pynvml" in finding.next_step


def test_wheels_of_two_cuda_versions_that_share_a_file(site: FakeSite) -> None:
    """cu12 and cu13 cuDNN both own libcudnn.so.9: the overwritten file is named."""
    for suffix in ("cu12", "cu13"):
        site.distribution(f"nvidia-cudnn-{suffix}", "9.10", files=["nvidia/cudnn/lib/libcudnn.so.9"])
    finding = found(site, CARD_4090)["CUDA wheels"]
    assert finding.state == "fail"
    assert "nvidia-cudnn-cu12 and nvidia-cudnn-cu13 both installed nvidia/cudnn/lib/libcudnn.so.9" in finding.what


def test_wheels_of_two_cuda_versions_without_a_shared_file(site: FakeSite) -> None:
    """Mixed versions that have not collided yet are a warning."""
    site.distribution("nvidia-nccl-cu12", "2.27", files=["nvidia/nccl/lib/libnccl.so.2"])
    site.distribution("nvidia-cudnn-cu13", "9.10", files=["nvidia/cudnn/lib/libcudnn.so.9"])
    assert found(site, CARD_4090)["CUDA wheels"].state == "warn"


def test_jax_and_torch_cpu_builds_beside_a_card(site: FakeSite) -> None:
    """Each engine that would train on the CPU beside the card is named with its own cure."""
    site.distribution("jax", "0.10.2")
    site.torch("2.13.0+cpu", cuda=None)
    findings = found(site, CARD_5090)
    assert ".[jax-cuda]" in findings["JAX"].next_step
    assert "CPU build" in findings["PyTorch"].what


def test_jax_and_torch_with_cuda_pass(site: FakeSite) -> None:
    """The CUDA plugin of JAX and the CUDA build of PyTorch are recognised without importing either."""
    site.distribution("jax", "0.10.2")
    site.distribution("jax-cuda12-plugin", "0.10.2")
    site.torch("2.13.0", cuda="12.8")
    assert not {"JAX", "PyTorch"} & found(site, CARD_5090).keys()


def test_no_engine_at_all(site: FakeSite) -> None:
    """An environment without an engine fails and says what to install."""
    assert found(site)["engines"].state == "fail"


def test_native_windows_and_wsl(site: FakeSite, monkeypatch: pytest.MonkeyPatch) -> None:
    """Windows is sent to WSL2; WSL2 is told which readings it lacks."""
    proc = site.folder.parent / "root/proc"
    proc.mkdir(parents=True)
    (proc / "version").write_text("Linux version 5.15.153.1-microsoft-standard-WSL2")
    assert "utilisation" in found(site)["operating system"].why
    monkeypatch.setattr("sys.platform", "win32")
    assert "WSL2" in found(site)["operating system"].next_step


@pytest.mark.parametrize(
    ("flags", "words"), [("avx2 amx_bf16", "AMX"), ("avx512_bf16", "AVX-512"), ("avx2", "no bfloat16 unit")]
)
def test_cpu_matrix_unit(site: FakeSite, flags: str, words: str) -> None:
    """The processor's flags say whether mixed precision can gain on it."""
    proc = site.folder.parent / "root/proc"
    proc.mkdir(parents=True)
    (proc / "cpuinfo").write_text(f"processor\t: 0\nflags\t\t: {flags}\n")
    assert words in found(site)["CPU"].what


def test_every_complaint_ends_with_a_next_step(site: FakeSite) -> None:
    """A finding that is not ok always says what to do."""
    site.tensorflow()
    site.distribution("jax", "0.10.2")
    site.torch("2.13.0+cpu", cuda=None)
    site.distribution("pynvml", "11.5")
    complaints = [f for f in found(site, CARD_5090).values() if f.state != "ok"]
    assert len(complaints) >= 5
    assert all(finding.why and finding.next_step for finding in complaints)
    assert len(CHECKS) == len(set(CHECKS))


def test_old_keras_and_missing_keras_hub(tmp_path: Path) -> None:
    """Keras 2 fails; a missing keras-hub is a warning that offers the install without TensorFlow."""
    old = FakeSite(tmp_path / "old")
    old.distribution("keras", "2.15.0")
    assert found(old)["Keras"].state == "fail"
    bare = FakeSite(tmp_path / "bare")
    bare.distribution("keras", "3.15.1")
    finding = found(bare)["Keras"]
    assert (finding.state, "--no-deps keras-hub" in finding.next_step) == ("warn", True)


def test_text_ends_each_fault_with_its_cure_and_counts_them(site: FakeSite) -> None:
    """The printed form shows subject, reason and cure in that order, and the number of faults last."""
    site.torch("2.13.0+cpu", cuda=None)
    lines = as_text(list(found(site, CARD_4090).values())).splitlines()
    start = lines.index("[FAIL] PyTorch: PyTorch 2.13.0+cpu, a CPU build")
    assert lines[start + 1].strip() == "It trains on the CPU beside the card."
    assert lines[start + 2].strip().startswith("→ `pip install")
    assert lines[-1] == "1 to fix: see → above, then run `rtxbench doctor` again."


def test_command_prints_json_and_imports_no_engine() -> None:
    """`rtxbench doctor --json` on this machine: real probes, one object per finding, no engine in the process."""
    code = (
        "import sys, json, io, contextlib\n"
        "from rtxbench.cli import app\n"
        "out = io.StringIO()\n"
        "with contextlib.redirect_stdout(out):\n"
        "    app(['doctor', '--json'], standalone_mode=False)\n"
        "assert not {'tensorflow', 'jax', 'torch', 'keras'} & sys.modules.keys()\n"
        "print(out.getvalue())\n"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    findings = json.loads(done.stdout)["findings"]
    assert {"Python", "NVIDIA card", "engines"} <= {finding["subject"] for finding in findings}
    assert all(finding["state"] in {"ok", "warn", "fail"} for finding in findings)
