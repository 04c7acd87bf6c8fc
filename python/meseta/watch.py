"""Notice that a file changed, by looking at it: works on every file system and through symlinks.

Whoever reads a file takes its mark first, so that a change between reading and looking is seen too.
"""

from __future__ import annotations

import os
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Mapping

INTERVAL_SECONDS = 1.0
"""How often to look."""

Mark = tuple[str, int, int, int, int] | None
"""How a file looked: its path after symlinks, device, inode, time and size. None when it was not there."""


def mark(file: str) -> Mark:
    """Look at a file; a swapped link (as Kubernetes does it) changes path and inode."""
    try:
        status = os.stat(file)
        return os.path.realpath(file), status.st_dev, status.st_ino, status.st_mtime_ns, status.st_size
    except (OSError, ValueError):
        return None


class Watch:
    """Remembers how files looked, and says whether they look different now."""

    def __init__(self, marks: Mapping[str, Mark] | None = None) -> None:
        self._marks = dict(marks or {})

    def follow(self, marks: Mapping[str, Mark]) -> None:
        """Watch these files from now on, and no others; `marks` is how they looked before they were read."""
        self._marks = dict(marks)

    def changed(self) -> bool:
        """Whether a file was written, replaced, created, removed or linked elsewhere since the last look."""
        now = {file: mark(file) for file in self._marks}
        different = now != self._marks
        self._marks = now
        return different
