"""A plot as an SVG, drawn here: lines over a logarithmic axis of counts."""

from __future__ import annotations

import math
from dataclasses import dataclass
from html import escape

WIDTH, HEIGHT = 820, 440
LEFT, RIGHT, TOP, BOTTOM = 50, 250, 44, 44
# Told apart by the eyes of most people, and by their dashes.
COLOURS = ("#1f5fa8", "#c2571a", "#2c7a3f", "#8a3c96", "#a3261f", "#5b5b5b", "#0d7c86", "#7a5c00")
DASHES = ("none", "7 4", "2 3")
ROW = 18


@dataclass
class Line:
    """A name and its points: how many, and how much."""

    name: str
    points: list[tuple[int, float]]


def drawing(lines: list[Line], *, title: str) -> str:
    """Return the SVG of these lines."""
    counts = sorted({count for line in lines for count, _ in line.points}) or [1, 10]
    top = max([2.0, *(math.ceil(2 * y) / 2 for line in lines for _, y in line.points)])
    low, high = math.log10(counts[0]), math.log10(max(counts[-1], counts[0] * 10))

    def x(count: float) -> float:
        return LEFT + (math.log10(count) - low) / (high - low) * (WIDTH - LEFT - RIGHT)

    def y(value: float) -> float:
        return HEIGHT - BOTTOM - value / top * (HEIGHT - TOP - BOTTOM)

    parts = [
        f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {WIDTH} {HEIGHT}" '
        f'font-family="sans-serif" font-size="12" role="img" aria-label="{escape(title)}">',
        f'<rect width="{WIDTH}" height="{HEIGHT}" fill="#ffffff"/>',
        f'<text x="{LEFT}" y="24" font-size="15" fill="#222222">{escape(title)}</text>',
    ]
    step = max(0.5, math.ceil(top / 8 * 2) / 2)
    for number in range(int(top / step) + 1):
        value = number * step
        parts += [
            f'<path d="M{LEFT} {y(value):.1f}H{WIDTH - RIGHT}" stroke="#dddddd"/>',
            _text(LEFT - 8, y(value) + 4, f"{value:g}", "end"),
        ]
    for count in counts:
        parts += [
            f'<path d="M{x(count):.1f} {TOP}V{HEIGHT - BOTTOM}" stroke="#eeeeee"/>',
            _text(x(count), HEIGHT - BOTTOM + 20, f"{count:,}", "middle"),
        ]
    for number, line in enumerate(lines):
        parts += _line(line, number, [(x(count), y(value)) for count, value in line.points])
    return "\n".join([*parts, "</svg>"]) + "\n"


def _line(line: Line, number: int, points: list[tuple[float, float]]) -> list[str]:
    colour = COLOURS[number % len(COLOURS)]
    style = f'stroke="{colour}" stroke-width="2" fill="none" '
    style += f'stroke-dasharray="{DASHES[number // len(COLOURS) % len(DASHES)]}"'
    path = " ".join(f"{x:.1f},{y:.1f}" for x, y in points)
    left, middle = WIDTH - RIGHT + 16, TOP + 8 + number * ROW
    return [
        f'<polyline points="{path}" {style}/>',
        *(f'<circle cx="{x:.1f}" cy="{y:.1f}" r="3" fill="{colour}"/>' for x, y in points),
        f'<path d="M{left} {middle}h24" {style}/>',
        _text(left + 32, middle + 4, line.name, "start"),
    ]


def _text(x: float, y: float, text: str, anchor: str) -> str:
    return (
        f'<text x="{x:.1f}" y="{y:.1f}" text-anchor="{anchor}" fill="#222222">{escape(text)}</text>'
    )
