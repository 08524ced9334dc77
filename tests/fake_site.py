"""A fake site-packages folder: distributions as pip leaves them, and shared libraries that really open."""

import subprocess
from collections.abc import Sequence
from pathlib import Path

from tests.nvml_stub import compiler

BUILD_INFO = (
    "import collections\n\nbuild_info = collections.OrderedDict([('cuda_compute_capabilities', "
    "['sm_60', 'sm_89', 'compute_90']), ('cuda_version', '12.5.1'), ('is_cuda_build', True)])\n"
)
CPU_BUILD_INFO = "import collections\n\nbuild_info = collections.OrderedDict([('is_cuda_build', False)])\n"


class FakeSite:
    """Writes below one folder; every method returns what it made."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        folder.mkdir(parents=True, exist_ok=True)

    def distribution(self, name: str, version: str, files: Sequence[str] = ()) -> Path:
        info = self.folder / f"{name.replace('-', '_')}-{version}.dist-info"
        info.mkdir()
        (info / "METADATA").write_text(f"Metadata-Version: 2.1\nName: {name}\nVersion: {version}\n")
        (info / "RECORD").write_text("".join(f"{file},,\n" for file in files))
        return info

    def tensorflow(self, version: str = "2.21.0", build_info: str = BUILD_INFO) -> Path:
        self.distribution("tensorflow", version)
        package = self.package("tensorflow")
        (package / "python/platform").mkdir(parents=True)
        (package / "python/platform/build_info.py").write_text(build_info)
        return package

    def torch(self, version: str, cuda: str | None) -> Path:
        self.distribution("torch", version)
        package = self.package("torch")
        (package / "version.py").write_text(f"__version__ = {version!r}\ncuda: Optional[str] = {cuda!r}\nhip = None\n")
        return package

    def package(self, name: str) -> Path:
        folder = self.folder / name
        folder.mkdir()
        (folder / "__init__.py").touch()
        return folder

    def shared_library(self, path: str, source: str = "int answer(void) { return 42; }", *flags: str) -> Path:
        """Compile a library whose soname is its file name, as NVIDIA's wheels are."""
        target = self.folder / path
        target.parent.mkdir(parents=True, exist_ok=True)
        command = [str(compiler()), "-shared", "-fPIC", f"-Wl,-soname,{target.name}", "-o", str(target), "-x", "c", "-"]
        command += ["-x", "none", *flags]
        subprocess.run(command, input=source, text=True, check=True, capture_output=True)
        return target
