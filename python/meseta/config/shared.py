"""The address of a Redis or Valkey server as people write it: a secret, or an address with one inside."""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import TYPE_CHECKING
from urllib.parse import quote, urlsplit

from meseta.config.secrets import Secret, SecretError, SecretReference

if TYPE_CHECKING:
    from collections.abc import Mapping
    from pathlib import Path

_ADDRESS = re.compile(
    r"(?P<before>(?:redis|valkey)s?://(?:[^:@/?#\s]*))(?::(?P<password>[^@\s]*))?@(?P<after>[^@\s]+)",
    re.ASCII,
)
_HOST = re.compile(r"[A-Za-z0-9_]([A-Za-z0-9._-]*[A-Za-z0-9_])?", re.ASCII)
_DATABASE = re.compile(r"/?|/[0-9]{1,4}", re.ASCII)

SCHEMES = ("redis", "rediss", "valkey", "valkeys")
"""The ones that end in s are TLS."""

SOCKET = "redis+unix"

FORM = "Write it such as redis://127.0.0.1:6379/0, redis://user:$PASSWORD@host:6379/0, or $REDIS_URL."


@dataclass(frozen=True, repr=False)
class SharedAddress:
    """What stands in the file: a reference to the whole address, or an address with its password apart."""

    whole: SecretReference | None
    before: str = ""
    """Of an address in the file: scheme and user."""
    password: SecretReference | None = None
    after: str = ""
    """Of an address in the file: host, port and database."""

    def __repr__(self) -> str:
        return "SharedAddress(***)"

    @classmethod
    def parse(cls, text: object) -> SharedAddress:
        """Read an address; raise SecretError when it is neither a reference nor an address."""
        if not isinstance(text, str):
            raise SecretError(f"An address is text. {FORM}")
        if text.startswith(("$", "file:")):
            return cls(SecretReference.parse(text))
        found = _ADDRESS.fullmatch(text)
        if found is None and text.partition("://")[0] in SCHEMES and "@" in text:
            raise SecretError(f"A user or password must have its special characters as %XX. {FORM}")
        if found is None or found["password"] is None:
            check(text)
            return cls(None, after=text)
        before, password, after = found.group("before", "password", "after")
        if password.startswith("$"):
            check(f"{before}:x@{after}")
            return cls(None, before, SecretReference.parse(password), after)
        check(text)
        literal = SecretReference("literal", literal=Secret(password)) if password else None
        return cls(None, before, literal, after)

    @property
    def references(self) -> tuple[SecretReference, ...]:
        """Return the secrets that it is made with."""
        return tuple(part for part in (self.whole, self.password) if part is not None)

    def resolve(self, environment: Mapping[str, str], folder: Path) -> str:
        """Return the address itself; raise SecretError when a secret is missing or the address cannot be."""
        if self.whole is not None:
            secret = self.whole.resolve(environment, folder)
            url = secret.reveal() if secret is not None else ""
            check(url)
            return url
        if not self.before:
            return self.after
        secret = self.password.resolve(environment, folder) if self.password is not None else None
        if secret is None:
            return f"{self.before}:@{self.after}"
        # In an address a password is percent-encoded; what comes from outside is not, unless it stands here.
        literal = self.password is not None and self.password.kind == "literal"
        shown = secret.reveal() if literal else quote(secret.reveal(), safe="")
        return f"{self.before}:{shown}@{self.after}"


def check(url: str) -> None:
    """Raise SecretError, which never repeats the address, unless this is the address of a server."""
    try:
        parts = urlsplit(url)
        host, port = parts.hostname or "", parts.port
    except ValueError:
        raise SecretError(f"The shared store's address has a port or host that cannot be. {FORM}") from None
    if parts.scheme not in {*SCHEMES, SOCKET}:
        raise SecretError(f"The shared store's address must begin with redis:// or rediss://. {FORM}")
    if not url.isascii() or any(character <= " " for character in url) or parts.query or parts.fragment:
        raise SecretError(f"The shared store's address has characters that cannot stand there. {FORM}")
    if parts.scheme == SOCKET:
        if parts.netloc or len(parts.path) < 2:
            raise SecretError("The path of a socket is written such as redis+unix:///run/redis/redis.sock.")
        return
    if (":" not in host and _HOST.fullmatch(host) is None) or port == 0:
        raise SecretError(f"The shared store's address has a port or host that cannot be. {FORM}")
    if _DATABASE.fullmatch(parts.path) is None:
        raise SecretError(f"What follows the host must be the number of a database, such as /0. {FORM}")


def hidden(url: str, mask: str) -> str:
    """Return an address that was checked as it may be shown: without user and password."""
    scheme, _, rest = url.partition("://")
    _, at, host = rest.rpartition("@")
    return f"{scheme}://{mask}@{host}" if at else url
