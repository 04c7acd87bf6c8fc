"""Becomes the program of an agent, after it has asked to die with Meseta. Run by path, standard library only.

python -I -S launch.py PARENT PROGRAM ARGUMENT...
"""

from __future__ import annotations

import contextlib
import os
import signal
import sys

_PR_SET_PDEATHSIG = 1
CANNOT_START = 127
"""Exit code when the program could not be started; the reason is in its output."""


def _die_with_parent() -> None:
    """Ask the kernel for SIGKILL when the thread that started us ends.

    Where that cannot be, the guardian acts alone.
    """
    with contextlib.suppress(ImportError, OSError, AttributeError):
        import ctypes

        ctypes.CDLL(None, use_errno=True).prctl(_PR_SET_PDEATHSIG, signal.SIGKILL, 0, 0, 0)


def main() -> int:
    """Never returns when the program could be started."""
    parent, program = int(sys.argv[1]), sys.argv[2:]
    if sys.platform == "linux":
        _die_with_parent()
    if os.getppid() != parent:
        # It ended before the kernel was asked.
        return CANNOT_START
    # Python ignores these two, and a program would inherit that.
    signal.signal(signal.SIGPIPE, signal.SIG_DFL)
    signal.signal(signal.SIGXFSZ, signal.SIG_DFL)
    try:
        os.execvp(program[0], program)  # noqa: S606
    except OSError as error:
        sys.stderr.write(f"[meseta] {program[0]} cannot be started: {error.strerror}.\n")
        return CANNOT_START


if __name__ == "__main__":
    raise SystemExit(main())
