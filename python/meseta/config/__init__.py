"""Configuration: read it, say what is wrong with it, resolve it to the snapshot.

Names are loaded on first use: the long-running process needs none of pydantic and ruamel.yaml.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from meseta.config.load import Loaded, load_bytes, load_file
    from meseta.config.problems import CODES, Code, ConfigError, Problem
    from meseta.config.resolve import resolve_file, resolve_loaded
    from meseta.config.resolved import Resolved
    from meseta.config.schema import json_schema
    from meseta.config.snapshot import Snapshot, redact

__all__ = [
    "CODES",
    "Code",
    "ConfigError",
    "Loaded",
    "Problem",
    "Resolved",
    "Snapshot",
    "json_schema",
    "load_bytes",
    "load_file",
    "redact",
    "resolve_file",
    "resolve_loaded",
]

_HOMES = {
    "CODES": "problems",
    "Code": "problems",
    "ConfigError": "problems",
    "Loaded": "load",
    "Problem": "problems",
    "Resolved": "resolved",
    "Snapshot": "snapshot",
    "json_schema": "schema",
    "load_bytes": "load",
    "load_file": "load",
    "redact": "snapshot",
    "resolve_file": "resolve",
    "resolve_loaded": "resolve",
}


def __getattr__(name: str) -> object:
    if name not in _HOMES:
        raise AttributeError(f"module 'meseta.config' has no attribute {name!r}")
    from importlib import import_module

    return getattr(import_module(f"meseta.config.{_HOMES[name]}"), name)


def __dir__() -> list[str]:
    return sorted(__all__)
