"""`meseta import`: a configuration out of a file of Plano or LiteLLM."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

from meseta.cli.terminal import CONFIGURATION, DONE, FAILED, Terminal

if TYPE_CHECKING:
    import argparse

    from meseta.config.imported import Imported
    from meseta.settings import Settings


def arguments(parser: argparse.ArgumentParser) -> None:
    """Declare the verbs `plano` and `litellm`."""
    verbs = parser.add_subparsers(dest="verb", metavar="VERB", required=True, title="verbs")
    for verb, what in (
        ("plano", "a Plano file, with its comments"),
        ("litellm", "the config.yaml of a LiteLLM proxy"),
    ):
        inner = verbs.add_parser(
            verb,
            help=f"translate {what}",
            description=f"Translate {what} to a `version: 1` file. What became of every key is said on "
            "standard error; secrets in clear text are not copied.",
        )
        add = inner.add_argument
        add("file", metavar="FILE", help="the file to translate")
        add("-o", "--output", metavar="NEW", help="the file to write (default: standard output)")
        add("--force", action="store_true", help="replace NEW when it is there")
        add("--json", action="store_true", help="print the new file and the notes as JSON")


def run(given: argparse.Namespace, terminal: Terminal, settings: Settings) -> int:  # noqa: ARG001
    """Exit code 0 when the new file passes `meseta check`, 3 when people must decide something in it."""
    new = Path(given.output) if given.output else None
    if new is not None and new.exists() and not given.force:
        terminal.fail(f"{new} is there already.", "--force replaces it.")
        return FAILED
    imported = _imported(given.verb, given.file, (new or Path(given.file)).absolute().parent)
    if new is not None:
        try:
            new.write_text(imported.text, "utf-8")
        except OSError as error:
            terminal.fail(f"{new} cannot be written: {error.strerror or error}.")
            return FAILED
    if given.json:
        terminal.json(
            {
                "text": imported.text,
                "notes": [vars(note) for note in imported.notes],
                "variables": imported.variables,
                "valid": imported.valid,
                "problems": [problem.as_dict() for problem in imported.problems],
            }
        )
        return DONE if imported.valid else CONFIGURATION
    if new is None:
        terminal.data(imported.text.rstrip("\n"))
    _tell(given.file, imported, terminal)
    return DONE if imported.valid else CONFIGURATION


def _imported(verb: str, file: str, folder: Path) -> Imported:
    from meseta.config.document import LARGEST_BYTES
    from meseta.config.problems import ConfigError, Problem

    try:
        with Path(file).open("rb") as stream:
            content = stream.read(LARGEST_BYTES + 1)
    except OSError as error:
        message = f"The file cannot be read: {error.strerror or error}."
        raise ConfigError([Problem("config.not_found", message, file)]) from None
    if verb == "plano":
        from meseta.config.from_plano import import_plano

        return import_plano(content, file, folder)
    from meseta.config.litellm import import_litellm

    return import_litellm(content, file, folder)


def _tell(file: str, imported: Imported, terminal: Terminal) -> None:
    for note in sorted(imported.notes, key=lambda note: note.line):
        place = f"{file}:{note.line}" if note.line else file
        level = "info" if note.kind == "translated" else "warn"
        terminal.say(f"{place}: {note.kind}: {note.message}", level)
    # What the new file only warns about was so before; what is wrong with it must be decided now.
    terminal.problems([problem for problem in imported.problems if problem.severity == "error"])
    if imported.variables:
        terminal.say(f"The new file refers to these variables: {', '.join(imported.variables)}.")
