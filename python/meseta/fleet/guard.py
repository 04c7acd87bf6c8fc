"""Ends the processes of agents when Meseta is gone, whatever ended it. Run by path, standard library only.

Standard input is a pipe from Meseta. The first line marks the fleet; then `+GROUP` and `-GROUP` say which
process groups there are. The kernel closes the pipe with Meseta's last breath, and then nothing of the fleet
may live on.
"""

from __future__ import annotations

import os
import signal
import sys
import time

ROUNDS = 100
PAUSE_SECONDS = 0.02
"""How often, and with which pause, it looks for processes that had left their group."""


def main() -> None:
    """Until the pipe ends, and then until everything is gone."""
    for asked in (signal.SIGTERM, signal.SIGINT, signal.SIGHUP):
        # A service manager may send these to every process of the service, and we have to outlive Meseta.
        signal.signal(asked, signal.SIG_IGN)
    mark = sys.stdin.readline().strip().encode()
    groups: set[int] = set()
    for line in sys.stdin:
        known, group = line[:1] == "+", line[1:].strip()
        if group.isdigit() and int(group) > 1:
            (groups.add if known else groups.discard)(int(group))
    for group in groups:
        _end(-group)
    for _ in range(ROUNDS):
        left = [number for number in _processes() if _carries(number, mark)]
        if not left:
            return
        for number in left:
            _end(number)
        time.sleep(PAUSE_SECONDS)


def _end(number: int) -> None:
    """Kill a process, or for a negative number a group."""
    try:
        os.kill(number, signal.SIGKILL)
    except OSError:
        return


def _processes() -> list[int]:
    try:
        return [int(name) for name in os.listdir("/proc") if name.isdigit()]
    except OSError:
        return []  # Not Linux; the groups are all that is known.


def _carries(number: int, mark: bytes) -> bool:
    """Whether a process has the mark in its environment; one of another user does not show it."""
    try:
        with open(f"/proc/{number}/environ", "rb") as stream:
            return bool(mark) and mark in stream.read().split(b"\0")
    except OSError:
        return False


if __name__ == "__main__":
    main()
