"""`meseta config show` and `meseta config schema`."""

from __future__ import annotations

from typing import TYPE_CHECKING

from meseta.cli.files import required_file
from meseta.cli.terminal import DONE, Terminal

if TYPE_CHECKING:
    import argparse

    from meseta.settings import Settings


def arguments(parser: argparse.ArgumentParser) -> None:
    """Declare the verbs `show` and `schema`."""
    verbs = parser.add_subparsers(dest="verb", metavar="VERB", required=True, title="verbs")
    show = verbs.add_parser(
        "show",
        help="print the resolved configuration as JSON, without its secrets",
        description="Print the resolved configuration as JSON: every default filled in, every secret as ***.",
    )
    show.add_argument("file", nargs="?", metavar="FILE", help="the configuration (default: meseta.yaml, ...)")
    verbs.add_parser(
        "schema",
        help="print the JSON Schema of a `version: 1` file",
        description="Print the JSON Schema (draft 7) of a `version: 1` file, for editors and "
        "yaml-language-server.",
    )


def run(given: argparse.Namespace, terminal: Terminal, settings: Settings) -> int:
    """Print one JSON document."""
    if given.verb == "schema":
        from meseta.config.schema import json_schema

        terminal.json(json_schema())
        return DONE
    from meseta.config.resolve import resolve_file
    from meseta.config.snapshot import redact

    resolved = resolve_file(required_file(given.file), home=settings.home)
    terminal.problems(resolved.warnings)
    terminal.json(redact(resolved.snapshot))
    return DONE
