"""Engine modules import their framework only when they are used: a machine has one of them, or none."""

import subprocess
import sys
from pathlib import Path

import pytest

import rtxbench

ROOM = Path(rtxbench.__file__).parent
MODULES = [
    ".".join(("rtxbench", *path.relative_to(ROOM).with_suffix("").parts))
    for path in sorted((ROOM / "engines").rglob("*.py"))
    if path.name not in ("__init__.py", "work.py", "operations.py")  # these two derive from a class of their framework
]
BLOCK = (
    "import sys\n"
    "for name in ('torch', 'jax', 'tensorflow', 'keras', 'keras_hub', 'transformers', 'peft'):\n"
    "    sys.modules[name] = None\n"
    "import importlib\n"
    "for name in sys.argv[1:]:\n"
    "    importlib.import_module(name)\n"
)


def test_every_engine_module_imports_without_a_framework() -> None:
    """Tables and tests look into engines that are not installed here."""
    done = subprocess.run([sys.executable, "-c", BLOCK, *MODULES], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr


@pytest.mark.parametrize("framework", ["torch", "jax"])
def test_the_block_really_blocks(framework: str) -> None:
    """The test above can fail."""
    done = subprocess.run([sys.executable, "-c", BLOCK, framework], capture_output=True, text=True, check=False)
    assert "ModuleNotFoundError" in done.stderr
