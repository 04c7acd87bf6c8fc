"""The Markdown table and the facts about the machine it was made on."""

from __future__ import annotations

import datetime
import os
import platform
import statistics
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import Any

Results = dict[str, Any]
Report = dict[str, Any]
Pick = Callable[[Report], float | None]
NONE = "-"
# Above this share of its core the generator's side may be what limits a figure ...
GENERATOR_FULL = 0.9
# ... unless the gateway's core is as full.
GATEWAY_FULL = 0.9
# Of a core, used by other programs: above it a figure is smoke.
QUIET = 0.05


def machine_facts() -> dict[str, str]:
    """Read processor, cores, memory, kernel, and how busy the machine was before the start."""
    lines = Path("/proc/cpuinfo").read_text().splitlines()
    model = next(
        (line.partition(":")[2].strip() for line in lines if line.startswith("model name")), "unknown"
    )
    memory = int(Path("/proc/meminfo").read_text().split()[1]) / 2**20
    return {
        "made": datetime.datetime.now(datetime.UTC).strftime("%Y-%m-%d %H:%M UTC"),
        "processor": model,
        "cores": str(os.cpu_count()),
        "memory": f"{memory:.0f} GiB",
        "kernel": f"{platform.system()} {platform.release()}",
        "load average at the start": Path("/proc/loadavg").read_text().rsplit(" ", 2)[0],
    }


def markdown(results: Results) -> str:
    """Write the whole page."""
    entrants: dict[str, Any] = results["entrants"]
    present = {key: one for key, one in entrants.items() if not one["absent"]}
    measured = {key: one for key, one in present.items() if one["cells"]}
    facts, settings = results["facts"], results["settings"]
    method = (
        "Method, pinning and known unfairness: [benches/README.md](../README.md). One worker each; gateway "
        f"on core 0, mock and generator on core 1. Interleaved rounds: {settings['rounds']}, each cell "
        f"{settings['seconds']:g} s. Figures are medians of the rounds, brackets their range."
    )
    parts = [
        f"# Benchmarks of {facts['made']}",
        *smoke(measured, settings),
        method,
        grid(["machine", ""], [[name, value] for name, value in facts.items()]),
        grid(
            ["contender", "version"],
            [[one["name"], version(one)] for one in entrants.values()],
        ),
    ]
    if measured:
        parts += ["## Throughput, 64 connections", throughput(measured), *ratios(measured)]
        parts += ["## Added by the hop", added(measured), "## Memory and start", memory(measured)]
        parts += ["## Errors and doubts", "\n".join(doubts(measured))]
    if settings["streams"]:
        parts += [f"## {settings['streams']} paced streams", streams(present)]
    return "\n\n".join(parts) + "\n"


def smoke(entrants: dict[str, Any], settings: Report) -> list[str]:
    """Warn on top of a page whose figures are not for publication."""
    reasons = []
    if settings["rounds"] < 3 or settings["seconds"] < 2:
        reasons.append("too few or too short rounds")
    if entrants and statistics.median(foreign(entrants)) > QUIET:
        reasons.append("other programs were running")
    return [f"**Smoke, not results: {' and '.join(reasons)}.**"] if reasons else []


def foreign(entrants: dict[str, Any]) -> list[float]:
    """Collect how much of a core other programs used in each run."""
    reports = [report for one in entrants.values() for cell in one["cells"].values() for report in cell]
    return [report["cpu_others"] / report["wall"] for report in reports]


def version(entrant: Report) -> str:
    """Say which version it is, or why it has no figures."""
    absent = f"absent: {entrant['absent']}" if entrant["absent"] else ""
    return "; ".join(part for part in (entrant["version"], absent) if part)


def throughput(entrants: dict[str, Any]) -> str:
    """Tabulate requests and streams per second, each against nginx and Envoy of the same run."""
    head = ["contender", "whole req/s", "x nginx", "x Envoy", "p99 ms"]
    head += ["streams/s", "x nginx", "x Envoy", "p99 ms", "errors"]
    rows = []
    for one in entrants.values():
        row = [one["name"]]
        for cell in ("whole", "streamed"):
            row.append(spread(one, cell, rate, 0) + flag(one, cell))
            row += [ratio(one, entrants.get(other), cell) for other in ("nginx", "envoy")]
            row.append(median(one, cell, quantile("latency_us", "p99", 1000), 2))
        rows.append([*row, str(error_count(one))])
    return grid(head, rows)


def ratios(entrants: dict[str, Any]) -> list[str]:
    """Compare Meseta with each other contender, in words; nothing when it did not take part."""
    lines = []
    for key, one in entrants.items():
        if not key.startswith("meseta"):
            continue
        parts = [
            f"{ratio(one, other, 'whole')} x {other['name']} ({ratio(one, other, 'streamed')} x streamed)"
            for name, other in entrants.items()
            if name != "direct" and not name.startswith("meseta")
        ]
        lines.append(f"- {one['name']}: {', '.join(parts) or 'nothing to compare with'}")
    return ["\n".join(lines)] if lines else []


