"""Place labels beside points so that they hide neither each other nor the points, where there is room."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Final, NamedTuple

__all__ = ["Box", "place_labels"]


class Box(NamedTuple):
    """A rectangle, in any unit of length; y grows downwards, as on a sheet."""

    left: float
    top: float
    right: float
    bottom: float

    def overlap(self, other: Box) -> float:
        """Area that both cover."""
        width = min(self.right, other.right) - max(self.left, other.left)
        height = min(self.bottom, other.bottom) - max(self.top, other.top)
        return max(width, 0.0) * max(height, 0.0)

    def beyond(self, area: Box) -> float:
        """Area that lies outside of another."""
        return (self.right - self.left) * (self.bottom - self.top) - self.overlap(area)


_RINGS: Final = (1.0, 2.2, 3.6, 5.2, 7.0)
"""Distances to try, in point radii and label heights; the nearest comes first."""
_SIDES: Final = ((1, 0), (-1, 0), (0, -1), (0, 1), (1, -1), (1, 1), (-1, -1), (-1, 1))


def place_labels(
    points: Sequence[tuple[float, float]],
    sizes: Sequence[tuple[float, float]],
    radius: float,
    area: Box,
    obstacles: Sequence[Box] = (),
) -> list[Box]:
    """Choose a box for each label, the nearest free one; where none is free, the one that covers least.

    Args:
        points: (x, y) each.
        sizes: (width, height) of each label.
        radius: of a point.
        area: what all labels must stay within.
        obstacles: other text.

    Returns:
        A box per label, in the order of the points.
    """
    taken = [*obstacles, *(Box(x - radius, y - radius, x + radius, y + radius) for x, y in points)]
    placed: dict[int, Box] = {}
    for number in sorted(range(len(points)), key=lambda n: (points[n][1], points[n][0])):
        choices = _choices(points[number], sizes[number], radius)
        costs: list[float] = []
        for box in choices:
            costs.append(sum(box.overlap(other) for other in taken) + 10 * box.beyond(area))
            if costs[-1] == 0:
                break
        best = min(range(len(costs)), key=costs.__getitem__)
        placed[number] = choices[best]
        taken.append(choices[best])
    return [placed[number] for number in range(len(points))]


def _choices(point: tuple[float, float], size: tuple[float, float], radius: float) -> list[Box]:
    (x, y), (width, height) = point, size
    boxes = []
    for ring in _RINGS:
        for across, down in _SIDES:
            reach = radius + 0.25 * height
            middle_x = x + across * (ring * reach + width / 2)
            middle_y = y + down * (ring * reach + height / 2)
            boxes.append(Box(middle_x - width / 2, middle_y - height / 2, middle_x + width / 2, middle_y + height / 2))
    return boxes
