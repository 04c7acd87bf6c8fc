"""Runs the program of one instance, and ends with it all that it started. Run by path, standard library only.

python -I -S keeper.py NAME=MARK PROGRAM ARGUMENT...

On Linux whatever a descendant leaves behind becomes a child of this process, however it was detached, so that
nothing of the instance can hide. Standard input is a socket from Meseta: `t` asks the program to end, `k` and
the end of the socket end everything. `+PROCESS` says that the program runs, and `-CODE LEFT` that it ended
with this code and how many of its descendants could not be ended.
"""

from __future__ import annotations

import os
import select
import signal
import sys
import time
from contextlib import suppress

CANNOT_START = 127
"""Exit code when the program could not be started; the reason is in its output."""
ROUNDS = 500
PAUSE_SECONDS = 0.02
"""How often, and with which pause, it ends what is left."""

_PR_SET_PDEATHSIG = 1
_PR_SET_CHILD_SUBREAPER = 36
_MESETA_GONE = signal.SIGUSR1
_LINK = 0


class Keeper:
    """Parent of the program, and of everything that loses its own parent."""

    def __init__(self, program: int) -> None:
        self._program = program
        self._code: int | None = None

    def run(self, wake: int, parent: int) -> None:
        """Until nothing is left."""
        while self._reap() and self._code is None:
            ready, _, _ = select.select([_LINK, wake], [], [])
            if wake in ready and _MESETA_GONE in os.read(wake, 1_024) and os.getppid() != parent:
                break
            if _LINK in ready and not self._obey():
                break
        left = self._end_all()
        with suppress(OSError):
            os.write(_LINK, f"-{-signal.SIGKILL if self._code is None else self._code} {left}\n".encode())

    def _obey(self) -> bool:
        """Do what Meseta says; False when everything is to end."""
        try:
            words = os.read(_LINK, 64)
        except OSError:
            words = b""
        if not words or b"k" in words:
            return False
        _kill(-self._program, signal.SIGTERM)
        return True

    def _end_all(self) -> int:
        """Return how many could not be ended."""
        # First the group: where nobody can be found by descent it is all that there is.
        _kill(-self._program, signal.SIGKILL)
        for _ in range(ROUNDS):
            found = _descendants(os.getpid())
            allowed = [_kill(number, signal.SIGKILL) for number in found]
            if not self._reap():
                return 0
            if found and not any(allowed):
                # They belong to another user.
                return len(found)
            time.sleep(PAUSE_SECONDS)
        return len(_descendants(os.getpid()))

    def _reap(self) -> bool:
        """Take leave of all that ended; False when there is no child any more."""
        with suppress(ChildProcessError):
            while True:
                number, status = os.waitpid(-1, os.WNOHANG)
                if number == 0:
                    return True
                if number == self._program:
                    self._code = os.waitstatus_to_exitcode(status)
        return False


def _kill(number: int, signal_number: signal.Signals) -> bool:
    """Send a signal to a process, or for a negative number to a group; False when we may not."""
    try:
        os.kill(number, signal_number)
    except PermissionError:
        return False
    except OSError:
        pass
    return True


def _descendants(ancestor: int) -> list[int]:
    """Return the living descendants of a process; none where the system does not tell."""
    children: dict[int, list[int]] = {}
    with suppress(OSError):
        for name in os.listdir("/proc"):
            if name.isdigit() and (parent := _living_parent(name)) is not None:
                children.setdefault(parent, []).append(int(name))
    found = list(children.get(ancestor, ()))
    for number in found:
        found += children.get(number, ())
    return found


def _living_parent(process: str) -> int | None:
    """Return the parent of a process; None when it has ended."""
    try:
        with open(f"/proc/{process}/stat", "rb") as stream:
            # The name before the parenthesis may hold anything.
            state, parent = stream.read().rpartition(b")")[2].split()[:2]
    except (OSError, ValueError):
        return None
    return None if state in b"ZX" else int(parent)


def _ask_kernel(option: int, value: int) -> None:
    """Call prctl; where there is none, the guardian and the process group have to do."""
    if sys.platform == "linux":
        with suppress(ImportError, OSError, AttributeError):
            import ctypes

            ctypes.CDLL(None, use_errno=True).prctl(option, value, 0, 0, 0)


def _become(mark: str, program: list[str], keeper: int) -> int:
    """Never return when the program could be started."""
    os.setpgid(0, 0)
    _ask_kernel(_PR_SET_PDEATHSIG, signal.SIGKILL)
    if os.getppid() != keeper:
        # It ended before the kernel was asked.
        return CANNOT_START
    nothing = os.open(os.devnull, os.O_RDONLY)
    os.dup2(nothing, _LINK)
    # Python ignores these two, and a program would inherit that.
    signal.signal(signal.SIGPIPE, signal.SIG_DFL)
    signal.signal(signal.SIGXFSZ, signal.SIG_DFL)
    name, _, value = mark.partition("=")
    try:
        os.execvpe(program[0], program, {**os.environ, name: value})  # noqa: S606
    except OSError as error:
        sys.stderr.write(f"[meseta] {program[0]} cannot be started: {error.strerror}.\n")
        sys.stderr.flush()
        return CANNOT_START


def main() -> None:
    """Start the program, and be there until nothing of it is left."""
    mark, program, parent = sys.argv[1], sys.argv[2:], os.getppid()
    _ask_kernel(_PR_SET_CHILD_SUBREAPER, 1)
    # Not SIGKILL: whoever detached itself would then live on.
    _ask_kernel(_PR_SET_PDEATHSIG, _MESETA_GONE)
    wake, woken = os.pipe()
    os.set_blocking(woken, False)
    signal.set_wakeup_fd(woken, warn_on_full_buffer=False)
    for heard in (signal.SIGCHLD, _MESETA_GONE):
        signal.signal(heard, lambda *_: None)
    keeper = os.getpid()
    number = os.fork()
    if number == 0:
        os._exit(_become(mark, program, keeper))
    with suppress(OSError):
        # Both do it: whichever comes first, the group is there when it is to get a signal.
        os.setpgid(number, number)
    for asked in (signal.SIGTERM, signal.SIGINT, signal.SIGHUP):
        # A service manager may send these to every process of the service; the program has to hear them.
        signal.signal(asked, signal.SIG_IGN)
    nowhere = os.open(os.devnull, os.O_WRONLY)
    for output in (1, 2):
        # What the program prints has ended when those that print have.
        os.dup2(nowhere, output)
    os.chdir("/")
    with suppress(OSError):
        os.write(_LINK, f"+{number}\n".encode())
    Keeper(number).run(wake, parent)


if __name__ == "__main__":
    main()
