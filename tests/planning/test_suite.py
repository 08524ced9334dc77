"""What is planned on which machine."""

from dataclasses import replace as replace_row
from pathlib import Path

import msgspec
import pytest
from msgspec.structs import replace

from rtxbench.engines.refusals import COMPILERS
from rtxbench.errors import UsageError
from rtxbench.measure.groups import PROFILE_NAMES, Request
from rtxbench.planning.suite import ALL_ENGINES, plan, trials_of
from rtxbench.records import Case, Cpu, Environment, Gpu
from rtxbench.report.sections.table import SECTIONS
from rtxbench.trials.table import TRIALS
from rtxbench.verdicts.claims import TEMPLATE, Claim, load_claims, load_surveys
from rtxbench.verdicts.matching import comparable, lacks
from rtxbench.workloads import WORKLOADS, workload_named


def machine(*gpus: str, capability: str = "8.9") -> Environment:
    cards = tuple(
        Gpu(uuid=f"GPU-{i}", name=name, index=i, compute_capability=capability) for i, name in enumerate(gpus)
    )
    return Environment(
        machine="test", cpu=Cpu(name="cpu", physical_cores=2, logical_cores=2, memory_bytes=2**33), gpus=cards
    )


def test_a_cpu_only_machine_keeps_its_gpu_cases_with_the_reason() -> None:
    """Nothing disappears: every GPU case of the plan is there, skipped, saying that there is no GPU."""
    groups = plan(Request(claims=("tensor-cores",)), machine())
    assert groups
    for group in groups:
        reasons = {case.precision: reason for case, reason in group.skipped if case.placement == "gpu"}
        assert set(reasons) >= {"float32", "tf32", "mixed_float16", "mixed_bfloat16"}
        assert all("no NVIDIA GPU" in reason for reason in reasons.values())


def test_a_cpu_is_asked_only_for_the_precision_its_claim_names() -> None:
    """The CPU's finding measures bfloat16 with each compiler against its own baseline; TF32 and float16 are not run."""
    groups = plan(Request(claims=("cpu-matrix-unit",), compilers=("none", "xla")), machine())
    for group in groups:
        assert [case.precision for case in group.cases] == ["float32", "mixed_bfloat16"]
        assert len({case.compiler for case in group.cases}) == 1
    assert {group.baseline.compiler for group in groups if group.baseline} == {"none", "xla"}


def test_both_arms_of_a_precision_pair_have_one_batch_size() -> None:
    """Precisions are compared at the same batch, on every machine and profile."""
    for environment in (machine(), machine("RTX 4090")):
        for profile in ("quick", "standard", "full"):
            for group in plan(Request(claims=("tensor-cores", "cpu-matrix-unit"), profile=profile), environment):
                assert len({case.batch_size for case in group.cases}) <= 1


def test_an_old_card_is_spared_what_it_cannot_do() -> None:
    """A Turing card runs float16 but neither TF32 nor bfloat16, with the reason."""
    (group,) = plan(Request(claims=("tensor-cores",), workloads=("mlp",)), machine("RTX 2080", capability="7.5"))
    assert [case.precision for case in group.cases] == ["float32", "mixed_float16"]
    assert all("needs" in reason or "need compute capability" in reason for _, reason in group.skipped)


def test_two_gpus_give_strong_and_weak_scaling() -> None:
    """Data parallelism is compared at the same global batch and at N times it."""
    (group,) = plan(Request(claims=("data-parallel",)), machine("RTX 4090", "RTX 4090"))
    assert group.baseline is not None
    assert [case.batch_size for case in group.candidates] == [group.baseline.batch_size, 2 * group.baseline.batch_size]
    assert {case.device_count for case in group.candidates} == {2}


def test_one_gpu_cannot_speak_of_several() -> None:
    """The plan of data parallelism on one GPU measures nothing and says why."""
    (group,) = plan(Request(claims=("data-parallel",)), machine("RTX 4090"))
    assert group.cases == ()
    assert "needs 2 NVIDIA GPUs" in group.skipped[0][1]


def test_logical_devices_are_marked_as_a_check() -> None:
    """MirroredStrategy over logical CPU devices has a placement of its own, which no scaling claim accepts."""
    groups = plan(Request(claims=("data-parallel",), logical_devices=2), machine())
    assert groups[-1].name.startswith("data-parallel-check/")
    assert groups[-1].candidates[0].placement == "mirrored-logical"


