"""What the commands print: data on standard output, talk on standard error, colour where it is wanted."""

from __future__ import annotations

import json
import os
import sys
from typing import TYPE_CHECKING, Any, Literal

if TYPE_CHECKING:
    from collections.abc import Sequence

    from meseta.config.problems import Problem

DONE = 0
FAILED = 1
USAGE = 2
CONFIGURATION = 3
CANNOT_CONNECT = 4
TIMED_OUT = 5
REFUSED = 6
"""Exit codes of every command."""

MOST_PROBLEMS = 100
"""More than this says nothing new to a person."""

_LEVELS = {"debug": 0, "info": 1, "warn": 2, "error": 3}
_STYLES = {"bold": "1", "dim": "2", "red": "31", "green": "32", "yellow": "33", "cyan": "36"}


class Terminal:
    """Both output streams of a command."""

    def __init__(self, level: str = "info") -> None:
        self.level = level

    def data(self, text: str) -> None:
        """Print a piece of what was asked for."""
        print(text, flush=True)

    def json(self, value: Any) -> None:
        """Print what was asked for, as one JSON document."""
        print(json.dumps(value, indent=2, ensure_ascii=False), flush=True)

    def say(self, text: str, level: str = "info") -> None:
        """Talk, if MESETA_LOG lets this level through."""
        if _LEVELS[level] >= _LEVELS[self.level]:
            print(text, file=sys.stderr, flush=True)

    def report(self, text: str, level: Literal["info", "warn"]) -> None:
        """Say or warn, as `level` wants it."""
        if level == "warn":
            self.warn(text)
        else:
            self.say(text)

    def warn(self, text: str) -> None:
        """Something that is not in the way but should be known."""
        self.say(f"{self.style('warning', 'yellow', sys.stderr)}: {text}", "warn")

    def fail(self, text: str, hint: str = "") -> None:
        """Why the command cannot do what was asked, and what to do about it."""
        self.say(f"{self.style('error', 'red', sys.stderr)}: {text}", "error")
        if hint:
            self.say(f"  {hint}", "error")

    def problems(self, problems: Sequence[Problem]) -> None:
        """Mistakes and warnings of a configuration."""
        for problem in problems[:MOST_PROBLEMS]:
            error = problem.severity == "error"
            name = self.style(problem.severity, "red" if error else "yellow", sys.stderr)
            level = "error" if error else "warn"
            self.say(f"{problem.place}: {name}[{problem.code}]: {problem.message}", level)
            if problem.hint:
                self.say(f"  {problem.hint}", level)
        if len(problems) > MOST_PROBLEMS:
            self.say(f"... and {len(problems) - MOST_PROBLEMS} more; `--json` lists them all.", "error")

    def table(self, head: Sequence[str], rows: Sequence[Sequence[str]]) -> None:
        """Rows under a head, as data. Columns that hold only numbers are aligned to the right."""
        if not rows:
            return
        widths = [max(len(row[place]) for row in (head, *rows)) for place in range(len(head))]
        numeric = [all(_is_number(row[place]) for row in rows) for place in range(len(head))]

        def line(cells: Sequence[str]) -> str:
            placed = zip(cells, widths, numeric, strict=True)
            return "  ".join(c.rjust(w) if n else c.ljust(w) for c, w, n in placed).rstrip()

        self.data(self.style(line(head), "bold", sys.stdout))
        for row in rows:
            self.data(line(row))

    def style(self, text: str, name: str, stream: Any) -> str:
        """Return the text with a style, where the stream is a terminal that wants one."""
        return f"\x1b[{_STYLES[name]}m{text}\x1b[0m" if _wants_colour(stream) else text


def _wants_colour(stream: Any) -> bool:
    if os.environ.get("NO_COLOR") or os.environ.get("TERM") == "dumb":
        return False
    return bool(stream.isatty())


def _is_number(text: str) -> bool:
    return text in {"", "-"} or text.replace(".", "", 1).replace(",", "").isdigit()
