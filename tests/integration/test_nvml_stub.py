"""NVML faked at its C interface: the real pynvml calls a library compiled for the test.

Each scenario runs in processes of their own, since the loader reads LD_LIBRARY_PATH once.
"""

import json
import os
import subprocess
import sys
import time

import pytest

from rtxbench.hardware.flags import window_flags
from rtxbench.hardware.recorder import Recorder
from rtxbench.hardware.trace import load_trace, summarize
from tests.nvml_stub import GPU0, GPU1, MIG0, build, build_cuda, compiler
from tests.waiting import HANG_S, wait_until

pytestmark = [
    pytest.mark.skipif(compiler() is None, reason="no C compiler to build the NVML stand-in with"),
    pytest.mark.skipif(sys.platform != "linux", reason="the stand-in is found through LD_LIBRARY_PATH"),
]


@pytest.fixture(scope="session")
def driver(tmp_path_factory):
    """Folder of the stand-in library."""
    return build(tmp_path_factory.mktemp("driver"))


@pytest.fixture(scope="session")
def old_driver(tmp_path_factory):
    """Folder of a stand-in that lacks the newer symbols."""
    return build(tmp_path_factory.mktemp("old_driver"), "-DOLD_DRIVER")


@pytest.fixture
def stub(driver, monkeypatch, tmp_path):
    """Set the scenario: ``stub("gpus=2 util=0")``. Its times count from the start of the recorded window."""
    for name in ("CUDA_VISIBLE_DEVICES", "CUDA_DEVICE_ORDER"):
        monkeypatch.delenv(name, raising=False)

    def scenario(words, folder=driver):
        monkeypatch.setenv("LD_LIBRARY_PATH", str(folder))
        monkeypatch.setenv("NVML_STUB", f"{words} go={tmp_path / 'go'}")

    return scenario


def record(tmp_path, seconds=1.0, until="", name="stub"):
    """Record for a while with a mark on both sides; returns the trace and the window.

    The window ends when ``seconds`` have passed, its own samples are on disk, and the trace holds ``until``.
    """
    path = tmp_path / f"{name}.trace.jsonl"
    with Recorder(path) as recorder:
        recorder.mark("before")
        before = path.read_text().count(HOST_SAMPLE)
        start = time.monotonic_ns()
        (tmp_path / "go").touch()
        time.sleep(seconds)
        recorder.mark("written")
        wait_until(lambda: path.read_text().count(HOST_SAMPLE) >= before + 3, "samples of the window")
        wait_until(lambda: until in path.read_text(), until)
        window = (start, time.monotonic_ns())
        recorder.mark("after")
    return load_trace(path), window


def in_child(code):
    """Run code in a fresh process and return what it printed, as JSON."""
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True, timeout=HANG_S)
    return json.loads(done.stdout)


HOST_SAMPLE = '"device":"host","values":'
ENVIRONMENT = """
import msgspec, sys
from rtxbench.hardware.environment import describe
sys.stdout.buffer.write(msgspec.json.encode(describe()))
"""


def codes(trace, window):
    """Flags of the GPU; those of the host depend on what else this machine is doing."""
    flags = window_flags(trace, [window], [GPU0])
    return {flag.code: flag.severity for flag in flags if not flag.detail.startswith("host:")}


def test_a_healthy_card_is_recorded_in_full(stub, tmp_path):
    """Every metric arrives in SI units, with no failure and no flag."""
    stub("gpus=1 power_w=300 util=97 clock_mhz=2520 reasons=4")
    trace, window = record(tmp_path, 1.2)
    metrics = summarize(trace, [window]).devices[GPU0]
    assert metrics["power_w"].mean == 300
    assert metrics["sm_clock_hz"].mean == 2.52e9
    assert metrics["memory_clock_hz"].mean == 1.0501e10
    assert metrics["gpu_utilization_ratio"].p50 == 0.97
    assert metrics["sw_power_cap_ratio"].mean == 1
    assert metrics["memory_reserved_bytes"].mean == 2**29
    assert metrics["power_limit_w"].mean == 450
    assert [f for f in trace.failures if f.device == GPU0] == []
    assert codes(trace, window) == {}


