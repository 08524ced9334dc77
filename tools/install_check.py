"""What ``pip install rtxbench`` alone is worth: its size, its commands, and a gate that runs from it.

``tox -e install`` runs this with the Python of an environment that holds nothing else. The gate compares two commits
of a small repository whose step is NumPy, so no engine is needed.
"""

import importlib.metadata
import importlib.util
import subprocess
import sys
import sysconfig
import tempfile
from pathlib import Path

__all__ = ["main"]

_COMMANDS = ("gate", "trace", "doctor", "advise", "report", "merge", "history", "plan")
_ENGINES = ("tensorflow", "keras", "keras_hub", "jax", "torch")
_STEP = """import numpy as np

A = np.random.default_rng(0).random((400, 400))


def product():
    return lambda: A @ A
"""


def _installed_bytes() -> dict[str, int]:
    """Distribution → bytes of its files, without pip and what came with the environment."""
    sizes = {}
    for distribution in importlib.metadata.distributions():
        name = distribution.metadata["Name"]
        paths = [Path(str(distribution.locate_file(file))) for file in distribution.files or ()]
        if name not in ("pip", "setuptools", "wheel"):
            sizes[name] = sum(path.stat().st_size for path in paths if path.is_file())
    return sizes


def _repository(folder: Path) -> None:
    (folder / "steps.py").write_text(_STEP)
    for command in ("init -q", "add .", "commit -q -m one", "commit -q --allow-empty -m two"):
        identity = ["-c", "user.name=a", "-c", "user.email=a@example.org"]
        subprocess.run(["git", *identity, *command.split()], cwd=folder, check=True)


def main() -> None:
    """Print sizes, try every command, run a gate.

    Raises:
        SystemExit: an engine was installed, or a command failed.
    """
    sizes = _installed_bytes()
    for name, size in sorted(sizes.items(), key=lambda item: -item[1]):
        print(f"{size / 1e6:8.1f} MB  {name}")
    print(f"{sum(sizes.values()) / 1e6:8.1f} MB  together, Python {sysconfig.get_python_version()}")
    found = [name for name in _ENGINES if importlib.util.find_spec(name) is not None]
    if found:
        sys.exit(f"pip install rtxbench brought {', '.join(found)} along")
    for command in _COMMANDS:
        subprocess.run([sys.executable, "-m", "rtxbench", command, "--help"], check=True, stdout=subprocess.DEVNULL)
    with tempfile.TemporaryDirectory() as name:
        _repository(Path(name))
        gate = [
            sys.executable,
            "-m",
            "rtxbench",
            "gate",
            "--baseline",
            "HEAD~1",
            "--cases",
            "steps:product",
            "--budget",
            "60s",
        ]
        done = subprocess.run([*gate, "--profile", "smoke"], cwd=name, check=False)
        if done.returncode not in (0, 6):
            sys.exit(f"rtxbench gate ended with {done.returncode}")


if __name__ == "__main__":
    main()
