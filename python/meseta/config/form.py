"""The forms of single values, and the section that every other one is made from."""

from __future__ import annotations

import re
from typing import Annotated

from pydantic import BaseModel, BeforeValidator, ConfigDict, Field, PlainSerializer, WithJsonSchema

from meseta.config.secrets import MASK, Secret, SecretError, SecretReference
from meseta.config.shared import SharedAddress
from meseta.config.units import DURATION_PATTERN, SIZE_PATTERN, parse_duration_ms, parse_size_bytes


def _flag(value: object) -> object:
    """Plano's parser read YAML 1.1, where these words are booleans."""
    if isinstance(value, str):
        return {"yes": True, "on": True, "no": False, "off": False}.get(value.lower(), value)
    return value


Duration = Annotated[
    int,
    BeforeValidator(parse_duration_ms),
    WithJsonSchema({"type": "string", "pattern": DURATION_PATTERN, "examples": ["500ms", "2s", "5m"]}),
]
"""Milliseconds inside; `2s`, `500ms`, `5m`, `1h`, `7d` in the file."""

Size = Annotated[
    int,
    BeforeValidator(parse_size_bytes),
    WithJsonSchema({"type": "string", "pattern": SIZE_PATTERN, "examples": ["32MiB", "2GB"]}),
]
"""Bytes inside; `32MiB`, `2GB` in the file."""

Flag = Annotated[bool, BeforeValidator(_flag), WithJsonSchema({"type": "boolean"})]

SecretText = Annotated[
    SecretReference,
    BeforeValidator(SecretReference.parse),
    PlainSerializer(lambda _: MASK, return_type=str),
    WithJsonSchema({"type": "string", "examples": ["$OPENAI_API_KEY", "file:/run/secrets/openai", "none"]}),
]
"""A reference to a secret, never the secret in a form that could be printed."""

SharedText = Annotated[
    SharedAddress,
    BeforeValidator(SharedAddress.parse),
    PlainSerializer(lambda _: MASK, return_type=str),
    WithJsonSchema({"type": "string", "examples": ["$REDIS_URL", "redis://127.0.0.1:6379/0"]}),
]
"""The address of a Redis or Valkey server, which may hold a password."""

_IDENTIFIER = re.compile(r"[A-Za-z0-9_.-]{1,64}", re.ASCII)
_REFERENCE = re.compile(r"\$(?:\{[A-Za-z_][A-Za-z0-9_]*\}|[A-Za-z_][A-Za-z0-9_]*)|file:.+", re.ASCII)


def _identifier(value: object) -> object:
    if isinstance(value, str) and (_IDENTIFIER.fullmatch(value) is None or not value.strip(".")):
        raise ValueError("An id has 1 to 64 letters, digits, `_`, `.` and `-`, and not dots alone.")
    return value


Identifier = Annotated[
    str, BeforeValidator(_identifier), WithJsonSchema({"type": "string", "pattern": "^[A-Za-z0-9_.-]{1,64}$"})
]
"""A name that is safe as part of a path, a file name and a header."""


def _variable_value(value: object) -> SecretReference:
    """Return what a variable is to hold: a whole-value reference is fetched, anything else is the text."""
    if isinstance(value, bool):
        value = "true" if value else "false"
    elif isinstance(value, (int, float)):
        value = str(value)
    if not isinstance(value, str) or "\0" in value:
        raise SecretError("The value of a variable is text, a number, $NAME or file:PATH.")
    if _REFERENCE.fullmatch(value):
        return SecretReference.parse(value)
    return SecretReference("literal", literal=Secret(value))


VariableValue = Annotated[
    SecretReference,
    BeforeValidator(_variable_value),
    PlainSerializer(lambda _: MASK, return_type=str),
    WithJsonSchema({"type": ["string", "number", "boolean"]}),
]
"""What an environment variable of an agent holds."""

Port = Annotated[int, Field(ge=0, le=65535)]

Count = Annotated[int, Field(ge=0, le=1_000_000)]
"""How many of something; 0 where none is meant, or no limit."""

Percent = Annotated[float, Field(ge=0, le=100)]

PositiveDuration = Annotated[Duration, Field(ge=1)]


class Strict(BaseModel):
    """A section of the file: keys that it does not name are errors, and nothing is coerced silently."""

    model_config = ConfigDict(
        extra="forbid",
        strict=True,
        frozen=True,
        arbitrary_types_allowed=True,
        use_attribute_docstrings=True,
        # A file is of one version; the models of the other are never built.
        defer_build=True,
    )
