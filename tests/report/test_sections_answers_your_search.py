"""What the report says of a search for the fastest setting, from records alone."""

from msgspec.structs import replace

from rtxbench.own.extras import own_observation
from rtxbench.records import Case, CaseRecord, Observation, RatioRecord
from rtxbench.report.sections.answers.your_search import search_sentences, setting_words
from tests.report.test_sections_appendix_engines import measured, ratio

PLAIN = Case(workload="model:train.build@1a2b3c4d", batch_size=16, engine="torch")
WINNER = replace(PLAIN, precision="mixed_bfloat16", compiler="inductor", batch_size=48)
CHECKPOINTED = replace(WINNER, variant="checkpointing")
LABELS = {"launches": "30", "combinations": "71", "exhaustive_launches": "108"}


def of_search(winner: Case | None) -> Observation:
    values, reason = ((0.8,), None) if winner else ((), "nothing that trains to the same loss was faster")
    case = winner or PLAIN
    return own_observation("run-1", "search_log_ratio", values, case, LABELS, replicate="search", reason=reason)


def confirmed(case: Case, value: float) -> RatioRecord:
    return replace(ratio(PLAIN, case, value), group="your-model/train.build-search")


def with_peak(case: Case, peak_bytes: int) -> CaseRecord:
    record = measured(case, 10.0)
    assert record.measurement is not None
    return replace(record, measurement=replace(record.measurement, peak_memory_bytes=peak_bytes))


def test_the_winner_its_gain_and_the_price_of_memory_are_sentences() -> None:
    """The gain is that of fresh launches with their interval, and what saves memory is told with its cost."""
    cases = [with_peak(WINNER, 9_000_000_000), with_peak(CHECKPOINTED, 3_900_000_000)]
    ratios = [confirmed(WINNER, 2.3), confirmed(CHECKPOINTED, 2.3 * 0.82)]
    first, second = search_sentences(cases, ratios, [of_search(WINNER)])
    assert first.startswith("Train in bfloat16 with torch.compile at batch 48: 2.30× [2.2")
    assert "of what you run now. A larger batch is another training" in first
    assert "(71 combinations raced in 30 launches; trying each as often takes 108.)" in first
    assert second.startswith("Gradient checkpointing would free ")
    assert second.endswith("and cost 18 % of the speed.")


def test_a_gain_that_noise_explains_is_no_advice() -> None:
    """A winner whose fresh launches do not confirm it is named as that; without any, no gain is stated."""
    (said,) = search_sentences([], [confirmed(WINNER, 1.0)], [of_search(WINNER)])
    assert "show no gain beyond noise" in said
    assert "keep what you run" in said
    (said,) = search_sentences([], [confirmed(WINNER, 0.6)], [of_search(WINNER)])
    assert "its fresh launches are slower (0.60×" in said
    (said,) = search_sentences([], [], [of_search(WINNER)])
    assert "no fresh launch has confirmed" in said


def test_what_was_left_out_stands_with_its_reason() -> None:
    """Settings that share a reason share a sentence."""
    reason = "the model has no convolution."
    left = [
        own_observation(
            "run-1", "search_rejected", (), replace(PLAIN, variant=name), {}, replicate="search", reason=reason
        )
        for name in ("channels-last", "cudnn-benchmark")
    ]
    first, second = search_sentences([], [], [of_search(None), *left])
    assert first.startswith("Nothing that trains to the same loss was faster.")
    assert second.startswith("Left out: float32 with channels-last memory at batch 16; float32 with cuDNN")
    assert second.endswith(": the model has no convolution.")
    assert list(search_sentences([], [], left[:0])) == []


def test_a_setting_reads_as_an_instruction() -> None:
    """Compiler and switches are listed as a person would."""
    case = replace(WINNER, variant="channels-last+fused-optimizer")
    said = "in bfloat16 with torch.compile, channels-last memory and a fused optimizer at batch 48"
    assert setting_words(case) == said
