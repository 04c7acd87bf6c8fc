"""Secrets: references as people write them, and a value that cannot be printed, logged or serialised."""

from __future__ import annotations

import re
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Literal, NoReturn

if TYPE_CHECKING:
    from collections.abc import Mapping

MASK = "***"
LARGEST_SECRET_FILE = 65_536
"""Bytes; a key file larger than this is a mistake."""

_VARIABLE = re.compile(r"\$(?:\{([A-Za-z_][A-Za-z0-9_]*)\}|([A-Za-z_][A-Za-z0-9_]*))", re.ASCII)
_VISIBLE = re.compile(r"[\x21-\x7e](?:[\x20-\x7e]*[\x21-\x7e])?", re.ASCII)

Kind = Literal["variable", "file", "literal", "none"]


class SecretError(ValueError):
    """A secret cannot be had; `str()` is a sentence that never contains the secret."""


class Secret:
    """A credential. `reveal()` is the only way to its value."""

    __slots__ = ("_value",)

    def __init__(self, value: str) -> None:
        self._value = value

    def reveal(self) -> str:
        """Return the value itself, for the snapshot and nothing else."""
        return self._value

    def __repr__(self) -> str:
        return MASK

    __str__ = __repr__

    def __format__(self, _specification: str) -> str:
        return MASK

    def __reduce__(self) -> NoReturn:
        raise TypeError("A secret cannot be pickled or copied.")

    __hash__ = None  # type: ignore[assignment]

    def __eq__(self, other: object) -> bool:
        return isinstance(other, Secret) and other._value == self._value


@dataclass(frozen=True, repr=False)
class SecretReference:
    """What stands in the file: `$NAME`, `${NAME}`, `file:PATH`, the word `none`, or the secret itself."""

    kind: Kind
    name: str = ""
    """Name of the variable or path of the file."""
    literal: Secret | None = None

    def __repr__(self) -> str:
        return f"SecretReference({self.kind}{', ' + self.name if self.name else ''})"

    @classmethod
    def parse(cls, text: object) -> SecretReference:
        """Read a reference; raise SecretError when the text is neither a reference nor a usable secret."""
        if not isinstance(text, str):
            raise SecretError("A secret is text: $NAME, ${NAME}, file:/path, or none.")
        if text == "none":
            return cls("none")
        variable = _VARIABLE.fullmatch(text)
        if variable:
            return cls("variable", variable.group(1) or variable.group(2))
        if text.startswith("file:"):
            if not text[5:] or "\0" in text:
                raise SecretError("A secret that starts with file: needs a path after it.")
            return cls("file", text[5:])
        if text.startswith("$") or "${" in text:
            raise SecretError("A reference must be the whole value: write $NAME or ${NAME} and nothing else.")
        return cls("literal", literal=_usable(text, "This secret"))

    def resolve(self, environment: Mapping[str, str], folder: Path) -> Secret | None:
        """Fetch the secret, or None for the word `none`; raise SecretError when it is missing or unusable.

        `folder` is where a relative `file:` path starts.
        """
        if self.kind == "none":
            return None
        if self.kind == "literal":
            return self.literal
        if self.kind == "variable":
            value = environment.get(self.name)
            if value is None:
                raise SecretError(f"The environment variable {self.name} is not set.")
            return _usable(value.strip(), f"The environment variable {self.name}")
        return _usable(_read(folder / self.name).strip(), f"The file {self.name}")


def _read(path: Path) -> str:
    try:
        with path.open("rb") as stream:
            content = stream.read(LARGEST_SECRET_FILE + 1)
    except OSError as error:
        reason = error.strerror or type(error).__name__
        raise SecretError(f"The file {path} cannot be read: {reason}.") from None
    if len(content) > LARGEST_SECRET_FILE:
        raise SecretError(f"The file {path} is larger than 64 KiB, which no key is.")
    return content.decode("utf-8", "replace")


def _usable(value: str, subject: str) -> Secret:
    if not value:
        raise SecretError(f"{subject} is empty.")
    if _VISIBLE.fullmatch(value) is None:
        raise SecretError(f"{subject} has characters that cannot travel in an HTTP header.")
    return Secret(value)
