"""A report as people read it in a terminal."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

from meseta.learn.advice import shortened

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from meseta.learn.choosers import Choice
    from meseta.learn.dataset import Row
    from meseta.learn.intervals import Measure
    from meseta.learn.report import Comparison, Report

Table = tuple[Sequence[str], Sequence[Sequence[str]]]
"""A head and its rows."""

MOST_ROUTES = 20
"""Routes that are shown, the worst first; JSON has all of them."""


def measured(value: Measure | None, *, signed: bool = False) -> str:
    """Return a measure in percent with its interval: `83.2 % (82.1 to 84.3)`."""
    if value is None:
        return "-"
    form: Callable[[float], str] = (
        (lambda part: f"{100 * part:+.1f}") if signed else (lambda part: f"{100 * part:.1f}")
    )
    return f"{form(value.value)} % ({form(value.low)} to {form(value.high)})"


def overview(report: Report) -> Table:
    """Return the numbers that come first."""
    served = report.served
    rows = [
        ("rows", f"{report.rows} ({report.in_scope} in scope, {report.rows - report.in_scope} out of scope)"),
        ("best route is right", measured(report.top1)),
        ("in scope: answered", measured(served.answered)),
        ("out of scope: refused", measured(served.refused)),
        ("answers that are right", measured(served.precision)),
        ("rows that are right", measured(served.exact)),
        ("macro F1", measured(served.macro_f1)),
    ]
    if report.several:
        rows.append((f"mean F1 ({report.several} rows with several routes)", f"{100 * served.mean_f1:.1f} %"))
    if report.calibration is not None:
        rows.append(("calibration error", f"{100 * report.calibration.error:.1f} %"))
        rows.append(("Brier score", f"{report.calibration.brier:.4f}"))
    if report.abstention is not None:
        if report.abstention.auroc is not None:
            auroc = report.abstention.auroc
            rows.append(("out-of-scope AUROC", f"{auroc.value:.3f} ({auroc.low:.3f} to {auroc.high:.3f})"))
        rows.append(("area under risk and coverage", f"{report.abstention.area:.4f}"))
    if report.latency_ms:
        shown = ", ".join(f"{name} {value:.3g} ms" for name, value in report.latency_ms.items())
        rows.append(("latency", shown))
    if report.decided_by:
        shown = ", ".join(f"{step} {count}" for step, count in report.decided_by.items())
        rows.append(("decided by", shown))
    rows += [("no answer", f"{count} rows: {shortened(reason)}") for reason, count in report.failures.items()]
    return ("measure", "value (95 % interval)"), rows


def routes(report: Report) -> Table:
    """Return the routes, the worst F1 first."""
    wanted = [route for route in report.routes if route.wanted or route.chosen]
    worst = sorted(wanted, key=lambda route: (route.f1 or 0.0, -route.wanted))[:MOST_ROUTES]
    rows = [
        (
            route.route,
            measured(route.precision),
            measured(route.recall),
            f"{100 * (route.f1 or 0.0):.1f}",
            str(route.wanted),
            str(route.chosen),
        )
        for route in worst
    ]
    return ("route", "precision", "recall", "F1", "wanted", "chosen"), rows


def suggestions(report: Report) -> Table:
    """Return the thresholds that reach a wanted precision."""
    found = report.abstention.suggestions if report.abstention is not None else {}
    rows = []
    for wanted, suggestion in found.items():
        if suggestion is None:
            rows.append((f"{100 * wanted:g} %", "not reached", "", "", ""))
            continue
        precision = "-" if suggestion.precision is None else f"{100 * suggestion.precision:.1f} %"
        rows.append(
            (
                f"{100 * wanted:g} %",
                f"{suggestion.threshold:.3f}",
                f"{suggestion.margin:.2f}",
                precision,
                f"{100 * suggestion.coverage:.1f} %",
            )
        )
    return ("wanted precision", "threshold", "margin", "precision reached", "rows answered"), rows


def sharpen(report: Report) -> Iterator[str]:
    """Say which descriptions to sharpen, and with what."""
    for pair in report.confusions:
        yield f"{pair.right} -> {pair.chosen}: {pair.count} rows, {100 * pair.share:.0f} % of {pair.right}"
        if pair.words:
            yield f"  say in {pair.right}: {', '.join(pair.words)}"
        yield from (f"  row: {row}" for row in pair.rows)


def comparison(found: Comparison) -> Table:
    """Return how the second chooser differs from the first one."""
    rows = [
        ("rows that are right", f"{measured(found.exact, signed=True)}"),
        ("macro F1", measured(found.macro_f1, signed=True)),
        ("rows only the first got right", str(found.only_first)),
        ("rows only the second got right", str(found.only_second)),
        ("by chance (McNemar)", f"p = {found.chance:.2g}"),
    ]
    changed = sorted(found.routes.items(), key=lambda item: -abs(item[1]))[:MOST_ROUTES]
    rows += [(f"F1 of {name}", f"{100 * change:+.1f} %") for name, change in changed]
    return ("second against first", "difference (95 % interval)"), rows


def changes(changed: Sequence[tuple[Row, tuple[str, ...], list[Choice | None]]]) -> Table:
    """Return rows of which the two chose differently."""
    rows = [
        (
            row.place,
            ", ".join(right) or "none",
            *(_taken(choice) for choice in choices),
            shortened(row.turn)[:60],
        )
        for row, right, choices in changed
    ]
    return ("row", "right", "first", "second", "text"), rows


def _taken(choice: Choice | None) -> str:
    if choice is None:
        return "no answer"
    return ", ".join(choice.chosen) or "none"
