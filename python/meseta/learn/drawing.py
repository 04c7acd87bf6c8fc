"""The plot of an evaluation as SVG: reliability, and risk against coverage.

Two panels of lines and points need no plotting library; the usual ones weigh more than Meseta itself.
"""

from __future__ import annotations

from html import escape
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Sequence

    from meseta.learn.report import Report

SIZE = 320
"""Width and height of a panel."""
EDGE = 56
"""Around each panel, for the labels."""
COLOURS = ("#1b6ca8", "#c0504d")
"""Of the first and the second chooser; they differ in brightness as well."""


def draw(reports: Sequence[tuple[str, Report]]) -> str:
    """Return the plot of up to two reports, each with its name."""
    width, height = 2 * (SIZE + EDGE) + EDGE, SIZE + 2 * EDGE + 18 * len(reports)
    size = f'viewBox="0 0 {width} {height}" width="{width}" height="{height}"'
    font = 'font-family="sans-serif" font-size="12" fill="#333"'
    parts = [
        f'<svg xmlns="http://www.w3.org/2000/svg" {size} {font}>',
        f'<rect width="{width}" height="{height}" fill="white"/>',
    ]
    worst = [point.risk for _, report in reports if report.abstention for point in report.abstention.curve]
    top = next((step for step in (0.1, 0.2, 0.5) if max(worst, default=1.0) <= step), 1.0)
    parts += _frame(0, "Reliability", "probability of the best route", "share that is right", 1.0)
    parts += _frame(
        1, "Risk against coverage", "share that is answered", "share of answers that is wrong", top
    )
    parts.append(
        f'<path d="{_line(0, [(0.0, 0.0), (1.0, 1.0)])}" stroke="#bbb" stroke-dasharray="4 4" fill="none"/>'
    )
    for number, (name, report) in enumerate(reports):
        colour = COLOURS[number % len(COLOURS)]
        if report.calibration is not None:
            parts += _reliability(report, colour)
        if report.abstention is not None:
            curve = [(point.coverage, point.risk / top) for point in report.abstention.curve]
            parts.append(f'<path d="{_line(1, curve)}" stroke="{colour}" stroke-width="2" fill="none"/>')
        y = SIZE + 2 * EDGE - 4 + 18 * number
        parts.append(f'<rect x="{EDGE}" y="{y}" width="12" height="12" fill="{colour}"/>')
        parts.append(f'<text x="{EDGE + 18}" y="{y + 10}">{escape(name[:100])}</text>')
    return "\n".join([*parts, "</svg>", ""])


def _reliability(report: Report, colour: str) -> list[str]:
    assert report.calibration is not None  # noqa: S101 (the caller looked)
    bins = report.calibration.bins
    line = _line(0, [(part.confidence, part.accuracy.value) for part in bins])
    parts = [f'<path d="{line}" stroke="{colour}" stroke-width="2" fill="none"/>']
    for part in bins:
        bar = _line(0, [(part.confidence, part.accuracy.low), (part.confidence, part.accuracy.high)])
        x, y = _place(0, part.confidence, part.accuracy.value)
        parts.append(f'<path d="{bar}" stroke="{colour}" opacity="0.6"/>')
        parts.append(
            f'<circle cx="{x}" cy="{y}" r="4" fill="{colour}"><title>{part.count} rows</title></circle>'
        )
    return parts


def _frame(panel: int, title: str, below: str, beside: str, top: float) -> list[str]:
    left = EDGE + panel * (SIZE + EDGE)
    middle = left + SIZE / 2
    turned = f"translate({left - 34} {EDGE + SIZE / 2}) rotate(-90)"
    parts = [
        f'<rect x="{left}" y="{EDGE}" width="{SIZE}" height="{SIZE}" fill="none" stroke="#999"/>',
        f'<text x="{middle}" y="{EDGE - 14}" text-anchor="middle" font-weight="bold">{title}</text>',
        f'<text x="{middle}" y="{EDGE + SIZE + 32}" text-anchor="middle">{below}</text>',
        f'<text transform="{turned}" text-anchor="middle">{beside}</text>',
    ]
    for tick in (0.0, 0.5, 1.0):
        x, y = _place(panel, tick, tick)
        parts.append(f'<text x="{x}" y="{EDGE + SIZE + 15}" text-anchor="middle">{tick:g}</text>')
        parts.append(f'<text x="{left - 6}" y="{y + 4}" text-anchor="end">{tick * top:g}</text>')
    return parts


def _line(panel: int, points: Sequence[tuple[float, float]]) -> str:
    places = [_place(panel, *point) for point in points]
    return " ".join(f"{'L' if number else 'M'}{x} {y}" for number, (x, y) in enumerate(places))


def _place(panel: int, x: float, y: float) -> tuple[float, float]:
    """Return where a point of the unit square is drawn."""
    return (
        round(EDGE + panel * (SIZE + EDGE) + min(max(x, 0.0), 1.0) * SIZE, 1),
        round(EDGE + (1 - min(max(y, 0.0), 1.0)) * SIZE, 1),
    )