@pytest.mark.parametrize(
    ("request_", "message"),
    [
        (Request(workloads=("resnet5",)), "resnet50"),
        (Request(claims=("dlss",)), "nothing is measured"),
        (Request(profile="fast"), "unknown profile"),
    ],
)
def test_a_wrong_name_is_answered_with_the_right_ones(request_: Request, message: str) -> None:
    """Unknown workloads, claims and profiles are usage errors that offer what exists."""
    with pytest.raises(UsageError, match=message):
        plan(request_, machine())


def test_a_scaled_down_workload_names_what_it_stands_for() -> None:
    """What runs in place of a bigger model says so, and the bigger one exists."""
    for workload in WORKLOADS.values():
        if workload.scaled_down_from:
            assert workload.scaled_down_from in WORKLOADS
    assert workload_named("resnet50-64px").scaled_down_from == "resnet50"


def test_vision_compares_precisions_on_the_gpu_itself() -> None:
    """Mixed precision is held against float32 on the same GPU, not only against the CPU."""
    groups = plan(Request(claims=("vision",)), machine("RTX 4090"))
    on_gpu = [group for group in groups if group.baseline is not None and group.baseline.placement == "gpu"]
    assert on_gpu
    for group in on_gpu:
        assert {case.precision for case in group.candidates} >= {"mixed_float16", "mixed_bfloat16"}


def test_architecture_changes_the_model_and_nothing_else() -> None:
    """The cheaper model trains at the same batch, precision and place."""
    for group in plan(Request(claims=("architecture",)), machine()):
        (candidate,) = group.candidates
        assert group.baseline is not None
        assert candidate.workload != group.baseline.workload
        assert replace(candidate, workload=group.baseline.workload) == group.baseline


def test_the_claims_that_name_a_trial_have_one() -> None:
    """The rows of claims.toml and the trials themselves agree."""
    assert set(trials_of(Request())) == set(TRIALS)
    assert plan(Request(claims=("deployment",)), machine()) == []


MACHINES = {
    "cpu": machine(),
    "one GPU": machine("NVIDIA GeForce RTX 4090"),
    "two GPUs": machine("NVIDIA GeForce RTX 4090", "NVIDIA GeForce RTX 4090"),
}
EVERY = [
    pytest.param(profile, where, engine, id=f"{profile}-{where}-{engine}")
    for profile in PROFILE_NAMES
    for where in MACHINES
    for engine in (*COMPILERS, ALL_ENGINES)
]


@pytest.mark.parametrize(("profile", "where", "engine"), EVERY)
def test_nothing_is_measured_that_cannot_speak(profile: str, where: str, engine: str) -> None:
    """Every planned candidate is accepted by a comparison of its own claim on this machine, or is a survey's."""
    claims = {claim.id: claim for claim in load_claims()}
    surveys = {survey.id for survey in load_surveys()}
    for group in plan(Request(profile=profile, engine=engine), MACHINES[where]):
        if group.claim in surveys or group.baseline is None:
            continue
        claim = claims[group.claim]
        assert lacks(MACHINES[where], claim) is None
        assert group.candidates
        for candidate in group.candidates:
            assert speaks(group.baseline, candidate, claim), f"{group.name}: {candidate.label}"


@pytest.mark.parametrize(("profile", "where", "engine"), EVERY)
def test_nothing_is_claimed_that_is_not_measured(profile: str, where: str, engine: str) -> None:
    """Each required part about throughput has a planned pair, or a case set aside with its reason; the rest a trial."""
    request = Request(profile=profile, engine=engine)
    groups, trials = plan(request, MACHINES[where]), trials_of(request)
    for claim in load_claims():
        own = [group for group in groups if group.claim == claim.id]
        lacking = claim.kind == "finding" and MACHINES[where].gpus  # about a machine that has only a CPU
        for part in (part for part in claim.comparisons if part.required and not lacking):
            if part.metric != "throughput":
                assert claim.id in trials
            elif profile != "smoke":  # which tries the parts of the program, not of every claim
                pairs = [(group.baseline, case) for group in own if group.baseline for case in group.candidates]
                assert any(comparable(*pair, part) for pair in pairs) or any(g.skipped for g in own), part.name
        assert not claim.limits or claim.id in trials


