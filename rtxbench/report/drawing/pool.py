"""Figures become SVG, and PNG where asked for, in processes of their own where there are cores for them.

Drawing takes longer than all else a report does, and importing matplotlib takes long too. So the processes start as
soon as there is something to report, import it while the results are judged, and draw the first figures while later
sections are being made. One core draws in the process that asks. Either way the same figure gives the same bytes.
"""

from __future__ import annotations

import io
import os
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import BrokenExecutor, Executor, Future
from contextlib import contextmanager, suppress
from typing import TYPE_CHECKING, Final, NamedTuple

from rtxbench.processes import end_with_parent
from rtxbench.report.drawing.style import theme

if TYPE_CHECKING:
    from matplotlib.figure import Figure as Picture

    from rtxbench.report.parts import Figure

__all__ = ["Drawing", "Drawn", "draw", "drawing_processes"]

_MOST_PROCESSES: Final = 4
"""Beyond these, importing matplotlib once more costs what is gained. One core is left to the rest of the report."""


class Drawn(NamedTuple):
    """One figure in its formats."""

    svg: str
    png: bytes = b""
    """Empty where it was not asked for."""


@contextmanager
def drawing_processes() -> Iterator[Executor | None]:
    """Processes to draw in, which start importing matplotlib at once; ``None`` where there is one core only."""
    import multiprocessing
    from concurrent.futures import ProcessPoolExecutor

    from rtxbench.hardware.environment import usable_cores

    count = min(_MOST_PROCESSES, (usable_cores() or os.cpu_count() or 1) - 1)
    if count < 1:
        yield None
        return
    # A fresh interpreter each: a fork would inherit the locks of numpy's threads.
    # A report that is killed must not leave its draughtsmen waiting for work.
    spawn = multiprocessing.get_context("spawn")
    with ProcessPoolExecutor(count, spawn, initializer=end_with_parent, initargs=(os.getpid(),)) as processes:
        for _ in range(count):
            processes.submit(_import_matplotlib)
        try:
            yield processes
        except BaseException:
            processes.shutdown(wait=False, cancel_futures=True)  # nobody waits for these figures any more
            raise


class Drawing:
    """Figures under way: those handed in are drawn while the caller writes the rest of the report.

    Args:
        processes: where to draw; in this process, at the end, where ``None`` or where the processes were killed. With
            processes, a figure's ``build`` must be a module's function or a partial of one.
        png: whether each figure is drawn as PNG, too, which takes as long again.
    """

    def __init__(self, processes: Executor | None = None, *, png: bool = False) -> None:
        self._processes = processes
        self._png = png
        self._under_way: list[tuple[Figure, Future[Drawn] | None]] = []

    def begin(self, figures: Sequence[Figure]) -> None:
        """Hand in figures.

        Raises:
            ValueError: a name is taken; one drawing would stand under two captions.
        """
        names = [figure.name for figure, _ in self._under_way] + [figure.name for figure in figures]
        if len(set(names)) < len(names):
            raise ValueError(f"two figures share a name: {sorted(n for n in set(names) if names.count(n) > 1)}")
        self._under_way += [(figure, self._submitted(figure)) for figure in figures]

    def finish(self) -> dict[str, Drawn]:
        """Figure name → its drawing, in the order handed in."""
        return {figure.name: self._drawn(figure, future) for figure, future in self._under_way}

    def _submitted(self, figure: Figure) -> Future[Drawn] | None:
        if self._processes is not None:
            with suppress(BrokenExecutor):
                return self._processes.submit(draw, figure.build, png=self._png)
        return None

    def _drawn(self, figure: Figure, future: Future[Drawn] | None) -> Drawn:
        if future is not None:
            with suppress(BrokenExecutor):  # killed, most likely for memory: one after the other needs less
                return future.result()
        return draw(figure.build, png=self._png)


def draw(build: Callable[[], Picture], *, png: bool = False) -> Drawn:
    """Draw a figure as SVG and, if asked for, as PNG; the same input gives the same bytes."""
    with theme():
        drawing = build()
        svg, pixels = io.StringIO(), io.BytesIO()
        drawing.savefig(svg, format="svg", metadata={"Date": None, "Creator": None})
        if png:
            drawing.savefig(pixels, format="png", metadata={"Software": None}, pil_kwargs={"compress_level": 1})
    return Drawn(svg.getvalue(), pixels.getvalue())


def _import_matplotlib() -> None:
    from matplotlib.backends import backend_svg  # noqa: F401 (what `draw` needs)
    from matplotlib.figure import Figure  # noqa: F401
