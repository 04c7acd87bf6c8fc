"""Asking a running plane over its control socket."""

from __future__ import annotations

import contextlib
import json
import socket
from typing import TYPE_CHECKING, Any

from meseta.control.place import address_of
from meseta.errors import ControlError, NotRunningError

if TYPE_CHECKING:
    from pathlib import Path

LARGEST_ANSWER = 67_108_864
CONNECT_SECONDS = 5.0
LONGEST_SECONDS = 150.0
"""Longer than reading a configuration may take in the plane."""


class RefusedError(ControlError):
    """The plane says no; `problems` are those of a configuration, as plain data."""

    def __init__(self, code: str, message: str, problems: list[dict[str, Any]]) -> None:
        super().__init__(message)
        self.code = code
        self.problems = problems


def ask(home: Path, verb: str, **given: str | None) -> Any:
    """Return what the plane with this home answers.

    Raises NotRunningError when there is none, RefusedError when it says no, and ControlError when the answer
    cannot be understood.
    """
    request = {"verb": verb, **{name: value for name, value in given.items() if value is not None}}
    with _connect(home) as connection:
        try:
            # One that refuses us says why and closes before it has read.
            with contextlib.suppress(BrokenPipeError, ConnectionResetError):
                connection.sendall(json.dumps(request).encode() + b"\n")
            with connection.makefile("rb") as stream:
                line = stream.readline(LARGEST_ANSWER)
        except TimeoutError:
            raise ControlError(f"The plane with the home {home} did not answer in time.") from None
        except OSError as error:
            raise NotRunningError(f"The plane with the home {home} went away ({error.strerror}).") from None
    if not line:
        raise NotRunningError(f"The plane with the home {home} went away.")
    try:
        answer = json.loads(line)
        if answer["ok"] is True:
            return answer["result"]
        told = answer["error"]
        refused = RefusedError(told["code"], told["message"], told["problems"])
    except (ValueError, KeyError, TypeError):
        raise ControlError(
            f"The plane with the home {home} gave an answer that this version does not understand."
        ) from None
    raise refused


def _connect(home: Path) -> socket.socket:
    connection = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
    address = address_of(home)
    try:
        connection.settimeout(CONNECT_SECONDS)
        connection.connect(str(address))
        connection.settimeout(LONGEST_SECONDS)
    except PermissionError:
        connection.close()
        raise NotRunningError(
            f"The control socket {address} belongs to another user. Ask as the user that runs the plane."
        ) from None
    except (OSError, ValueError):
        # A path too long for a socket is no plane either: one with such a home leaves a pointer.
        connection.close()
        raise NotRunningError(
            f"No plane serves with the home {home}. Start one with `meseta up`, "
            "or name the home of the one that you mean with --home or MESETA_HOME."
        ) from None
    return connection
