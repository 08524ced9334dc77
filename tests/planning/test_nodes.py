"""The plan of one job over several nodes: three cases a workload, and what a link would make of them."""

import pytest

from rtxbench.errors import UsageError
from rtxbench.measure.groups import Request
from rtxbench.planning.duration import Machine
from rtxbench.planning.nodes import link_lines, node_groups
from tests.synthetic import CPU_ONLY


def test_a_workload_is_held_on_all_ranks_against_one() -> None:
    """The same global batch over three ranks, which they can share, and the same batch each."""
    (group,) = node_groups(Request(engine="torch", workloads=("mlp",), batch_size=128), CPU_ONLY, 3)
    assert group.baseline is not None
    assert (group.name, group.baseline.batch_size, group.baseline.device_count) == ("nodes/mlp", 126, 1)
    kind = group.baseline.placement
    expected = "ddp-nodes" if kind == "gpu" else "ddp-nodes-cpu"
    assert [(case.placement, case.batch_size, case.device_count) for case in group.candidates] == [
        (expected, 126, 3),
        (expected, 378, 3),
    ]


@pytest.mark.parametrize(
    ("request_", "ranks"), [(Request(), 1), (Request(engine="all"), 2), (Request(claims=("tensor-cores",)), 2)]
)
def test_what_is_no_job_over_several_nodes_is_refused(request_: Request, ranks: int) -> None:
    """One rank, several engines at once, or a claim, which has a plan of its own."""
    with pytest.raises(UsageError):
        node_groups(request_, CPU_ONLY, ranks)


def test_a_faster_link_is_predicted_to_scale_better() -> None:
    """Weak scaling over 100 Gbit/s comes nearer to linear than over 1 Gbit/s; every line says that it is predicted."""
    groups = node_groups(Request(engine="torch", workloads=("mlp-wide",)), CPU_ONLY, 4)
    slow, fast = (link_lines(groups, Machine(memory_bytes=None), speed) for speed in (1e9, 100e9))
    assert "predicted" in slow[0] and len(slow) == 3
    gains = [float(lines[2].split(": ")[1].split("×")[0]) for lines in (slow, fast)]
    assert gains[0] < gains[1] <= 4
