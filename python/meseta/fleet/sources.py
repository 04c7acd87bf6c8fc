"""The files that an agent is made of: whether one of them changed."""

from __future__ import annotations

from typing import TYPE_CHECKING

from meseta.watch import mark

if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path

    from meseta.watch import Mark

MOST_FILES = 10_000
SKIPPED = ("__pycache__", "node_modules")
"""Folders that programs write into while they run; names that begin with a dot are skipped too."""

Marks = dict[str, "Mark"]


def look(folder: Path, patterns: Sequence[str]) -> Marks:
    """Return how the files that match look now, the first `MOST_FILES` of them.

    A pattern that cannot be one, and a folder that cannot be read, match nothing.
    """
    marks: Marks = {}
    for pattern in patterns:
        try:
            for file in folder.glob(pattern):
                inside = file.relative_to(folder).parts
                if any(part in SKIPPED or part.startswith(".") for part in inside) or not file.is_file():
                    continue
                marks[str(file)] = mark(str(file))
                if len(marks) >= MOST_FILES:
                    return marks
        except (OSError, ValueError, NotImplementedError):
            continue
    return marks


class Sources:
    """Says when files have changed and are at rest again, so that half a change is not started."""

    def __init__(self, marks: Marks) -> None:
        self._used = marks
        """How they looked when the agent was last started for them."""
        self._last = marks

    def changed(self, marks: Marks) -> bool:
        """Hear how they look now; True once for each change, at the second look that sees the same."""
        settled = marks == self._last
        self._last = marks
        if not settled or marks == self._used:
            return False
        self._used = marks
        return True
