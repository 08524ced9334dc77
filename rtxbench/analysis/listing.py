"""The claims as text or JSON for ``rtxbench claims``, with their verdicts where there are results."""

from collections.abc import Sequence
from textwrap import fill

import msgspec

from rtxbench.analysis.claims import Claim
from rtxbench.records import Verdict

__all__ = ["claims_json", "claims_text"]

_WIDTH = 100


def claims_json(claims: Sequence[Claim], verdicts: Sequence[Verdict] = ()) -> str:
    """Every field of every claim, and the verdicts, as one JSON object."""
    document = {"claims": list(claims), "verdicts": list(verdicts)}
    return msgspec.json.format(msgspec.json.encode(document), indent=2).decode()


def claims_text(claims: Sequence[Claim], verdicts: Sequence[Verdict] = (), *, detailed: bool = False) -> str:
    """One block per claim: id, title, verdict per machine; ``detailed`` adds what is measured and how."""
    blocks = []
    for claim in claims:
        own = [verdict for verdict in verdicts if verdict.claim == claim.id]
        lines = [f"{claim.id}: {claim.title}"]
        lines += _details(claim) if detailed else []
        lines += [line for verdict in own if detailed or not verdict.subject for line in _verdict_lines(verdict)]
        blocks.append("\n".join(lines))
    return "\n\n".join(blocks) if detailed or verdicts else "\n".join(blocks)


def _details(claim: Claim) -> list[str]:
    rows = [("claimed", claim.says), ("measured", claim.measured)]
    rows += [("not testable", claim.not_testable)] if claim.not_testable else []
    rows += [("needs", claim.where)] if claim.where else []
    rows += [("reproduce", claim.reproduce)] if claim.reproduce else []
    rows += [("source", source) for source in claim.sources]
    return [_wrapped(f"{name}: {text}", "  ") for name, text in rows]


def _verdict_lines(verdict: Verdict) -> list[str]:
    where = verdict.subject or "as a whole"
    lines = [_wrapped(f"{verdict.state} ({where}, {verdict.machine}): {verdict.explanation}", "  ")]
    lines += [_wrapped(f"because: {verdict.cause}", "    ")] if verdict.cause else []
    lines += [_wrapped(f"next: {verdict.next_step}", "    ")] if verdict.next_step else []
    return lines


def _wrapped(text: str, indent: str) -> str:
    return fill(" ".join(text.split()), _WIDTH, initial_indent=indent, subsequent_indent=indent + "  ")
