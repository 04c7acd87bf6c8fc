"""`meseta explain`: cause and cure of an error code."""

from __future__ import annotations

import textwrap
from dataclasses import dataclass
from typing import TYPE_CHECKING

from meseta.cli.terminal import DONE, USAGE, Terminal
from meseta.config.problems import CODES
from meseta.errors import NativeMissingError
from meseta.native import core

if TYPE_CHECKING:
    import argparse

    from meseta.settings import Settings


@dataclass(frozen=True)
class Explanation:
    """A code of the request path or of the configuration."""

    code: str
    cause: str
    cure: str
    status: int | None = None
    """HTTP status; None for codes of the configuration, and 0 where the provider decides."""
    blame: str | None = None
    retry: str | None = None


def arguments(parser: argparse.ArgumentParser) -> None:
    """CODE and --json."""
    parser.add_argument(
        "code", nargs="?", metavar="CODE", help="such as model.not_found; without it, list all"
    )
    parser.add_argument("--json", action="store_true", help="print as JSON")


def run(given: argparse.Namespace, terminal: Terminal, settings: Settings) -> int:  # noqa: ARG001 (one shape for all)
    """Explain one code, or list them all."""
    known = explanations(terminal)
    if given.code is None:
        if given.json:
            terminal.json([vars(known[code]) for code in known])
        else:
            terminal.table(
                ("code", "status", "cause"),
                [(found.code, _status(found), _first_sentence(found.cause)) for found in known.values()],
            )
        return DONE
    found = known.get(given.code)
    if found is None:
        from difflib import get_close_matches

        near = get_close_matches(given.code, known, n=1)
        hint = f"Did you mean {near[0]}?" if near else "`meseta explain` lists them all."
        terminal.fail(f"There is no code {given.code}.", hint)
        return USAGE
    if given.json:
        terminal.json(vars(found))
        return DONE
    terminal.data(found.code)
    for name, text in (
        ("status", _status(found)),
        ("blame", found.blame or ""),
        ("retry", found.retry or ""),
        ("cause", found.cause),
        ("cure", found.cure),
    ):
        if text and text != "-":
            first = f"  {name:<7} "
            terminal.data(textwrap.fill(text, 100, initial_indent=first, subsequent_indent=" " * len(first)))
    return DONE


def explanations(terminal: Terminal) -> dict[str, Explanation]:
    """Every code there is: those of the request path first, as the native module lists them."""
    found: list[Explanation] = []
    try:
        for code, status, blame, retry, cause, cure in core().error_codes():
            found.append(Explanation(code, cause, cure, status, blame, retry))
    except NativeMissingError as error:
        terminal.warn(f"{error} Only codes of the configuration are known without it.")
    found += [Explanation(code.name, code.cause, code.cure) for code in CODES]
    return {explanation.code: explanation for explanation in found}


def _status(found: Explanation) -> str:
    if found.status is None:
        return "-"
    return str(found.status) if found.status else "as given"


def _first_sentence(text: str) -> str:
    return text.split(". ")[0].rstrip(".") + "."
