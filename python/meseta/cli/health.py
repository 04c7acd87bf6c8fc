"""`meseta health`: the state of every target of the running plane, and its reset."""

from __future__ import annotations

import json
import sys
import time
from typing import TYPE_CHECKING, Any

from meseta.cli.running import clean, explain_refusal, home_of, options
from meseta.cli.terminal import DONE, USAGE, Terminal

if TYPE_CHECKING:
    import argparse
    from pathlib import Path

    from meseta.settings import Settings

WATCH_SECONDS = 2.0
HEAD = ("target", "state", "for", "requests", "errors", "in flight", "waiting", "p50 ms", "p95 ms", "why")
_COLOURS = {"ready": "green", "resting": "red", "trial": "yellow", "ramping": "yellow", "limited": "yellow"}


def arguments(parser: argparse.ArgumentParser) -> None:
    """`reset`, TARGET, --json, --watch, --home, --file."""
    parser.add_argument("verb", nargs="?", metavar="reset", help="forget failures, instead of showing them")
    parser.add_argument("target", nargs="?", metavar="TARGET", help="this one only (default: all)")
    parser.add_argument("--json", action="store_true", help="print as JSON, with --watch one line each time")
    parser.add_argument(
        "--watch", action="store_true", help=f"show it again every {WATCH_SECONDS:.0f} s until the plane ends"
    )
    options(parser)


def run(given: argparse.Namespace, terminal: Terminal, settings: Settings) -> int:
    """Exit code 0 when a plane answers, 4 when none does (any more), 1 for a target that there is not."""
    from meseta.control.client import RefusedError

    reset, target = given.verb == "reset", given.target
    if given.verb is not None and not reset:
        if target is not None:
            terminal.fail(f"`{clean(given.verb)}` is not understood here; name one target.")
            return USAGE
        target = given.verb
    if reset and given.watch:
        terminal.fail("`reset` is done once; leave `--watch` out.")
        return USAGE
    home = home_of(given, settings)
    try:
        if reset:
            return _reset(home, target, terminal, as_json=given.json)
        return _show(home, target, terminal, as_json=given.json, watching=given.watch)
    except RefusedError as error:
        return explain_refusal(error, terminal)


def _reset(home: Path, target: str | None, terminal: Terminal, *, as_json: bool) -> int:
    from meseta.control.client import ask

    answer = ask(home, "reset", target=target)
    if as_json:
        terminal.json(answer)
    else:
        number = answer["reset"]
        terminal.data(f"Reset {number} target{'s' * (number != 1)}.")
    return DONE


def _show(home: Path, target: str | None, terminal: Terminal, *, as_json: bool, watching: bool) -> int:
    from meseta.control.client import ask

    while True:
        answer = ask(home, "health", target=target)
        if as_json and watching:
            terminal.data(json.dumps(answer))
        elif as_json:
            terminal.json(answer)
        else:
            if watching and sys.stdout.isatty():
                terminal.data("\x1b[H\x1b[2J" + time.strftime("%H:%M:%S"))
            rows = [row for target in answer["targets"] for row in _rows(target)]
            terminal.table(HEAD, rows)
            _count(answer["targets"], terminal)
        if not watching:
            return DONE
        time.sleep(WATCH_SECONDS)


def _rows(target: dict[str, Any]) -> list[list[str]]:
    """Return a target's row, and one for each of its keys where it has several."""
    rows = [
        [
            clean(target["name"], 60),
            target["state"],
            _left(target["until_ms"]),
            str(target["requests"]),
            str(target["errors"]),
            str(target["in_flight"]),
            str(target["waiting"]),
            _number(target["p50_ms"]),
            _number(target["p95_ms"]),
            _why(target),
        ]
    ]
    if len(target["keys"]) > 1:
        rows += [
            [
                f"  key {key['number']}",
                key["state"],
                _left(key["until_ms"]),
                "",
                str(key["failures"]),
                str(key["in_flight"]),
                "",
                "",
                "",
                clean(key["cause"] or ""),
            ]
            for key in target["keys"]
        ]
    return rows


def _why(target: dict[str, Any]) -> str:
    """Return the cause of its state, how often it failed in a row, and a probe that failed."""
    parts = [clean(target["cause"])] if target["cause"] else []
    if target["failures"] > 1:
        parts.append(f"{target['failures']} failures in a row")
    probe = target["probe"]
    if probe is not None and not probe["ok"]:
        parts.append(f"probe: {clean(probe['error'] or 'failed')}")
    return "; ".join(parts)


def _left(milliseconds: float | None) -> str:
    return f"{milliseconds / 1000:.1f} s" if milliseconds else ""


def _number(value: float | None) -> str:
    return "-" if value is None else f"{value:.0f}"


def _count(targets: list[dict[str, Any]], terminal: Terminal) -> None:
    states = [str(target["state"]) for target in targets]
    counted = [
        terminal.style(f"{states.count(state)} {clean(state)}", _COLOURS.get(state, "dim"), sys.stderr)
        for state in dict.fromkeys(states)
    ]
    terminal.say(", ".join(counted) + ".")
