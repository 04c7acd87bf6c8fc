"""Which model describes the place that a path leads to: for nearest keys, hints and reference pages."""

from __future__ import annotations

import types
import typing
from difflib import get_close_matches
from typing import Any

from pydantic import BaseModel

if typing.TYPE_CHECKING:
    from collections.abc import Iterable

    from meseta.config.document import Path


def section_at(root: type[BaseModel], tree: Any, path: Path) -> type[BaseModel] | None:
    """Return the model of the mapping at `path` in a document whose whole is `root`, or None."""
    kinds: list[Any] = [root]
    value = tree
    for part in path:
        value = _child(value, part)
        kinds = [inner for kind in kinds for inner in _inner(kind, part)]
    models = [kind for kind in kinds if isinstance(kind, type) and issubclass(kind, BaseModel)]
    told = value.get("type") if isinstance(value, dict) else None
    return next((model for model in models if _is_of(model, told)), models[0] if models else None)


def _is_of(model: type[BaseModel], told: object) -> bool:
    """Whether a mapping with this `type` is one of that model, where several kinds may stand."""
    field = model.model_fields.get("type")
    return field is not None and told in typing.get_args(field.annotation)


def real_path(tree: Any, location: Iterable[str | int]) -> Path:
    """Return a validation error's location without the parts that are names of union members, not of keys."""
    path: list[str | int] = []
    value = tree
    for part in location:
        inside = isinstance(value, dict) and part in value
        if inside or (isinstance(value, list) and isinstance(part, int) and part < len(value)):
            path.append(part)
            value = value[part]
    return tuple(path)


def nearest(word: str, words: Iterable[str]) -> str:
    """Return the most similar of `words`, or an empty text when none is similar."""
    found = get_close_matches(word, list(words), n=1, cutoff=0.6)
    return found[0] if found else ""


def alternatives(annotation: Any) -> list[Any]:
    """Return the members of an annotation with `Annotated` and unions taken apart."""
    origin = typing.get_origin(annotation)
    if origin is typing.Annotated:
        return alternatives(typing.get_args(annotation)[0])
    if origin in (typing.Union, types.UnionType):
        return [member for part in typing.get_args(annotation) for member in alternatives(part)]
    return [annotation]


def _child(value: Any, part: str | int) -> Any:
    if isinstance(value, dict):
        return value.get(part)
    if isinstance(value, list) and isinstance(part, int) and part < len(value):
        return value[part]
    return None


def _inner(kind: Any, part: str | int) -> list[Any]:
    if isinstance(kind, type) and issubclass(kind, BaseModel):
        field = kind.model_fields.get(str(part))
        return [] if field is None else alternatives(field.annotation)
    origin, arguments = typing.get_origin(kind), typing.get_args(kind)
    if origin is list and isinstance(part, int):
        return alternatives(arguments[0])
    if origin is dict and isinstance(part, str):
        return alternatives(arguments[1])
    return []
