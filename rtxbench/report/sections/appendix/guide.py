"""The reading guide at the end of every report."""

from typing import Final

from rtxbench.precision import PRECISIONS
from rtxbench.report.parts import Context, Definitions, Paragraph, Section, Subheading
from rtxbench.wording import name_of

__all__ = ["guide_section"]

_STATES: Final = (
    (
        "supported",
        "The whole interval meets what the claim needs, less a margin of 5 % that keeps a verdict from turning on "
        "noise. It holds on this machine; that says nothing of others.",
    ),
    ("refuted", "The whole interval misses what the claim needs, margin included. It may still hold elsewhere."),
    (
        "mixed",
        "Some comparisons meet what the claim needs and others miss it: it depends on the model, and the verdict says "
        "on which, with the range.",
    ),
    (
        "inconclusive",
        "The interval straddles the threshold, is wider than ±3 %, rests on fewer than 5 launches, or the machine was "
        "not steady. Not a weak yes: measure longer, or on a quieter machine.",
    ),
    ("not-measured", "This machine cannot measure it, or nobody has. The verdict says what to run, and where."),
    ("not-testable", "Nothing that can be measured would decide it. The reason and its source are given."),
)

_TERMS: Final = (
    ("measured", "Taken on the machine it is shown for, by rtxbench, in the runs listed here."),
    (
        "published",
        "Taken by others, on their machine and software. Hatched in figures, badged in tables, never averaged in.",
    ),
    (
        "predicted",
        "Computed from measured or published figures. Hollow and dashed in figures, badged in tables, with a range.",
    ),
    (
        "interval",
        "95 % confidence interval over process launches (Student's t). Repeating the whole run would give an interval "
        "that holds the true value 19 times in 20.",
    ),
    (
        "launch",
        "One fresh worker process. Steps within a process resemble each other more than processes do, so launches are "
        "what is counted.",
    ),
    ("throughput", "Training examples per second: all examples of the timed blocks over all their time."),
    ("ratio", "Two cases measured in turn in the same launches. Above 1× the first named is better."),
    ("needed", "The ratio a claim asks for, before the margin."),
    (
        "smallest effect",
        "The smallest difference that this run would have found with 95 % power. A difference below it could not have "
        "been seen.",
    ),
    *((name_of(row.name), row.term) for row in PRECISIONS.values()),
    ("GPU utilisation", "Share of time in which any kernel ran. It says nothing of how much of the GPU was busy."),
    ("power", "The board's own sensor, good to about ±8 %: smaller differences in energy are no evidence."),
    ("caution", "A fact about the machine during the measurement that weakens (or voids) a figure."),
)


def guide_section(_context: Context) -> Section:
    """Explain how to read a verdict, and what each term means."""
    return Section(
        id="guide",
        title="How to read this report",
        blocks=(
            Paragraph(
                "A verdict is about one claim on one machine. It compares the interval of a measured ratio with what "
                "the claim needs, and is given only when the machine was steady, both sides ran and enough launches "
                "agree."
            ),
            Subheading("States of a verdict"),
            Definitions(_STATES),
            Subheading("Terms"),
            Definitions(_TERMS),
        ),
    )
