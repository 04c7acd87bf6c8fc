"""Which headers a configuration may set or let through."""

from __future__ import annotations

import re

_NAME = re.compile(r"[!#$%&'*+.^_`|~0-9A-Za-z-]{1,128}", re.ASCII)
_PATTERN = re.compile(r"[!#$%&'+.^_`|~0-9A-Za-z-]{1,128}\*?", re.ASCII)
_VALUE = re.compile(r"[\x20-\x7e\t]{0,8192}", re.ASCII)
_LOOKS_LIKE_REFERENCE = re.compile(r"\$(\{[A-Za-z_][A-Za-z0-9_]*\}|[A-Za-z_][A-Za-z0-9_]*)", re.ASCII)

OURS = frozenset(
    {
        "connection",
        "content-length",
        "expect",
        "keep-alive",
        "proxy-authenticate",
        "proxy-authorization",
        "proxy-connection",
        "te",
        "trailer",
        "transfer-encoding",
        "upgrade",
    }
)
"""Headers that belong to a connection, not to a request; the data plane sets them itself."""

CREDENTIALS = frozenset(
    {
        "authorization",
        "api-key",
        "x-api-key",
        "x-goog-api-key",
        "x-amz-security-token",
        "x-meseta-key",
        "cookie",
    }
)
"""Headers that say who a client is; they never travel on by name."""


def check_header(name: str, value: str) -> str | None:
    """Why this header cannot be sent, as a sentence, or None when it can."""
    if _NAME.fullmatch(name) is None:
        return "is not a header name: use letters, digits and hyphens."
    if name.lower() in OURS:
        return "belongs to the connection and cannot be set."
    if name.lower() == "host":
        return "is set with `http_host`."
    if _VALUE.fullmatch(value) is None or value != value.strip():
        return (
            "has a value that cannot travel in a header: use ASCII without control characters or "
            "outer spaces."
        )
    return None


def check_forwarded(name: str) -> str | None:
    """Why this client header may not travel on, as a sentence, or None when it may."""
    if _PATTERN.fullmatch(name) is None:
        return "is not a header name, or a beginning of one and a star such as x-tenant-*."
    plain = name.lower().rstrip("*")
    if plain in OURS or plain in {"host", "content-type", "content-encoding"}:
        return "belongs to the connection or the body and cannot be forwarded."
    wide = name.endswith("*") and any(credential.startswith(plain) for credential in CREDENTIALS)
    if plain in CREDENTIALS or wide:
        return "would let credentials travel on."
    return None


def looks_like_reference(value: str) -> bool:
    """Whether somebody probably hoped that this value would be expanded."""
    return _LOOKS_LIKE_REFERENCE.fullmatch(value) is not None
