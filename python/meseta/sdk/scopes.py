"""What travels with every call of one piece of work: its session, run, tags, trace and deadline.

It lives in a context variable, so that each thread, task and request that is being served has its own. A new
task inherits it; a new thread does not, unless it is started with `contextvars.copy_context().run`.
"""

from __future__ import annotations

import re
import secrets
import time
from contextvars import ContextVar, Token
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Self

from meseta.sdk.traces import Trace

if TYPE_CHECKING:
    from collections.abc import Mapping
    from types import TracebackType

LABEL_BYTES = 256
"""Longest session, run or list of tags: what a plane takes."""
CONTEXT_BYTES = 8192
_VISIBLE = re.compile(r"[\x20-\x7e]*", re.ASCII)
_DURATION = re.compile(r"(\d{1,12}(?:\.\d{1,9})?)(ms|s|m|h)", re.ASCII)
_SECONDS = {"ms": 0.001, "s": 1.0, "m": 60.0, "h": 3600.0}
_LONGEST_SECONDS = 86_400.0


@dataclass(frozen=True)
class Scope:
    """What the calls that are made now belong to."""

    session: str | None = None
    run: str | None = None
    tags: tuple[str, ...] = ()
    context: str | None = None
    """The plane's own word on who called whom up to here. It is passed on unread."""
    trace: Trace | None = None
    deadline: float | None = None
    """When the whole work must be done, on the clock of `time.monotonic`."""

    @property
    def seconds_left(self) -> float | None:
        """Seconds until the deadline, 0.0 when it has passed, or None without one."""
        return None if self.deadline is None else max(0.0, self.deadline - time.monotonic())

    @classmethod
    def of_request(cls, headers: Mapping[str, str]) -> Scope:
        """Return the scope that a request came with; `headers` have lower-case names.

        A header that is too long or not in its form is left out: whoever called is not ours to correct.
        """
        deadline = parse_duration(headers.get("x-meseta-deadline"))
        tags = _taken(headers.get("x-meseta-tags"), LABEL_BYTES)
        return cls(
            session=_taken(headers.get("x-meseta-session"), LABEL_BYTES),
            run=_taken(headers.get("x-meseta-run"), LABEL_BYTES),
            tags=tuple(tag.strip() for tag in tags.split(",") if tag.strip()) if tags else (),
            context=_taken(headers.get("x-meseta-context"), CONTEXT_BYTES),
            trace=Trace.parse(headers.get("traceparent"), headers.get("tracestate")),
            deadline=None if deadline is None else time.monotonic() + deadline,
        )


_CURRENT: ContextVar[Scope] = ContextVar("meseta_scope")
_NONE = Scope()


def current() -> Scope:
    """Return the scope of the calls that are made here; an empty one outside of any."""
    return _CURRENT.get(_NONE)


class Entered:
    """A scope for the time of a `with` block."""

    def __init__(self, scope: Scope, name: str | None = None) -> None:
        self.scope = scope
        self.name = name
        """The session's or run's name."""
        self._token: Token[Scope] | None = None

    def __enter__(self) -> Self:
        if self._token is not None:
            raise RuntimeError("This scope is entered already; make a new one.")
        self._token = _CURRENT.set(self.scope)
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        token, self._token = self._token, None
        if token is None:
            return
        try:
            _CURRENT.reset(token)
        except ValueError:
            # A generator that was closed by another task: the block's own context is gone with its task.
            return


def session(name: str, *, tags: str | tuple[str, ...] | list[str] = ()) -> Entered:
    """Let every call within the `with` block belong to the conversation `name`.

    `name` has at most 256 visible ASCII characters; ValueError otherwise. `tags` are added to those around.
    """
    scope = replace(current(), session=label("session", name))
    return Entered(_tagged(scope, tags), name)


def run(
    name: str | None = None, *, tags: str | tuple[str, ...] | list[str] = (), seconds: float | None = None
) -> Entered:
    """Let every call within the `with` block belong to one run of an agent, under one trace.

    Without a `name` it gets one of its own (`.name`). `seconds` bounds the whole run: the calls carry what is
    left of it as their deadline, and an earlier deadline from around stays. `tags` are added to those around.
    Raises ValueError for a name or tag that no header can carry.
    """
    name = f"run_{secrets.token_hex(8)}" if name is None else label("run", name)
    scope = current()
    scope = replace(scope, run=name, trace=scope.trace or Trace.new())
    if seconds is not None:
        scope = within(scope, seconds)
    return Entered(_tagged(scope, tags), name)


def within(scope: Scope, seconds: float) -> Scope:
    """Return `scope` with a deadline `seconds` from now, or its own where that is earlier."""
    if not 0 < seconds <= _LONGEST_SECONDS:
        raise ValueError("seconds must be more than 0 and at most 86400, a day.")
    deadline = time.monotonic() + seconds
    return replace(scope, deadline=deadline if scope.deadline is None else min(deadline, scope.deadline))


def label(kind: str, text: str) -> str:
    """Return `text` when a header can carry it as a session, run or tag; else raise ValueError."""
    if not text or len(text) > LABEL_BYTES or not _VISIBLE.fullmatch(text) or text != text.strip():
        raise ValueError(
            f"A {kind} is 1 to {LABEL_BYTES} visible ASCII characters without blanks around them; "
            "use an id, and keep names of people in your own data."
        )
    return text


def labels(tags: str | tuple[str, ...] | list[str]) -> tuple[str, ...]:
    """Return the tags, each once and checked; one may be given as it is. Raises ValueError."""
    listed = (tags,) if isinstance(tags, str) else tuple(tags)
    for tag in listed:
        if "," in label("tag", tag):
            raise ValueError(f"A tag has no comma in it, because commas stand between tags: {tag!r}.")
    unique = tuple(dict.fromkeys(listed))
    if len(",".join(unique)) > LABEL_BYTES:
        raise ValueError(f"All tags together have at most {LABEL_BYTES} characters, the commas counted.")
    return unique


def parse_duration(text: str | None) -> float | None:
    """Return seconds of a duration such as `1500ms`, `2.5s` or `2m`, or None when it is none."""
    match = _DURATION.fullmatch(text.strip()) if text else None
    if match is None:
        return None
    return min(float(match[1]) * _SECONDS[match[2]], _LONGEST_SECONDS)


def _tagged(scope: Scope, tags: str | tuple[str, ...] | list[str]) -> Scope:
    return replace(scope, tags=labels((*scope.tags, *labels(tags)))) if tags else scope


def _taken(value: str | None, limit: int) -> str | None:
    if value is None or not 0 < len(value) <= limit or not _VISIBLE.fullmatch(value):
        return None
    return value
