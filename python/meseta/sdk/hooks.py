"""Headers for calls that a vendor's SDK makes: hooks on httpx and httpx2, for connections' origins alone.

Both libraries pass every request of theirs, redirects included, through one method of their clients. The hook
stands there. The request gets its headers for the time of the call only, so that a redirect to somebody else
takes none of them along.
"""

from __future__ import annotations

import functools
import importlib
import threading
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any
from urllib.parse import urlsplit

from meseta.sdk.outgoing import IDEMPOTENCY_KEY, RETRY_COUNT, idempotency_key, scope_headers

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

LIBRARIES = ("httpx", "httpx2")
"""openai and anthropic use the second one by now, most others the first."""
_METHOD = "_send_single_request"
_MARK = "_meseta_original"

Origin = tuple[str, str, int]

_lock = threading.Lock()
_defaults: dict[Origin, tuple[Mapping[str, str], ...]] = {}
"""The connections' own headers by origin, newest last. Replaced, never changed: no reader has to lock."""


def origin_of(url: str) -> Origin:
    """Return scheme, host and port; ValueError when the URL is not an http one with a host."""
    parts = urlsplit(url)
    if parts.scheme not in ("http", "https") or not parts.hostname:
        raise ValueError(f"Not the URL of a gateway: {url!r}. Write it as http://127.0.0.1:12000.")
    if parts.username is not None or parts.password is not None:
        raise ValueError("A gateway's URL has no user or password in it; pass the key as `key`.")
    host = parts.hostname if parts.hostname.isascii() else parts.hostname.encode("idna").decode()
    return parts.scheme, host.lower(), parts.port or _usual_port(parts.scheme)


def register(origins: set[Origin], defaults: Mapping[str, str]) -> None:
    """Let calls to `origins` carry the scope they are made in, and `defaults` where it says nothing."""
    global _defaults
    with _lock:
        changed = dict(_defaults)
        for origin in origins:
            changed[origin] = (*changed.get(origin, ()), defaults)
        _defaults = changed
        for client, asynchronous in _clients():
            _install(client, asynchronous=asynchronous)


def unregister(origins: set[Origin], defaults: Mapping[str, str]) -> None:
    """Take back one `register` with the same arguments; with the last one the hooks go."""
    global _defaults
    with _lock:
        changed = dict(_defaults)
        for origin in origins:
            left = tuple(known for known in changed.get(origin, ()) if known is not defaults)
            if left:
                changed[origin] = left
            else:
                changed.pop(origin, None)
        _defaults = changed
        if not changed:
            for client, _ in _clients():
                _remove(client)


def installed() -> list[str]:
    """Return the client classes that are hooked now, such as `httpx.AsyncClient`."""
    return [
        f"{client.__module__}.{client.__qualname__}"
        for client, _ in _clients()
        if hasattr(client.__dict__.get(_METHOD), _MARK)
    ]


def _clients() -> Iterator[tuple[Any, bool]]:
    for name in LIBRARIES:
        try:
            library = importlib.import_module(name)
        except ImportError:
            continue
        yield library.Client, False
        yield library.AsyncClient, True


def _install(client: Any, *, asynchronous: bool) -> None:
    original = client.__dict__.get(_METHOD)
    if original is None or hasattr(original, _MARK):
        return
    if asynchronous:

        @functools.wraps(original)
        async def send_async(self: Any, request: Any) -> Any:
            with _dressed(request):
                return await original(self, request)

        hook: Any = send_async
    else:

        @functools.wraps(original)
        def send(self: Any, request: Any) -> Any:
            with _dressed(request):
                return original(self, request)

        hook = send
    setattr(hook, _MARK, original)
    setattr(client, _METHOD, hook)


def _remove(client: Any) -> None:
    # Where somebody else has put a hook over this one, it stays below and, without origins, does nothing.
    original = getattr(client.__dict__.get(_METHOD), _MARK, None)
    if original is not None:
        setattr(client, _METHOD, original)


@contextmanager
def _dressed(request: Any) -> Iterator[None]:
    known = _defaults.get(_origin_of_request(request.url)) if _defaults else None
    if known is None:
        yield
        return
    before = request.headers
    request.headers = before.copy()
    request.headers.update(_headers_for(request, known))
    try:
        yield
    finally:
        request.headers = before


def _headers_for(request: Any, known: tuple[Mapping[str, str], ...]) -> dict[str, str]:
    present = {name.lower(): value for name, value in request.headers.items()}
    defaults = dict(known[-1])
    # A client made with an older connection's headers keeps them, though a newer connection has others.
    for own in known:
        defaults.update({name: value for name, value in own.items() if present.get(name) == value})
    headers = scope_headers(defaults, present)
    if request.method != "GET" and IDEMPOTENCY_KEY not in present:
        url, retry = str(request.url), present.get(RETRY_COUNT)
        headers[IDEMPOTENCY_KEY] = idempotency_key(request.method, url, _body(request), retry)
    return headers


def _body(request: Any) -> bytes | None:
    """Return the body where it is in memory; a stream is not read for this."""
    return getattr(request, "_content", None)


def _origin_of_request(url: Any) -> Origin:
    port = url.port or _usual_port(url.scheme)
    return url.scheme, url.raw_host.decode("ascii", "replace").lower(), port


def _usual_port(scheme: str) -> int:
    return 443 if scheme == "https" else 80
