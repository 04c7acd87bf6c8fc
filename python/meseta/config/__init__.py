"""Configuration: read it, say what is wrong with it, resolve it to the snapshot.

Names are loaded on first use: the long-running process needs none of pydantic and ruamel.yaml.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from meseta.lazy import lazily

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
    "CODES": "meseta.config.problems",
    "Code": "meseta.config.problems",
    "ConfigError": "meseta.config.problems",
    "Loaded": "meseta.config.load",
    "Problem": "meseta.config.problems",
    "Resolved": "meseta.config.resolved",
    "Snapshot": "meseta.config.snapshot",
    "json_schema": "meseta.config.schema",
    "load_bytes": "meseta.config.load",
    "load_file": "meseta.config.load",
    "redact": "meseta.config.snapshot",
    "resolve_file": "meseta.config.resolve",
    "resolve_loaded": "meseta.config.resolve",
}

__getattr__, __dir__ = lazily(__name__, _HOMES)
