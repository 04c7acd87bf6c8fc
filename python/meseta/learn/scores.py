"""Scores of sets of routes against the sets that are right: precision, recall, F1, confusion."""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass
from typing import TYPE_CHECKING

from meseta.learn.intervals import Measure, bootstrap, share

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

Judged = tuple[tuple[str, ...], tuple[str, ...]]
"""The routes that are right for a row, and those that were chosen; either may be empty."""


@dataclass(frozen=True)
class RouteScore:
    """How often one route was chosen rightly."""

    route: str
    right: int
    """Rows for which it was chosen and is right."""
    chosen: int
    """Rows for which it was chosen."""
    wanted: int
    """Rows for which it is right."""

    @property
    def precision(self) -> Measure | None:
        """Which part of what was sent to it belongs there."""
        return share(self.right, self.chosen)

    @property
    def recall(self) -> Measure | None:
        """Which part of what belongs to it was sent there."""
        return share(self.right, self.wanted)

    @property
    def f1(self) -> float | None:
        """The harmonic mean of both; None for a route that was neither wanted nor chosen."""
        return _f1(self.right, self.chosen, self.wanted)


def per_route(cells: Mapping[Judged, int], routes: Sequence[str]) -> list[RouteScore]:
    """Return the scores of the routes, in their order."""
    right, chosen, wanted = _counts(cells)
    return [RouteScore(route, right[route], chosen[route], wanted[route]) for route in routes]


def macro_f1(cells: Mapping[Judged, int]) -> float:
    """Return the mean of the F1 of every route that was wanted or chosen; 0 of none."""
    right, chosen, wanted = _counts(cells)
    values = [_f1(right[route], chosen[route], wanted[route]) or 0.0 for route in wanted | chosen]
    return sum(values) / len(values) if values else 0.0


def macro_f1_measured(cells: Mapping[Judged, int], seed: int = 0) -> Measure:
    """Return `macro_f1` with its bootstrap interval."""
    return bootstrap(cells, macro_f1, seed)


def mean_f1(cells: Mapping[Judged, int]) -> float:
    """Return the mean over the rows of the F1 of each row's two sets; two empty sets agree."""
    total = sum(cells.values())
    added = sum(
        count * (_f1(len(set(right) & set(chosen)), len(chosen), len(right)) if right or chosen else 1.0)
        for (right, chosen), count in cells.items()
    )
    return added / total if total else 0.0


def exact(cells: Mapping[Judged, int], *, ordered: bool = False) -> Measure | None:
    """Return the share of rows whose chosen set is the right one; with `ordered` also in the right order."""
    same = sum(
        count
        for (right, chosen), count in cells.items()
        if (right == chosen if ordered else set(right) == set(chosen))
    )
    return share(same, sum(cells.values()))


def confusion(cells: Mapping[Judged, int]) -> Counter[tuple[str, str]]:
    """Count how often the one right route of a row was mistaken for another.

    Rows with several right routes are left out: which of them was mistaken cannot be known.
    """
    pairs: Counter[tuple[str, str]] = Counter()
    for (right, chosen), count in cells.items():
        if len(right) == 1 and chosen and right[0] not in chosen:
            pairs[right[0], chosen[0]] += count
    return pairs


def _counts(cells: Mapping[Judged, int]) -> tuple[Counter[str], Counter[str], Counter[str]]:
    right: Counter[str] = Counter()
    chosen: Counter[str] = Counter()
    wanted: Counter[str] = Counter()
    for (labels, answer), count in cells.items():
        for route in labels:
            wanted[route] += count
        for route in answer:
            chosen[route] += count
            if route in labels:
                right[route] += count
    return right, chosen, wanted


def _f1(right: int, chosen: int, wanted: int) -> float:
    return 2 * right / (chosen + wanted) if chosen + wanted else 0.0
