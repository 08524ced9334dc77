"""The commands that are killed: what each needs in its folder, and what its next run must do."""

import os
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Final, NamedTuple

from rtxbench.errors import MeasurementError
from rtxbench.processes import run_git
from rtxbench.robustness.mutants import sample_lines
from rtxbench.robustness.stand_in import write_interpreter

__all__ = ["INPUT", "SCENARIOS", "TEMPORARY", "Scenario", "environment_in"]

INPUT: Final = "given"
"""Folder of a trial that holds what the command reads."""
TEMPORARY: Final = "temporary"
"""Folder beside that of a trial: the temporary folder of everything that runs in it."""
_REPORTED_LINES: Final = 12
_INTERPRETER: Final = "stand-in"
_RTXBENCH: Final = (sys.executable, "-P", "-m", "rtxbench")
_CASES: Final = ("--profile", "smoke", "--claim", "cpu-matrix-unit", "--workload", "mlp")


class Scenario(NamedTuple):
    """A command to kill."""

    prepare: Callable[[Path], None]
    """Make in an empty folder what the command needs."""
    command: tuple[str, ...]
    """Program and arguments; it runs in that folder."""
    next_command: tuple[str, ...]
    """Run after the kill; it must work."""
    next_exits: tuple[int, ...] = (0,)
    """Its exit codes that mean that it worked."""
    weight: int = 1
    """Weight of its being drawn, beside the others: short commands often, so that a thousand kills fit an hour."""


def environment_in(folder: Path) -> dict[str, str]:
    """Variables of a trial's processes: a temporary folder, a lock and an engine of its own."""
    return os.environ | {
        "TMPDIR": str(folder.parent / TEMPORARY),
        "RTXBENCH_LOCK": str(folder.parent / "lock"),
        "XDG_STATE_HOME": str(folder.parent / "state"),
        "RTXBENCH_PYTHON_TENSORFLOW": str(folder / _INTERPRETER),
        "PYTHONPATH": os.pathsep.join(filter(None, [_source_tree(), os.environ.get("PYTHONPATH", "")])),
        "TERM": "xterm",
    }


def _source_tree() -> str:
    return str(Path(__file__).resolve().parents[2])


def _nothing(_folder: Path) -> None:
    return None


def _sample(folder: Path) -> None:
    (folder / INPUT).mkdir()
    (folder / INPUT / "sample.jsonl").write_bytes(b"".join(sample_lines()))


def _short_sample(folder: Path) -> None:
    (folder / INPUT).mkdir()
    (folder / INPUT / "sample.jsonl").write_bytes(b"".join(sample_lines()[:_REPORTED_LINES]))


def _stand_in(folder: Path) -> None:
    write_interpreter(folder / _INTERPRETER)


def _bench(folder: Path) -> None:
    _stand_in(folder)
    test = "import pytest\n\n\n@pytest.mark.claim\ndef test_throughput(arm, measured):\n    measured.run(arm)\n"
    (folder / "bench_throughput.py").write_text(test, encoding="utf-8")


def _repository(folder: Path) -> None:
    (folder / "step.py").write_text("def make_step():\n    return lambda: sum(range(20_000))\n", encoding="utf-8")
    ignored = "results/\n.rtxbench/\n__pycache__/\n"
    (folder / ".gitignore").write_text(ignored, encoding="utf-8")
    author = ("-c", "user.name=t", "-c", "user.email=t@example.org", "-c", "commit.gpgsign=false")
    for arguments in (("init", "-q"), ("add", "-A"), (*author, "commit", "-qm", "one")):
        run_git(folder, *arguments).check_returncode()


def _always(
    prepare: Callable[[Path], None], *command: str, next_exits: tuple[int, ...] = (0,), weight: int = 1
) -> Scenario:
    return Scenario(prepare, command, command, next_exits, weight)


_GATE: Final = ("gate", "--baseline", "HEAD", "--candidate", ".", "--cases", "step:make_step", "--profile", "smoke")
_PYTEST: Final = (sys.executable, "-P", "-m", "pytest", "-p", "rtxbench.pytest_plugin", "-p", "no:cacheprovider")

SCENARIOS: Final[dict[str, Scenario]] = {
    "trace": _always(_nothing, *_RTXBENCH, "trace", "--", "sleep", "1", weight=3),
    "merge": _always(_sample, *_RTXBENCH, "merge", INPUT, "--out", "results", weight=3),
    "report": _always(_short_sample, *_RTXBENCH, "report", INPUT),
    # Noise may leave a smoke gate undecided (6) or alarm it (1); both are outcomes, and neither is a fault.
    "gate": _always(_repository, *_RTXBENCH, *_GATE, "--budget", "5s", next_exits=(0, 1, 6)),
    "run": Scenario(
        _stand_in,
        (*_RTXBENCH, "run", *_CASES),
        (*_RTXBENCH, "run", *_CASES, "--resume"),
        (0, MeasurementError.exit_code),  # nothing left to measure
        weight=3,
    ),
    "bench": _always(_bench, *_PYTEST, "bench_throughput.py", "--benchmark-only", *_CASES),
}
"""Name → what is killed."""
