"""The description of the machine."""

import os
import platform
import socket
import subprocess
import sys

import psutil
import pytest

from rtxbench.hardware.environment import cpu, describe

SAPPHIRE_RAPIDS = """processor\t: 0
model name\t: Intel(R) Xeon(R)  Platinum 8481C CPU @ 2.70GHz
flags\t\t: fpu avx2 fma avx512f avx512_bf16 avx512_vnni amx_bf16 amx_tile amx_int8
"""
ARM = "processor\t: 0\nFeatures\t: fp asimd sve bf16\nCPU implementer\t: 0x41\n"


def test_features_that_matter_are_listed(tmp_path):
    """AMX and AVX-512 flags are found; the rest of a hundred flags is left out."""
    path = tmp_path / "cpuinfo"
    path.write_text(SAPPHIRE_RAPIDS)
    found = cpu(path)
    assert found.name == "Intel(R) Xeon(R) Platinum 8481C CPU @ 2.70GHz"
    expected = ("amx_tile", "amx_bf16", "amx_int8", "avx512_bf16", "avx512_vnni", "avx512f", "avx2", "fma")
    assert found.features == expected


def test_an_arm_cpu_has_a_name_and_features(tmp_path):
    """ARM's cpuinfo has no model name: the platform's is taken, never an empty one."""
    path = tmp_path / "cpuinfo"
    path.write_text(ARM)
    found = cpu(path)
    assert found.features == ("asimd", "bf16", "sve")
    assert found.name


def test_the_slug_names_hardware_and_no_host(monkeypatch):
    """A folder name: lower case, stable, and the same whatever the host is called."""
    first, second = describe().machine, describe().machine
    assert first == second
    assert first == first.lower()
    assert "/" not in first
    assert " " not in first
    monkeypatch.setattr(socket, "gethostname", lambda: "payroll-7")
    monkeypatch.setattr(platform, "node", lambda: "payroll-7")
    assert describe().machine == first


@pytest.mark.skipif(not hasattr(os, "sched_getaffinity"), reason="this system binds no process to cores")
def test_a_process_bound_to_some_cores_is_another_machine(monkeypatch):
    """Figures of a bound process never mix with those of the whole machine, and the name says why."""
    monkeypatch.setattr(psutil, "cpu_count", lambda logical=True: 8)
    monkeypatch.setattr(os, "sched_getaffinity", lambda pid: set(range(8)))
    whole = describe()
    monkeypatch.setattr(os, "sched_getaffinity", lambda pid: {1, 5})
    bound = describe()
    assert (whole.cpu.usable_cores, bound.cpu.usable_cores) == (8, 2)
    assert "2-of-8-cores" in bound.machine
    assert "-of-" not in whole.machine


def test_versions_can_be_added_and_overridden():
    """An engine passes what it knows of itself."""
    environment = describe({"keras": "0.0"}, {"cudnn": "9.1"})
    assert environment.packages["keras"] == "0.0"
    assert environment.libraries["cudnn"] == "9.1"
    assert environment.python.endswith(platform.python_version())


def test_outside_a_repository_the_commit_is_missing_with_a_reason(tmp_path, monkeypatch):
    """No commit is None and a reason."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("GIT_CEILING_DIRECTORIES", str(tmp_path.parent))
    environment = describe()
    assert environment.commit is None
    assert environment.missing["commit"]


def test_inside_a_repository_commit_and_dirtiness_are_recorded(tmp_path, monkeypatch):
    """The commit worked in, and whether a tracked file differs from it."""
    for command in ("init -q", "-c user.name=a -c user.email=a@b commit -q --allow-empty -m one"):
        subprocess.run(["git", *command.split()], cwd=tmp_path, check=True)
    monkeypatch.chdir(tmp_path)
    environment = describe()
    assert len(environment.commit) == 40
    assert environment.dirty is False
    (tmp_path / "file").write_text("x")
    subprocess.run(["git", "add", "file"], cwd=tmp_path, check=True)
    assert describe().dirty is True


@pytest.mark.parametrize("module", ["tensorflow", "keras", "pandas", "matplotlib"])
def test_no_engine_is_imported(module):
    """Describing the machine imports no framework."""
    code = f"import sys, rtxbench.hardware.environment as e; e.describe(); sys.exit({module!r} in sys.modules)"
    subprocess.run([sys.executable, "-c", code], check=True)
