"""`meseta up`: serve in the foreground, reload on SIGHUP and when a file changes, drain on SIGTERM."""

from __future__ import annotations

import json
import math
import os
import queue
import signal
import threading
import time
from typing import TYPE_CHECKING, Literal

from meseta.cli.files import usual_file
from meseta.cli.incidents import Incidents
from meseta.cli.terminal import DONE, FAILED, TIMED_OUT, USAGE, Terminal
from meseta.config.units import parse_duration_ms
from meseta.errors import ControlError
from meseta.plane import Plane, Source, listener_url
from meseta.privacy import close_memory
from meseta.watch import INTERVAL_SECONDS, Watch

if TYPE_CHECKING:
    import argparse

    from meseta.settings import Settings

Event = Literal["stop", "reload", "reloaded", "stopped", "late"]
"""`reload` asks for one; `reloaded` says that the control socket has done one."""

Outcome = Literal["done", "refused", "later"]

RETRY_SECONDS = 10.0
"""After a reload that failed for nothing but a credential: how long until the next attempt."""


def arguments(parser: argparse.ArgumentParser) -> None:
    """FILE, --listen-port, --drain, --no-watch, --json."""
    parser.add_argument(
        "file",
        nargs="?",
        metavar="FILE",
        help="the configuration (default: meseta.yaml, config.yaml or plano_config.yaml here; else no file)",
    )
    parser.add_argument(
        "--listen-port", type=int, metavar="PORT", help="port of the first listener, 0 for any"
    )
    parser.add_argument(
        "--drain", metavar="DURATION", help="how long requests may take to finish (default 30s)"
    )
    parser.add_argument(
        "--no-watch", action="store_true", help="reload on SIGHUP only, not when a file changes"
    )
    parser.add_argument("--json", action="store_true", help="print where it listens as one line of JSON")


def run(given: argparse.Namespace, terminal: Terminal, settings: Settings) -> int:
    """Serve until SIGTERM or SIGINT; 0 when every request finished, 5 when the drain limit cut some."""
    # Agents may run as the same user, and the keys of providers are in our environment.
    close_memory()
    port = given.listen_port
    if port is not None and not 0 <= port <= 65535:
        terminal.fail("`--listen-port` must be from 0 to 65535.")
        return USAGE
    drain_seconds = settings.drain_seconds
    if given.drain is not None:
        try:
            drain_seconds = parse_duration_ms(given.drain) / 1000
        except ValueError as error:
            terminal.fail(f"`--drain`: {error}")
            return USAGE
    file = given.file or usual_file()
    if file:
        source = Source.of_file(file, home=settings.home, port=port, child=True)
    else:
        source = Source.of_environment(home=settings.home, port=port)
    # Handlers first: a signal that comes while the plane starts must not be lost.
    events: queue.SimpleQueue[Event] = queue.SimpleQueue()
    for number in (signal.SIGTERM, signal.SIGINT):
        signal.signal(number, lambda *_: events.put("stop"))
    signal.signal(signal.SIGHUP, lambda *_: events.put("reload"))
    plane = Plane(source, settings=settings, report=terminal.report)
    terminal.problems(plane.warnings)
    control = _open_control(plane, events, terminal) if settings.control else None
    _announce(plane, terminal, control, as_json=given.json)
    _serve(plane, events, terminal, watching=not given.no_watch)
    return _drain(plane, events, terminal, drain_seconds)


def _serve(plane: Plane, events: queue.SimpleQueue[Event], terminal: Terminal, *, watching: bool) -> None:
    """Until a stop is asked for."""
    watch = Watch(plane.files if watching else {})
    incidents = Incidents()
    again = math.inf
    while True:
        try:
            event = events.get(timeout=INTERVAL_SECONDS)
        except queue.Empty:
            for text, level in incidents.look(plane.health(), plane.stats()["choices"]):
                terminal.report(text, level)
            if not watch.changed() and time.monotonic() < again:
                continue
            event = "reload"
        if event == "stop":
            return
        if event == "reloaded":
            terminal.problems(plane.warnings)
            _say_reloaded(plane, terminal)
            outcome: Outcome = "done"
        else:
            outcome = _reload(plane, terminal)
        # After a failure the last look counts: the same mistake is not read again every second.
        again = time.monotonic() + RETRY_SECONDS if outcome == "later" else math.inf
        if outcome == "done" and watching:
            watch.follow(plane.files)