def speaks(baseline: Case, candidate: Case, claim: Claim) -> bool:
    return any(comparable(baseline, candidate, part) for part in claim.comparisons)


def test_every_survey_is_shown_by_a_section_of_the_report() -> None:
    """What no claim judges is measured for a section that exists."""
    modules = {section.__module__.rpartition(".")[2] for section in SECTIONS}
    assert {survey.section for survey in load_surveys()} <= modules


def test_a_new_model_is_judged_by_its_family(monkeypatch: pytest.MonkeyPatch) -> None:
    """A vision workload that nobody listed is planned by the claim on vision in the full profile, and may speak."""
    monkeypatch.setitem(WORKLOADS, "efficientnetv2", replace_row(WORKLOADS["resnet50"], name="efficientnetv2"))
    groups = plan(Request(profile="full", claims=("vision",)), MACHINES["one GPU"])
    assert {group.name for group in groups} >= {"vision/efficientnetv2", "vision/efficientnetv2-precisions"}


def test_a_workload_of_which_the_claim_does_not_speak_is_not_measured_for_it() -> None:
    """A language model is no evidence on vision, so asking for it plans nothing."""
    assert plan(Request(claims=("vision",), workloads=("bert-base",)), MACHINES["one GPU"]) == []


def test_a_claim_of_ones_own_is_planned_from_its_row(tmp_path: Path) -> None:
    """The template as printed is measured by `rtxbench run --file`: one pair at one batch."""
    path = tmp_path / "mine.toml"
    path.write_text(TEMPLATE.replace("RTX 4070*", "RTX 4090*"), encoding="utf-8")
    (group,) = plan(Request(claims_file=path), MACHINES["one GPU"])
    assert [case.precision for case in group.cases] == ["float32", "mixed_float16"]


def test_every_engine_is_planned_with_the_compiler_its_users_get() -> None:
    """JAX compiles, the others do not unless asked; a longer profile adds what can be asked for."""
    card = machine("RTX 4090")
    quick = {e: plan(Request(engine=e, claims=("tensor-cores",)), card)[0].baseline for e in COMPILERS}
    assert {engine: case.compiler for engine, case in quick.items()} == {
        "tensorflow": "none",
        "jax": "xla",
        "torch": "none",
    }
    groups = plan(Request(engine="torch", claims=("tensor-cores",), profile="standard"), card)
    assert {case.compiler for group in groups for case in group.cases} == {"none", "inductor"}


def test_several_gpus_are_used_in_each_engines_own_way() -> None:
    """MirroredStrategy, DataParallel and DDP are the same claim on three engines."""
    two = machine("RTX 4090", "RTX 4090")
    ways = {e: plan(Request(engine=e, claims=("data-parallel",)), two)[0].candidates[0].placement for e in COMPILERS}
    assert ways == {"tensorflow": "mirrored", "jax": "data-parallel", "torch": "ddp"}


def test_engines_are_compared_at_one_batch_and_precision(monkeypatch: pytest.MonkeyPatch) -> None:
    """Each group of the comparison holds one workload, one batch, one precision, and every engine that is there."""
    monkeypatch.setattr("rtxbench.planning.designs.why_engine_missing", lambda engine: None)
    groups = plan(Request(claims=("engines",), profile="standard"), machine())
    for group in (group for group in groups if group.name.startswith("engines/")):
        assert len({(case.workload, case.batch_size, case.precision, case.placement) for case in group.cases}) == 1
        assert {case.engine for case in group.cases} == {"tensorflow", "jax", "torch"}


def test_fused_normalisation_is_measured_beside_the_plain_form(monkeypatch: pytest.MonkeyPatch) -> None:
    """Both forms, in float32 and bfloat16, in one group: what normalisation costs and what it hides."""
    monkeypatch.setattr("rtxbench.planning.designs.why_engine_missing", lambda engine: None)
    groups = plan(Request(claims=("engines",), workloads=("resnet50-64px",)), machine())
    (group,) = (group for group in groups if group.name.startswith("fused-norm/"))
    assert [(case.precision, case.variant) for case in group.cases] == [
        ("float32", ""),
        ("float32", "fused-norm"),
        ("mixed_bfloat16", ""),
        ("mixed_bfloat16", "fused-norm"),
    ]
    quick = plan(Request(claims=("engines",)), machine())
    assert not any(group.name.startswith("fused-norm/") for group in quick)


