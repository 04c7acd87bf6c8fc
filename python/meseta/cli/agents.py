"""`meseta agents`: the agents of the running plane, what they print, and how many of them there are."""

from __future__ import annotations

import json
import sys
import time
from typing import TYPE_CHECKING, Any

from meseta.cli.running import ago, clean, explain_refusal, home_of, options, replacing
from meseta.cli.terminal import DONE, FAILED, TIMED_OUT, USAGE, Terminal
from meseta.config.units import parse_duration_ms

if TYPE_CHECKING:
    import argparse
    from pathlib import Path

    from meseta.settings import Settings

VERBS = ("list", "logs", "restart", "scale")
HEAD = (
    "agent",
    "state",
    "ready",
    "in flight",
    "waiting",
    "last asked",
    "instance",
    "for",
    "pid",
    "port",
    "why",
)
COLOURS = {"ready": "green", "busy": "green", "failed": "red", "starting": "yellow", "draining": "yellow"}
LINES = 100
MOST_LINES = 100_000
LOOK_SECONDS = 0.5
"""How often `restart --wait` looks."""
FOLLOW_SECONDS = 0.2
"""How often `logs --follow` looks for more."""


def arguments(parser: argparse.ArgumentParser) -> None:
    """`list`, `logs ID`, `restart ID`, `scale ID N`; --json, --follow, --lines, --instance and the plane."""
    parser.add_argument("verb", nargs="?", choices=VERBS, default="list", help="what to do (default: list)")
    parser.add_argument("agent", nargs="?", metavar="ID", help="the agent; `list` shows all without one")
    parser.add_argument(
        "replicas",
        nargs="?",
        metavar="N",
        help="for scale: how many instances, or `auto` for what the file says",
    )
    parser.add_argument("--json", action="store_true", help="print as JSON")
    parser.add_argument(
        "-f", "--follow", action="store_true", help="for logs: go on until interrupted with what is printed"
    )
    parser.add_argument(
        "-n",
        "--lines",
        type=int,
        default=LINES,
        metavar="LINES",
        help=f"for logs: how many (default {LINES})",
    )
    parser.add_argument(
        "--instance", type=int, metavar="NUMBER", help="for logs: of this instance (default: of all)"
    )
    parser.add_argument(
        "--wait",
        metavar="DURATION",
        help="for restart: return when it is done, with exit code 1 when it fails, or 5 after DURATION",
    )
    options(parser)


def run(given: argparse.Namespace, terminal: Terminal, settings: Settings) -> int:
    """Exit code 0 when it was done, 1 for an agent that there is not, 4 when no plane answers."""
    from meseta.control.client import RefusedError, ask

    wrong = _misused(given)
    if wrong:
        terminal.fail(wrong)
        return USAGE
    home = home_of(given, settings)
    if given.verb == "logs":
        return _logs(given, home, terminal)
    try:
        if given.verb == "list":
            return _list(ask(home, "agents.list", agent=given.agent), terminal, as_json=given.json)
        if given.verb == "restart":
            answer = ask(home, "agents.restart", agent=given.agent)
            number = answer["instances"]
            count = f"{number} instance{'s' * (number != 1)}"
            text = f"Restarting {clean(given.agent)}: {count}, one after the other."
            if given.wait is not None:
                return _wait(given, home, terminal)
        else:
            answer = ask(home, "agents.scale", agent=given.agent, replicas=given.replicas)
            number = answer["replicas"]
            now = "as many instances as the file says" if number is None else f"{number} instances"
            text = f"Agent {clean(given.agent)} gets {now}."
    except RefusedError as error:
        return explain_refusal(error, terminal)
    if given.json:
        terminal.json(answer)
    else:
        terminal.data(text)
    return DONE


def _misused(given: argparse.Namespace) -> str | None:
    """Return what is wrong with the words that were given."""
    if given.verb != "list" and given.agent is None:
        return f"`{given.verb}` needs the ID of an agent; `meseta agents list` shows them."
    if given.verb == "scale" and given.replicas is None:
        return "`scale` needs the number of instances, or `auto`."
    if given.verb != "scale" and given.replicas is not None:
        return f"`{clean(given.replicas)}` is not understood here; name one agent."
    if given.verb != "logs" and (given.follow or given.instance is not None or given.lines != LINES):
        return "`--follow`, `--lines` and `--instance` belong to `logs`."
    if given.wait is not None:
        if given.verb != "restart":
            return "`--wait` belongs to `restart`."
        try:
            parse_duration_ms(given.wait)
        except ValueError as error:
            return f"`--wait`: {error}"
    if not 0 <= given.lines <= MOST_LINES:
        return f"`--lines` must be from 0 to {MOST_LINES}."
    return None


def _list(answer: dict[str, Any], terminal: Terminal, *, as_json: bool) -> int:
    if as_json:
        terminal.json(answer)
        return DONE
    terminal.table(HEAD, [row for agent in answer["agents"] for row in _rows(agent)])
    states = [str(agent["state"]) for agent in answer["agents"]]
    counted = [
        terminal.style(f"{states.count(state)} {clean(state)}", COLOURS.get(state, "dim"), sys.stderr)
        for state in dict.fromkeys(states)
    ]
    terminal.say((", ".join(counted) or "There are no agents") + ".")
    for agent in answer["agents"]:
        if rollout := replacing(agent):
            terminal.say(f"{clean(agent['id'], 64)}: {rollout}.")
    return DONE


