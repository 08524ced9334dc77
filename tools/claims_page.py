"""Write the table of claims in ``docs/claims.md`` from ``bench/claims.toml``: ``python -m tools.claims_page``."""

from pathlib import Path
from typing import Final

from rtxbench.verdicts.claims import Claim, load_claims, load_surveys

__all__ = ["page_with_table"]

PAGE: Final = Path(__file__).resolve().parents[1] / "docs" / "claims.md"
_BEGIN: Final = "<!-- claims: written by `python -m tools.claims_page`; do not edit -->\n"
_END: Final = "<!-- end of claims -->\n"


def page_with_table(text: str) -> str:
    """Give the page with its table replaced by one of the claims as they stand."""
    before, _, rest = text.partition(_BEGIN)
    _, _, after = rest.partition(_END)
    rows = [_claim_row(claim) for claim in load_claims()]
    rows += [
        f"| `{survey.id}` (survey) | {survey.title} | judged by no claim; the report shows it | "
        f"`pytest bench/bench_claims.py --benchmark-only --claim {survey.id}` |"
        for survey in load_surveys()
    ]
    head = ["", "| id | in short | parts that are judged | run |", "|---|---|---|---|"]
    return before + _BEGIN + "\n".join([*head, *rows, ""]) + "\n" + _END + after


def _claim_row(claim: Claim) -> str:
    name = f"`{claim.id}`" + (f" ({claim.kind})" if claim.kind != "claim" else "")
    parts = [part.name + ("" if part.required else " (shown beside)") for part in (*claim.comparisons, *claim.limits)]
    run = f"`{claim.reproduce}`" if claim.reproduce else "not testable"
    return f"| {name} | {claim.title} | {'; '.join(parts) or 'none'} | {run} |"


def main() -> None:
    """Rewrite the page."""
    PAGE.write_text(page_with_table(PAGE.read_text(encoding="utf-8")), encoding="utf-8")


if __name__ == "__main__":
    main()
