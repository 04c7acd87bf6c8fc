"""`meseta check`: say everything that is wrong with a configuration."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING

from meseta.cli.files import required_file
from meseta.cli.terminal import CONFIGURATION, DONE, Terminal

if TYPE_CHECKING:
    import argparse

    from meseta.settings import Settings


def arguments(parser: argparse.ArgumentParser) -> None:
    """FILE and --json."""
    parser.add_argument(
        "file", nargs="?", metavar="FILE", help="the configuration (default: meseta.yaml, ...)"
    )
    parser.add_argument("--json", action="store_true", help="print the result as JSON")


def run(given: argparse.Namespace, terminal: Terminal, settings: Settings) -> int:
    """Exit code 0 when the file can be served, 3 when not. Warnings do not count."""
    from meseta.config.problems import ConfigError
    from meseta.config.resolve import resolve_file
    from meseta.errors import NativeMissingError
    from meseta.native import core

    file = given.file
    try:
        file = required_file(given.file)
        resolved = resolve_file(file, home=settings.home)
    except ConfigError as error:
        if not given.json:
            raise
        terminal.json(
            {"file": file, "valid": False, "problems": [problem.as_dict() for problem in error.problems]}
        )
        return CONFIGURATION
    try:
        core().check_snapshot(json.dumps(resolved.snapshot))
    except NativeMissingError:
        terminal.say("The native module is not built, so it was not asked for its opinion.", "debug")
    if given.json:
        problems = [problem.as_dict() for problem in resolved.warnings]
        terminal.json({"file": file, "valid": True, "problems": problems})
        return DONE
    terminal.problems(resolved.warnings)
    snapshot = resolved.snapshot
    parts = [
        _count(len(snapshot["listeners"]), "listener"),
        _count(len(snapshot["targets"]), "target"),
        _count(len(snapshot["names"]), "name"),
        _count(len(resolved.warnings), "warning"),
    ]
    terminal.data(f"{file} is valid: {', '.join(parts)}.")
    return DONE


def _count(number: int, noun: str) -> str:
    return f"{number} {noun}{'s' * (number != 1)}"
