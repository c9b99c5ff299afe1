"""Labels beside points, placed so that they hide neither each other nor the points.

adjustText was tried instead: where many points are close, its forces push labels over markers and lines, or far away.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

_POINT_RADIUS = 6.0
"""Half the width of a marker, in points of 1/72 inch, as all lengths here."""

_DOT_RADIUS = 2.0
_DISTANCES = (10.0, 15.0, 24.0, 36.0, 50.0, 66.0, 84.0, 104.0, 126.0, 150.0)
_DIRECTIONS = 16
_LEADER_DOTS = 8
_SPACE = 4.0
_CHARACTER_WIDTH = 0.6
_LINE_HEIGHT = 1.3
"""A character and a line in multiples of the font's size; most characters are narrower."""


@dataclass(frozen=True)
class Box:
    """A rectangle, in points from the lower left corner of the panel."""

    left: float
    bottom: float
    right: float
    top: float

    @classmethod
    def around(cls, start: tuple[float, float], end: tuple[float, float]) -> Box:
        """Return the rectangle around a level or upright line, or around a dot."""
        across, up = sorted((start[0], end[0])), sorted((start[1], end[1]))
        return cls(across[0] - _DOT_RADIUS, up[0] - _DOT_RADIUS, across[1] + _DOT_RADIUS, up[1] + _DOT_RADIUS)

    def nearest(self, point: tuple[float, float]) -> tuple[float, float]:
        """Return what lies nearest to a point."""
        return min(max(point[0], self.left), self.right), min(max(point[1], self.bottom), self.top)

    @property
    def centre(self) -> tuple[float, float]:
        """Return the middle."""
        return (self.left + self.right) / 2, (self.bottom + self.top) / 2

    def overlap(self, other: Box) -> float:
        """Return the area that two rectangles share."""
        width = min(self.right, other.right) - max(self.left, other.left)
        height = min(self.top, other.top) - max(self.bottom, other.bottom)
        return max(width, 0.0) * max(height, 0.0)

    @property
    def area(self) -> float:
        """Return the area."""
        return (self.right - self.left) * (self.top - self.bottom)


def place(
    points: Sequence[tuple[float, float]],
    texts: Sequence[str],
    panel: tuple[float, float],
    font_points: float,
    obstacles: Sequence[Box] = (),
) -> list[Box]:
    """Return where to put the label of each point.

    One after the other, each takes the nearest place that is free, or else the one that hides least; the same points
    get the same places.

    Args:
        points: where they are, in points from the lower left corner of the panel.
        texts: their labels, on one line each.
        panel: its width and height.
        font_points: size of the font.
        obstacles: what else should not be hidden.
    """
    taken = [Box(x - _POINT_RADIUS, y - _POINT_RADIUS, x + _POINT_RADIUS, y + _POINT_RADIUS) for x, y in points]
    taken += obstacles
    inside = Box(0.0, 0.0, *panel)
    placed: dict[int, Box] = {}
    for index in sorted(range(len(points)), key=lambda number: (points[number], number)):
        size = (_SPACE + len(texts[index]) * _CHARACTER_WIDTH * font_points, _LINE_HEIGHT * font_points)
        best, least = None, math.inf
        for box in _candidates(points[index], size):
            leader = _leader(points[index], box)
            hidden = sum(box.overlap(other) for other in taken) + 2 * (box.area - box.overlap(inside))
            hidden += sum(dot.overlap(other) for dot in leader for other in placed.values())
            if hidden < least - 1e-6:
                best, least = box, hidden
        placed[index] = best or Box(*points[index], *points[index])
        taken += [placed[index], *_leader(points[index], placed[index])]
    return [placed[index] for index in range(len(points))]


def distinct(points: Iterable[tuple[float, float]]) -> list[Box]:
    """Return boxes around dots, one for those that all but hide each other: thousands would take seconds to avoid."""
    cells = {(round(x / _DOT_RADIUS), round(y / _DOT_RADIUS)): (x, y) for x, y in points}
    return [Box.around(dot, dot) for dot in cells.values()]


def _leader(point: tuple[float, float], box: Box) -> list[Box]:
    """Return dots along the line from a point to its label."""
    end = box.nearest(point)
    shares = [number / _LEADER_DOTS for number in range(1, _LEADER_DOTS)]
    dots = [(point[0] + share * (end[0] - point[0]), point[1] + share * (end[1] - point[1])) for share in shares]
    return [Box.around(dot, dot) for dot in dots]


def _candidates(point: tuple[float, float], size: tuple[float, float]) -> list[Box]:
    """Return places around a point, the nearest and those to the right first."""
    (x, y), (width, height) = point, size
    boxes = []
    for distance in _DISTANCES:
        for number in range(_DIRECTIONS):
            turn = (number + 1) // 2 * (1 if number % 2 else -1)
            angle = 2 * math.pi * turn / _DIRECTIONS
            across, up = math.cos(angle), math.sin(angle)
            middle_x = x + across * distance + (across > 0.05) * width / 2 - (across < -0.05) * width / 2
            middle_y = y + up * (distance + height / 2)
            boxes.append(Box(middle_x - width / 2, middle_y - height / 2, middle_x + width / 2, middle_y + height / 2))
    return boxes
