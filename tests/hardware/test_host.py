"""Host sensors, read from a system tree made for the test where the kernel's own would not show the case."""

import os
import subprocess
import sys
import time

import pytest

from rtxbench.hardware.host import HOST, ProcessTree, host_sensors
from rtxbench.hardware.sensors import SensorError
from tests.waiting import wait_until

pytestmark = pytest.mark.skipif(sys.platform != "linux", reason="reads /proc and /sys")


def sensors(tmp_path):
    tree = ProcessTree([os.getpid()])
    found = host_sensors(tree, proc=tmp_path / "proc", sys_root=tmp_path / "sys")
    return {sensor.name: sensor for sensor in found}


def write(path, text):
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(text)


def test_pressure_is_the_share_of_time_between_reads(tmp_path, monkeypatch):
    """250 ms of waiting in one second is 0.25."""
    pressure = tmp_path / "proc/pressure/cpu"
    clock = iter([10.0, 11.0])
    monkeypatch.setattr("rtxbench.hardware.host.time.monotonic", lambda: next(clock))
    write(pressure, "some avg10=0.00 avg60=0.00 avg300=0.00 total=1000000\n")
    sensor = sensors(tmp_path)["psi_cpu"]
    assert sensor.read() == {}
    write(pressure, "some avg10=0.00 avg60=0.00 avg300=0.00 total=1250000\n")
    assert sensor.read() == {"psi_cpu_some_ratio": pytest.approx(0.25)}


@pytest.mark.parametrize(
    ("membership", "stat"),
    [
        ("0::/jobs/one\n", "fs/cgroup/jobs/one/cpu.stat"),
        ("0::/not/visible/inside\n", "fs/cgroup/cpu.stat"),
        ("4:cpu,cpuacct:/docker/x\n", "fs/cgroup/cpu,cpuacct/docker/x/cpu.stat"),
        ("4:cpu,cpuacct:/docker/x\n", "fs/cgroup/cpu/cpu.stat"),
    ],
)
def test_cgroup_throttling_v1_and_v2(tmp_path, membership, stat):
    """Throttled periods ÷ periods since the last read, wherever the group's file is."""
    write(tmp_path / "proc/self/cgroup", membership)
    write(tmp_path / "sys" / stat, "nr_periods 100\nnr_throttled 10\n")
    sensor = sensors(tmp_path)["cgroup"]
    assert sensor.read() == {}
    write(tmp_path / "sys" / stat, "nr_periods 200\nnr_throttled 15\n")
    assert sensor.read() == {"cgroup_throttled_ratio": pytest.approx(0.05)}


def test_rapl_counter_wrap_is_undone(tmp_path):
    """The counter wraps at max_energy_range_uj; energy goes on rising."""
    package = tmp_path / "sys/class/powercap/intel-rapl:0"
    write(package / "max_energy_range_uj", "1000000000\n")
    write(package / "energy_uj", "999000000\n")
    write(tmp_path / "sys/class/powercap/intel-rapl:0:0/energy_uj", "5\n")  # a part of the package: not added
    sensor = sensors(tmp_path)["rapl"]
    assert sensor.read() == {"cpu_energy_j": 0.0}
    write(package / "energy_uj", "1000000\n")
    assert sensor.read() == {"cpu_energy_j": pytest.approx(2.0)}


@pytest.mark.parametrize("name", ["psi_cpu", "cgroup", "rapl"])
def test_what_the_system_lacks_is_disabled_with_a_reason(tmp_path, name):
    """No PSI, no cgroup, no RAPL: absent for good, and said why."""
    with pytest.raises(SensorError) as raised:
        sensors(tmp_path)[name].read()
    assert raised.value.policy == "disable"
    assert name in raised.value.reason


def test_unreadable_rapl_is_no_permission(tmp_path, monkeypatch):
    """RAPL is root-only since Linux 5.10: recorded as such and tried again later."""
    write(tmp_path / "sys/class/powercap/intel-rapl:0/energy_uj", "1")
    sensor = sensors(tmp_path)["rapl"]

    def refuse(path, *_args, **_kwargs):
        raise PermissionError(13, "Permission denied", str(path))

    monkeypatch.setattr("pathlib.Path.read_text", refuse)
    with pytest.raises(SensorError, match="no permission") as raised:
        sensor.read()
    assert raised.value.policy == "back-off"


def cores_beside_this_process(sensor):
    """Cores that the watched processes used in half a second, less what this one used itself."""
    sensor.read()
    began, used = time.monotonic(), time.process_time()
    time.sleep(0.5)
    own_s = time.process_time() - used
    return sensor.read()["watched_cpu_cores"] - own_s / (time.monotonic() - began)


def test_watched_processes_and_their_children_are_counted(tmp_path):
    """A busy child of the watched process shows beside this one, and its memory is in the sum."""
    code = "import time\nheld = bytearray(2**25)\nprint('ready', flush=True)\nwhile True: pass"
    child = subprocess.Popen([sys.executable, "-c", code], stdout=subprocess.PIPE, text=True)
    try:
        child.stdout.readline()
        sensor = sensors(tmp_path)["processes"]
        both = sensor.read()["rss_bytes"]
        wait_until(lambda: cores_beside_this_process(sensor) > 0.05, "the child to be seen at work")
        child.kill()
        child.wait()
        time.sleep(1.1)  # the tree is refreshed once a second
        assert sensor.read()["rss_bytes"] < both - 2**24
    finally:
        child.kill()
        child.wait()
        child.stdout.close()


def test_every_host_sensor_names_its_metrics():
    """What a sensor reads on this machine is what its row promises."""
    for sensor in host_sensors(ProcessTree([os.getpid()])):
        assert sensor.device == HOST
        try:
            sensor.read()
            time.sleep(0.03)
            assert set(sensor.read()) <= set(sensor.metrics)
        except SensorError as error:
            assert error.reason
