"""Numbers that were worked out by hand, and what must hold for any rows."""

from __future__ import annotations

import math
from collections import Counter

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from meseta.learn import abstention, calibration, intervals, scores

CELLS: Counter[scores.Judged] = Counter(
    {
        (("a",), ("a",)): 3,
        (("a",), ("b",)): 1,
        (("b",), ("b",)): 2,
        ((), ("a",)): 1,
        (("b",), ()): 1,
    }
)
PROBABILITIES = st.floats(0, 1, allow_nan=False)
ROWS = st.lists(st.tuples(PROBABILITIES, st.booleans()), min_size=1, max_size=60)
LABELS = st.lists(st.sampled_from("abc"), max_size=3, unique=True).map(tuple)
JUDGED = st.dictionaries(st.tuples(LABELS, LABELS), st.integers(1, 20), max_size=12).map(Counter)


def test_share_is_the_wilson_interval() -> None:
    measured = intervals.share(8, 10)
    assert measured is not None
    assert measured == pytest.approx((0.8, 0.4902, 0.9433), abs=1e-4)
    none = intervals.share(0, 10)
    assert none is not None
    assert none == pytest.approx((0.0, 0.0, 0.2775), abs=1e-4)
    assert intervals.share(0, 0) is None


@given(st.integers(1, 500).flatmap(lambda total: st.tuples(st.integers(0, total), st.just(total))))
@settings(deadline=None)
def test_a_share_lies_in_its_interval(counts: tuple[int, int]) -> None:
    measured = intervals.share(*counts)
    assert measured is not None
    assert 0 <= measured.low <= measured.value <= measured.high <= 1


def test_mcnemar_is_the_binomial_test() -> None:
    assert intervals.mcnemar(1, 9) == pytest.approx(22 / 1024)
    assert intervals.mcnemar(9, 1) == pytest.approx(22 / 1024)
    assert intervals.mcnemar(0, 0) == 1
    assert intervals.mcnemar(5, 5) == 1
    assert 0 < intervals.mcnemar(9_000, 10_000) < 1e-10


def test_quantiles_are_interpolated() -> None:
    assert intervals.quantile([1.0, 2.0, 3.0, 4.0], 0.5) == 2.5
    assert intervals.quantile([1.0, 2.0, 3.0], 1.0) == 3.0
    assert math.isnan(intervals.quantile([], 0.5))


def test_bootstrap_covers_the_value_and_is_the_same_again() -> None:
    cells = Counter({True: 80, False: 20})
    first = intervals.bootstrap(cells, lambda drawn: drawn[True] / 100)
    assert first == intervals.bootstrap(cells, lambda drawn: drawn[True] / 100)
    assert first.value == 0.8
    # The normal approximation says 0.72 to 0.88.
    assert first.low == pytest.approx(0.72, abs=0.02)
    assert first.high == pytest.approx(0.88, abs=0.02)


def test_scores_of_each_route() -> None:
    first, second, third = scores.per_route(CELLS, ["a", "b", "c"])
    assert (first.right, first.chosen, first.wanted) == (3, 4, 4)
    assert first.precision is not None
    assert first.precision.value == 0.75
    assert first.f1 == 0.75
    assert (second.right, second.chosen, second.wanted) == (2, 3, 3)
    assert second.f1 == pytest.approx(2 / 3)
    assert third.precision is None
    assert third.recall is None
    assert scores.macro_f1(CELLS) == pytest.approx((0.75 + 2 / 3) / 2)
    assert scores.confusion(CELLS) == {("a", "b"): 1}


def test_scores_of_sets() -> None:
    cells: Counter[scores.Judged] = Counter(
        {(("a", "b"), ("a", "b")): 1, (("a", "b"), ("b", "a")): 1, (("a", "b"), ("a",)): 1, ((), ()): 1}
    )
    exact, ordered = scores.exact(cells), scores.exact(cells, ordered=True)
    assert exact is not None
    assert exact.value == 0.75
    assert ordered is not None
    assert ordered.value == 0.5
    assert scores.mean_f1(cells) == pytest.approx((1 + 1 + 2 / 3 + 1) / 4)
    # Which of two right routes was mistaken cannot be known.
    assert scores.confusion(Counter({(("a", "b"), ("c",)): 1})) == {}


