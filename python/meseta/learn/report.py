"""Everything that an evaluation found, as plain numbers: for the terminal, for JSON, for the plot."""

from __future__ import annotations

import math
from collections import Counter
from dataclasses import asdict, dataclass
from typing import TYPE_CHECKING, Any, Literal

from meseta.learn import abstention, calibration, scores
from meseta.learn.intervals import Measure, bootstrap, mcnemar, quantile, share

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence

    from meseta.learn.advice import Confusion
    from meseta.learn.outcomes import Outcomes

Pair = tuple[tuple[str, ...], tuple[str, ...], tuple[str, ...]]
"""The routes that are right for a row, and those that each of two choosers took."""

PRECISIONS = (0.9, 0.95, 0.99)
"""For which thresholds are suggested when nobody asks for a certain one."""


@dataclass(frozen=True)
class Calibration:
    """Whether the probability of the best route means what it says."""

    bins: list[calibration.Bin]
    error: float
    """The expected calibration error."""
    brier: float


@dataclass(frozen=True)
class Abstention:
    """What it brings to say nothing when unsure. Any answer to a row out of scope is wrong."""

    auroc: Measure | None
    """How well the probability tells rows in scope from rows out of scope; None without the latter."""
    area: float
    """Under the curve of risk against coverage; lower is better."""
    curve: list[abstention.Point]
    suggestions: dict[float, abstention.Suggestion | None]
    """For each wanted precision what reaches it."""


@dataclass(frozen=True)
class Served:
    """What the chooser did, with the threshold and margin that are in force."""

    answered: Measure | None
    """Rows in scope for which it chose something."""
    precision: Measure | None
    """Of the rows for which it chose something, those for which all of it is right."""
    refused: Measure | None
    """Rows out of scope for which it chose nothing."""
    exact: Measure | None
    """Rows whose chosen set is the right one, abstaining out of scope included."""
    mean_f1: float
    macro_f1: Measure


@dataclass(frozen=True)
class Report:
    """One chooser on one dataset."""

    rows: int
    in_scope: int
    several: int
    """Rows for which several routes are right."""
    top1: Measure | None
    """Rows in scope whose best route is right, taken or not."""
    served: Served
    routes: list[scores.RouteScore]
    confusions: list[Confusion]
    calibration: Calibration | None
    """Over the rows in scope; None when the chooser tells no probabilities."""
    abstention: Abstention | None
    latency_ms: dict[str, float]
    decided_by: dict[str, int]
    """How many rows each step of a plane's cascade decided; empty for the embedded chooser alone."""
    failures: dict[str, int]

    def as_dict(self) -> dict[str, Any]:
        """Return it as plain data, for JSON."""
        tree = asdict(self)
        tree["routes"] = [
            {
                **asdict(route),
                "precision": _plain(route.precision),
                "recall": _plain(route.recall),
                "f1": route.f1,
            }
            for route in self.routes
        ]
        plain: dict[str, Any] = _plain(tree)
        return plain


@dataclass(frozen=True)
class Comparison:
    """Two choosers on the same rows: differences are those of the second one to the first one."""

    only_first: int
    """Rows that only the first one got exactly right."""
    only_second: int
    chance: float
    """How likely such a difference is by chance (McNemar, exact)."""
    exact: Measure
    """Difference of the share of rows that are exactly right (paired bootstrap)."""
    macro_f1: Measure
    """Difference of the macro F1 (paired bootstrap)."""
    routes: dict[str, float]
    """Difference of the F1 of each route that changed."""

    def as_dict(self) -> dict[str, Any]:
        """Return it as plain data, for JSON."""
        plain: dict[str, Any] = _plain(asdict(self))
        return plain


def report(
    outcomes: Outcomes, routes: Sequence[str], confusions: Sequence[Confusion], precisions: Sequence[float]
) -> Report:
    """Sum up what one chooser did."""
    labels = outcomes.labels
    hits = outcomes.hits()
    inside = sum(bool(right) for right in labels)
    taken = outcomes.taken()
    return Report(
        rows=len(labels),
        in_scope=inside,
        several=sum(len(right) > 1 for right in labels),
        top1=share(sum(hits), inside),
        served=_served(taken),
        routes=scores.per_route(taken, routes),
        confusions=list(confusions),
        calibration=_calibration(outcomes, hits) if outcomes.scored and inside else None,
        abstention=_abstention(outcomes, hits, precisions) if outcomes.scored else None,
        latency_ms=_latency(outcomes),
        decided_by=dict(outcomes.steps),
        failures=dict(outcomes.failures),
    )


