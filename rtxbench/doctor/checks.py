"""Why does training not run on my card, and what do I install? One small check per known fault.

Each check is a pure function of the facts in `Installation` and returns one `Finding`, or ``None`` where it does not
apply. A new fault is one function and one row in `CHECKS`.
"""

from collections.abc import Callable, Sequence
from typing import Literal

import msgspec

from rtxbench.doctor.installation import Card, Installation
from rtxbench.hardware.cuda_libraries import LibraryStatus

__all__ = ["CHECKS", "Check", "Finding", "as_text", "examine"]


class Finding(msgspec.Struct, frozen=True):
    """What one check found."""

    state: Literal["ok", "warn", "fail"]
    """fail: something a user wants will not run. warn: it runs, with a loss. ok: nothing to do."""
    subject: str
    what: str
    why: str = ""
    """What follows from it, or how it comes about."""
    next_step: str = ""


Check = Callable[[Installation], Finding | None]


def examine(installation: Installation) -> tuple[Finding, ...]:
    """Run every check that applies, in the order of `CHECKS`."""
    return tuple(finding for check in CHECKS if (finding := check(installation)) is not None)


def as_text(findings: Sequence[Finding]) -> str:
    """One paragraph per finding, what to do last, and a closing line that counts the faults."""
    lines: list[str] = []
    for finding in findings:
        lines.append(f"{_MARKS[finding.state]} {finding.subject}: {finding.what}")
        lines += [f"       {text}" for text in (finding.why, finding.next_step and f"→ {finding.next_step}") if text]
    faults = sum(finding.state == "fail" for finding in findings)
    lines.append("Nothing to fix." if not faults else f"{faults} to fix: see → above.")
    return "\n".join(lines)


_MARKS = {"ok": "[ ok ]", "warn": "[warn]", "fail": "[FAIL]"}


def _python(facts: Installation) -> Finding:
    version = ".".join(map(str, facts.python))
    if facts.python < (3, 11):
        return Finding("fail", "Python", f"Python {version}", "rtxbench needs 3.11 or newer.", "Install Python 3.11.")
    return Finding("ok", "Python", f"Python {version}")


def _operating_system(facts: Installation) -> Finding | None:
    if facts.platform == "win32":
        return Finding(
            "fail",
            "operating system",
            "native Windows",
            "TensorFlow has had no GPU support on native Windows since 2.11, and JAX has none.",
            "Install WSL2 (`wsl --install`) and run rtxbench inside it; the Windows driver serves the card there.",
        )
    if facts.wsl:
        return Finding(
            "ok",
            "operating system",
            "Linux under WSL2",
            "NVML gives no utilisation and no process list here; records say so instead of showing zeros.",
        )
    return None


def _cards(facts: Installation) -> Finding:
    if facts.probe.cards:
        names = ", ".join(card.name for card in facts.probe.cards)
        return Finding("ok", "NVIDIA card", f"{names} (driver {facts.probe.driver or 'unknown'})")
    reason = facts.probe.error or "NVML lists no card."
    if facts.pci_cards:
        return Finding(
            "fail",
            "NVIDIA card",
            f"{facts.pci_cards} NVIDIA card(s) on the PCI bus, but the driver does not answer",
            reason,
            "Install NVIDIA's driver and reboot (`nvidia-smi` must list the card); in a container start it with "
            "`--gpus all` and the NVIDIA container toolkit.",
        )
    return Finding(
        "ok", "NVIDIA card", "none", f"{reason} CPU cases are measured; claims about GPUs read not-measured."
    )


def _hidden_cards(facts: Installation) -> Finding | None:
    if not facts.has_card or facts.visible_devices is None or facts.visible_devices.strip() not in {"", "-1"}:
        return None
    return Finding(
        "fail",
        "CUDA_VISIBLE_DEVICES",
        f"set to {facts.visible_devices!r}",
        "It hides every card from every engine.",
        "Unset it (`unset CUDA_VISIBLE_DEVICES`) or name a card (`CUDA_VISIBLE_DEVICES=0`).",
    )


def _driver_age(facts: Installation) -> Finding | None:
    if not facts.probe.cuda_driver or not facts.tensorflow or not facts.tensorflow.cuda:
        return None
    served, needed = int(facts.probe.cuda_driver.split(".")[0]), int(facts.tensorflow.cuda.split(".")[0])
    if served >= needed:
        return None
    return Finding(
        "fail",
        "NVIDIA driver",
        f"the driver serves CUDA {facts.probe.cuda_driver}, TensorFlow is built for {facts.tensorflow.cuda}",
        "A driver serves its own CUDA major version and older ones, never a newer one.",
        "Upgrade NVIDIA's driver (525 or newer for CUDA 12, 580 or newer for CUDA 13).",
    )


