"""How sure a measured number is: intervals of 95 percent, and whether two measurements differ."""

from __future__ import annotations

import math
import random
from collections import Counter
from typing import TYPE_CHECKING, NamedTuple, TypeVar

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence

Cell = TypeVar("Cell")

Z = 1.959963984540054
"""Of the normal distribution, for 95 percent."""

WORK = 2_000_000
"""Draws that one bootstrap may make; more rows mean fewer resamples, whose spread is then smaller anyway."""


class Measure(NamedTuple):
    """A number with its interval of 95 percent."""

    value: float
    low: float
    high: float


def share(count: int, total: int) -> Measure | None:
    """Return a share with its Wilson interval, or None of nothing."""
    if total == 0:
        return None
    part = count / total
    weight = Z * Z / total
    middle = (part + weight / 2) / (1 + weight)
    reach = Z * math.sqrt(part * (1 - part) / total + weight / (4 * total)) / (1 + weight)
    # Rounding must not move a bound past the value itself.
    return Measure(part, max(0.0, min(part, middle - reach)), min(1.0, max(part, middle + reach)))


def bootstrap(
    cells: Mapping[Cell, int], statistic: Callable[[Mapping[Cell, int]], float], seed: int = 0
) -> Measure:
    """Return a statistic of counted rows with its percentile interval.

    `cells` says how many rows are alike. Rows are drawn with replacement, so that rows that belong together
    (the same row, judged twice) must be one cell.
    """
    total = sum(cells.values())
    value = statistic(cells)
    if total == 0:
        return Measure(value, value, value)
    draw = random.Random(seed)  # noqa: S311 (statistics, not secrets)
    kinds, counts = list(cells), list(cells.values())
    resamples = max(100, min(1000, WORK // total))
    drawn = sorted(statistic(Counter(draw.choices(kinds, counts, k=total))) for _ in range(resamples))
    return Measure(value, quantile(drawn, 0.025), quantile(drawn, 0.975))


def quantile(ordered: Sequence[float], part: float) -> float:
    """Return the quantile of sorted numbers, interpolated between neighbours; NaN of none."""
    if not ordered:
        return math.nan
    place = part * (len(ordered) - 1)
    below = math.floor(place)
    above = min(below + 1, len(ordered) - 1)
    return ordered[below] + (ordered[above] - ordered[below]) * (place - below)


def mcnemar(only_first: int, only_second: int) -> float:
    """Return how likely it is that two judges of the same rows differ as much by chance.

    The arguments count the rows that only one of them got right. Exact (binomial, two-sided).
    """
    total = only_first + only_second
    if total == 0:
        return 1.0
    fewer = min(only_first, only_second)
    logs = [_log_choose(total, number) - total * math.log(2) for number in range(fewer + 1)]
    return min(1.0, 2 * math.fsum(math.exp(log) for log in logs))


def _log_choose(total: int, number: int) -> float:
    return math.lgamma(total + 1) - math.lgamma(number + 1) - math.lgamma(total - number + 1)
