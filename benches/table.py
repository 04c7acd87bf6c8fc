"""The Markdown table and the facts about the machine it was made on."""

from __future__ import annotations

import datetime
import os
import platform
import statistics
from pathlib import Path
from typing import Any

from figures import (
    NONE,
    Report,
    cpu_per,
    differences,
    error_count,
    flag,
    grid,
    median,
    middle,
    number,
    over_direct,
    quantile,
    ranged,
    rate,
    rate_ratios,
    ratio,
    spread,
)

Results = dict[str, Any]
# Of a core, used by other programs: above it a figure is smoke.
QUIET = 0.05
# What a pool with health and admission must keep of the rate of one plain target.
POOLED_TARGET = 0.95
POOLED = ("meseta-pool", "meseta-pool-all")
TRANSLATED = ("meseta-chat-messages", "meseta-messages-chat")
# What a translated hop must keep of the rate of the same hop without a translation.
TRANSLATED_TARGET = 0.7


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
        parts += [*translated(measured), *pooled(measured), *before(measured)]
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
        # What a translation costs is told against the same hop without one.
        if not key.startswith("meseta") or key in TRANSLATED:
            continue
        parts = [
            f"{ratio(one, other, 'whole')} x {other['name']} ({ratio(one, other, 'streamed')} x streamed)"
            for name, other in entrants.items()
            if not is_direct(name) and not name.startswith("meseta")
        ]
        lines.append(f"- {one['name']}: {', '.join(parts) or 'nothing to compare with'}")
    return ["\n".join(lines)] if lines else []


def pooled(entrants: dict[str, Any]) -> list[str]:
    """Compare the plane with a pool with the one without, by rate and by CPU; nothing without both."""
    base = entrants.get("meseta-on")
    pools = [entrants[key] for key in POOLED if key in entrants]
    if not base or not pools:
        return []
    lines = []
    for one in pools:
        told = []
        for cell in ("whole", "streamed"):
            cpu = statistics.median(cpu_each(one, cell)) / statistics.median(cpu_each(base, cell))
            told.append(f"{ratio(one, base, cell)} x the {cell} rate ({cpu:.2f} x the CPU for each)")
        lines.append(f"- {one['name']}: {', '.join(told)}")
    intro = f"Against the same plane without a pool; at least {POOLED_TARGET} is asked for:"
    return ["## With a pool", intro, "\n".join(lines)]


def cpu_each(entrant: Report, cell: str) -> list[float]:
    """Return the gateway's CPU seconds for each request of every round."""
    return [report["cpu_gateway"] / report["requests"] for report in entrant["cells"][cell]]


def translated(entrants: dict[str, Any]) -> list[str]:
    """Compare the hops that translate with the one that does not; nothing when either took no part."""
    base = entrants.get("meseta-on")
    others = [entrants[key] for key in TRANSLATED if key in entrants]
    if not base or not others:
        return []
    lines = []
    for one in others:
        told = []
        for cell in ("whole", "streamed"):
            if found := rate_ratios(one, base, cell):
                kept = statistics.median(found)
                told.append(f"{cell} {kept:.2f}, {'reached' if kept >= TRANSLATED_TARGET else 'MISSED'}")
            else:
                told.append(f"{cell} not measured")
        lines.append(f"- {one['name']}: {'; '.join(told)}")
    target = f"Target: at least {TRANSLATED_TARGET:g} of the rate of {base['name']} in the same round."
    return ["## Translated", compared(base, others), target, "\n".join(lines)]


def before(entrants: dict[str, Any]) -> list[str]:
    """Compare the plane with an older build of it; nothing when either took no part."""
    base, now = entrants.get("meseta-before"), entrants.get("meseta-on")
    return ["## Before and after", compared(base, [now])] if base and now else []


def compared(base: Report, others: list[Report]) -> str:
    """Tabulate contenders beside another: ratios of rates and differences of processor time, by round."""
    cells = (("whole", "whole req/s"), ("streamed", "streams/s"))
    times = (
        ("cpu", "CPU per request µs", cpu_per("completed"), 1),
        ("token_cpu", "CPU per relayed token µs", cpu_per("tokens_relayed"), 2),
    )
    head = ["contender"]
    for title in [title for _, title in cells]:
        head += [title, f"x {base['name']}"]
    for title in [title for _, title, _, _ in times]:
        head += [title, "difference"]
    rows = []
    for one in (base, *others):
        row = [one["name"]]
        for cell, _ in cells:
            row.append(spread(one, cell, rate, 0) + flag(one, cell))
            row.append(NONE if one is base else ranged(rate_ratios(one, base, cell), 2))
        for cell, _, pick, digits in times:
            row.append(spread(one, cell, pick, digits))
            row.append(NONE if one is base else ranged(differences(one, base, cell, pick), digits))
        rows.append([*row, str(error_count(one))])
    return grid([*head, "errors"], rows)


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
        row = [one["name"] + (" (absolute)" if is_direct(key) else "")]
        for cell, histogram in kinds:
            for name in ("p50", "p99"):
                pick = quantile(histogram, name)
                row.append(spread(one, cell, pick if is_direct(key) else over_direct(pick), 1))
        row.append(median(one, "token", quantile("token_gap_us", "p99"), 0))
        row.append(NONE if is_direct(key) else spread(one, "cpu", cpu_per("completed"), 1))
        row.append(NONE if is_direct(key) else spread(one, "token_cpu", cpu_per("tokens_relayed"), 2))
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
        if is_direct(key):
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
        direct = rates.get("direct")
        rates = {key: value for key, value in rates.items() if not is_direct(key)}
        if direct and rates:
            parts.append(f"{cell} {direct:,.0f}/s, {direct / max(rates.values()):.1f} x the fastest gateway")
    return "; ".join(parts) or "not measured"


def is_direct(key: str) -> bool:
    """Whether this is a run without a gateway."""
    return key.startswith("direct")
