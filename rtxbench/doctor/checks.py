"""Find why training does not run on a card, and what to install: one small check per known fault.

Each check is a pure function of the facts in `Installation` and returns one `Finding`, or ``None`` where it does not
apply. A new fault is one function and one row in `CHECKS`.
"""

from collections.abc import Sequence

from msgspec.structs import replace

from rtxbench.doctor.card_checks import CARD_CHECKS
from rtxbench.doctor.engine_checks import ENGINE_CHECKS
from rtxbench.doctor.finding import Check, Finding
from rtxbench.doctor.installation import Installation

__all__ = ["CHECKS", "Check", "Finding", "as_text", "examine"]


def examine(installation: Installation, engine: str | None = None) -> tuple[Finding, ...]:
    """Run every check that applies: the machine's, then each engine's by its own needs.

    Args:
        installation: the facts.
        engine: the one that is to run. Without it, those that have CUDA here; where none has, all of them. What keeps
            another engine off the card is then a warning: nobody asked for it.
    """
    wanted = _wanted_engines(installation, engine)
    found = [finding for check in CHECKS if (finding := check(installation)) is not None]
    for name, check in ENGINE_CHECKS:
        finding = check(installation)
        if finding is not None:
            found.append(finding if name in wanted or finding.state != "fail" else replace(finding, state="warn"))
    return tuple(found)


def _wanted_engines(facts: Installation, engine: str | None) -> tuple[str, ...]:
    if engine is not None:
        return (engine,)
    every = ("tensorflow", "jax", "torch")
    return tuple(name for name in every if facts.cuda_of(name) is not None and _cuda_stands(name, facts)) or every


def _cuda_stands(engine: str, facts: Installation) -> bool:
    """TensorFlow's wheel is built for CUDA whether or not its CUDA libraries were asked for."""
    if engine != "tensorflow":
        return True
    return any(status.place != "absent" for status in facts.cuda_libraries)


def as_text(findings: Sequence[Finding], engine: str | None = None, also: Sequence[str] = ()) -> str:
    """Write a paragraph per finding, what to do last, and a closing line that counts the faults or says what to run.

    Args:
        findings: of the checks.
        engine: as asked for.
        also: lines of other judges, between the findings and the closing line.
    """
    lines: list[str] = []
    for finding in findings:
        lines.append(f"{_MARKS[finding.state]} {finding.subject}: {finding.what}")
        lines += [f"       {text}" for text in (finding.why, finding.next_step and f"→ {finding.next_step}") if text]
    lines += also
    faults = sum(finding.state == "fail" for finding in findings)
    option = f" --engine {engine}" if engine else ""
    if faults:
        lines.append(f"{faults} to fix: see → above, then run `rtxbench doctor{option}` again.")
    else:
        lines.append(f"Nothing to fix. Next: `rtxbench run{option}`.")
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
            "NVML gives no utilisation and no process list here; records say so instead of zeros. Windows pages "
            "a full card's memory to the host's: a batch that does not fit crawls instead of failing.",
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
        "Install one: `pip install '.[cuda]'` (TensorFlow), `.[jax-cuda]` or `.[torch-cuda]`.",
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
    _nvml_binding,
    _engines,
    _keras,
    _overwritten_wheels,
    _mixed_cuda,
    _cpu_matrix_unit,
    *CARD_CHECKS,
)
