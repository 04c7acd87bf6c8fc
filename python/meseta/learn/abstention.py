"""What it costs and brings to say nothing when unsure: risk against coverage, AUROC, thresholds to set."""

from __future__ import annotations

import math
import random
from dataclasses import dataclass
from itertools import groupby
from typing import TYPE_CHECKING

from meseta.learn.intervals import Measure, Z

if TYPE_CHECKING:
    from collections.abc import Sequence

MARGINS = (0.0, 0.02, 0.05, 0.1, 0.15, 0.2, 0.3)
"""Leads over the second route that are tried."""
POINTS = 200
"""Points of a curve; more are not seen."""
FEWEST = 10
"""Answers that a suggestion must be based on; fewer are luck."""


@dataclass(frozen=True)
class Point:
    """What remains when only probabilities of at least `threshold` are taken."""

    threshold: float
    coverage: float
    """The share of rows that get an answer."""
    risk: float
    """The share of the answers that is wrong."""


@dataclass(frozen=True)
class Suggestion:
    """A threshold and a margin that reach a wanted precision, chosen on one half of the rows."""

    threshold: float
    margin: float
    precision: float | None
    """On the other half; None when nothing of it gets an answer."""
    coverage: float
    """On the other half."""


def risk_coverage(probabilities: Sequence[float], right: Sequence[bool]) -> tuple[list[Point], float]:
    """Return the curve, from little to full coverage, and the area under it.

    Rows of one probability go together.
    """
    rows = sorted(zip(probabilities, right, strict=True), reverse=True)
    points: list[Point] = []
    taken = wrong = 0
    area = 0.0
    for threshold, group in groupby(rows, key=lambda row: row[0]):
        hits = [hit for _, hit in group]
        taken += len(hits)
        wrong += len(hits) - sum(hits)
        points.append(Point(threshold, taken / len(rows), wrong / taken))
        area += len(hits) / len(rows) * wrong / taken
    step = max(1, math.ceil(len(points) / POINTS))
    return points[:-1:step] + points[-1:], area


def auroc(inside: Sequence[float], outside: Sequence[float]) -> Measure | None:
    """Return how often a row inside scores above one outside, ties counting half; None without either.

    The interval is that of Hanley and McNeil.
    """
    if not inside or not outside:
        return None
    rows = sorted([(value, True) for value in inside] + [(value, False) for value in outside])
    below = 0
    won = 0.0
    for _, group in groupby(rows, key=lambda row: row[0]):
        flags = [flag for _, flag in group]
        ins = sum(flags)
        outs = len(flags) - ins
        won += ins * (below + outs / 2)
        below += outs
    area = won / (len(inside) * len(outside))
    both, squared = area * area, area * (1 - area)
    spread = squared + (len(inside) - 1) * (area / (2 - area) - both)
    spread += (len(outside) - 1) * (2 * both / (1 + area) - both)
    reach = Z * math.sqrt(max(0.0, spread) / (len(inside) * len(outside)))
    return Measure(area, max(0.0, area - reach), min(1.0, area + reach))


def suggest(
    probabilities: Sequence[float],
    leads: Sequence[float],
    right: Sequence[bool],
    wanted: float,
    seed: int = 0,
) -> Suggestion | None:
    """Return what answers the most rows with at least the wanted precision; None when nothing reaches it.

    It is chosen on one half of the rows and measured on the other one, so that it does not flatter itself.
    """
    rows = list(zip(probabilities, leads, right, strict=True))
    random.Random(seed).shuffle(rows)  # noqa: S311 (statistics, not secrets)
    half = len(rows) // 2
    best: tuple[int, float, float] | None = None
    for margin in MARGINS:
        found = _lowest([(row[0], row[2]) for row in rows[:half] if row[1] >= margin], wanted)
        if found is not None and (best is None or found[0] > best[0]):
            best = (found[0], found[1], margin)
    if best is None:
        return None
    # Rounded up, so that what is written into a file lets through nothing that was not counted here.
    threshold, margin = math.ceil(best[1] * 1000) / 1000, best[2]
    answered = [row[2] for row in rows[half:] if row[0] >= threshold and row[1] >= margin]
    precision = sum(answered) / len(answered) if answered else None
    return Suggestion(threshold, margin, precision, len(answered) / (len(rows) - half))


def _lowest(rows: list[tuple[float, bool]], wanted: float) -> tuple[int, float] | None:
    """Return how many rows the lowest threshold with the wanted precision takes, and that threshold."""
    taken = hits = 0
    found: tuple[int, float] | None = None
    for threshold, group in groupby(sorted(rows, reverse=True), key=lambda row: row[0]):
        flags = [hit for _, hit in group]
        taken += len(flags)
        hits += sum(flags)
        if taken >= FEWEST and hits >= wanted * taken:
            found = (taken, threshold)
    return found
