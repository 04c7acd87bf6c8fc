"""What a run has shown: counted from the clients, from the providers' records and from the plane's log."""

from __future__ import annotations

import re
import sqlite3
import statistics
from collections import Counter
from dataclasses import asdict, dataclass, field
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path

    from chaos.client import Outcome

WANTED = 0.9999
"""The share of requests that must be answered."""
GROWTH = 1.10
"""The most that the median of memory may be in the last third, as a multiple of the first.

A single sample depends on what was under way in that moment."""
WARM_UP = 0.1
NAME = re.compile(r"chaos\d{7}")


@dataclass
class Verdict:
    """All that was counted, and what of it is wrong."""

    requests: int = 0
    answered: int = 0
    share: float = 0.0
    failures: dict[str, int] = field(default_factory=dict)
    failed_over: int = 0
    """Answers that took more than one target before they began."""
    resumed: int = 0
    """Answers that broke off and that another target went on with."""
    median_ms: float = 0.0
    p99_ms: float = 0.0
    slowest_ms: float = 0.0
    rows: int = 0
    without_row: int = 0
    rows_twice: int = 0
    answered_twice: int = 0
    """Requests with more than one attempt in the log that ended well."""
    paid_twice: int = 0
    """Requests to which more than one provider said the whole answer, though the plane had it."""
    paid_and_lost: int = 0
    """Whole answers that never reached the plane, because their provider was killed or cut off."""
    memory_first_mib: float = 0.0
    memory_last_mib: float = 0.0
    reloads: int = 0
    reloads_refused: int = 0
    slowest_reload_seconds: float = 0.0
    unanswered: list[str] = field(default_factory=list)
    """For each of them, what the log says of every attempt."""
    problems: list[str] = field(default_factory=list)

    def as_json(self) -> dict[str, Any]:
        """Everything, for a file."""
        return asdict(self)