def test_energy_agrees_with_the_integral_over_five_seconds(stub, tmp_path):
    """The counter's delta is power × time within the sensor's quantisation."""
    stub("power_w=200")
    trace, window = record(tmp_path, 5.2)
    joules = summarize(trace, [window]).energy_j[GPU0]
    assert joules == pytest.approx(200 * (window[1] - window[0]) / 1e9, rel=0.04)


def test_energy_counter_going_backwards_is_noticed(stub, tmp_path):
    """A counter that resets inside the window is left for the integral of power."""
    stub("power_w=200 energy_reset_ms=2500")
    trace, window = record(tmp_path, 5.2)
    assert min(trace.get(GPU0, "energy_j").values[1:] - trace.get(GPU0, "energy_j").values[:-1]) < 0
    joules = summarize(trace, [window]).energy_j[GPU0]
    assert joules == pytest.approx(200 * (window[1] - window[0]) / 1e9, rel=0.01)


@pytest.mark.parametrize(
    ("function", "metric"),
    [
        ("nvmlDeviceGetUtilizationRates", "gpu_utilization_ratio"),
        ("field", "power_w"),
        ("nvmlDeviceGetTotalEnergyConsumption", "energy_j"),
        ("nvmlDeviceGetClockInfo", "sm_clock_hz"),
        ("nvmlDeviceGetCurrentClocksEventReasons", "clock_event_reasons_bitmask"),
    ],
)
def test_one_unsupported_metric_never_drops_the_others(stub, tmp_path, function, metric):
    """NotSupported takes one sensor away for good, with its code and reason; the rest goes on."""
    stub(f"fail:{function}=3")
    trace, window = record(tmp_path, 0.4)
    assert trace.get(GPU0, metric) is None
    assert "Not Supported" in trace.reason_missing(GPU0, metric) or "refused" in trace.reason_missing(GPU0, metric)
    probe = next(p for p in trace.probes if p.device == GPU0 and metric in p.metrics)
    assert probe.error_code == 3
    assert probe.median_s is None
    survivors = {p.sensor for p in trace.probes if p.device == GPU0 and p.error_code is None}
    assert len(survivors) >= 9
    assert f"{GPU0}/{metric}" in summarize(trace, [window]).missing or metric in ("energy_j", probe.metrics[0])


def test_no_permission_is_recorded(stub, tmp_path):
    """NoPermission is the administrator's to change: recorded with its own code, not taken for NotSupported."""
    stub("fail:nvmlDeviceGetTotalEnergyConsumption=4")
    trace, _window = record(tmp_path, 0.4)
    probe = next(p for p in trace.probes if p.device == GPU0 and p.sensor == "energy")
    assert probe.error_code == 4
    assert "Permission" in probe.reason


def test_a_flaky_metric_backs_off_and_comes_back(stub, tmp_path):
    """Unknown errors every now and then leave a metric with fewer samples, not without any."""
    stub("flaky:nvmlDeviceGetTemperature=999")
    trace, _window = record(tmp_path, 3.5, until='"temperature_c":')
    assert any(f.sensor == "temperature" and f.policy == "back-off" for f in trace.failures)
    assert trace.get(GPU0, "temperature_c").values.size >= 1
    assert trace.get(GPU0, "power_w").values.size >= 20


def test_a_gpu_lost_mid_run_ends_its_samples_and_voids_the_window(stub, tmp_path):
    """The other GPU and the host are recorded on; the case on the lost one is invalid."""
    stub("gpus=2 lost_after_ms=1200")
    trace, window = record(tmp_path, 2.5, until='"code":"gpu-lost"')
    assert [e.device for e in trace.events if e.code == "gpu-lost"] == [GPU0]
    assert trace.get(GPU1, "power_w").times_ns[-1] > trace.get(GPU0, "power_w").times_ns[-1] + 5e8
    assert codes(trace, window)["gpu-lost"] == "invalid"
    assert trace.end.reason == "stopped"


def test_a_hanging_call_stops_neither_the_host_samples_nor_the_exit(stub, tmp_path):
    """The driver never returns: host sampling goes on, the hang is noted, the recorder still ends."""
    stub("hang:nvmlDeviceGetUtilizationRates=300")
    trace, window = record(tmp_path, 6.0, until='"code":"read-hung"')
    assert "read-hung" in {event.code for event in trace.events}
    assert trace.get("host", "cpu_utilization_ratio").times_ns[-1] > window[1] - 5e8
    assert trace.get(GPU0, "power_w").times_ns[-1] < window[1] - 4e9
    assert trace.end is not None
    assert codes(trace, window)["sensor-hung"] == "warn"