_ENGINES = ("tensorflow", "tensorflow-cpu", "jax", "torch")


def _engines(facts: Installation) -> Finding:
    found = [f"{name} {version}" for name in _ENGINES if (version := facts.version(name))]
    if found:
        return Finding("ok", "engines", ", ".join(found))
    return Finding(
        "fail",
        "engines",
        "none installed",
        "rtxbench measures through TensorFlow, JAX or PyTorch.",
        "Install one: `pip install 'rtxbench[cuda]'` (TensorFlow), `rtxbench[jax-cuda]` or `rtxbench[torch-cuda]`.",
    )


def _keras(facts: Installation) -> Finding:
    keras, hub = facts.version("keras"), facts.version("keras-hub")
    if keras is None:
        return Finding("fail", "Keras", "not installed", "Every workload is a Keras 3 model.", "`pip install keras`.")
    if keras.startswith(("1.", "2.")):
        return Finding("fail", "Keras", f"Keras {keras}", "Workloads need Keras 3.", "`pip install --upgrade keras`.")
    if hub is None:
        return Finding(
            "warn",
            "Keras",
            f"Keras {keras}, no keras-hub",
            "Language workloads that keras-hub provides are skipped.",
            "`pip install keras-hub`, or `pip install --no-deps keras-hub` where TensorFlow must stay away.",
        )
    return Finding("ok", "Keras", f"Keras {keras}, keras-hub {hub}")


def _tensorflow_without_cuda(facts: Installation) -> Finding | None:
    version = facts.version("tensorflow") or facts.version("tensorflow-cpu")
    if version is None or not facts.has_card or facts.platform != "linux":
        return None
    cure = "`pip install 'rtxbench[cuda]'` in a fresh environment."
    if facts.tensorflow is not None and facts.tensorflow.cuda is None:
        why = "This build of TensorFlow has no CUDA in it, so it trains on the CPU beside the card."
        return Finding("fail", "TensorFlow", f"TensorFlow {version}, a CPU-only build", why, cure)
    if facts.cuda_libraries and all(status.place == "absent" for status in facts.cuda_libraries):
        why = "The CUDA libraries it opens at start are not installed, so it trains on the CPU beside the card."
        return Finding("fail", "TensorFlow", f"TensorFlow {version} without its CUDA libraries", why, cure)
    return None


def _tensorflow_libraries(facts: Installation) -> Finding | None:
    if not facts.cuda_libraries or all(status.place == "absent" for status in facts.cuda_libraries):
        return None
    broken = [status for status in facts.cuda_libraries if status.error is not None]
    if broken:
        return _broken_libraries(broken)
    unseen = [status for status in facts.cuda_libraries if status.place == "wheel"]
    if unseen:
        return _unseen_libraries(unseen, facts.version("tensorflow"))
    return Finding("ok", "CUDA libraries", f"all {len(facts.cuda_libraries)} that TensorFlow opens are there")


def _broken_libraries(broken: Sequence[LibraryStatus]) -> Finding:
    details = "; ".join(str(status.error) for status in broken)
    wheels = " ".join(dict.fromkeys(f"'{status.library.distribution}'" for status in broken))
    return Finding(
        "fail",
        "CUDA libraries",
        "TensorFlow cannot open " + ", ".join(status.library.file for status in broken),
        f"It runs on the CPU if a single one is missing, and names none. The loader says: {details}.",
        f"`pip install --force-reinstall {wheels}`, or `pip install 'rtxbench[cuda]'` in a fresh environment.",
    )


def _unseen_libraries(unseen: Sequence[LibraryStatus], version: str | None) -> Finding:
    files = ", ".join(status.library.file for status in unseen)
    folders = ":".join(dict.fromkeys(str(status.path.parent) for status in unseen if status.path))
    return Finding(
        "warn",
        "CUDA libraries",
        f"{files} is installed where TensorFlow {version or ''} does not look".replace("  ", " "),
        "The folder is missing from its binary's RUNPATH; a plain `import tensorflow` then finds no GPU. rtxbench "
        "opens the file first, so its own measurements run on the card.",
        f"For your own programs: `export LD_LIBRARY_PATH={folders}`.",
    )


