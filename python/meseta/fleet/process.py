"""Runs instances as processes of this machine, none of which outlives Meseta."""

from __future__ import annotations

import asyncio
import contextlib
import os
import signal
import socket
import subprocess
import sys
from pathlib import Path
from typing import TYPE_CHECKING

from meseta.fleet.driver import LOOPBACK, CannotStartError
from meseta.fleet.environment import of_process
from meseta.fleet.guardian import MARK_NAME, Guardian
from meseta.fleet.keeper import CANNOT_START
from meseta.fleet.output import Output, file_of
from meseta.program import find_program

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from meseta.config.fleet import AgentSpec

LARGEST_PORT = 65_535
_BLOCK = 65_536
_LONGEST_TALK = 256
"""What a keeper says in all."""
_KEEPER_SECONDS = 20.0
"""How long the keeper of a process may take to end it; longer than it needs."""
_LAST_OUTPUT_BYTES = 1_048_576
"""What is still read from a process that ended; a child of it might go on printing for ever."""


class ProcessDriver:
    """Starts processes; used on one loop, whose thread must live as long as they do.

    Each has a keeper, a process between Meseta and it, which ends with it everything that it started. The
    kernel tells the keeper when the thread that started it ends (Linux); and the guardian ends the whole
    group when Meseta does.
    """

    def __init__(self, home: Path) -> None:
        self._home = home
        self._guardian = Guardian()
        self._ports: set[int] = set()

    def start(self, spec: AgentSpec, number: int, environment: Mapping[str, str]) -> Process:
        """Start one; it listens on `port` of the loopback address if it does as it is told."""
        port = self._reserve(spec)
        try:
            return self._start(spec, number, of_process(spec, environment, port), port)
        except BaseException:
            self._ports.discard(port)
            raise

    def check(self) -> None:
        """Start the guardian again if it is gone while there are processes to guard."""
        if self._ports:
            self._guardian.ensure()

    def close(self) -> None:
        """Have the guardian end what is left."""
        self._guardian.close()

    def _start(self, spec: AgentSpec, number: int, environment: dict[str, str], port: int) -> Process:
        if not spec.cwd.is_dir():
            raise CannotStartError(f"there is no directory {spec.cwd}")
        program = _find(spec, environment["PATH"])
        try:
            self._guardian.ensure()
        except OSError as error:
            raise CannotStartError(f"no guardian could be started ({error.strerror})") from None
        mark = f"{MARK_NAME}={self._guardian.mark}"
        keeper = [sys.executable, "-I", "-S", str(Path(__file__).with_name("keeper.py")), mark]
        pipe, end = os.pipe()
        link, other = socket.socketpair()
        try:
            # The mark is no variable of the keeper, which the guardian must not take for one to be ended.
            started = subprocess.Popen(
                [*keeper, program, *spec.command[1:]],
                stdin=other.fileno(),
                stdout=end,
                stderr=subprocess.STDOUT,
                cwd=spec.cwd,
                env=environment,
                start_new_session=True,
            )
        except (OSError, ValueError) as error:
            os.close(pipe)
            link.close()
            reason = getattr(error, "strerror", None) or str(error)
            raise CannotStartError(f"no process could be started ({reason})") from None
        finally:
            os.close(end)
            other.close()
        output = Output(file_of(self._home, spec.id, number), spec.log_bytes)
        return Process(started, link, pipe, port, output, self._guardian.add, self._gone)

    def _gone(self, process: Process) -> None:
        if process.pid is not None:
            self._guardian.remove(process.pid)
        self._ports.discard(process.port)

    def _reserve(self, spec: AgentSpec) -> int:
        port = _free_port(self._ports) if not spec.port else self._lowest_free(spec.ports)
        self._ports.add(port)
        return port

    def _lowest_free(self, ports: range) -> int:
        """Not tied to the number of the instance: a replaced one ends after the next has begun."""
        for port in ports:
            if port > LARGEST_PORT:
                raise CannotStartError(f"there is no port {port}")
            if port not in self._ports and _is_free(port):
                return port
        raise CannotStartError(f"ports {ports[0]} to {ports[-1]} are taken")


