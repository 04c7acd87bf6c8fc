"""A `meseta up` in a process of its own, for the tests of the commands."""

from __future__ import annotations

import http.client
import json
import subprocess
import sys
import urllib.request
from contextlib import contextmanager
from typing import IO, TYPE_CHECKING, Any

import pytest

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from contextlib import AbstractContextManager


class Running:
    """A `meseta up` and where it listens."""

    def __init__(self, process: subprocess.Popen[str], announced: dict[str, Any]) -> None:
        self.process = process
        self.announced = announced
        self.url = announced["listeners"][0]["url"]
        self.port = announced["listeners"][0]["port"]

    @property
    def errors(self) -> IO[str]:
        assert self.process.stderr is not None
        return self.process.stderr

    def until(self, *beginnings: str) -> str:
        """Read talk until a line begins like one of these."""
        read: list[str] = []
        for line in self.errors:
            read.append(line)
            if line.startswith(beginnings):
                return line
            if line.startswith("warning: Nothing was changed"):
                break
        raise AssertionError(f"no {beginnings} in {read}")

    def until_each(self, *beginnings: str) -> None:
        """Read talk until there was a line for each of these, in whatever order."""
        left = set(beginnings)
        while left:
            line = self.until(*left)
            left.remove(next(beginning for beginning in left if line.startswith(beginning)))

    def models(self) -> list[str]:
        with urllib.request.urlopen(f"{self.url}/v1/models") as answer:
            return [row["id"] for row in json.load(answer)["data"]]

    def stream(self, directives: str) -> tuple[http.client.HTTPConnection, http.client.HTTPResponse]:
        """Begin a streamed request; its first bytes have arrived."""
        connection = http.client.HTTPConnection("127.0.0.1", self.port, timeout=60)
        body = {"model": "sim/echo", "stream": True, "messages": [{"role": "user", "content": "hi"}]}
        headers = {"content-type": "application/json", "x-sim": directives}
        connection.request("POST", "/v1/chat/completions", json.dumps(body), headers)
        response = connection.getresponse()
        assert response.status == 200
        response.read1(1)
        return connection, response


@contextmanager
def start(*arguments: str) -> Iterator[Running]:
    process = subprocess.Popen(
        [sys.executable, "-m", "meseta", "up", "--json", *arguments],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )
    try:
        assert process.stdout is not None
        line = process.stdout.readline()
        assert line, process.stderr.read() if process.stderr else ""
        yield Running(process, json.loads(line))
    except BaseException as error:
        # Whether it was still there says what to look for.
        ended = process.poll()
        process.kill()
        error.add_note(f"`meseta up` had exit code {ended} and had more to say: {process.communicate()[1]}")
        raise
    finally:
        process.kill()
        process.communicate()


@pytest.fixture
def up() -> Callable[..., AbstractContextManager[Running]]:
    """Start `meseta up` with some words; its end is that of the block."""
    return start