def test_an_old_driver_without_newer_symbols(stub, old_driver, tmp_path):
    """FunctionNotFound is per metric: the old calls still work."""
    stub("", old_driver)
    trace, window = record(tmp_path, 1.6)
    missing = {p.sensor for p in trace.probes if p.device == GPU0 and p.error_code == 13}
    assert missing >= {"power", "energy", "event_reasons", "memory", "gpm"}
    assert not missing & {"utilization", "sm_clock", "temperature", "power_limit"}
    assert summarize(trace, [window]).devices[GPU0]["power_average_w"].mean == 300


def test_a_trace_of_an_idle_gpu_is_rejected(stub, tmp_path):
    """Utilisation 0 % throughout means that the wrong device was watched: no figure rests on it."""
    stub("util=0 power_w=20")
    trace, window = record(tmp_path, 0.6)
    assert codes(trace, window)["no-work"] == "invalid"


def test_idle_power_before_the_work(stub, tmp_path):
    """A second of idleness before the first window gives the idle power."""
    stub("util=0 power_w=21")
    trace, window = record(tmp_path, 2.4)
    late = (window[0] + int(1.5e9), window[1])
    assert summarize(trace, [late]).idle_power_w[GPU0] == 21


def test_foreign_processes_are_found_at_window_edges(stub, tmp_path):
    """A process that is not ours and uses the SMs voids the window; our own does not."""
    stub(f"process={os.getppid()} sm=30")
    trace, window = record(tmp_path, 0.4)
    assert codes(trace, window)["foreign-gpu-process"] == "invalid"
    stub(f"process={os.getpid()} sm=90")
    trace, window = record(tmp_path, 0.4, name="own")
    assert codes(trace, window) == {}


def test_a_process_that_worked_a_minute_ago_does_not_void(stub, tmp_path):
    """Fault 17: the driver keeps old samples; only work since the last mark counts as use of the card."""
    stub(f"process={os.getppid()} sm=30 seen_ago_ms=60000")
    trace, window = record(tmp_path, 0.4)
    assert codes(trace, window)["foreign-gpu-process"] == "warn"


def test_a_gpu_that_nvml_may_not_touch_hides_no_other(stub, tmp_path):
    """Fault 13: of two cards one is refused (another job's); the other is recorded and described, with the reason."""
    stub("gpus=2 refused=1")
    trace, _window = record(tmp_path, 0.4)
    assert [gpu.uuid for gpu in trace.header.gpus] == [GPU0]
    assert [(e.device, "Permission" in e.detail) for e in trace.events if e.code == "gpu-refused"] == [("gpu 1", True)]
    environment = in_child(ENVIRONMENT)
    assert [gpu["uuid"] for gpu in environment["gpus"]] == [GPU0]
    assert environment["missing"]["gpus_refused"].startswith("gpu 1: ")


def test_a_driver_that_refuses_every_gpu_says_why(stub):
    """Fault 13: with none left, the reason of each is given."""
    stub("gpus=1 refused=0")
    environment = in_child(ENVIRONMENT)
    assert environment["gpus"] == []
    assert "refuses every GPU (gpu 0" in environment["missing"]["gpus"]


def test_only_the_visible_gpus_are_sampled(stub, tmp_path, monkeypatch):
    """Fault 17: on a server of many cards the others are neither sampled nor paid for."""
    stub("gpus=2")
    monkeypatch.setenv("CUDA_VISIBLE_DEVICES", "1")
    trace, _window = record(tmp_path, 0.4)
    assert [gpu.uuid for gpu in trace.header.gpus] == [GPU1]
    assert GPU0 not in trace.series


def test_gpm_gives_tensor_activity_where_the_card_has_it(stub, tmp_path):
    """On Hopper the Tensor Core activity is measured between two reads."""
    stub("tensor=42")
    trace, window = record(tmp_path, 2.2)
    assert summarize(trace, [window]).devices[GPU0]["tensor_activity_ratio"].mean == pytest.approx(0.42)


def test_mig_instances_are_listed_and_their_gaps_explained(stub, tmp_path):
    """A MIG instance has memory and no power: null with its reason."""
    stub("gpus=2 mig=1")
    trace, window = record(tmp_path, 1.2)
    assert [gpu.uuid for gpu in trace.header.gpus] == [GPU0, MIG0, GPU1]
    assert trace.header.interval_s == 0.1
    summary = summarize(trace, [window])
    assert "memory_used_bytes" in summary.devices[MIG0]
    assert summary.missing[f"{MIG0}/power_w"]