def added(entrants: dict[str, Any]) -> str:
    """Tabulate what the hop adds at concurrency 1, and processor time."""
    head = [
        "contender",
        "added p50 µs",
        "added p99 µs",
        "added first token p50 µs",
        "added first token p99 µs",
    ]
    head += ["added per token p50 µs", "added per token p99 µs", "token gap p99 µs"]
    head += ["CPU per request µs", "CPU per relayed token µs"]
    kinds = (("latency", "latency_us"), ("first_token", "first_token_us"), ("token", "token_delay_us"))
    rows = []
    for key, one in entrants.items():
        row = [one["name"] + (" (absolute)" if key == "direct" else "")]
        for cell, histogram in kinds:
            for name in ("p50", "p99"):
                pick = quantile(histogram, name)
                row.append(spread(one, cell, pick if key == "direct" else over_direct(pick), 1))
        row.append(median(one, "token", quantile("token_gap_us", "p99"), 0))
        row.append(NONE if key == "direct" else spread(one, "cpu", cpu_per("completed"), 1))
        row.append(NONE if key == "direct" else spread(one, "token_cpu", cpu_per("tokens_relayed"), 2))
        rows.append(row)
    return grid(head, rows)


def memory(entrants: dict[str, Any]) -> str:
    """Tabulate MiB of the process tree and the time from spawn to the first answer."""
    head = [
        "contender",
        "idle RSS MiB",
        "idle PSS MiB",
        "loaded RSS MiB",
        "loaded PSS MiB",
        "first answer after ms",
    ]
    rows = []
    for key, one in entrants.items():
        if key == "direct":
            continue
        samples = [
            report["memory"] for cell in one["cells"].values() for report in cell if "memory" in report
        ]
        row = [one["name"], *(f"{one['idle'][kind]:.1f}" for kind in ("rss", "pss"))]
        row += [
            f"{max(sample[kind] for sample in samples):.1f}" if samples else NONE for kind in ("rss", "pss")
        ]
        rows.append([*row, f"{one['start_ms']:.0f}"])
    return grid(head, rows)


def streams(entrants: dict[str, Any]) -> str:
    """Tabulate many streams at once on all cores, nothing pinned, two workers."""
    head = [
        "contender",
        "held at the end",
        "tokens/s",
        "stalls over 200 ms",
        "token delay p50 µs",
        "p99",
        "p99.9",
        "token gap p99 ms",
    ]
    head += ["gateway CPU cores", "RSS MiB", "errors"]
    rows = []
    for one in entrants.values():
        if not (report := one["streams"]):
            rows.append([one["name"], *[NONE] * (len(head) - 2), "; ".join(one["failures"]) or "not run"])
            continue
        delays = [quantile("token_delay_us", name)(report) for name in ("p50", "p99", "p99.9")]
        gap = quantile("token_gap_us", "p99", 1000)(report)
        rss = f"{report['memory']['rss']:.1f}" if "memory" in report else NONE
        row = [one["name"], str(report["held"]), f"{report['tokens_per_second']:,.0f}", str(report["stalls"])]
        row += [number(value, 0) for value in delays] + [number(gap, 1)]
        rows.append(
            [*row, f"{report['cpu_gateway'] / report['wall']:.2f}", rss, str(sum(report["errors"].values()))]
        )
    return grid(head, rows)


def doubts(entrants: dict[str, Any]) -> list[str]:
    """List errors by kind, cells that the generator limited, and how much else ran meanwhile."""
    lines = []
    for one in entrants.values():
        lines += [f"- {one['name']}: {failure}" for failure in one["failures"]]
        for name, reports in one["cells"].items():
            kinds: dict[str, int] = {}
            for report in reports:
                late = {"unfinished": report["unfinished"]} if report["unfinished"] else {}
                for kind, count in (report["errors"] | late).items():
                    kinds[kind] = kinds.get(kind, 0) + count
            if kinds:
                told = ", ".join(f"{count} {kind}" for kind, count in kinds.items())
                lines.append(f"- {one['name']}, {name}: {told}")
    flagged = [
        f"{one['name']} ({cell})"
        for one in entrants.values()
        for cell in ("whole", "streamed")
        if flag(one, cell)
    ]
    if flagged:
        lines.append(
            f"- † the generator's core was full, the gateway's was not: a lower bound. {', '.join(flagged)}"
        )
    lines.append(f"- Ceiling of mock and generator on their one core: {ceiling(entrants)}")
    others = foreign(entrants)
    lines.append(
        f"- Other programs used {statistics.median(others):.2f} of a core in the median run and "
        f"{max(others):.2f} in the worst; {QUIET} is still quiet."
    )
    return lines


def ceiling(entrants: dict[str, Any]) -> str:
    """Say how far the run without a hop is above the fastest gateway."""
    parts = []
    for cell in ("whole", "streamed"):
        rates = {
            key: value for key, one in entrants.items() if (value := middle(one, cell, rate)) is not None
        }
        direct = rates.pop("direct", None)
        if direct and rates:
            parts.append(f"{cell} {direct:,.0f}/s, {direct / max(rates.values()):.1f} x the fastest gateway")
    return "; ".join(parts) or "not measured"


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
    found = values(entrant, cell, pick)
    if len(found) < 2:
        return number(found[0] if found else None, digits)
    center, low, high = (
        number(value, digits) for value in (statistics.median(found), min(found), max(found))
    )
    return f"{center} [{low}, {high}]"


def ratio(entrant: Report, other: Report | None, cell: str) -> str:
    """Compare two contenders' rates round by round and write the median."""
    pairs = zip(entrant["cells"].get(cell, []), other["cells"].get(cell, []) if other else [], strict=False)
    found = [rate(mine) / rate(theirs) for mine, theirs in pairs if rate(theirs)]
    return f"{statistics.median(found):.2f}" if found else NONE


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
