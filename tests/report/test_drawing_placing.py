"""Labels beside points: apart where there is room, inside the drawing always."""

from itertools import combinations

import numpy as np

from rtxbench.report.drawing.placing import Box, place_labels

AREA = Box(0.0, 0.0, 600.0, 400.0)


def test_labels_of_a_crowd_do_not_overlap() -> None:
    """Twenty points within a third of the drawing: no label covers another, a point or foreign text."""
    rng = np.random.default_rng(3)
    points = [(float(x), float(y)) for x, y in zip(rng.uniform(200, 400, 20), rng.uniform(130, 270, 20), strict=True)]
    title = Box(0.0, 0.0, 200.0, 20.0)
    boxes = place_labels(points, [(70.0, 10.0)] * 20, 3.0, AREA, [title])
    assert sum(one.overlap(other) for one, other in combinations(boxes, 2)) == 0
    assert all(box.overlap(title) == 0 and box.beyond(AREA) == 0 for box in boxes)
    assert all(box.overlap(Box(x - 3, y - 3, x + 3, y + 3)) == 0 for box in boxes for x, y in points)


def test_a_label_near_the_edge_turns_inwards() -> None:
    """A point at the right edge has its label on the left; without room anywhere there still is one."""
    (box,) = place_labels([(595.0, 200.0)], [(80.0, 10.0)], 3.0, AREA)
    assert box.right < 595
    assert len(place_labels([(5.0, 5.0)] * 3, [(900.0, 500.0)] * 3, 3.0, AREA)) == 3