def _open_control(plane: Plane, events: queue.SimpleQueue[Event], terminal: Terminal) -> str | None:
    """Return the path of the control socket; a plane that cannot have one serves without it."""
    try:
        return str(plane.open_control(lambda: events.put("reloaded")))
    except ControlError as error:
        terminal.warn(f"{error} `meseta status`, `health` and `reload` cannot reach this plane.")
        return None


def _reload(plane: Plane, terminal: Terminal) -> Outcome:
    """Put the new configuration in force, or say why the old one stays; `later` is worth another attempt."""
    from meseta.cli.main import explain_error
    from meseta.config.problems import ConfigError

    try:
        warnings = plane.reload()
    except Exception as error:
        explain_error(error, terminal)
        if isinstance(error, ConfigError) and all(
            problem.code == "config.credential_unavailable" for problem in error.errors
        ):
            terminal.warn(f"The configuration in force stays. Next attempt in {RETRY_SECONDS:.0f} s.")
            return "later"
        terminal.warn("Nothing was changed; the configuration in force stays.")
        return "refused"
    terminal.problems(warnings)
    _say_reloaded(plane, terminal)
    return "done"


def _say_reloaded(plane: Plane, terminal: Terminal) -> None:
    terminal.say(f"Reloaded {plane.source}: snapshot {plane.stats()['snapshot']}.")


def _drain(plane: Plane, events: queue.SimpleQueue[Event], terminal: Terminal, limit: float) -> int:
    """Stop in a thread, because the native call cannot hear a second signal."""
    in_flight = plane.stats()["in_flight"]
    if in_flight:
        terminal.say(f"Stopping: {in_flight} in flight, up to {limit:g} s. A second signal stops at once.")

    def stop() -> None:
        try:
            events.put("stopped" if plane.stop(limit) else "late")
        except Exception as error:
            terminal.fail(str(error))
            events.put("late")

    threading.Thread(target=stop, name="meseta-drain", daemon=True).start()
    while (event := events.get()) in {"reload", "reloaded"}:
        pass
    if event == "stopped":
        terminal.say("Stopped.")
        return DONE
    if event == "late":
        terminal.warn("Stopped; the limit cut off requests that were still in flight.")
        return TIMED_OUT
    terminal.warn("Stopped at once on a second signal.")
    os._exit(FAILED)


def _announce(plane: Plane, terminal: Terminal, control: str | None, *, as_json: bool) -> None:
    """Where it listens, what it can call, and the next command to try."""
    listeners = plane.listeners
    snapshot = plane.snapshot
    if as_json:
        shown = [{**listener, "url": listener_url(listener)} for listener in listeners]
        announced = {"listeners": shown, "log": plane.log_path, "source": plane.source, "control": control}
        terminal.data(json.dumps(announced))
    for listener in listeners:
        terminal.say(f"Listening on {listener_url(listener)} ({listener['name']}), serving {plane.source}.")
    callable_names = [target["name"] for target in snapshot["targets"] if target["provider"] != "agent"]
    aliases = [row["id"] for row in snapshot["catalog"] if row["id"] not in callable_names]
    aliases = [name for name in aliases if name in snapshot["names"]]
    if callable_names:
        terminal.say(f"Models: {_listed(callable_names + aliases)}")
    if snapshot["agents"]:
        terminal.say(f"Agents: {_listed([agent['id'] for agent in snapshot['agents']])}")
    terminal.say(f"Log: {plane.log_path or 'off'}")
    model = "sim/echo" if "sim" in snapshot["wildcards"] else _example(plane)
    if snapshot["listeners"][0]["type"] == "agent":
        # Whatever a client names there, agents are chosen by what it says.
        model = snapshot["listeners"][0]["name"]
    keys = ""
    if snapshot["listeners"][0]["auth"]["type"] == "keys":
        keys = " -H 'authorization: Bearer YOUR_KEY'"
    body = json.dumps({"model": model, "messages": [{"role": "user", "content": "Hello"}]})
    terminal.say(
        f"Try: curl {plane.url}/chat/completions{keys} -H 'content-type: application/json' -d '{body}'"
    )


def _example(plane: Plane) -> str:
    catalog = plane.snapshot["catalog"]
    if catalog:
        return catalog[0]["id"]
    names = [target["name"] for target in plane.snapshot["targets"]]
    return names[0].replace("*", "MODEL") if names else "MODEL"


def _listed(names: list[str], most: int = 12) -> str:
    more = f" and {len(names) - most} more" if len(names) > most else ""
    return ", ".join(names[:most]) + more