def test_pytorch_is_planned_natively_and_keras_on_it_beside_it(monkeypatch: pytest.MonkeyPatch) -> None:
    """Each engine plain and compiled; on PyTorch the native form, and Keras's layers as an arm that is named so."""
    monkeypatch.setattr("rtxbench.planning.designs.why_engine_missing", lambda engine: None)
    (group,) = plan(Request(claims=("engines",), workloads=("mlp",)), machine())
    assert [(case.engine, case.compiler, case.variant) for case in group.cases] == [
        ("tensorflow", "none", ""),
        ("tensorflow", "xla", ""),
        ("jax", "xla", ""),
        ("torch", "none", "native"),
        ("torch", "inductor", "native"),
        ("torch", "none", ""),
    ]
    pairs = plan(Request(claims=("keras-on-torch",), workloads=("mlp",)), machine())
    assert [[case.variant for case in pair.cases] for pair in pairs] == [["", "native"]] * 2
    assert [pair.cases[0].precision for pair in pairs] == ["float32", "mixed_bfloat16"]


@pytest.mark.parametrize(("form", "variant"), [("native", "native"), ("keras", "")])
def test_the_form_asked_for_is_what_every_claim_measures_on_pytorch(form: str, variant: str) -> None:
    """`--engine torch` is native, `--form keras` is Keras's layers; a workload without native form is Keras's."""
    groups = plan(Request(engine="torch", form=form, claims=("cpu-matrix-unit",), profile="full"), machine())
    found = {case.workload: case.variant for group in groups for case in group.cases}
    assert found["resnet50"] == found["bert-base"] == variant
    assert found["mobilenetv3"] == found["llama-mini-lora-int8"] == ""


def test_an_engine_that_is_nowhere_stays_in_the_plan_with_the_cure(monkeypatch: pytest.MonkeyPatch) -> None:
    """With one engine there is nothing to compare: nothing is measured, and the record says what to install."""
    why = {"tensorflow": None, "jax": "jax is not installed here", "torch": "torch is not installed here"}
    monkeypatch.setattr("rtxbench.planning.designs.why_engine_missing", why.__getitem__)
    for group in plan(Request(claims=("engines",), workloads=("mlp",)), machine()):
        assert group.cases == ()
        assert {reason for _, reason in group.skipped} == {"jax is not installed here", "torch is not installed here"}


def test_all_engines_give_every_group_once_per_engine_under_its_own_name() -> None:
    """`--engine all`: names are unique, and the comparison of engines is not repeated."""
    names = [group.name for group in plan(Request(engine="all"), machine())]
    assert len(names) == len(set(names))
    assert {"tensor-cores/mlp", "tensor-cores/mlp@jax", "tensor-cores/mlp@torch"} <= set(names)
    assert not any(name.startswith("engines/") and "@" in name for name in names)


def test_an_unknown_engine_is_refused() -> None:
    """A misspelt engine never measures another one."""
    with pytest.raises(UsageError, match="tensorflow, jax, torch, all"):
        plan(Request(engine="pytorch"), machine())


def test_the_lora_decoder_is_scaled_to_the_devices_memory() -> None:
    """Two arms fit: 80 GiB compare the 3B decoder, 32 the 1B one, less the small one that stands for it."""

    def lora_of(environment: Environment) -> set[str]:
        groups = plan(Request(claims=("tensor-cores",), profile="standard"), environment)
        return {group.workload for group in groups if "lora" in group.workload}

    def card(memory_gib: int) -> Environment:
        gpu = Gpu(uuid="GPU-0", name="RTX", index=0, compute_capability="8.9", memory_bytes=memory_gib * 2**30)
        return msgspec.structs.replace(machine(), gpus=(gpu,))

    assert lora_of(card(80)) == {"llama-3b-lora"}
    assert lora_of(card(32)) == {"llama-1b-lora"}
    assert lora_of(card(12)) == {"llama-mini-lora"}
    finding = plan(Request(claims=("cpu-matrix-unit",), profile="standard"), machine())
    assert {group.workload for group in finding if "lora" in group.workload} == {"llama-mini-lora"}
    assert workload_named("llama-mini-lora").scaled_down_from == "llama-1b-lora"
