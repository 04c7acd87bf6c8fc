"""Keeps the memory and the environment of this process from other processes of the same user."""

from __future__ import annotations

import contextlib
import sys

_PR_SET_DUMPABLE = 4


def close_memory() -> None:
    """Have the kernel refuse others to read them, and to trace this process; root still can.

    On Linux alone. It lasts until another program is executed, so children call it for themselves.
    """
    if sys.platform == "linux":
        with contextlib.suppress(ImportError, OSError, AttributeError):
            import ctypes

            ctypes.CDLL(None, use_errno=True).prctl(_PR_SET_DUMPABLE, 0, 0, 0, 0)
