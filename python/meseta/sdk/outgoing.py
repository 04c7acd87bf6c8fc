"""The headers that tell a plane what a call belongs to, and the key that names a call across its retries."""

from __future__ import annotations

import hashlib
import secrets
from contextvars import ContextVar
from typing import TYPE_CHECKING

from meseta.sdk.scopes import current
from meseta.sdk.traces import Trace, active_span

if TYPE_CHECKING:
    from collections.abc import Mapping

SESSION = "x-meseta-session"
RUN = "x-meseta-run"
TAGS = "x-meseta-tags"
CONTEXT = "x-meseta-context"
AGENT = "x-meseta-agent"
DEADLINE = "x-meseta-deadline"
IDEMPOTENCY_KEY = "idempotency-key"
RETRY_COUNT = "x-stainless-retry-count"
"""How the SDKs of OpenAI and Anthropic number what they send again."""

_REMEMBERED = 16
_RECENT: ContextVar[tuple[tuple[bytes, str], ...]] = ContextVar("meseta_recent_keys", default=())
"""What this task or thread sent last, and under which key; newest last. Retries come from where the first
try came from."""


def scope_headers(defaults: Mapping[str, str], present: Mapping[str, str]) -> dict[str, str]:
    """Return what a call made here has to carry beside the headers that it has.

    `present` has lower-case names. What the caller wrote itself stays; the scope around the call wins over
    `defaults`, which are those of the connection, also where they stand among `present` already.
    """
    scope = current()
    span = active_span()
    trace = span or scope.trace or Trace.new()
    wanted = {
        SESSION: scope.session,
        RUN: scope.run,
        TAGS: ",".join(scope.tags) or None,
        CONTEXT: scope.context,
        DEADLINE: None if scope.seconds_left is None else duration(scope.seconds_left),
    }
    headers: dict[str, str] = {}
    for name, ours in wanted.items():
        default, theirs = defaults.get(name), present.get(name)
        value = default if ours is None else ours
        if value is not None and (theirs is None or theirs == default):
            headers[name] = value
    if "traceparent" not in present:
        headers["traceparent"] = trace.header
        if trace.state is not None:
            headers["tracestate"] = trace.state
    return headers


def idempotency_key(method: str, url: str, body: bytes | None, retry: str | None) -> str:
    """Return the key of one call: a new one, or for a retry that of the try before it in this task."""
    digest = hashlib.sha256(f"{method} {url}\n".encode())
    digest.update(body or b"")
    call = digest.digest()
    recent = _RECENT.get()
    if retry is not None and retry.strip().isdigit() and int(retry) > 0:
        for sent, key in reversed(recent):
            if sent == call:
                return key
    key = f"meseta-{secrets.token_hex(16)}"
    _RECENT.set((*recent[1 - _REMEMBERED :], (call, key)))
    return key


def duration(seconds: float) -> str:
    """Return a duration as the plane reads it, at least a millisecond."""
    return f"{max(1, int(seconds * 1000))}ms"
