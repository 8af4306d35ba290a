"""Places rectangles side by side, so that many small ones do not make one long column. Pure."""

from __future__ import annotations

from collections.abc import Sequence
from math import ceil, sqrt

Size = tuple[float, float]  # width, height
Place = tuple[float, float]  # left, top

RATIO = 1.5  # of width to height that is aimed at: pages are wide, and are scrolled down


def packed(sizes: Sequence[Size], gap: float) -> tuple[list[Place], Size]:
    """Return a place for each rectangle, in their order, and the size of it all.

    The tallest are placed first, each as high up as it goes, and there as far left.
    """
    if not sizes:
        return [], (0, 0)
    area = sum((width + gap) * (height + gap) for width, height in sizes)
    room = max(*(width for width, _ in sizes), sqrt(area * RATIO)) + gap
    order = sorted(range(len(sizes)), key=lambda i: (-sizes[i][1], i))
    places: list[Place] = [(0, 0)] * len(sizes)
    skyline: list[tuple[float, float, float]] = [(0, room, 0)]  # from, to, how far down it reaches
    for index in order:
        width, height = sizes[index][0] + gap, sizes[index][1] + gap
        left, top = _lowest(skyline, width, room)
        places[index] = (left, top)
        skyline = _raised(skyline, left, left + width, top + height)
    whole = [(x + w, y + h) for (x, y), (w, h) in zip(places, sizes, strict=True)]
    return places, (max(x for x, _ in whole), max(y for _, y in whole))


def grid(count: int, cell: Size, gap: float) -> tuple[list[Place], Size]:
    """Return places for so many equal rectangles in rows, and the size of it all."""
    if not count:
        return [], (0, 0)
    width, height = cell[0] + gap, cell[1] + gap
    columns = min(count, max(1, ceil(sqrt(count * RATIO * height / width))))
    places = [(i % columns * width, i // columns * height) for i in range(count)]
    return places, (columns * width - gap, ceil(count / columns) * height - gap)


def _lowest(skyline: Sequence[tuple[float, float, float]], width: float, room: float) -> Place:
    """Return the highest place for something so wide, the leftmost of equal ones."""
    best: Place | None = None
    for start, _, _ in skyline:
        if start + width > room + 1e-6 and start > 0:
            break
        reach = max(
            depth for left, right, depth in skyline if left < start + width and right > start
        )
        if best is None or reach < best[1]:
            best = (start, reach)
    return best or (0, 0)


def _raised(
    skyline: Sequence[tuple[float, float, float]], left: float, right: float, depth: float
) -> list[tuple[float, float, float]]:
    """Return the skyline with all between `left` and `right` reaching down to `depth`."""
    kept = []
    for start, end, reach in skyline:
        if start < left:
            kept.append((start, min(end, left), reach))
        if end > right:
            kept.append((max(start, right), end, reach))
    return sorted([*kept, (left, right, depth)])
