"""What makes a card slower than its name promises, and copies between two cards."""

import sys
from pathlib import Path

import pytest

from rtxbench.doctor.checks import examine
from rtxbench.doctor.finding import Finding
from rtxbench.doctor.installation import CardProbe, InstalledCard, inspect_installation
from rtxbench.doctor.peer_copy import PeerCopies, probe_peer_copies
from tests.nvml_stub import compiler

HEALTHY = InstalledCard("NVIDIA GeForce RTX 3090", (8, 6), 16, 16, 350.0, 350.0, False)


def found(tmp_path: Path, *cards: InstalledCard, copies: str = "staged") -> dict[str, Finding]:
    facts = inspect_installation(
        lambda: CardProbe(cards, "580.10", "13.0"),
        [tmp_path],
        tmp_path,
        lambda name: "no",
        {},
        lambda: PeerCopies(copies, "Why."),
    )
    return {finding.subject: finding for finding in examine(facts)}


def test_a_healthy_card_is_not_complained_of(tmp_path: Path) -> None:
    """The control: full width, default power limit, no display, one card."""
    assert not {"PCIe link", "power limit", "display", "copies between cards"} & found(tmp_path, HEALTHY).keys()


@pytest.mark.parametrize(
    ("change", "subject", "words"),
    [
        ({"pcie_width": 4}, "PCIe link", "4 lanes of 16"),
        ({"power_limit_w": 250.0}, "power limit", "limited to 250 W; its default is 350 W"),
        ({"display_active": True}, "display", "draws a display"),
    ],
)
def test_what_slows_a_card_is_named(tmp_path: Path, change: dict[str, object], subject: str, words: str) -> None:
    """A narrow link, a lowered limit and a desktop each warn with what to do."""
    finding = found(tmp_path, HEALTHY._replace(**change))[subject]
    assert finding.state == "warn"
    assert words in finding.what
    assert finding.next_step


@pytest.mark.parametrize(
    ("copies", "state"), [("ok", "ok"), ("staged", "ok"), ("wrong", "fail"), ("hang", "fail"), ("unknown", "warn")]
)
def test_copies_between_two_cards(tmp_path: Path, copies: str, state: str) -> None:
    """Wrong data and a hang are faults that name NCCL's switch; copies through the host are right, if slower."""
    finding = found(tmp_path, HEALTHY, HEALTHY, copies=copies)["copies between cards"]
    assert finding.state == state
    assert ("NCCL_P2P_DISABLE" in finding.next_step) == (state == "fail")


CUDA = """
#include <stdlib.h>
#include <string.h>
#include <unistd.h>
static int mode(const char *word) { const char *m = getenv("CUDA_STUB"); return m && !strcmp(m, word); }
int cuInit(unsigned f) { return mode("none") ? 100 : (int)(f & 0); }
int cuDeviceGet(int *d, int n) { *d = n; return 0; }
int cuDevicePrimaryCtxRetain(void **c, int d) { *c = (void *)(long)(d + 1); return 0; }
int cuDeviceCanAccessPeer(int *yes, int a, int b) { *yes = mode("direct") || mode("wrong"); return a == b; }
int cuCtxEnablePeerAccess(void *c, unsigned f) { return c == 0 || f; }
int cuCtxSetCurrent(void *c) { return c == 0; }
int cuCtxSynchronize(void) { return 0; }
int cuMemAlloc_v2(unsigned long long *p, size_t n) { *p = (unsigned long long)malloc(n); return 0; }
int cuMemsetD8_v2(unsigned long long p, unsigned char v, size_t n) { memset((void *)p, v, n); return 0; }
int cuMemcpyPeer(unsigned long long to, void *c, unsigned long long from, void *d, size_t n) {
    if (mode("hang")) for (;;) pause();
    memcpy((void *)to, (void *)from, mode("wrong") ? n / 2 : n);
    return c == d;
}
int cuMemcpyDtoH_v2(void *to, unsigned long long from, size_t n) { memcpy(to, (void *)from, n); return 0; }
"""


@pytest.fixture(scope="module")
def cuda(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Folder of a stand-in for the driver's libcuda.so.1."""
    import subprocess

    folder = tmp_path_factory.mktemp("cuda")
    command = [str(compiler()), "-shared", "-fPIC", "-o", str(folder / "libcuda.so.1"), "-x", "c", "-"]
    subprocess.run(command, input=CUDA, text=True, check=True, capture_output=True)
    return folder


@pytest.mark.skipif(compiler() is None or sys.platform != "linux", reason="no C compiler for a stand-in of libcuda")
@pytest.mark.parametrize(
    ("mode", "state", "words"),
    [
        ("direct", "ok", ""),
        ("staged", "staged", ""),
        ("wrong", "wrong", "2097152 of 4194304 bytes differ."),
        ("hang", "hang", "had not returned"),
        ("none", "unknown", "cuInit failed with CUDA error 100"),
    ],
)
def test_the_copy_itself(cuda: Path, monkeypatch: pytest.MonkeyPatch, mode: str, state: str, words: str) -> None:
    """Through the driver's C interface: right, through the host, half of it wrong, never back, no card."""
    monkeypatch.setenv("LD_LIBRARY_PATH", str(cuda))
    monkeypatch.setenv("CUDA_STUB", mode)
    outcome = probe_peer_copies(limit_s=1.0 if mode == "hang" else 20.0)
    assert outcome.state == state
    assert words in outcome.detail
