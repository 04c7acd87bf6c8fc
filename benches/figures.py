"""Single figures out of the reports of many rounds, and how they are written."""

from __future__ import annotations

import statistics
from collections.abc import Callable, Iterable, Iterator
from typing import Any

Report = dict[str, Any]
Pick = Callable[[Report], float | None]
NONE = "-"
# Above this share of its core the generator's side may be what limits a figure ...
GENERATOR_FULL = 0.9
# ... unless the gateway's core is as full.
GATEWAY_FULL = 0.9


def rate(report: Report) -> float:
    """Read the requests per second."""
    return float(report["requests_per_second"])


def quantile(histogram: str, name: str, divisor: float = 1) -> Pick:
    """Pick a quantile of a histogram, divided to the unit of the column."""

    def pick(report: Report) -> float | None:
        found = report[histogram]
        return None if found is None else float(found[name]) / divisor

    return pick


def over_direct(pick: Pick) -> Pick:
    """Pick the same figure less that of the run without a gateway just before."""

    def difference(report: Report) -> float | None:
        through, direct = pick(report), pick(report["direct"])
        return None if through is None or direct is None else through - direct

    return difference


def cpu_per(count: str) -> Pick:
    """Pick microseconds of the gateway's processor time per counted thing, warm-up included."""
    return lambda report: report["cpu_gateway"] * 1e6 / report[count] if report[count] else None


def values(entrant: Report, cell: str, pick: Pick) -> list[float]:
    """Collect one figure of every round that has it."""
    return [value for report in entrant["cells"].get(cell, []) if (value := pick(report)) is not None]


def middle(entrant: Report, cell: str, pick: Pick) -> float | None:
    """Take the median of the rounds."""
    found = values(entrant, cell, pick)
    return statistics.median(found) if found else None


def median(entrant: Report, cell: str, pick: Pick, digits: int) -> str:
    """Write the median of the rounds."""
    return number(middle(entrant, cell, pick), digits)


def spread(entrant: Report, cell: str, pick: Pick, digits: int) -> str:
    """Write the median and, from several rounds, the lowest and the highest."""
    return ranged(values(entrant, cell, pick), digits)


def ranged(found: list[float], digits: int) -> str:
    """Write the median of some figures and, if there are several, the lowest and the highest."""
    if len(found) < 2:
        return number(found[0] if found else None, digits)
    center, low, high = (
        number(value, digits) for value in (statistics.median(found), min(found), max(found))
    )
    return f"{center} [{low}, {high}]"


def pairs(entrant: Report, other: Report | None, cell: str) -> Iterator[tuple[Report, Report]]:
    """Bring together what two contenders did in the same round."""
    return zip(entrant["cells"].get(cell, []), other["cells"].get(cell, []) if other else [], strict=False)


def rate_ratios(entrant: Report, other: Report | None, cell: str) -> list[float]:
    """Compare two contenders' rates round by round."""
    return [rate(mine) / rate(theirs) for mine, theirs in pairs(entrant, other, cell) if rate(theirs)]


def ratio(entrant: Report, other: Report | None, cell: str) -> str:
    """Write the median of the rounds' ratios."""
    found = rate_ratios(entrant, other, cell)
    return f"{statistics.median(found):.2f}" if found else NONE


def differences(entrant: Report, other: Report, cell: str, pick: Pick) -> list[float]:
    """Subtract the other's figure round by round."""
    both = ((pick(mine), pick(theirs)) for mine, theirs in pairs(entrant, other, cell))
    return [mine - theirs for mine, theirs in both if mine is not None and theirs is not None]


def flag(entrant: Report, cell: str) -> str:
    """Mark where the generator's core, not the gateway, set the figure; never the run without a hop."""
    reports = entrant["cells"].get(cell, [])
    full = [
        report["cpu_generator_side"] / report["wall"] > GENERATOR_FULL
        and 0 < report["cpu_gateway"] / report["wall"] < GATEWAY_FULL
        for report in reports
    ]
    return " †" if full and sum(full) * 2 > len(full) else ""


def error_count(entrant: Report) -> int:
    """Count failed and unfinished requests of all cells."""
    reports = [report for cell in entrant["cells"].values() for report in cell]
    return sum(sum(report["errors"].values()) + report["unfinished"] for report in reports)


def number(value: float | None, digits: int) -> str:
    """Write a figure with thousands separated, or a dash."""
    return NONE if value is None else f"{value:,.{digits}f}"


def grid(head: list[str], rows: Iterable[list[str]]) -> str:
    """Lay out a Markdown table; every column but the first is aligned right when it holds figures."""
    marks = ["---", *("--:" if len(head) > 2 else "---" for _ in head[1:])]
    return "\n".join("| " + " | ".join(row) + " |" for row in (head, marks, *rows))
