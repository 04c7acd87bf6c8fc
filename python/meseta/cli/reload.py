"""`meseta reload`: like SIGHUP, with an answer."""

from __future__ import annotations

from typing import TYPE_CHECKING

from meseta.cli.running import explain_refusal, home_of, options
from meseta.cli.terminal import DONE, Terminal
from meseta.config.problems import Problem

if TYPE_CHECKING:
    import argparse

    from meseta.settings import Settings


def arguments(parser: argparse.ArgumentParser) -> None:
    """--home, --file, --json."""
    options(parser)
    parser.add_argument("--json", action="store_true", help="print what came of it as JSON")


def run(given: argparse.Namespace, terminal: Terminal, settings: Settings) -> int:
    """Exit code 0 when the file is in force, 3 when it cannot be used, 4 when no plane answers."""
    from meseta.control.client import RefusedError, ask

    try:
        answer = ask(home_of(given, settings), "reload")
    except RefusedError as error:
        code = explain_refusal(error, terminal)
        terminal.warn("Nothing was changed; the configuration in force stays.")
        return code
    if given.json:
        terminal.json(answer)
        return DONE
    terminal.problems([Problem(**problem) for problem in answer["warnings"]])
    how = "is in force now" if answer["changed"] else "was in force already"
    terminal.data(f"{answer['source']} {how}: snapshot {answer['snapshot']}.")
    return DONE
