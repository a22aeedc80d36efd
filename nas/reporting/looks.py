"""What marks and lines of a chart look like, on the page and in the picture."""

import math

from nas.reporting.chart import Line

COLOURS = {
    "series0": ("#0072B2", "#5CB8F2"),
    "series1": ("#D55E00", "#FFA05C"),
    "series2": ("#7A6F00", "#E8DC5A"),
    "series3": ("#6A4FB3", "#B7A3FF"),
    "scratch": ("#00805E", "#3FD9AE"),
    "inherited": ("#A8478A", "#EE9FD3"),
    "baseline": ("#1B1F24", "#F0F2F4"),
}
"""What is drawn in which colour, on a light and on a dark page: after Okabe and Ito, with the contrast a page needs."""


def _around(*radii: float, corners: int) -> str:
    """An SVG path of so many corners around the origin, the first at the top, at these distances in turn."""
    turns = ((radii[k % len(radii)], 2 * math.pi * k / corners) for k in range(corners))
    return f"M{'L'.join(f'{radius * math.sin(turn):.2f} {-radius * math.cos(turn):.2f}' for radius, turn in turns)}z"


SHAPES = {
    "circle": ("M-4 0a4 4 0 1 0 8 0a4 4 0 1 0-8 0z", "o"),
    "square": ("M-3.7-3.7h7.4v7.4h-7.4z", "s"),
    "diamond": ("M0-5.6L5 0L0 5.6L-5 0z", "D"),
    "up": ("M0-5L4.8 4H-4.8z", "^"),
    "down": ("M0 5L4.8-4H-4.8z", "v"),
    "cross": ("M-4.4-2L-2-4.4L0-2.4L2-4.4L4.4-2L2.4 0L4.4 2L2 4.4L0 2.4L-2 4.4L-4.4 2L-2.4 0z", "X"),
    "pentagon": (_around(4.6, corners=5), "p"),
    "star": (_around(6.6, 2.9, corners=10), "*"),
}
"""Marks by name: an SVG path around the origin, and matplotlib's letter."""


def line_class(line: Line) -> str:
    """The classes of a straight line in the page's style sheet."""
    return "line strong" if line.strong else "line"