def compare(first: Outcomes, second: Outcomes, routes: Sequence[str]) -> Comparison:
    """Compare two choosers that were asked about the same rows."""
    cells: Counter[Pair] = Counter(zip(first.labels, first.chosen, second.chosen, strict=True))
    only = [0, 0]
    for (right, one, other), count in cells.items():
        good = (set(right) == set(one), set(right) == set(other))
        if good[0] != good[1]:
            only[good[1]] += count
    before, after = scores.per_route(first.taken(), routes), scores.per_route(second.taken(), routes)
    moved = {new.route: (new.f1 or 0.0) - (old.f1 or 0.0) for old, new in zip(before, after, strict=True)}
    return Comparison(
        only_first=only[0],
        only_second=only[1],
        chance=mcnemar(*only),
        exact=bootstrap(cells, lambda drawn: _of(drawn, 2, _exact) - _of(drawn, 1, _exact)),
        macro_f1=bootstrap(
            cells, lambda drawn: _of(drawn, 2, scores.macro_f1) - _of(drawn, 1, scores.macro_f1)
        ),
        routes={name: change for name, change in moved.items() if abs(change) > 1e-9},
    )


def _of(
    cells: Mapping[Pair, int], place: Literal[1, 2], statistic: Callable[[Counter[scores.Judged]], float]
) -> float:
    """Return a statistic of one of the two choosers, out of cells of both."""
    single: Counter[scores.Judged] = Counter()
    for cell, count in cells.items():
        single[cell[0], cell[place]] += count
    return statistic(single)


def _exact(cells: Mapping[scores.Judged, int]) -> float:
    measured = scores.exact(cells)
    return measured.value if measured is not None else 0.0


def _served(taken: Counter[scores.Judged]) -> Served:
    inside = sum(count for (right, _), count in taken.items() if right)
    outside = sum(taken.values()) - inside
    answered = sum(count for (right, chosen), count in taken.items() if right and chosen)
    refused = sum(count for (right, chosen), count in taken.items() if not right and not chosen)
    chose = answered + outside - refused
    good = sum(count for (right, chosen), count in taken.items() if chosen and set(chosen) <= set(right))
    return Served(
        answered=share(answered, inside),
        precision=share(good, chose),
        refused=share(refused, outside),
        exact=scores.exact(taken),
        mean_f1=scores.mean_f1(taken),
        macro_f1=scores.macro_f1_measured(taken),
    )


def _calibration(outcomes: Outcomes, hits: Sequence[bool]) -> Calibration:
    rows = zip(outcomes.probability, hits, outcomes.labels, strict=True)
    inside = [(probability, hit) for probability, hit, right in rows if right]
    probabilities, right = [row[0] for row in inside], [row[1] for row in inside]
    bins = calibration.reliability(probabilities, right)
    return Calibration(bins, calibration.expected_error(bins), calibration.brier(probabilities, right))


def _abstention(outcomes: Outcomes, hits: Sequence[bool], precisions: Sequence[float]) -> Abstention:
    rows = list(zip(outcomes.probability, outcomes.labels, strict=True))
    curve, area = abstention.risk_coverage(outcomes.probability, hits)
    return Abstention(
        abstention.auroc(
            [probability for probability, right in rows if right],
            [probability for probability, right in rows if not right],
        ),
        area,
        curve,
        {
            wanted: abstention.suggest(outcomes.probability, outcomes.lead, hits, wanted)
            for wanted in precisions
        },
    )


def _latency(outcomes: Outcomes) -> dict[str, float]:
    ordered = sorted(outcomes.seconds)
    if not ordered:
        return {}
    return {
        name: quantile(ordered, part) * 1000 for name, part in (("p50", 0.5), ("p95", 0.95), ("p99", 0.99))
    }


def _plain(value: Any) -> Any:
    """Return it with what JSON has not in a form that JSON has."""
    if isinstance(value, Measure):
        return {"value": value.value, "low": value.low, "high": value.high}
    if isinstance(value, dict):
        return {str(key): _plain(inner) for key, inner in value.items()}
    if isinstance(value, (list, tuple)):
        return [_plain(inner) for inner in value]
    return None if isinstance(value, float) and not math.isfinite(value) else value
