"""Which cases share an evidence process."""

from rtxbench.diagnosis.gather import _in_processes
from rtxbench.records import Case


def test_a_gpu_has_an_evidence_process_for_each_workload() -> None:
    """Fault 17: models of a whole run in one process do not fit on a card of 8 GB; a CPU's cases share theirs."""
    cases = [
        Case(workload=name, batch_size=64, placement=kind, precision=precision)
        for name in ("mlp", "bert-base", "gpt2")
        for precision in ("float32", "mixed_bfloat16")
        for kind in ("gpu", "cpu")
    ]
    processes = [(kind, {case.workload for case in members}) for _, kind, members in _in_processes(cases)]
    assert [names for kind, names in processes if kind == "gpu"] == [{"mlp"}, {"bert-base"}, {"gpt2"}]
    assert [names for kind, names in processes if kind == "cpu"] == [{"mlp", "bert-base", "gpt2"}]
