"""A `base_url` as people write it, checked and completed."""

from __future__ import annotations

import ipaddress
import re
from dataclasses import dataclass
from typing import TYPE_CHECKING
from urllib.parse import urlsplit

from meseta.config.dialects import paths

if TYPE_CHECKING:
    from collections.abc import Sequence

    from meseta.config.dialects import Dialect

_HOST = re.compile(r"[A-Za-z0-9_]([A-Za-z0-9._-]*[A-Za-z0-9_])?\.?", re.ASCII)
_PATH = re.compile(r"[A-Za-z0-9._~!$&'()*+,;=:@%/-]*", re.ASCII)
_QUERY = re.compile(r"[A-Za-z0-9._~!$&'()*+,;=:@%/?-]*", re.ASCII)
_ENDPOINTS = ("/chat/completions", "/completions", "/embeddings", "/models", "/responses", "/messages")


@dataclass(frozen=True)
class Endpoint:
    """Where requests go."""

    base_url: str
    """Scheme, host, port and path; no slash at the end."""
    query: str
    """What follows the question mark; usually empty."""


def host_and_path(url: str) -> tuple[str, str]:
    """Return both in their raw form; empty texts for what is no address, which is said elsewhere."""
    try:
        parts = urlsplit(url)
        return parts.hostname or "", parts.path
    except ValueError:
        return "", ""


def is_loopback(host: str) -> bool:
    """Whether what is sent there stays on this machine."""
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return host == "localhost" or host.endswith(".localhost")


def read_agent_url(text: str, apis: Sequence[Dialect]) -> Endpoint:
    """Check the `url` of an agent; the path of one of its APIs may stand at the end of it.

    Raise ValueError with a sentence otherwise.
    """
    before, mark, query = text.partition("?")
    before = before.rstrip("/")
    endings = [path for path in paths(apis, ()).values() if before.endswith(path)]
    if endings:
        before = before.removesuffix(max(endings, key=len))
    try:
        return read_base_url(before + mark + query, "" if endings else "/v1")
    except ValueError as error:
        sentence = str(error).replace("`base_url`", "`url`").replace("`access_key`", "`auth`")
        raise ValueError(sentence) from None


def read_base_url(text: str, usual_path: str, *, whole: bool = False) -> Endpoint:
    """Check a `base_url`; one without a path gets `usual_path`. Nothing is added to a `whole` one.

    Raise ValueError with a sentence otherwise.
    """
    if text.startswith("$"):
        raise ValueError("`base_url` must be an address; references such as $NAME work in secrets only.")
    if not text.isascii() or any(character <= " " or character == "\x7f" for character in text):
        raise ValueError(
            "`base_url` must be ASCII without spaces; write an international host name in its xn-- form."
        )
    try:
        parts = urlsplit(text)
        port = parts.port
        host = parts.hostname or ""
    except ValueError:
        raise ValueError("`base_url` has a port or an address that cannot be.") from None
    if parts.scheme not in {"http", "https"} or not host:
        raise ValueError("`base_url` must begin with http:// or https:// and name a host.")
    if "@" in parts.netloc:
        raise ValueError("`base_url` must not carry a user name or password; write the key as `access_key`.")
    if parts.fragment or text.endswith("#"):
        raise ValueError("`base_url` must not have a # part.")
    shown = f"[{host}]" if ":" in host else host
    if (":" not in host and _HOST.fullmatch(host) is None) or port == 0:
        raise ValueError("`base_url` has a host or port that cannot be.")
    if _PATH.fullmatch(parts.path) is None or _QUERY.fullmatch(parts.query) is None:
        raise ValueError("`base_url` has characters that must be written as %XX.")
    path = parts.path.rstrip("/")
    for ending in _ENDPOINTS:
        if path.endswith(ending) and not whole:
            raise ValueError(f"`base_url` must end before {ending}, which Meseta adds itself.")
    origin = f"{parts.scheme}://{shown}" + (f":{port}" if port is not None else "")
    return Endpoint(origin + (path or usual_path), parts.query)
