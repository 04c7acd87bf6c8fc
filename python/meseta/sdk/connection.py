"""Where a gateway is and with which key, as vendors' SDKs take it; and the hooks on their HTTP clients."""

from __future__ import annotations

import os
import re
import threading
from typing import TYPE_CHECKING, Any, Self

from meseta.sdk import hooks
from meseta.sdk.outgoing import AGENT, RUN, SESSION, TAGS
from meseta.sdk.scopes import label, labels

if TYPE_CHECKING:
    from collections.abc import MutableMapping
    from types import TracebackType

DEFAULT_URL = "http://127.0.0.1:12000"
NO_KEY = "unused"
"""What SDKs that insist on a key are given for a listener that asks for none."""
_KEY = re.compile(r"[\x21-\x7e]{1,4096}", re.ASCII)

_lock = threading.Lock()
_newest: list[Connection] = []


class Connection:
    """One gateway: its model listener, its agent listener if it has one, and a key.

    While it is open, calls to its origins that go through httpx or httpx2 carry the scope they are made in
    (`meseta.session`, `meseta.run`), whoever makes them. A context manager; `close` ends it. Thread-safe.
    """

    def __init__(
        self,
        url: str | None = None,
        key: str | None = None,
        *,
        hub: str | None = None,
        session: str | None = None,
        run: str | None = None,
        agent: str | None = None,
        tags: str | tuple[str, ...] | list[str] = (),
    ) -> None:
        given = url or os.environ.get("MESETA_URL") or DEFAULT_URL
        self.url = _base(given)
        """The model listener, without `/v1` and without a slash at its end."""
        # An agent asked for at a URL is to be found at that URL.
        hub = hub or (url if agent is not None else None) or os.environ.get("MESETA_HUB_URL")
        self.hub = _base(hub) if hub else None
        """The agent listener, or None when none is known."""
        self._key = key or self._key_of_environment()
        if self._key is not None and not _KEY.fullmatch(self._key):
            raise ValueError(
                "The key has characters in it that no header can carry; read it without its line end."
            )
        self.agent = None if agent is None else label("name of an agent", agent)
        """The agent that `openai_kwargs` and `anthropic_kwargs` lead to, or None for models."""
        listed = ",".join(labels(tags))
        named = {
            SESSION: label("session", session) if session is not None else None,
            RUN: label("run", run) if run is not None else None,
            TAGS: listed or None,
        }
        self._defaults = {name: value for name, value in named.items() if value is not None}
        self._open = False

    def __repr__(self) -> str:
        return f"Connection({self.url!r}, hub={self.hub!r}, agent={self.agent!r})"

    @property
    def headers(self) -> dict[str, str]:
        """The headers of this connection itself, without key: session, run, tags and agent."""
        return {**self._defaults, **({AGENT: self.agent} if self.agent else {})}

    @property
    def authorization(self) -> dict[str, str]:
        """The header with the key; empty when there is none."""
        return {} if self._key is None else {"authorization": f"Bearer {self._key}"}

    def openai_kwargs(self) -> dict[str, Any]:
        """Return `base_url`, `api_key`, `default_headers`: `OpenAI(**connection.openai_kwargs())`.

        LangChain's `ChatOpenAI` and most frameworks take the same three.
        """
        return self._kwargs("/v1")

    def anthropic_kwargs(self) -> dict[str, Any]:
        """Return the same for Anthropic's SDK, whose base URL is without `/v1`."""
        return self._kwargs("")

    def export(self, environment: MutableMapping[str, str] | None = None) -> dict[str, str]:
        """Set the variables by which the SDKs of OpenAI and Anthropic find this gateway, and frameworks too.

        Writes to `os.environ`, or to `environment`; returns what it set. Keys of the vendors that stand there
        are replaced, because they are not for the gateway.
        """
        key = self._key or NO_KEY
        values = {
            "OPENAI_BASE_URL": f"{self._root}/v1",
            "OPENAI_API_KEY": key,
            "ANTHROPIC_BASE_URL": self._root,
            "ANTHROPIC_API_KEY": key,
        }
        (os.environ if environment is None else environment).update(values)
        return values

    def open(self) -> Self:
        """Put the hooks on the HTTP clients, for this gateway's origins. A second call does nothing."""
        with _lock:
            if not self._open:
                hooks.register(self._origins, self._defaults)
                self._open = True
                _newest.append(self)
        return self

    def close(self) -> None:
        """Take the hooks away again. Other connections keep theirs."""
        with _lock:
            if self._open:
                self._open = False
                _newest.remove(self)
                hooks.unregister(self._origins, self._defaults)

    def __enter__(self) -> Self:
        return self.open()

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def _key_of_environment(self) -> str | None:
        """Return MESETA_KEY, unless the environment says that it is for another gateway than this one."""
        named = [url for name in ("MESETA_URL", "MESETA_HUB_URL") if (url := os.environ.get(name))]
        if "MESETA_URL" in os.environ and not self._origins <= {hooks.origin_of(url) for url in named}:
            return None
        return os.environ.get("MESETA_KEY") or None

    @property
    def _origins(self) -> set[hooks.Origin]:
        return {hooks.origin_of(url) for url in (self.url, self.hub) if url is not None}

    @property
    def _root(self) -> str:
        return self.hub if self.agent is not None and self.hub is not None else self.url

    def _kwargs(self, path: str) -> dict[str, Any]:
        return {
            "base_url": f"{self._root}{path}",
            "api_key": self._key or NO_KEY,
            "default_headers": self.headers,
        }


def connect(
    url: str | None = None,
    key: str | None = None,
    *,
    hub: str | None = None,
    session: str | None = None,
    run: str | None = None,
    agent: str | None = None,
    tags: str | tuple[str, ...] | list[str] = (),
) -> Connection:
    """Open a connection to a gateway; `call` and the others use the newest open one.

    `url` is the model listener (MESETA_URL, else http://127.0.0.1:12000), `hub` the agent listener
    (MESETA_HUB_URL), `key` what the listeners ask for (MESETA_KEY, but not for a URL that is neither of the
    two). `session`, `run` and `tags` are those of
    calls outside of any `with meseta.session(...)`. With `agent`, the vendors' SDKs are led to that agent of
    the hub, past the hub's own choice. Raises ValueError for what cannot be.
    """
    return Connection(url, key, hub=hub, session=session, run=run, agent=agent, tags=tags).open()


def newest() -> Connection:
    """Return the newest open connection, or without one what the environment names, opened for no SDK."""
    try:
        return _newest[-1]
    except IndexError:
        return Connection()


def _base(url: str) -> str:
    hooks.origin_of(url)
    if "?" in url or "#" in url:
        raise ValueError(f"A gateway's URL ends with its path: {url!r}.")
    return url.rstrip("/").removesuffix("/v1").rstrip("/")
