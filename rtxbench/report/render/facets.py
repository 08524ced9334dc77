"""The page's filter without a script: radio chips whose state a style rule reads by ``:has()``.

Every value of a facet (a model, a precision, an engine) gets a number; a row carries the numbers of its values, and
one rule per chip hides the rows that lack its number. A browser without ``:has()`` shows every row.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import TYPE_CHECKING, Final

from rtxbench.report.parts import Intervals, View

if TYPE_CHECKING:
    from markupsafe import Markup

__all__ = ["Facets", "view_style"]

_NAMES: Final = ("Model", "Precision", "Engine")
_MOST_CHIPS: Final = 14
"""More values than this are no choice at a glance."""


class Facets:
    """The facets of every row on the page, numbered in the order they are met."""

    def __init__(self, views: Iterable[View]) -> None:
        blocks = [block for view in views for section in view.sections for block in section.blocks]
        rows = [row for block in blocks if isinstance(block, Intervals) for group in block.groups for row in group.rows]
        self._values: list[list[str]] = [
            list(dict.fromkeys(row.facets[place] for row in rows if len(row.facets) > place))
            for place in range(len(_NAMES))
        ]

    def numbers(self, facets: Sequence[str]) -> str:
        """Write the numbers of one row's values, space-separated: ``f0-3 f1-0 f2-0``."""
        return " ".join(f"f{place}-{self._values[place].index(value)}" for place, value in enumerate(facets))

    def chips(self) -> Markup:
        """Write one row of chips per facet that has a choice; nothing where there is none."""
        from markupsafe import Markup

        sets = []
        for place, values in self._shown():
            name = Markup("<legend>{}</legend>").format(_NAMES[place])
            every = _chip(place, "all", "all", checked=True)
            chips = Markup().join(_chip(place, str(number), value) for number, value in enumerate(values))
            sets.append(Markup("<fieldset>{}{}{}</fieldset>").format(name, every, chips))
        return (
            Markup('<div class="chips" role="group" aria-label="Show only">{}</div>').format(Markup().join(sets))
            if sets
            else Markup()
        )

    def style(self) -> Markup:
        """Write one rule per chip."""
        from markupsafe import Markup

        rules = [
            f"body:has(#f{place}-{number}:checked) tr[data-facets]"
            f':not([data-facets~="f{place}-{number}"]) {{ display: none; }}'
            for place, values in self._shown()
            for number in range(len(values))
        ]
        return Markup("\n".join(rules))  # numbers only: nothing of a record is in it

    def _shown(self) -> list[tuple[int, list[str]]]:
        return [(place, values) for place, values in enumerate(self._values) if 1 < len(values) <= _MOST_CHIPS]


def _chip(place: int, number: str, text: str, *, checked: bool = False) -> Markup:
    from markupsafe import Markup

    return Markup('<label><input type="radio" name="f{0}" id="f{0}-{1}"{2}><span>{3}</span></label>').format(
        place, number, Markup(" checked") if checked else "", text
    )


def view_style(views: Sequence[View]) -> Markup:
    """Show one view at a time: the one that is, or holds, the target of the address; else the first.

    A browser without ``:has()`` shows all of them, one below the other.
    """
    from markupsafe import Markup

    first = views[0].id if views else ""
    tabs = ", ".join(f'body:has(#{v.id}:target, #{v.id} :target) header nav a[href="#{v.id}"]' for v in views)
    hidden = ".view:not(:target, :has(:target))"
    return Markup(  # ids of views are literals of the program
        f"@media screen {{ @supports selector(:has(a)) {{\n"
        f"body:has(.view:target, .view :target) {hidden} {{ display: none; }}\n"
        f"body:not(:has(.view:target, .view :target)) .view:not(#{first}) {{ display: none; }}\n"
        f'{tabs}, body:not(:has(.view:target, .view :target)) header nav a[href="#{first}"] '
        "{ background: var(--ink); border-color: var(--ink); color: var(--paper); }\n} }"
    )
