"""Ends what `run.py` started if `run.py` itself is killed, suspended processes included.

It reads `+GROUP` and `-GROUP` lines, a process group that was started or has ended. The pipe closes with the
writer, however that ends; whatever is still listed then is killed.
"""

from __future__ import annotations

import contextlib
import os
import signal
import sys


def main() -> None:
    """Keep the list until the pipe closes."""
    groups: set[int] = set()
    for line in sys.stdin:
        change, group = line[0], int(line[1:])
        if change == "+":
            groups.add(group)
        else:
            groups.discard(group)
    for group in groups:
        with contextlib.suppress(ProcessLookupError):
            os.killpg(group, signal.SIGKILL)


if __name__ == "__main__":
    main()
