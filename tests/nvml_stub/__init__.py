"""Builds the stand-in for libnvidia-ml.so.1 and points the loader of child processes at it."""

import os
import shutil
import subprocess
from pathlib import Path

SOURCE = Path(__file__).with_name("nvml_stub.c")
CUDA_SOURCE = Path(__file__).with_name("cuda_stub.c")
UUID = "GPU-0000000{}-aaaa-bbbb-cccc-dddddddddddd"
GPU0 = UUID.format(0)
GPU1 = UUID.format(1)
MIG0 = GPU0.replace("GPU", "MIG")


def compiler() -> str | None:
    """The C compiler found on this machine, or None."""
    return shutil.which(os.environ.get("CC", "cc")) or shutil.which("gcc") or shutil.which("clang")


def build(folder: Path, *flags: str) -> Path:
    """Compile the stub into ``folder`` under the name the real library has; returns the folder."""
    return _compiled(SOURCE, folder, "libnvidia-ml.so.1", *flags)


def build_cuda(folder: Path) -> Path:
    """Compile the stand-in for the CUDA driver beside it."""
    return _compiled(CUDA_SOURCE, folder, "libcuda.so.1")


def _compiled(source: Path, folder: Path, name: str, *flags: str) -> Path:
    command = [compiler(), "-shared", "-fPIC", "-O1", "-Wall", "-Werror", *flags, "-o", folder / name, source]
    subprocess.run(command, check=True, capture_output=True, text=True)
    return folder
