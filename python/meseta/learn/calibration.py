"""Whether a probability means what it says: of the rows with 0.8, four in five should be right."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from meseta.learn.intervals import Measure, share

if TYPE_CHECKING:
    from collections.abc import Sequence

BINS = 10


@dataclass(frozen=True)
class Bin:
    """The rows whose probability lies in one tenth of the scale."""

    low: float
    high: float
    count: int
    confidence: float
    """The mean of their probabilities."""
    accuracy: Measure
    """The share of them that is right."""


def reliability(probabilities: Sequence[float], right: Sequence[bool]) -> list[Bin]:
    """Return the bins that have rows, from low to high; the last one includes 1."""
    counts, hits, sums = [0] * BINS, [0] * BINS, [0.0] * BINS
    for probability, hit in zip(probabilities, right, strict=True):
        place = min(BINS - 1, max(0, int(probability * BINS)))
        counts[place] += 1
        hits[place] += hit
        sums[place] += probability
    bins = []
    for place, count in enumerate(counts):
        accuracy = share(hits[place], count)
        if accuracy is not None:
            bins.append(Bin(place / BINS, (place + 1) / BINS, count, sums[place] / count, accuracy))
    return bins


def expected_error(bins: Sequence[Bin]) -> float:
    """Return the expected calibration error: the mean distance of probability and accuracy; 0 of no rows."""
    total = sum(part.count for part in bins)
    return sum(part.count * abs(part.confidence - part.accuracy.value) for part in bins) / max(total, 1)


def brier(probabilities: Sequence[float], right: Sequence[bool]) -> float:
    """Return the mean squared distance of the best route's probability from 1 (right) or 0; 0 of no rows."""
    added = sum((probability - hit) ** 2 for probability, hit in zip(probabilities, right, strict=True))
    return added / max(len(probabilities), 1)
