"""What a verdict also says: the all-reduce share of a data-parallel step, and whether training waited for input."""

from dataclasses import replace

import pytest
from msgspec.structs import replace as changed

from rtxbench.diagnosis.all_reduce import all_reduce_share, sums_gradients
from rtxbench.diagnosis.rules import Evidence, diagnose, diagnose_ratio
from rtxbench.records import Case, CaseRecord, Note, Observation, Record, Verdict
from rtxbench.stats import launch_estimate
from rtxbench.verdicts import judge as judging
from rtxbench.verdicts.claims import load_claims
from rtxbench.verdicts.judge import judge
from tests.judged_runs import environment, evidence_for, loaded_run, observation, paired

CLAIMS = {claim.id: claim for claim in load_claims()}
PARALLEL = Evidence(device_count=2, step_time_s=0.1, gradient_bytes_per_step=1e8, all_reduce_bytes_per_s=1e10)


def test_a_profiled_share_is_measured_and_comes_first() -> None:
    """Where communication kernels were seen, nothing is computed in their place."""
    share = all_reduce_share(replace(PARALLEL, communication_ratio=0.3))
    assert (share.ratio, share.origin) == (0.3, "measured")
    assert share.text.startswith("30 % of kernel time (measured")


def test_without_a_profile_the_share_is_computed_and_says_so() -> None:
    """100 MB of gradients at 10 GB/s are 10 ms of a 100 ms step."""
    share = all_reduce_share(PARALLEL)
    assert share.ratio == pytest.approx(0.1)
    assert share.origin == "computed"
    assert share.text.startswith("about 10 % of the step (computed: ")
    assert all_reduce_share(replace(PARALLEL, step_time_s=1e-3)).ratio == 1.0


@pytest.mark.parametrize(
    ("missing", "words"),
    [
        ("gradient_bytes_per_step", "size of the gradients"),
        ("all_reduce_bytes_per_s", "all-reduce bandwidth"),
        ("step_time_s", "step time"),
    ],
)
def test_what_is_missing_is_named_and_no_zero_takes_its_place(missing: str, words: str) -> None:
    """One missing factor leaves no share, and the reason names it."""
    share = all_reduce_share(replace(PARALLEL, **{missing: None}))
    assert (share.ratio, share.origin) == (None, None)
    assert words in share.text


def test_only_data_parallel_steps_sum_gradients() -> None:
    """A split model and a single device have no all-reduce share."""
    case = Case(workload="mlp", batch_size=64, device_count=2)
    placements = ("mirrored", "data-parallel", "ddp", "mirrored-logical", "model-parallel", "gpu", "elsewhere")
    assert [sums_gradients(changed(case, placement=name)) for name in placements] == [True] * 4 + [False] * 3
    assert not sums_gradients(changed(case, placement="mirrored", device_count=1))


def test_an_upper_bound_accuses_only_where_devices_add_little() -> None:
    """A computed share may overlap with work: it names no bottleneck by itself, but stands beside poor scaling."""
    heavy = replace(PARALLEL, step_time_s=0.02)
    assert diagnose(heavy).code == "undetermined"
    alone = replace(heavy, device_count=1)
    found = diagnose_ratio(alone, heavy, 1.2)
    assert found.code == "communication-bound"
    assert "all-reduce would take 50 % of the step" in found.text
    assert diagnose_ratio(alone, heavy, 1.95).code == "undetermined"


def parallel_records(**changes: object) -> list[Record]:
    """One GPU against two under MirroredStrategy at the same global batch."""
    one = Case(workload="resnet50", batch_size=64, placement="gpu")
    return paired(one, changed(one, placement="mirrored", device_count=2), 1.6, **changes)  # type: ignore[arg-type]


def verdicts_of(claim: str, records: list[Record], gpus: int) -> list[Verdict]:
    return [v for v in judge([loaded_run(records, environment(gpus))], list(CLAIMS.values())) if v.claim == claim]


