"""The page of the commands, from their parsers."""

from __future__ import annotations

import argparse

from meseta.cli.main import COMMANDS, build_parser
from meseta.reference.markdown import NOTE, paragraph

EXIT_CODES = (
    (0, "done"),
    (1, "failed"),
    (2, "wrong usage"),
    (3, "the configuration or a setting cannot be used"),
    (4, "cannot connect"),
    (5, "timed out; for `up`: the drain limit cut off requests"),
    (6, "refused"),
)


def page() -> str:
    """`docs/reference/commands.md`."""
    lines = [
        "# Commands",
        "",
        NOTE,
        "",
        *paragraph(
            """
            Data goes to standard output, talk to standard error. `--json` is there on whatever prints data.
            No command asks questions.
            """
        ),
        "",
        "| exit code | meaning |",
        "|---|---|",
    ]
    lines += [f"| {code} | {meaning} |" for code, meaning in EXIT_CODES]
    parsers = _subparsers(build_parser("*"))
    for command in COMMANDS:
        lines += ["", f"## meseta {command.name}", "", command.summary]
        lines += _table(parsers[command.name], f"meseta {command.name}")
        for verb, parser in _subparsers(parsers[command.name]).items():
            lines += ["", f"### meseta {command.name} {verb}", "", str(parser.description or "")]
            lines += _table(parser, f"meseta {command.name} {verb}")
    return "\n".join(lines) + "\n"


def _table(parser: argparse.ArgumentParser, name: str) -> list[str]:
    rows = []
    for action in parser._actions:
        if isinstance(action, (argparse._HelpAction, argparse._SubParsersAction)):
            continue
        spelled = ", ".join(action.option_strings) or str(action.metavar or action.dest)
        if action.option_strings and action.nargs != 0:
            spelled += f" {action.metavar or action.dest.upper()}"
        about = (action.help or "") % {"default": action.default}
        rows.append(f"| `{spelled}` | {about} |")
    if not rows:
        return []
    return ["", f"| `{name}` | |", "|---|---|", *rows]


def _subparsers(parser: argparse.ArgumentParser) -> dict[str, argparse.ArgumentParser]:
    for action in parser._actions:
        if isinstance(action, argparse._SubParsersAction):
            return dict(action.choices)
    return {}
