"""`meseta config diff`: what a file would change, and whether a running plane can take it."""

from __future__ import annotations

import json
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Any

from meseta.cli.files import required_file
from meseta.cli.running import clean, explain_refusal, home_of_file
from meseta.cli.terminal import CONFIGURATION, DONE, FAILED, USAGE, Terminal
from meseta.config.secrets import MASK

if TYPE_CHECKING:
    import argparse

    from meseta.settings import Settings

_SIGNS = {"added": "+", "removed": "-", "changed": "~", "reordered": "~"}


def arguments(parser: argparse.ArgumentParser) -> None:
    """FILE, --against, --home, --exit-code, --json."""
    parser.add_argument(
        "file", nargs="?", metavar="FILE", help="the new configuration (default: meseta.yaml, ...)"
    )
    parser.add_argument(
        "--against", metavar="OTHER", help="the file to compare with (default: the running plane)"
    )
    parser.add_argument(
        "--home",
        metavar="DIRECTORY",
        help="home of the running plane (default: that of FILE, or MESETA_HOME)",
    )
    parser.add_argument("--exit-code", action="store_true", help="exit with 1 when something would change")
    parser.add_argument("--json", action="store_true", help="print the changes as JSON")


def run(given: argparse.Namespace, terminal: Terminal, settings: Settings) -> int:
    """Exit code 0, or 3 for a file or a change that cannot be put in force; 1 only with --exit-code."""
    from meseta.control.client import RefusedError

    if given.against is not None and given.home is not None:
        terminal.fail("`--against` compares with a file and `--home` with a running plane; give one of them.")
        return USAGE
    file = required_file(given.file)
    try:
        if given.against is None:
            document = _with_plane(file, given.home, settings)
        else:
            document = _with_file(file, given.against, settings)
    except RefusedError as error:
        return explain_refusal(error, terminal)
    changes = document["changes"]
    refused = [change for change in changes if change["refused"]]
    if given.json:
        terminal.json({**document, "applicable": not refused})
    else:
        _print(document, refused, terminal)
    if refused:
        return CONFIGURATION
    return FAILED if given.exit_code and changes else DONE


def _with_plane(file: str, home: str | None, settings: Settings) -> dict[str, Any]:
    """Let the plane read the file, because its environment decides what the file means."""
    from meseta.control.client import ask

    place = home_of_file(Path(file), settings) if home is None else Path(home).absolute()
    answer: dict[str, Any] = ask(place, "diff", file=str(Path(file).absolute()))
    return {**answer, "new": file}


def _with_file(file: str, other: str, settings: Settings) -> dict[str, Any]:
    from meseta.config.resolve import resolve_file
    from meseta.control.changes import Comparison, changes

    old, new = (resolve_file(path, home=settings.home) for path in (other, file))
    warnings = [warning.as_dict() for warning in new.warnings]
    return asdict(Comparison(other, file, changes(old.snapshot, new.snapshot), warnings))


def _print(document: dict[str, Any], refused: list[dict[str, Any]], terminal: Terminal) -> None:
    from meseta.config.problems import Problem

    terminal.problems([Problem(**problem) for problem in document["warnings"]])
    changes = document["changes"]
    if not changes:
        terminal.say(f"{document['new']} changes nothing in {document['old']}.")
        return
    for change in changes:
        for line in _lines(change):
            terminal.data(line)
    for change in refused:
        thing = " ".join(part for part in (change["section"], change["name"]) if part)
        terminal.fail(f"{clean(thing)} needs a restart: {change['refused']}.")
    if refused:
        terminal.say("A reload of this file would be refused whole.", "error")
    else:
        terminal.say(f"{len(changes)} change{'s' * (len(changes) != 1)}, of which none needs a restart.")


def _lines(change: dict[str, Any]) -> list[str]:
    sign = "!" if change["refused"] else _SIGNS[change["kind"]]
    thing = " ".join(part for part in (change["section"], clean(change["name"])) if part)
    if change["kind"] in {"added", "removed"}:
        return [f"{sign} {thing} {change['kind']}" if change["refused"] else f"{sign} {thing}"]
    if change["kind"] == "reordered":
        return [f"{sign} {thing}: in another order"]
    return [f"{sign} {thing}: {_key(key)}" for key in change["keys"]]


def _key(key: dict[str, Any]) -> str:
    """Return the path and both values of a key, or that a secret is another one."""
    path = f"{clean(key['path'])} " if key["path"] else ""
    if key["old"] == key["new"] and MASK in json.dumps(key["old"]):
        return f"{path}is another secret"
    return f"{path}{_value(key['old'])} -> {_value(key['new'])}"


def _value(value: Any) -> str:
    return clean(value if isinstance(value, str) else json.dumps(value), 60)