@pytest.mark.parametrize(
    ("visible", "expected"),
    [(None, [GPU0, GPU1]), ("1", [GPU1]), (GPU1[:12], [GPU1]), ("", []), ("1,0", [GPU1, GPU0])],
)
def test_the_environment_lists_the_gpus_cuda_would_see(stub, monkeypatch, visible, expected):
    """Index, UUID prefix, order and absence, matched by UUID."""
    stub("gpus=2")
    if visible is not None:
        monkeypatch.setenv("CUDA_VISIBLE_DEVICES", visible)
    environment = in_child(ENVIRONMENT)
    assert [gpu["uuid"] for gpu in environment["gpus"]] == expected
    for gpu in environment["gpus"]:
        assert gpu["name"] == "NVIDIA GeForce RTX 4090"
        assert gpu["compute_capability"] == "8.9"
        assert gpu["power_limit_w"] == 450
    assert ("hides every GPU" in environment["missing"].get("gpus", "")) == (visible == "")


@pytest.mark.parametrize(
    ("variables", "expected"),
    [
        ({}, [GPU1, GPU0]),
        ({"CUDA_VISIBLE_DEVICES": "0"}, [GPU1]),
        ({"CUDA_VISIBLE_DEVICES": "0", "CUDA_DEVICE_ORDER": "PCI_BUS_ID"}, [GPU0]),
    ],
)
def test_unlike_cards_are_listed_in_cudas_own_order(stub, tmp_path, monkeypatch, variables, expected):
    """Fault 17: a user's ``CUDA_VISIBLE_DEVICES=0`` means the fastest card, which NVML may number 1: CUDA is asked."""
    stub("gpus=2 unlike=1", build_cuda(build(tmp_path)))
    for name, value in variables.items():
        monkeypatch.setenv(name, value)
    environment = in_child(ENVIRONMENT)
    assert [gpu["uuid"] for gpu in environment["gpus"]] == expected
    assert "gpu_order" not in environment["missing"]


def test_an_order_that_nobody_tells_is_cautioned(stub):
    """Without CUDA's driver the order of unlike cards is a guess, and the record says so."""
    stub("gpus=2 unlike=1")
    assert "another order" in in_child(ENVIRONMENT)["missing"]["gpu_order"]


def test_the_machine_slug_names_the_cards(stub):
    """Two equal cards are one name and a count."""
    stub("gpus=2")
    assert in_child(ENVIRONMENT)["machine"].startswith("rtx-4090-x2-")


def test_missing_facts_carry_reasons(stub):
    """A laptop without a power limit reads null and why."""
    stub("fail:nvmlDeviceGetEnforcedPowerLimit=3")
    (gpu,) = in_child(ENVIRONMENT)["gpus"]
    assert gpu["power_limit_w"] is None
    assert "Not Supported" in gpu["missing"]["power_limit_w"]


def test_a_machine_without_a_gpu_is_sampled_less_often(stub, tmp_path):
    """Where the processor itself is measured it is disturbed twice a second, not ten times, unless asked to be."""
    stub("gpus=0")
    intervals_s = []
    for name, asked in (("automatic", None), ("asked", 0.1)):
        with Recorder(tmp_path / name, asked):
            pass
        intervals_s.append(load_trace(tmp_path / name).header.interval_s)
    assert intervals_s == [0.5, 0.1]


@pytest.mark.parametrize(
    ("words", "reason"),
    [
        ("fail:nvmlInitWithFlags=9", "Driver Not Loaded"),
        ("fail:nvmlDeviceGetCount_v2=4", "Insufficient Permissions"),
        ("gpus=0", "lists no GPU"),
    ],
)
def test_nvml_that_cannot_start_is_absent_with_its_reason(stub, tmp_path, words, reason):
    """Driver not loaded, no permission, no device: the recording goes on with the host alone and says why."""
    stub(words)
    trace, window = record(tmp_path, 0.4)
    assert reason in trace.header.gpu_missing
    assert "host" in summarize(trace, [window]).devices
    assert reason in in_child(ENVIRONMENT)["missing"]["gpus"]
