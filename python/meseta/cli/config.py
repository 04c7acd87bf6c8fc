"""`meseta config show`, `meseta config diff` and `meseta config schema`."""

from __future__ import annotations

from typing import TYPE_CHECKING

from meseta.cli.files import required_file
from meseta.cli.terminal import DONE, USAGE, Terminal

if TYPE_CHECKING:
    import argparse

    from meseta.settings import Settings


def arguments(parser: argparse.ArgumentParser) -> None:
    """Declare the verbs `show`, `diff` and `schema`."""
    from meseta.cli import diff

    verbs = parser.add_subparsers(dest="verb", metavar="VERB", required=True, title="verbs")
    show = verbs.add_parser(
        "show",
        help="print the resolved configuration as JSON, without its secrets",
        description="Print the resolved configuration as JSON: every default filled in, every secret as ***.",
    )
    show.add_argument("file", nargs="?", metavar="FILE", help="the configuration (default: meseta.yaml, ...)")
    show.add_argument(
        "--running", action="store_true", help="what the running plane has in force, instead of a file"
    )
    show.add_argument("--home", metavar="DIRECTORY", help="home of the running plane, with --running")
    diff.arguments(
        verbs.add_parser(
            "diff",
            help="say what a file would change in the running plane, or in another file",
            description="Say what FILE would change in the running plane, or in another file. Exit code 3 "
            "when a change needs a restart.",
        )
    )
    verbs.add_parser(
        "schema",
        help="print the JSON Schema of a `version: 1` file",
        description="Print the JSON Schema (draft 7) of a `version: 1` file, for editors and "
        "yaml-language-server.",
    )


def run(given: argparse.Namespace, terminal: Terminal, settings: Settings) -> int:
    """Print one document."""
    if given.verb == "schema":
        from meseta.config.schema import json_schema

        terminal.json(json_schema())
        return DONE
    if given.verb == "diff":
        from meseta.cli import diff

        return diff.run(given, terminal, settings)
    if given.running:
        return _show_running(given, terminal, settings)
    if given.home is not None:
        terminal.fail("`--home` names a running plane; it goes with `--running`.")
        return USAGE
    from meseta.config.resolve import resolve_file
    from meseta.config.snapshot import redact

    resolved = resolve_file(required_file(given.file), home=settings.home)
    terminal.problems(resolved.warnings)
    terminal.json(redact(resolved.snapshot))
    return DONE


def _show_running(given: argparse.Namespace, terminal: Terminal, settings: Settings) -> int:
    from meseta.cli.running import explain_refusal, home_of
    from meseta.control.client import RefusedError, ask

    try:
        terminal.json(ask(home_of(given, settings), "configuration"))
    except RefusedError as error:
        return explain_refusal(error, terminal)
    return DONE