@given(JUDGED)
@settings(deadline=None)
def test_counts_of_routes_add_up(cells: Counter[scores.Judged]) -> None:
    routes = scores.per_route(cells, "abc")
    assert sum(route.wanted for route in routes) == sum(len(right) * n for (right, _), n in cells.items())
    assert sum(route.chosen for route in routes) == sum(len(taken) * n for (_, taken), n in cells.items())
    assert all(route.right <= min(route.chosen, route.wanted) for route in routes)
    assert 0 <= scores.macro_f1(cells) <= 1
    assert 0 <= scores.mean_f1(cells) <= 1


def test_calibration() -> None:
    probabilities, right = [0.9, 0.9, 0.6, 0.6], [True, False, True, True]
    bins = calibration.reliability(probabilities, right)
    assert [(part.low, part.count, part.accuracy.value) for part in bins] == [(0.6, 2, 1.0), (0.9, 2, 0.5)]
    assert calibration.expected_error(bins) == pytest.approx(0.4)
    assert calibration.brier(probabilities, right) == pytest.approx(0.285)
    assert calibration.reliability([1.0], [True])[0].high == 1.0


@given(ROWS)
@settings(deadline=None)
def test_bins_hold_every_row_and_errors_are_parts(rows: list[tuple[float, bool]]) -> None:
    probabilities, right = [row[0] for row in rows], [row[1] for row in rows]
    bins = calibration.reliability(probabilities, right)
    assert sum(part.count for part in bins) == len(rows)
    assert 0 <= calibration.expected_error(bins) <= 1 + 1e-9
    assert 0 <= calibration.brier(probabilities, right) <= 1


def test_risk_and_coverage() -> None:
    points, area = abstention.risk_coverage([0.6, 0.9, 0.7, 0.8], [True, True, False, True])
    assert [(point.threshold, point.coverage) for point in points] == [
        (0.9, 0.25),
        (0.8, 0.5),
        (0.7, 0.75),
        (0.6, 1.0),
    ]
    assert [point.risk for point in points] == pytest.approx([0, 0, 1 / 3, 1 / 4])
    assert area == pytest.approx((0 + 0 + 1 / 3 + 1 / 4) / 4)


@given(ROWS)
@settings(deadline=None)
def test_a_curve_ends_at_full_coverage(rows: list[tuple[float, bool]]) -> None:
    points, area = abstention.risk_coverage([row[0] for row in rows], [row[1] for row in rows])
    assert points[-1].coverage == 1
    assert points[-1].risk == pytest.approx(sum(not row[1] for row in rows) / len(rows))
    assert [point.coverage for point in points] == sorted(point.coverage for point in points)
    assert 0 <= area <= 1 + 1e-9
    assert len(points) <= abstention.POINTS + 1


def test_auroc() -> None:
    area = abstention.auroc([0.8, 0.6, 0.4], [0.5, 0.4])
    assert area is not None
    assert area.value == 0.75
    assert area.low < 0.75 < area.high <= 1
    assert abstention.auroc([1.0], []) is None


@given(st.lists(PROBABILITIES, min_size=1), st.lists(PROBABILITIES, min_size=1))
@settings(deadline=None)
def test_auroc_turned_round(inside: list[float], outside: list[float]) -> None:
    one, other = abstention.auroc(inside, outside), abstention.auroc(outside, inside)
    assert one is not None
    assert other is not None
    assert one.value + other.value == pytest.approx(1)
    pairs = [(a > b) + (a == b) / 2 for a in inside for b in outside]
    assert one.value == pytest.approx(sum(pairs) / len(pairs))


def test_a_suggested_threshold_reaches_the_precision() -> None:
    # Right above 0.7 only; the lead tells nothing.
    probabilities = [number / 1000 for number in range(1000)]
    right = [probability >= 0.7 for probability in probabilities]
    found = abstention.suggest(probabilities, [1.0] * 1000, right, 0.99)
    assert found is not None
    assert found.threshold == pytest.approx(0.7, abs=0.01)
    assert found.margin == 0
    assert found.precision is not None
    assert found.precision >= 0.97
    assert found.coverage == pytest.approx(0.3, abs=0.05)


def test_a_margin_is_suggested_where_only_the_lead_tells() -> None:
    leads = [number % 2 * 0.25 for number in range(400)]
    found = abstention.suggest([0.9] * 400, leads, [lead > 0 for lead in leads], 0.95)
    assert found is not None
    assert 0 < found.margin <= 0.25
    assert found.precision == 1


def test_no_threshold_is_suggested_where_nothing_is_right_or_little_is_known() -> None:
    assert abstention.suggest([0.9] * 100, [0.5] * 100, [False] * 100, 0.9) is None
    assert abstention.suggest([0.9] * 10, [0.5] * 10, [True] * 10, 0.9) is None
