"""The preload opens a real shared library so that the loader then finds it by its name."""

import ctypes
import subprocess
import sys
from pathlib import Path

import pytest

from rtxbench.engines.preload import preload_cuda_libraries
from rtxbench.hardware.cuda_libraries import runpath_folders
from tests.fake_site import FakeSite
from tests.nvml_stub import compiler


def installed(library: str) -> bool:
    """Whether the system's loader knows the library, as on a machine with a CUDA toolkit."""
    try:
        ctypes.CDLL(library)
    except OSError:
        return False
    return True


pytestmark = [
    pytest.mark.skipif(sys.platform != "linux", reason="TensorFlow has CUDA wheels on Linux only"),
    pytest.mark.skipif(compiler() is None, reason="no C compiler to build libraries with"),
    pytest.mark.skipif(installed("libcusolver.so.11"), reason="this machine's own libcusolver.so.11 would be found"),
]

OPEN_BY_NAME = "import ctypes; print(ctypes.CDLL('libcusolver.so.11').answer())"


@pytest.fixture
def site(tmp_path: Path) -> FakeSite:
    """TensorFlow as 2.21 ships: its binary's RUNPATH names cublas and not cusolver."""
    made = FakeSite(tmp_path / "site-packages")
    made.tensorflow()
    made.shared_library("nvidia/cublas/lib/libcublas.so.12")
    made.shared_library("nvidia/cusolver/lib/libcusolver.so.11")
    made.shared_library(
        "tensorflow/libtensorflow_framework.so.2",
        "int framework(void) { return 1; }",
        "-Wl,--enable-new-dtags,-rpath,$ORIGIN/../nvidia/cublas/lib:$ORIGIN/../tensorrt",
    )
    return made


def run_python(code: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False)


def test_runpath_of_a_real_binary_is_read(site: FakeSite) -> None:
    """The folders a linker wrote into an ELF file are found, absolute and in order."""
    folders = runpath_folders(site.folder / "tensorflow/libtensorflow_framework.so.2")
    assert folders == ((site.folder / "nvidia/cublas/lib").resolve(), (site.folder / "tensorrt").resolve())


def test_preload_makes_the_library_openable_by_name(site: FakeSite) -> None:
    """Without the preload the name fails, with it the same name opens: what TensorFlow does at start."""
    assert "libcusolver.so.11: cannot open shared object file" in run_python(OPEN_BY_NAME).stderr
    preload = f"""
from pathlib import Path
from rtxbench.engines.preload import preload_cuda_libraries
done = preload_cuda_libraries([Path({str(site.folder)!r})])
assert [(p.path.name, p.error) for p in done] == [("libcusolver.so.11", None)], done
"""
    assert run_python(preload + OPEN_BY_NAME).stdout == "42\n"


def test_a_library_that_does_not_open_is_reported_with_its_missing_dependency(site: FakeSite) -> None:
    """The loader's words name the file that is really missing."""
    lacking = site.shared_library("build/libnvJitLink.so.12")
    site.shared_library(
        "nvidia/cusolver/lib/libcusolver.so.11",
        "int answer(void); int other(void) { return answer(); }",
        str(lacking),
    )
    lacking.unlink()
    (done,) = preload_cuda_libraries([site.folder])
    assert done.error is not None
    assert "libnvJitLink.so.12: cannot open shared object file" in done.error


def test_nothing_is_opened_where_nothing_is_missing(tmp_path: Path) -> None:
    """No TensorFlow, or no NVIDIA wheels: the preload opens no file at all."""
    opened: list[str] = []
    site = FakeSite(tmp_path / "empty")
    assert preload_cuda_libraries([site.folder], opened.append) == ()
    site.tensorflow()
    assert preload_cuda_libraries([site.folder], opened.append) == ()
    assert opened == []
