"""The control socket: one JSON document a line in, one a line out, for the user that runs the plane.

Every connection has a thread, because a reload takes as long as it takes; there are few and they are short.
"""

from __future__ import annotations

import contextlib
import json
import os
import selectors
import socket
import struct
import threading
import time
from typing import TYPE_CHECKING, Any

from meseta.control.place import Claim
from meseta.control.verbs import VERBS, refusal
from meseta.errors import ControlError

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from meseta.control.verbs import Steered

LARGEST_REQUEST = 65_536
"""Bytes of a request, the end of its line included."""
MOST_CONNECTIONS = 8
IDLE_SECONDS = 5.0
"""How long a request may take to arrive, and an answer to be taken."""

_CREDENTIALS = struct.Struct("3i")
"""Process, user and group of the other side, as Linux gives them."""


class ControlServer:
    """Answers for a plane until `close`; raises ControlError when it cannot have the home's socket."""

    def __init__(self, plane: Steered, home: Path, on_reload: Callable[[], None] | None = None) -> None:
        self._plane = plane
        self._on_reload = on_reload
        self._claim = Claim(home)
        self._lock = threading.Lock()
        self._connections: set[socket.socket] = set()
        self._closed = False
        try:
            self._listener = _listen(self._claim.address)
        except BaseException:
            self._claim.release()
            raise
        self._wake, self._woken = socket.socketpair()
        self._thread = threading.Thread(target=self._accept, name="meseta-control", daemon=True)
        self._thread.start()

    @property
    def address(self) -> Path:
        """The path of the socket."""
        return self._claim.address

    def close(self) -> None:
        """Stop answering and remove the socket; a verb under way ends by itself."""
        with self._lock:
            if self._closed:
                return
            self._closed = True
            for connection in self._connections:
                with contextlib.suppress(OSError):
                    connection.shutdown(socket.SHUT_RDWR)
        self._wake.close()
        self._thread.join()
        self._listener.close()
        self._woken.close()
        self._claim.release()

    def _accept(self) -> None:
        with selectors.DefaultSelector() as selector:
            selector.register(self._listener, selectors.EVENT_READ)
            selector.register(self._woken, selectors.EVENT_READ)
            while True:
                selector.select()
                if self._closed:
                    return
                try:
                    connection, _ = self._listener.accept()
                except BlockingIOError:
                    continue
                except OSError:
                    # Out of descriptors, most likely: the plane needs them more than we do.
                    time.sleep(0.1)
                    continue
                self._admit(connection)

    def _admit(self, connection: socket.socket) -> None:
        connection.settimeout(IDLE_SECONDS)
        with self._lock:
            full = len(self._connections) >= MOST_CONNECTIONS
            if not full and not self._closed:
                self._connections.add(connection)
        if full or self._closed:
            message = f"{MOST_CONNECTIONS} others are connected to this control socket; try again."
            with contextlib.suppress(OSError):
                # It fits into the socket's buffer, so this does not wait for a reader.
                connection.sendall(_line(refusal("control.busy", message)))
            self._forget(connection)
            return
        try:
            threading.Thread(
                target=self._serve, args=(connection,), name="meseta-control-client", daemon=True
            ).start()
        except RuntimeError:
            self._forget(connection)

    def _forget(self, connection: socket.socket) -> None:
        with self._lock:
            self._connections.discard(connection)
        connection.close()

    def _serve(self, connection: socket.socket) -> None:
        try:
            if not _may(connection):
                message = "Only the user that runs the plane, or root, may use its control socket."
                connection.sendall(_line(refusal("control.forbidden", message)))
                return
            requests = _Requests(connection)
            while (request := requests.next()) is not None:
                connection.settimeout(IDLE_SECONDS)
                connection.sendall(_line(self._answer(request)))
        except ControlError as error:
            with contextlib.suppress(OSError):
                connection.sendall(_line(refusal("control.request", str(error))))
        except OSError:
            pass  # The other side went away or took too long.
        finally:
            self._forget(connection)

    def _answer(self, line: bytes) -> dict[str, Any]:
        try:
            request = json.loads(line)
        except (ValueError, RecursionError):
            return refusal("control.request", "The request is not a line of JSON.")
        if not isinstance(request, dict) or not isinstance(request.get("verb"), str):
            return refusal("control.request", 'A request is an object with a "verb".')
        name = request.pop("verb")
        verb = VERBS.get(name)
        if verb is None:
            return refusal("control.request", f"There are the verbs {', '.join(VERBS)}.")
        wrong = [
            key for key, value in request.items() if key not in verb.parameters or not isinstance(value, str)
        ]
        if wrong:
            takes = f"takes {', '.join(verb.parameters)} as text" if verb.parameters else "takes nothing"
            return refusal("control.request", f"`{name}` {takes}.")
        answer = verb.answer(self._plane, request)
        if name == "reload" and answer["ok"] and self._on_reload is not None:
            self._on_reload()
        return answer


class _Requests:
    """The lines that one connection sends."""

    def __init__(self, connection: socket.socket) -> None:
        self._connection = connection
        self._buffer = bytearray()

    def next(self) -> bytes | None:
        """Return the next line, None at the end; raise TimeoutError or ControlError for one out of bounds."""
        deadline = time.monotonic() + IDLE_SECONDS
        while (end := self._buffer.find(b"\n", 0, LARGEST_REQUEST)) < 0:
            if len(self._buffer) >= LARGEST_REQUEST:
                raise ControlError(f"A request has at most {LARGEST_REQUEST} bytes.")
            left = deadline - time.monotonic()
            if left <= 0:
                raise TimeoutError
            self._connection.settimeout(left)
            piece = self._connection.recv(LARGEST_REQUEST - len(self._buffer))
            if not piece:
                return None
            self._buffer += piece
        line = bytes(self._buffer[:end])
        del self._buffer[: end + 1]
        return line


def _listen(address: Path) -> socket.socket:
    listener = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
    try:
        # Before the path exists, so that it never exists with another mode; Linux heeds it.
        os.fchmod(listener.fileno(), 0o600)
        listener.bind(str(address))
        address.chmod(0o600)
        listener.setblocking(False)
        listener.listen(MOST_CONNECTIONS)
    except OSError as error:
        listener.close()
        raise ControlError(
            f"The control socket {address} cannot be opened: {error.strerror or error}."
        ) from None
    return listener


def _may(connection: socket.socket) -> bool:
    """Whether the other side is our user or root.

    Where the kernel does not say it this way, the mode of the socket alone decides.
    """
    if not hasattr(socket, "SO_PEERCRED"):
        return True
    raw = connection.getsockopt(socket.SOL_SOCKET, socket.SO_PEERCRED, _CREDENTIALS.size)
    return _CREDENTIALS.unpack(raw)[1] in {0, os.geteuid()}


def _line(document: dict[str, Any]) -> bytes:
    return json.dumps(document, separators=(",", ":")).encode() + b"\n"
