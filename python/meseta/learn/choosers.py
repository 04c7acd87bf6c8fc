"""Who chooses: the embedded chooser in this process, or a plane that is asked for its decision."""

from __future__ import annotations

import http.client
import json
import ssl
import time
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Protocol
from urllib.parse import urlsplit

from meseta.learn.dataset import DatasetError

if TYPE_CHECKING:
    from collections.abc import Sequence

    from meseta.learn.dataset import Row
    from meseta.learn.routes import Route

LARGEST_ANSWER = 1_048_576
"""Bytes of a decision; more is not one."""

DEFAULT_STEP = "default"
"""The step of a plane's cascade that takes what is asked when nobody was chosen."""


class NoAnswerError(Exception):
    """A chooser could not be asked about one row; `str()` says why."""


class UnreachableError(Exception):
    """There is nobody to ask; `str()` says why."""


@dataclass(frozen=True, slots=True)
class Choice:
    """What a chooser said of one row."""

    chosen: tuple[str, ...]
    """The routes that would be taken; empty when it abstains."""
    ranked: tuple[tuple[str, float], ...] | None
    """Every route with its probability, best first; None when the chooser tells no probabilities."""
    seconds: float
    """How long it took."""
    step: str | None = None
    """Which step of a plane's cascade chose, such as `rules` or `model`; None when it does not say."""


class Chooser(Protocol):
    """Anything that can be evaluated. `choose` may be called from several threads."""

    def choose(self, row: Row) -> Choice:
        """Choose for one row; raise NoAnswerError or UnreachableError."""


class Native(Protocol):
    """What this module needs of `_core.Chooser`."""

    def choose(self, turn: str, thread: list[str]) -> list[tuple[str, float]]:
        """Return every route with its probability, best first."""

    def decide(self, turn: str, thread: list[str], threshold: float, margin: float) -> list[str]:
        """Return the routes that are taken; none of them when the chooser abstains."""


class Embedded:
    """The embedded chooser, as a plane runs it, in this process."""

    def __init__(self, native: Native, threshold: float, margin: float) -> None:
        self.native = native
        self.threshold, self.margin = threshold, margin

    @classmethod
    def load(
        cls, weights: str, tokenizer: str, routes: Sequence[Route], threshold: float, margin: float
    ) -> Embedded:
        """Fit the native chooser to the routes; raise DatasetError when its files cannot be used."""
        from meseta.native import core

        texts = [(route.name, route.description, list(route.examples)) for route in routes]
        try:
            native = core().Chooser(weights, tokenizer, texts)
        except ValueError as error:
            raise DatasetError(f"The embeddings cannot be used: {error}.") from None
        return cls(native, threshold, margin)

    def choose(self, row: Row) -> Choice:
        """Decide as the plane does, and ask for the probabilities beside it."""
        thread = [said.text for said in row.thread if said.role == "user"]
        started = time.perf_counter()
        chosen = self.native.decide(row.turn, thread, self.threshold, self.margin)
        seconds = time.perf_counter() - started
        return Choice(tuple(chosen), tuple(self.native.choose(row.turn, thread)), seconds)


class OfPlane:
    """A plane that is asked for decisions over HTTP: its whole cascade, without the answer itself."""

    def __init__(self, url: str, model: str, key: str | None = None, seconds: float = 30.0) -> None:
        parts = urlsplit(url)
        if parts.scheme not in {"http", "https"} or not parts.hostname:
            raise DatasetError(f"{url!r} is not an address such as http://127.0.0.1:12000.")
        self.url = url
        self._secure, self._host, self._port = parts.scheme == "https", parts.hostname, parts.port
        self._path = parts.path.rstrip("/").removesuffix("/v1") + "/routing/v1/chat/completions"
        self._model, self._key, self._seconds = model, key, seconds
        self._idle: list[http.client.HTTPConnection] = []
        """Open connections that nobody uses at the moment; taking and giving back is atomic."""

    def choose(self, row: Row) -> Choice:
        """Ask for the decision on one row."""
        messages = [{"role": said.role, "content": said.text} for said in row.thread]
        messages.append({"role": "user", "content": row.turn})
        body = json.dumps({"model": self._model, "messages": messages}).encode()
        started = time.perf_counter()
        status, content = self._post(body)
        seconds = time.perf_counter() - started
        if status != http.client.OK:
            raise NoAnswerError(f"status {status}: {_message(content)}")
        chosen, step = _decision(content)
        return Choice(chosen, None, seconds, step)

    def _post(self, body: bytes) -> tuple[int, bytes]:
        headers = {"content-type": "application/json"}
        if self._key is not None:
            headers["authorization"] = f"Bearer {self._key}"
        # A kept connection may have been closed meanwhile, which is no reason to give up.
        kept = [self._idle.pop()] if self._idle else []
        failure: Exception | None = None
        for connection in [*kept, self._connect()]:
            try:
                connection.request("POST", self._path, body, headers)
                answer = connection.getresponse()
                content = answer.read(LARGEST_ANSWER + 1)
            except (OSError, http.client.HTTPException) as error:
                connection.close()
                failure = error
                continue
            if len(content) > LARGEST_ANSWER:
                connection.close()
            else:
                self._idle.append(connection)
            return answer.status, content
        if isinstance(failure, (ConnectionRefusedError, ssl.SSLError)):
            raise UnreachableError(f"{self.url} cannot be reached: {failure}.")
        raise NoAnswerError(f"{type(failure).__name__}: {failure}")

    def close(self) -> None:
        """Close its connections, once nobody chooses any more."""
        while self._idle:
            self._idle.pop().close()

    def _connect(self) -> http.client.HTTPConnection:
        if self._secure:
            return http.client.HTTPSConnection(self._host, self._port, timeout=self._seconds)
        return http.client.HTTPConnection(self._host, self._port, timeout=self._seconds)


def _decision(content: bytes) -> tuple[tuple[str, ...], str | None]:
    """Return the routes of a decision, and the step that chose them.

    They are `route`, or on an agent listener `agents`, which holds the default where nobody was chosen.
    """
    decision = _object(content)
    if "agents" not in decision and "route" not in decision:
        raise NoAnswerError("the answer is not a decision: it has neither `route` nor `agents`")
    made = decision.get("decisions")
    last = made[-1] if isinstance(made, list) and made else None
    step = last.get("step") if isinstance(last, dict) else None
    agents = decision.get("agents")
    names = agents if isinstance(agents, list) else [decision.get("route")]
    if step == DEFAULT_STEP:
        names = []
    chosen = tuple(dict.fromkeys(name for name in names if isinstance(name, str) and name))
    return chosen, step[:40] if isinstance(step, str) else None


def _message(content: bytes) -> str:
    error = _object(content).get("error")
    message = error.get("message") if isinstance(error, dict) else None
    return message[:200] if isinstance(message, str) else "no reason given"


def _object(content: bytes) -> dict[str, Any]:
    try:
        tree = json.loads(content) if len(content) <= LARGEST_ANSWER else None
    except (ValueError, RecursionError):
        tree = None
    return tree if isinstance(tree, dict) else {}