class Process:
    """A program with everything that it starts, and the keeper that starts and ends it."""

    def __init__(
        self,
        keeper: subprocess.Popen[bytes],
        link: socket.socket,
        pipe: int,
        port: int,
        output: Output,
        runs: Callable[[int], None],
        gone: Callable[[Process], None],
    ) -> None:
        self._keeper = keeper
        self._link = link
        self._heard = b""
        self._output = output
        self._runs = runs
        self._gone = gone
        self._loop = asyncio.get_running_loop()
        self.port = port
        self.pid: int | None = None
        """The program's, as soon as it runs; its group has the same number."""
        self.ended: asyncio.Future[str] = self._loop.create_future()
        self._pipe: int | None = pipe
        os.set_blocking(pipe, False)
        link.setblocking(False)
        self._loop.add_reader(link, self._hear)

    async def stop(self, grace_seconds: float) -> bool:
        """Send SIGTERM to the group, and after the grace SIGKILL to all."""
        if self.ended.done():
            return True
        self._tell(b"t")
        await asyncio.wait({self.ended}, timeout=grace_seconds)
        if self.ended.done():
            return True
        self._output.note(f"did not end within {grace_seconds:g} s of SIGTERM; killed")
        self._tell(b"k")
        await asyncio.wait({self.ended}, timeout=_KEEPER_SECONDS)
        if not self.ended.done():
            # Somebody holds it up.
            self._keeper.kill()
        await self.ended
        return False

    def _tell(self, word: bytes) -> None:
        with contextlib.suppress(OSError):
            self._link.send(word)

    def _hear(self) -> None:
        """Hear the keeper, which closes its end with its last breath."""
        try:
            words = self._link.recv(_LONGEST_TALK)
        except BlockingIOError:
            return
        except OSError:
            words = b""
        self._heard = (self._heard + words)[:_LONGEST_TALK]
        first, line_break, rest = self._heard.partition(b"\n")
        if line_break and first[:1] == b"+" and first[1:].isdigit():
            self._heard = rest
            self.pid = int(first[1:])
            self._runs(self.pid)
            self._output.note(f"started process {self.pid} on port {self.port}")
            if self._pipe is not None:
                # Not before, so that the note comes first.
                self._loop.add_reader(self._pipe, self._read)
        if not words:
            self._finish()

    def _finish(self) -> None:
        self._loop.remove_reader(self._link)
        self._link.close()
        keeper = self._keeper.wait()
        code, left = self._last_words()
        if code is None:
            # It was ended itself, and the kernel ends the program after it, but not what that had started.
            if self.pid is not None:
                with contextlib.suppress(OSError):
                    os.killpg(self.pid, signal.SIGKILL)
            how = f"was lost: its keeper {_ending(keeper)}"
        else:
            how = _ending(code)
        self._read(_LAST_OUTPUT_BYTES)
        self._close_pipe()
        self._output.note(how)
        if code and self._output.last_line:
            how += f"; it last printed: {self._output.last_line}"
        if left:
            self._output.note(f"{left} processes that it had started could not be ended")
        self._output.close()
        self._gone(self)
        self.ended.set_result(how)

    def _last_words(self) -> tuple[int | None, int]:
        """Return the exit code, None when the keeper told none, and how many processes are left."""
        try:
            code, left = self._heard.removesuffix(b"\n").split()
            return int(code[1:]), int(left)
        except ValueError:
            return None, 0

    def _read(self, most: int = _BLOCK) -> None:
        while self._pipe is not None and most > 0:
            try:
                data = os.read(self._pipe, _BLOCK)
            except BlockingIOError:
                return
            except OSError:
                data = b""
            if not data:
                self._close_pipe()
                return
            self._output.write(data)
            most -= len(data)

    def _close_pipe(self) -> None:
        if self._pipe is not None:
            self._loop.remove_reader(self._pipe)
            os.close(self._pipe)
            self._pipe = None


def _find(spec: AgentSpec, path: str) -> str:
    program = spec.command[0] if spec.command else ""
    found = find_program(program, spec.cwd, path)
    if found is None:
        raise CannotStartError(f"there is no program {program!r} that could be started")
    return found


def _ending(code: int) -> str:
    if code == CANNOT_START:
        return f"ended with exit code {code}: its program could not be started"
    if code >= 0:
        return f"ended with exit code {code}"
    try:
        return f"was ended by {signal.Signals(-code).name}"
    except ValueError:
        return f"was ended by signal {-code}"


def _is_free(port: int) -> bool:
    with socket.socket(socket.AF_INET, socket.SOCK_STREAM) as probe:
        # Connections of the one before may linger; only a listener makes a port taken.
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind((LOOPBACK, port))
        except OSError:
            return False
        return True


def _free_port(taken: set[int]) -> int:
    for _ in range(100):
        with socket.socket(socket.AF_INET, socket.SOCK_STREAM) as probe:
            probe.bind((LOOPBACK, 0))
            port: int = probe.getsockname()[1]
        if port not in taken:
            return port
    raise CannotStartError("no port is free")
