"""Meseta, an AI gateway: a Rust data plane and its Python control plane.

Names are loaded on first use, so that importing the package costs next to nothing.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from meseta.config.problems import ConfigError, Problem
    from meseta.errors import MesetaError
    from meseta.native import DebugBuildWarning
    from meseta.plane import Plane
    from meseta.version import __version__

__all__ = ["ConfigError", "DebugBuildWarning", "MesetaError", "Plane", "Problem", "__version__"]

_HOMES = {
    "ConfigError": "meseta.config.problems",
    "DebugBuildWarning": "meseta.native",
    "MesetaError": "meseta.errors",
    "Plane": "meseta.plane",
    "Problem": "meseta.config.problems",
    "__version__": "meseta.version",
}


def __getattr__(name: str) -> object:
    if name not in _HOMES:
        raise AttributeError(f"module 'meseta' has no attribute {name!r}")
    from importlib import import_module

    return getattr(import_module(_HOMES[name]), name)


def __dir__() -> list[str]:
    return sorted(__all__)
