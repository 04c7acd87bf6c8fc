"""Finding the running plane that a command is about, and wording what it says."""

from __future__ import annotations

import time
from pathlib import Path
from typing import TYPE_CHECKING, Any

from meseta.cli.files import usual_file
from meseta.cli.terminal import CONFIGURATION, FAILED, Terminal
from meseta.config.problems import Problem
from meseta.control.place import usual_home

if TYPE_CHECKING:
    import argparse

    from meseta.control.client import RefusedError
    from meseta.settings import Settings


def options(parser: argparse.ArgumentParser) -> None:
    """--home and --file."""
    parser.add_argument(
        "--home", metavar="DIRECTORY", help="home of the plane (default: that of its file, or MESETA_HOME)"
    )
    parser.add_argument(
        "--file", metavar="FILE", help="the file that the plane serves (default: meseta.yaml, ... here)"
    )


def home_of(given: argparse.Namespace, settings: Settings) -> Path:
    """Return the home of the plane that is meant."""
    if given.home is not None:
        return Path(given.home).absolute()
    file = given.file or usual_file()
    return home_of_file(Path(file), settings) if file else usual_home(Path.cwd(), settings.home)


def home_of_file(file: Path, settings: Settings) -> Path:
    """Return the home of a plane that serves `file`, which need not be right in any other way.

    A file that is being edited must not hide the plane that still serves what it said before.
    """
    from meseta.config.document import LARGEST_BYTES, read_document

    folder = file.absolute().parent
    try:
        with file.open("rb") as stream:
            tree = read_document(stream.read(LARGEST_BYTES + 1), str(file)).value
    except (OSError, ValueError):
        tree = None
    store = tree.get("store") if isinstance(tree, dict) else None
    path = store.get("path") if isinstance(store, dict) else None
    if isinstance(path, str) and path:
        return folder / path
    return usual_home(folder, settings.home)


def explain_refusal(error: RefusedError, terminal: Terminal) -> int:
    """Say why the plane said no, and which exit code it is."""
    terminal.problems([Problem(**problem) for problem in error.problems])
    terminal.fail(f"[{error.code}] {error}")
    unusable = error.problems or error.code == "snapshot.refused"
    return CONFIGURATION if unusable else FAILED


def clean(value: Any, most: int = 80) -> str:
    """Return what came from elsewhere as one short line that does nothing to a terminal."""
    text = "".join(letter if letter.isprintable() else " " for letter in str(value))
    return text if len(text) <= most else text[: most - 3] + "..."


def ago(moment: float) -> str:
    """Return how long ago a time was, in its largest unit."""
    seconds = max(0, round(time.time() - moment))
    for unit, length in (("d", 86_400), ("h", 3_600), ("min", 60)):
        if seconds >= 2 * length:
            return f"{seconds // length} {unit}"
    return f"{seconds} s"


def replacing(agent: dict[str, Any]) -> str | None:
    """Return how far the replacing of an agent's instances is; None when nothing is replaced."""
    rollout = agent.get("rollout")
    if rollout is None:
        return None
    done = f"{rollout['replaced']} of {rollout['of']} replaced"
    if rollout["why"] is None:
        return done
    return f"{done}; the new ones fail: {clean(rollout['why'], 300)}"
