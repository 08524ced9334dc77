"""A made-up fleet of a few cards, exported and built."""

from pathlib import Path

from rtxbench.results.tables import export
from rtxbench.robustness.load import RECORDS_PER_RUN, made_up_cards, write_made_up
from rtxbench.site.build import Built, build_site

__all__ = ["CARDS", "MACHINES", "built", "write_fleet"]

CARDS = tuple(card for card in made_up_cards() if card.name in ("GeForce RTX 3090", "GeForce RTX 4090", "RTX A6000"))
MACHINES = 12


def write_fleet(folder: Path) -> Path:
    """Write one run of each of 12 machines, four of each of three cards."""
    write_made_up(folder, MACHINES * RECORDS_PER_RUN, MACHINES, CARDS)
    return folder


def built(results: Path, out: Path) -> Built:
    """Export what changed and build the site."""
    tables = out.with_name(f"{out.name}.tables")
    export([results], tables)
    return build_site(tables, out)