def _wait(given: argparse.Namespace, home: Path, terminal: Terminal) -> int:
    """Return when every instance is a new one, when the new ones fail, or when the time is over."""
    from meseta.control.client import ask

    deadline = time.monotonic() + parse_duration_ms(given.wait) / 1000
    while True:
        (row,) = ask(home, "agents.list", agent=given.agent)["agents"]
        rollout = row["rollout"]
        new = [one for one in row["instances"] if one["generation"] == row["generation"]]
        if rollout is None and sum(one["state"] in {"ready", "busy"} for one in new) >= row["desired"]:
            break
        if any(one["crash_loop"] for one in new):
            why = replacing(row) or next((clean(one["why"], 300) for one in new if one["why"]), "crash loop")
            terminal.fail(f"Restarting {clean(given.agent)} failed: {why}.")
            return FAILED
        if time.monotonic() >= deadline:
            terminal.fail(f"Restarting {clean(given.agent)} goes on: {replacing(row) or 'not ready yet'}.")
            return TIMED_OUT
        time.sleep(LOOK_SECONDS)
    if given.json:
        terminal.json({"agent": row["id"], "instances": row["desired"]})
    else:
        terminal.data(f"Restarted {clean(given.agent)}: {row['desired']} of {row['desired']} replaced.")
    return DONE


def _rows(agent: dict[str, Any]) -> list[list[str]]:
    """Return a row for each instance; the first one tells about the agent too."""
    asked = agent["last_request_ms_ago"]
    first = [
        clean(agent["id"], 64),
        "crash loop" if agent["crash_loop"] else agent["state"],
        f"{agent['ready']}/{agent['desired']}" + (" by hand" if agent.get("pinned") is not None else ""),
        str(agent["in_flight"]),
        str(agent["waiting"]),
        "" if asked is None else ago(time.time() - asked / 1000),
    ]
    instances = [_instance(one) for one in agent["instances"]] or [[""] * 5]
    return [[*(first if number == 0 else [""] * 6), *cells] for number, cells in enumerate(instances)]


def _instance(one: dict[str, Any]) -> list[str]:
    since, left = one.get("since"), one.get("until_ms")
    why = clean(one["why"] or "", 300)
    if left is not None:
        why += f"; next attempt in {left / 1000:.1f} s"
    return [
        f"{one['number']} {one['state']}",
        "" if since is None else ago(since),
        str(one.get("pid") or ""),
        str(one.get("port") or ""),
        why,
    ]


def _logs(given: argparse.Namespace, home: Path, terminal: Terminal) -> int:
    """Read the files themselves, so that the output of a plane that has stopped can be read too."""
    from meseta.fleet.output import Follower, file_of, numbers, tail

    try:
        found = numbers(home, given.agent)
    except ValueError as error:
        terminal.fail(str(error))
        return FAILED
    chosen = [number for number in found if given.instance in {None, number}]
    if not chosen and not given.follow:
        terminal.fail(_nothing_printed(given.agent, given.instance if found else None, home))
        return FAILED
    printer = _Printer(terminal, as_json=given.json, numbered=given.instance is None)
    followers: dict[int, Follower] = {}
    for number in chosen:
        file = file_of(home, given.agent, number)
        followers[number] = Follower(file, at_end=True)
        printer.take(number, tail(file, given.lines))
    while given.follow:
        for number in numbers(home, given.agent):
            if given.instance in {None, number} and number not in followers:
                followers[number] = Follower(file_of(home, given.agent, number), at_end=False)
        for number, follower in followers.items():
            for piece in follower.read():
                printer.take(number, piece)
        sys.stdout.flush()
        time.sleep(FOLLOW_SECONDS)
    printer.end()
    return DONE


def _nothing_printed(agent: str, instance: int | None, home: Path) -> str:
    """Return why there is no output, which the plane may know."""
    from meseta.control.client import RefusedError, ask
    from meseta.errors import NotRunningError

    if instance is not None:
        return f"Instance {instance} of agent `{clean(agent)}` has printed nothing; others have."
    try:
        (row,) = ask(home, "agents.list", agent=agent)["agents"]
    except NotRunningError:
        return f"There is no output of an agent `{clean(agent)}` in {home}, and Meseta does not run there."
    except RefusedError as error:
        return clean(str(error), 300)
    if row["driver"] == "external":
        return f"Agent `{clean(agent)}` is run by somebody else, who has what it prints."
    why = next((one["why"] for one in row["instances"] if one["why"]), None)
    if why is not None:
        return f"Agent `{clean(agent)}` has printed nothing: {clean(why, 300)}."
    return f"Agent `{clean(agent)}` has printed nothing; no process of it was started yet."


class _Printer:
    """Prints whole lines with the number of the instance that printed them."""

    def __init__(self, terminal: Terminal, *, as_json: bool, numbered: bool) -> None:
        self._terminal = terminal
        self._as_json = as_json
        self._numbered = numbered
        self._begun: dict[int, bytes] = {}

    def take(self, number: int, data: bytes) -> None:
        """Print the lines that are complete."""
        *lines, rest = (self._begun.get(number, b"") + data).split(b"\n")
        for line in lines:
            self._print(number, line)
        self._begun[number] = rest

    def end(self) -> None:
        """Print what was begun."""
        for number, rest in self._begun.items():
            if rest:
                self._print(number, rest)

    def _print(self, number: int, line: bytes) -> None:
        text = line.decode("utf-8", "replace").rstrip("\r")
        if self._as_json:
            self._terminal.data(json.dumps({"instance": number, "line": text}))
            return
        # What an agent prints must not steer the terminal of whoever reads it; tabs are harmless.
        text = "".join(letter if letter.isprintable() or letter == "\t" else "\ufffd" for letter in text)
        self._terminal.data(f"{number} | {text}" if self._numbered else text)
