"""`meseta status`: what the running plane serves."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from meseta.cli.running import ago, clean, explain_refusal, home_of, options, replacing
from meseta.cli.terminal import DONE, Terminal

if TYPE_CHECKING:
    import argparse
    from collections.abc import Iterator

    from meseta.settings import Settings


def arguments(parser: argparse.ArgumentParser) -> None:
    """--home, --file, --json."""
    options(parser)
    parser.add_argument("--json", action="store_true", help="print everything as JSON, counters included")


def run(given: argparse.Namespace, terminal: Terminal, settings: Settings) -> int:
    """Exit code 0 when a plane answers, 4 when none does."""
    from meseta.control.client import RefusedError, ask

    try:
        status = ask(home_of(given, settings), "status")
    except RefusedError as error:
        return explain_refusal(error, terminal)
    if given.json:
        terminal.json(status)
        return DONE
    for name, value in _lines(status):
        terminal.data(f"{name:<10}{value}")
    if status["refused_reload"] is not None:
        refused = status["refused_reload"]
        terminal.warn(f"The reload {ago(refused['at'])} ago was refused, so what was in force before serves:")
        for line in refused["message"].splitlines():
            terminal.say(f"  {clean(line, 300)}", "warn")
    return DONE


def _lines(status: dict[str, Any]) -> list[tuple[str, str]]:
    from meseta.plane import listener_url

    stats = status["stats"]
    lines = [
        (status["state"], f"{clean(status['source'], 300)} for {ago(status['since'])}"),
        ("snapshot", status["snapshot"]),
        ("process", f"{status['pid']}, meseta {status['version']}, up for {ago(status['started'])}"),
        ("home", clean(status["home"], 300)),
    ]
    lines += [
        ("listens", f"{listener_url(row)} ({clean(row['name'])}), {row['connections']} connections")
        for row in status["listeners"]
    ]
    lines.append(
        (
            "requests",
            f"{stats['requests']}, {stats['in_flight']} in flight, {stats['errors']} ended in an error",
        )
    )
    if status["agents"]:
        lines.append(("agents", ", ".join(_agents(status["agents"]))))
    choices = {kind.replace(".", " "): count for kind, count in stats["choices"].items() if count}
    if choices:
        lines.append(("choices", ", ".join(_counters(choices))))
    log = stats["log"]
    if status["log"] is not None:
        lines.append(
            ("log", f"{log['written']} rows written, {log['queued']} queued, {log['dropped']} dropped")
        )
    for name in ("admission", "shared"):
        counters = stats.get(name)
        if isinstance(counters, dict):
            lines.append((name, ", ".join(_counters(counters))))
    return lines


def _agents(agents: list[dict[str, Any]]) -> Iterator[str]:
    """Yield each agent with its state, and how many instances are ready of those that should be."""
    for agent in agents:
        state = "crash loop" if agent["crash_loop"] else agent["state"]
        rollout = replacing(agent)
        more = f" ({rollout})" if rollout else ""
        yield f"{clean(agent['id'], 64)} {state} {agent['ready']}/{agent['desired']}{more}"


def _counters(counters: dict[str, Any]) -> Iterator[str]:
    """Yield what is one number or word, by its name; what is not known is left out."""
    for key, value in counters.items():
        if value is None or isinstance(value, (dict, list)):
            continue
        shown = {True: "yes", False: "no"}[value] if isinstance(value, bool) else clean(value, 100)
        yield f"{key.replace('_', ' ')} {shown}"