def _tensorflow_architecture(facts: Installation) -> Finding | None:
    build = facts.tensorflow
    if build is None or not build.compute_capabilities:
        return None
    newest = max(int(name.rpartition("_")[2]) // 10 for name in build.compute_capabilities)
    cards = [card for card in facts.probe.cards if card.compute_capability and card.compute_capability[0] > newest]
    if not cards:
        return None
    return Finding(
        "fail",
        "TensorFlow kernels",
        f"{cards[0].name} is {_architecture(cards[0])}; this TensorFlow is built for {build.compute_capabilities[0]} "
        f"to {build.compute_capabilities[-1]}",
        "Its kernels do not run on the card (RTX 50 series: tensorflow#89272).",
        "Use another engine there: `pip install 'rtxbench[jax-cuda]'` or `'rtxbench[torch-cuda]'` in an environment "
        "of its own, then `rtxbench run --engine jax` (or `torch`).",
    )


def _architecture(card: Card) -> str:
    major, minor = card.compute_capability or (0, 0)
    return f"sm_{major}{minor}"


def _jax_without_cuda(facts: Installation) -> Finding | None:
    version = facts.version("jax")
    plugins = [name for name in facts.distributions if name.startswith("jax-cuda")]
    if version is None or plugins or not facts.has_card:
        return None
    return Finding(
        "fail",
        "JAX",
        f"JAX {version} without a CUDA plugin",
        "It trains on the CPU beside the card.",
        "`pip install 'rtxbench[jax-cuda]'` in an environment of its own.",
    )


def _torch_without_cuda(facts: Installation) -> Finding | None:
    version = facts.version("torch")
    if version is None or facts.torch_cuda is not None or not facts.has_card:
        return None
    return Finding(
        "fail",
        "PyTorch",
        f"PyTorch {version}, a CPU build",
        "It trains on the CPU beside the card.",
        "`pip install --force-reinstall torch` from PyPI (Linux wheels there carry CUDA).",
    )


def _overwritten_wheels(facts: Installation) -> Finding | None:
    owners: dict[str, list[str]] = {}
    for distribution in facts.distributions.values():
        for path in distribution.shared_libraries:
            owners.setdefault(path, []).append(distribution.name)
    shared = {path: sorted(names) for path, names in owners.items() if len(names) > 1}
    if not shared:
        return None
    path, names = min(shared.items())
    return Finding(
        "fail",
        "CUDA wheels",
        f"{' and '.join(names)} both installed {path}" + (f" and {len(shared) - 1} more files" * (len(shared) > 1)),
        "The one installed last overwrote the other's libraries; an engine then fails in ways that name neither.",
        "Keep one engine's CUDA wheels per environment: make a fresh one for each of TensorFlow, JAX and PyTorch.",
    )


def _mixed_cuda(facts: Installation) -> Finding | None:
    majors = {major: [n for n in facts.distributions if n.endswith(f"-cu{major}")] for major in (12, 13)}
    if not all(majors.values()) or _overwritten_wheels(facts) is not None:
        return None
    return Finding(
        "warn",
        "CUDA wheels",
        f"wheels of two CUDA versions in one environment ({majors[12][0]}, {majors[13][0]}, …)",
        "They share folders, and the next install or upgrade overwrites one with the other.",
        "Keep one engine's CUDA wheels per environment.",
    )


def _nvml_binding(facts: Installation) -> Finding | None:
    if facts.version("nvidia-ml-py") is None:
        return Finding(
            "fail" if facts.has_card else "warn",
            "NVML binding",
            "nvidia-ml-py is not installed",
            "Power, clocks, temperature and utilisation cannot be recorded.",
            "`pip install nvidia-ml-py`.",
        )
    wrapper = facts.version("pynvml")
    if wrapper is None:
        return None
    shadows = int(wrapper.split(".")[0]) < 12
    return Finding(
        "fail" if shadows and facts.has_card else "warn",
        "NVML binding",
        f"PyPI's deprecated pynvml {wrapper} is installed beside nvidia-ml-py",
        "Its package `pynvml` hides NVIDIA's module of the same name."
        if shadows
        else "It only wraps nvidia-ml-py, and PyTorch warns about it at every import.",
        "`pip uninstall pynvml && pip install --force-reinstall nvidia-ml-py`.",
    )


def _cpu_matrix_unit(facts: Installation) -> Finding | None:
    if not facts.cpu_features:
        return None
    if "amx_bf16" in facts.cpu_features:
        return Finding("ok", "CPU", "matrix unit AMX", "mixed_bfloat16 can train faster than float32 here.")
    if "avx512_bf16" in facts.cpu_features:
        return Finding("ok", "CPU", "AVX-512 BF16, no matrix unit", "mixed_bfloat16 may gain a little here.")
    return Finding("ok", "CPU", "no bfloat16 unit", "Expect mixed precision to be slower than float32 on this CPU.")


CHECKS: tuple[Check, ...] = (
    _python,
    _operating_system,
    _cards,
    _hidden_cards,
    _driver_age,
    _nvml_binding,
    _engines,
    _keras,
    _tensorflow_without_cuda,
    _tensorflow_libraries,
    _tensorflow_architecture,
    _jax_without_cuda,
    _torch_without_cuda,
    _overwritten_wheels,
    _mixed_cuda,
    _cpu_matrix_unit,
)
