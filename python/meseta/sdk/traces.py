"""The W3C trace context of the work that is going on: read, made and written as `traceparent`."""

from __future__ import annotations

import re
import secrets
import sys
from dataclasses import dataclass
from typing import Any

_TRACEPARENT = re.compile(
    r"(?!ff)[0-9a-f]{2}-(?!0{32})([0-9a-f]{32})-(?!0{16})([0-9a-f]{16})-([0-9a-f]{2})(?:-.*)?", re.ASCII
)
_STATE_CHARACTERS = 512


@dataclass(frozen=True)
class Trace:
    """One place in a trace, under which calls are recorded."""

    trace_id: str
    """32 lower-case hex digits."""
    span_id: str
    """16 lower-case hex digits: the span that the calls are children of."""
    flags: str = "01"
    """2 hex digits; `01` asks everybody on the way to record."""
    state: str | None = None
    """The header `tracestate`, passed on as it came."""

    @classmethod
    def new(cls) -> Trace:
        """Return the beginning of a new trace, which is to be recorded."""
        return cls(secrets.token_hex(16), secrets.token_hex(8))

    @classmethod
    def parse(cls, traceparent: str | None, tracestate: str | None = None) -> Trace | None:
        """Return what the two headers say, or None when the first is missing or not in its form."""
        match = _TRACEPARENT.fullmatch(traceparent.strip()) if traceparent else None
        if match is None:
            return None
        if tracestate is not None and not 0 < len(tracestate) <= _STATE_CHARACTERS:
            tracestate = None
        return cls(match[1], match[2], match[3], tracestate)

    @property
    def header(self) -> str:
        """The value of `traceparent`."""
        return f"00-{self.trace_id}-{self.span_id}-{self.flags}"


def active_span() -> Trace | None:
    """Return the span that OpenTelemetry has open here, when the application uses it, else None."""
    api: Any = sys.modules.get("opentelemetry.trace")
    if api is None:
        return None
    context = api.get_current_span().get_span_context()
    if not context.is_valid:
        return None
    state = context.trace_state.to_header() or None
    return Trace(f"{context.trace_id:032x}", f"{context.span_id:016x}", f"{context.trace_flags:02x}", state)
