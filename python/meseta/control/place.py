"""Where the control socket of a plane is: `control.sock` in the plane's home, and one plane a home.

A lock that the kernel gives up with the process says whether somebody serves there, so that what a dead
process left behind is replaced and what a living one holds is not.
"""

from __future__ import annotations

import contextlib
import fcntl
import os
import stat
import tempfile
from pathlib import Path
from typing import TYPE_CHECKING, Any

from meseta.errors import ControlError

if TYPE_CHECKING:
    from collections.abc import Mapping

SOCKET_NAME = "control.sock"
POINTER_NAME = "control.path"
"""Holds the socket's path where the home's own path is too long for a socket."""
LOCK_NAME = "control.lock"
"""Locked by the plane that serves with this home; stays when it ends."""

LONGEST_PATH = 103
"""Bytes of a socket's path that every system takes; Linux would take 107."""

LARGEST_POINTER = 4_096
_TEMPORARY_PREFIX = "meseta-"


def usual_home(folder: Path, setting: str | None) -> Path:
    """Return the home when the configuration names none: MESETA_HOME, else `.meseta` in `folder`."""
    return Path.cwd() / setting if setting else folder / ".meseta"


def home_of_snapshot(snapshot: Mapping[str, Any], usual: Path) -> Path:
    """Return where this configuration keeps its state; `usual` when it keeps none."""
    for section in ("log", "responses"):
        kept = snapshot[section]
        if kept is not None:
            return Path(kept["path"]).parent
    return usual


def address_of(home: Path) -> Path:
    """Return the path of the socket that a plane with this home listens on, if one does."""
    try:
        with (home / POINTER_NAME).open("rb") as stream:
            pointed = stream.read(LARGEST_POINTER)
    except OSError:
        return home / SOCKET_NAME
    return Path(os.fsdecode(pointed))


class Claim:
    """A home taken by this process until `release`; `address` is where its socket has to be bound."""

    def __init__(self, home: Path) -> None:
        self.home = home
        try:
            home.mkdir(mode=0o700, parents=True, exist_ok=True)
            self._lock = os.open(home / LOCK_NAME, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
        except (OSError, ValueError) as error:
            reason = getattr(error, "strerror", None) or "the path cannot be"
            raise ControlError(f"The control socket cannot be in {home}: {reason}.") from None
        try:
            self._take()
            self.address = self._prepare()
        except BaseException:
            os.close(self._lock)
            raise

    def release(self) -> None:
        """Remove the socket and let the next plane have the home, which may be gone by now."""
        with contextlib.suppress(OSError):
            self._remove_old()
        os.close(self._lock)

    def _take(self) -> None:
        try:
            fcntl.flock(self._lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            holder = os.pread(self._lock, 20, 0).decode("ascii", "replace").strip()
            named = f" (process {holder})" if holder.isdigit() else ""
            raise ControlError(
                f"Another plane{named} serves with the home {self.home} and has its control socket. "
                "Give each plane a home of its own with MESETA_HOME or `store: {path: ...}`."
            ) from None
        except OSError as error:
            raise ControlError(
                f"{self.home / LOCK_NAME} cannot be locked ({error.strerror}), so there is no control socket."
            ) from None
        os.ftruncate(self._lock, 0)
        os.pwrite(self._lock, str(os.getpid()).encode(), 0)

    def _prepare(self) -> Path:
        try:
            self._remove_old()
            path = self.home / SOCKET_NAME
            if len(os.fsencode(path)) <= LONGEST_PATH:
                return path
            # A fresh folder with a name that nobody could have made before us, readable by us alone.
            base = os.environ.get("XDG_RUNTIME_DIR") or None
            path = Path(tempfile.mkdtemp(prefix=_TEMPORARY_PREFIX, dir=base)) / SOCKET_NAME
            descriptor = os.open(self.home / POINTER_NAME, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600)
            with open(descriptor, "wb") as stream:
                stream.write(os.fsencode(path))
        except OSError as error:
            raise ControlError(
                f"The control socket of {self.home} cannot be opened: {error.strerror}."
            ) from None
        return path

    def _remove_old(self) -> None:
        """Remove what this home's last plane left; the lock says that it is not there any more."""
        address = address_of(self.home)
        with contextlib.suppress(OSError, ValueError):
            if stat.S_ISSOCK(os.lstat(address).st_mode):
                address.unlink()
        if address.parent != self.home and address.parent.name.startswith(_TEMPORARY_PREFIX):
            with contextlib.suppress(OSError, ValueError):
                address.parent.rmdir()
        (self.home / POINTER_NAME).unlink(missing_ok=True)