def of_clients(verdict: Verdict, outcomes: Sequence[Outcome]) -> None:
    """Count the answers."""
    verdict.requests = len(outcomes)
    verdict.answered = sum(not outcome.problem for outcome in outcomes)
    verdict.share = verdict.answered / max(verdict.requests, 1)
    failures = Counter(
        f"{outcome.ask.api}{' stream' if outcome.ask.stream else ''}: {outcome.problem}"
        for outcome in outcomes
        if outcome.problem
    )
    verdict.failures = dict(failures.most_common())
    verdict.failed_over = sum(outcome.attempts > 1 and not outcome.problem for outcome in outcomes)
    times = sorted(outcome.seconds * 1000 for outcome in outcomes)
    if times:
        verdict.median_ms = times[len(times) // 2]
        verdict.p99_ms = times[int(len(times) * 0.99)]
        verdict.slowest_ms = times[-1]
    if verdict.share < WANTED:
        verdict.problems.append(f"{verdict.share:.4%} of the requests were answered, not {WANTED:.2%}")


def of_log(verdict: Verdict, path: Path, outcomes: Sequence[Outcome]) -> dict[str, int]:
    """Compare the log with what was sent; how many attempts of each request ended well."""
    log = sqlite3.connect(f"file:{path}?mode=ro", uri=True)
    rows = Counter(run for (run,) in log.execute("SELECT run FROM requests WHERE run IS NOT NULL"))
    well = {
        str(run): int(count)
        for run, count in log.execute(
            "SELECT r.run, count(*) FROM requests r JOIN attempts a ON a.request_id = r.id "
            "WHERE a.code IS NULL AND a.status = 200 GROUP BY r.run"
        )
    }
    (verdict.resumed,) = log.execute(
        "SELECT count(*) FROM requests WHERE resumed > 0 AND code IS NULL AND run IS NOT NULL"
    ).fetchone()
    log.close()
    names = {outcome.ask.name for outcome in outcomes}
    verdict.rows = sum(rows.values())
    verdict.without_row = len(names - set(rows))
    verdict.rows_twice = sum(count > 1 for count in rows.values())
    verdict.answered_twice = sum(count > 1 for count in well.values())
    for count, what in (
        (verdict.without_row, "requests have no row in the log"),
        (verdict.rows_twice, "requests have more than one row in the log"),
        (verdict.answered_twice, "requests have more than one attempt that ended well"),
    ):
        if count:
            verdict.problems.append(f"{count} {what}")
    return well


def unanswered(path: Path, outcomes: Sequence[Outcome]) -> list[str]:
    """Tell of each request without its answer what every target made of it."""
    log = sqlite3.connect(f"file:{path}?mode=ro", uri=True)
    lines = []
    for outcome in outcomes:
        if not outcome.problem:
            continue
        attempts = log.execute(
            "SELECT a.target, a.reason, a.code, a.duration_us "
            "FROM requests r JOIN attempts a ON a.request_id = r.id WHERE r.run = ? ORDER BY a.number",
            (outcome.ask.name,),
        )
        told = "; ".join(
            f"{target} ({reason}) {code or 'well'} in {duration / 1000:.0f} ms"
            for target, reason, code, duration in attempts
        )
        kind = f"{outcome.ask.api}{' stream' if outcome.ask.stream else ''}"
        lines.append(f"{outcome.ask.name} {kind}: {outcome.problem}: {told or 'nobody was asked'}")
    log.close()
    return lines


def of_providers(verdict: Verdict, records: Sequence[dict[str, Any]], well: dict[str, int]) -> None:
    """Find answers that were paid for more than once."""
    whole: Counter[str] = Counter()
    for record in records:
        found = NAME.search(record["body"])
        if found and record["status"] == 200 and record["end"] == "complete":
            whole[found.group()] += 1
    for name, count in whole.items():
        if count > 1:
            # The log tells of each attempt whether the plane got its answer.
            had = max(well.get(name, 0), 1)
            verdict.paid_and_lost += count - had
            verdict.paid_twice += had > 1
    if verdict.paid_twice:
        verdict.problems.append(f"{verdict.paid_twice} answers were paid for twice")


def of_memory(verdict: Verdict, samples: Sequence[int]) -> None:
    """Compare the median of the first third with that of the last, after a warm-up."""
    warm = samples[int(len(samples) * WARM_UP) :]
    third = len(warm) // 3
    if not third:
        verdict.problems.append("the run is too short to judge memory")
        return
    first, last = statistics.median(warm[:third]), statistics.median(warm[-third:])
    verdict.memory_first_mib, verdict.memory_last_mib = first / 2**20, last / 2**20
    if last > first * GROWTH:
        verdict.problems.append(
            f"memory grew from {verdict.memory_first_mib:.1f} to {verdict.memory_last_mib:.1f} MiB"
        )


def table(verdict: Verdict) -> str:
    """Show it as Markdown."""
    lines = ["| | |", "|---|---:|"]
    rows = [
        ("requests", f"{verdict.requests}"),
        ("answered, whole and right", f"{verdict.answered} ({verdict.share:.4%})"),
        ("of these begun by a second target or a later one", f"{verdict.failed_over}"),
        ("of these gone on with by another target in the middle", f"{verdict.resumed}"),
        (
            "median, p99, slowest",
            f"{verdict.median_ms:.0f}, {verdict.p99_ms:.0f}, {verdict.slowest_ms:.0f} ms",
        ),
        ("rows in the log; missing; twice", f"{verdict.rows}; {verdict.without_row}; {verdict.rows_twice}"),
        ("answered twice; paid twice", f"{verdict.answered_twice}; {verdict.paid_twice}"),
        ("said by a provider that was cut off before", f"{verdict.paid_and_lost}"),
        (
            "memory, medians of the first and of the last third",
            f"{verdict.memory_first_mib:.1f}, {verdict.memory_last_mib:.1f} MiB",
        ),
        (
            "reloads; refused; longest until in force",
            f"{verdict.reloads}; {verdict.reloads_refused}; {verdict.slowest_reload_seconds:.1f} s",
        ),
    ]
    lines += [f"| {name} | {value} |" for name, value in rows]
    lines += [f"| failed: {name} | {count} |" for name, count in list(verdict.failures.items())[:20]]
    return "\n".join(lines)