def test_the_verdict_says_the_measured_share() -> None:
    """A profiled pass of the parallel case speaks in the verdict on the comparison and on the claim."""
    records = parallel_records()
    (parallel,) = [r.case for r in records if isinstance(r, CaseRecord) and r.case.device_count == 2]
    seen = observation("step-evidence", "communication_time_ratio", (0.25,), case=parallel, replicate="repeat")
    for verdict in verdicts_of("data-parallel", [*records, seen], gpus=2):
        assert note_of("all-reduce", verdict).text == (
            "All-reduce share: 25 % of kernel time (measured in a profiled pass, kernels told by their names)."
        )
        assert "All-reduce" not in verdict.explanation


def test_the_verdict_computes_the_share_from_gradients_and_bandwidth() -> None:
    """The best measured bandwidth of the engine's GPUs and the gradients of the case give a labelled share."""
    records = parallel_records()
    (parallel,) = [r.case for r in records if isinstance(r, CaseRecord) and r.case.device_count == 2]
    records.append(observation("step-evidence", "gradient_bytes_per_step", (1e9,), case=parallel))
    labels = {"engine": "tensorflow", "kind": "gpu"}
    records.append(observation("ceiling", "all_reduce_bytes_per_s", (4e9, 5e9), labels=labels))
    (whole, part) = verdicts_of("data-parallel", records, gpus=2)
    text = note_of("all-reduce", part).text
    assert "about 20 % of the step (computed: " in text  # 1 GB at 5 GB/s of a step of one second
    assert "1.00 GB of gradients at the measured 5.00 GB/s" in text
    assert "computed" in note_of("all-reduce", whole).text


def note_of(kind: str, verdict: Verdict) -> Note:
    (note,) = (note for note in verdict.notes if note.kind == kind)
    return note


def test_scaling_efficiency_is_a_note_of_its_own() -> None:
    """1.6 times on two devices is 80 % efficiency, beside the reason and not in it."""
    (_, part) = verdicts_of("data-parallel", parallel_records(), gpus=2)
    assert "80 %" in note_of("scaling", part).text
    assert "80 %" not in part.explanation


def test_a_verdict_builds_one_diagnoser(monkeypatch: pytest.MonkeyPatch) -> None:
    """Causes and notes share one index of the records."""
    built = []
    real = judging.Diagnoser
    monkeypatch.setattr(judging, "Diagnoser", lambda runs: built.append(runs) or real(runs))
    verdicts_of("data-parallel", parallel_records(), gpus=2)
    assert len(built) == 1


def waits(*values: float, pipeline: str = "Keras layers in tf.data") -> Observation:
    record = observation("augmentation", "input_wait_ratio", values, labels={"pipeline": pipeline}, replicate="repeat")
    return changed(record, estimate=launch_estimate(values))


@pytest.mark.parametrize(
    ("values", "words"),
    [
        ((0.5, 0.52, 0.48), "50 % (input-bound)"),
        ((0.02, 0.03, 0.01), "2 % (not input-bound)"),
        ((0.1, 0.3, 0.2), "20 % (cannot say whether input-bound)"),
        ((0.5,), "50 % (one repeat: cannot say whether input-bound)"),
    ],
)
def test_the_augmentation_verdict_says_whether_training_was_input_bound(values: tuple[float, ...], words: str) -> None:
    """A fifth of the loop is the line, and the whole interval must lie on one side of it."""
    records = [*evidence_for(CLAIMS["augmentation"], 1.02), waits(*values)]
    whole = verdicts_of("augmentation", records, gpus=0)[0]
    note = note_of("input-wait", whole)
    assert f"spent waiting for input: {words} with `Keras layers in tf.data`." in note.text
    assert note.links == (records[-1].record_id,)
    others = verdicts_of("tuning", records, gpus=0)
    assert not any(note.kind == "input-wait" for verdict in others for note in verdict.notes)


def test_a_pipelines_wait_is_not_blamed_on_the_case_without_it() -> None:
    """The trial's model trains from a resident batch in other claims: what a pipeline cost it is no cause there."""
    case = Case(workload="digits-cnn", batch_size=32)
    records = paired(case, changed(case, batch_size=256), 1.5)
    wait = changed(waits(0.9, 0.9), case=case)
    found = verdicts_of("tuning", [*records, wait], gpus=0)
    assert not any("waiting for input data" in (verdict.cause or "") for verdict in found)
