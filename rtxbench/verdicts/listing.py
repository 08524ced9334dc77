"""The claims as text or JSON for ``rtxbench claims``, with their verdicts where there are results."""

from collections.abc import Mapping, Sequence
from textwrap import fill

import msgspec

from rtxbench.records import Verdict
from rtxbench.verdicts.claims import Claim
from rtxbench.verdicts.external_evidence import Statement

__all__ = ["claims_json", "claims_text"]

_WIDTH = 100


def claims_json(
    claims: Sequence[Claim],
    verdicts: Sequence[Verdict] = (),
    elsewhere: Mapping[str, Sequence[Statement]] | None = None,
) -> str:
    """Write every field of every claim, the verdicts, and by claim what stands beside them, as one JSON object."""
    document = {"claims": list(claims), "verdicts": list(verdicts), "elsewhere": dict(elsewhere or {})}
    return msgspec.json.format(msgspec.json.encode(document), indent=2).decode()


def claims_text(
    claims: Sequence[Claim],
    verdicts: Sequence[Verdict] = (),
    *,
    detailed: bool = False,
    elsewhere: Mapping[str, Sequence[Statement]] | None = None,
) -> str:
    """Write one block per claim: id, title, verdict per machine; ``detailed`` adds what is measured and how.

    ``elsewhere`` (by claim id) comes last in a detailed block, each statement with its kind.
    """
    blocks = []
    for claim in claims:
        own = [verdict for verdict in verdicts if verdict.claim == claim.id]
        lines = [f"{claim.id}: {claim.title}"]
        lines += _details(claim) if detailed else []
        lines += [line for verdict in own if detailed or not verdict.subject for line in _verdict_lines(verdict)]
        lines += _elsewhere_lines((elsewhere or {}).get(claim.id, ())) if detailed else []
        blocks.append("\n".join(lines))
    return "\n\n".join(blocks) if detailed or verdicts else "\n".join(blocks)


def _details(claim: Claim) -> list[str]:
    rows = [("claimed", claim.says), ("measured", claim.measured)]
    rows += [("not testable", claim.not_testable)] if claim.not_testable else []
    rows += [("needs", claim.where)] if claim.where else []
    rows += [("reproduce", claim.reproduce)] if claim.reproduce else []
    rows += [("source", source) for source in claim.sources]
    return [_wrapped(f"{name}: {text}", "  ") for name, text in rows]


def _elsewhere_lines(statements: Sequence[Statement]) -> list[str]:
    head = ["  known elsewhere, no part of any verdict:"] if statements else []
    return [*head, *(_wrapped(f"{statement.origin}: {statement.text}", "    ") for statement in statements)]


def _verdict_lines(verdict: Verdict) -> list[str]:
    where = verdict.subject or "as a whole"
    lines = [_wrapped(f"{verdict.state} ({where}, {verdict.machine}): {verdict.explanation}", "  ")]
    lines += [_wrapped(f"because: {verdict.cause}", "    ")] if verdict.cause else []
    lines += [_wrapped(f"next: {verdict.next_step}", "    ")] if verdict.next_step else []
    lines += [_wrapped(f"beside it: {note.text}", "    ") for note in verdict.notes]
    return lines


def _wrapped(text: str, indent: str) -> str:
    return fill(" ".join(text.split()), _WIDTH, initial_indent=indent, subsequent_indent=indent + "  ")
