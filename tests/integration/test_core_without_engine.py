"""The core needs no engine: what `pip install rtxbench` alone must run."""

import subprocess
import sys
from pathlib import Path

import pytest

ABSENT = ("tensorflow", "keras", "keras_hub", "jax", "torch", "pytest", "pytest_benchmark")


@pytest.mark.parametrize("command", ["gate", "trace", "doctor", "advise", "report", "merge", "history"])
def test_the_command_runs_where_no_engine_is_installed(command: str, tmp_path: Path) -> None:
    """Point 3: with every engine, Keras and pytest absent, the command answers for real, not only with its help."""
    arguments = {
        "gate": ["gate", "--baseline", ".", "--candidate", ".", "--cases", "nothing:here", "--profile", "smoke"],
        "trace": ["trace", "--", sys.executable, "-c", "pass"],
        "doctor": ["doctor", "--json"],
        "advise": ["advise", "--card", "RTX 4070", "--card", "RTX 3060 12GB"],
        "report": ["report", str(tmp_path)],
        "merge": ["merge", str(tmp_path), "--out", str(tmp_path / "all")],
        "history": ["history", str(tmp_path)],
    }[command]
    code = (
        "import sys\n"
        f"sys.modules.update(dict.fromkeys({ABSENT!r}))\n"
        "from rtxbench.cli import main\n"
        f"sys.argv = ['rtxbench', *{arguments!r}]\n"
        "main()\n"
    )
    environment = {"PYTHONPATH": str(Path(__file__).parents[2]), "PATH": "/usr/bin:/bin", "HOME": str(tmp_path)}
    done = subprocess.run(
        [sys.executable, "-c", code], cwd=tmp_path, env=environment, capture_output=True, text=True, check=False
    )
    assert "Traceback" not in done.stderr, done.stderr
    assert "import of" not in done.stdout + done.stderr, done.stdout + done.stderr
