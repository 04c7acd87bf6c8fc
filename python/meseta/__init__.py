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
    from meseta.sdk import aio
    from meseta.sdk.agents import Context, agent
    from meseta.sdk.answers import Answer
    from meseta.sdk.client import call, chain, fan_out, stream, supervise
    from meseta.sdk.connection import Connection, connect
    from meseta.sdk.failures import AgentError, CallError, FanOutError
    from meseta.sdk.parallel import Ask
    from meseta.sdk.scopes import run, session
    from meseta.sdk.server import serve, serving
    from meseta.version import __version__

__all__ = [
    "AgentError",
    "Answer",
    "Ask",
    "CallError",
    "ConfigError",
    "Connection",
    "Context",
    "DebugBuildWarning",
    "FanOutError",
    "MesetaError",
    "Plane",
    "Problem",
    "__version__",
    "agent",
    "aio",
    "call",
    "chain",
    "connect",
    "fan_out",
    "run",
    "serve",
    "serving",
    "session",
    "stream",
    "supervise",
]

_HOMES = {
    "AgentError": "meseta.sdk.failures",
    "Answer": "meseta.sdk.answers",
    "Ask": "meseta.sdk.parallel",
    "CallError": "meseta.sdk.failures",
    "ConfigError": "meseta.config.problems",
    "Connection": "meseta.sdk.connection",
    "Context": "meseta.sdk.agents",
    "DebugBuildWarning": "meseta.native",
    "FanOutError": "meseta.sdk.failures",
    "MesetaError": "meseta.errors",
    "Plane": "meseta.plane",
    "Problem": "meseta.config.problems",
    "__version__": "meseta.version",
    "agent": "meseta.sdk.agents",
    "aio": "meseta.sdk",
    "call": "meseta.sdk.client",
    "chain": "meseta.sdk.client",
    "connect": "meseta.sdk.connection",
    "fan_out": "meseta.sdk.client",
    "run": "meseta.sdk.scopes",
    "serve": "meseta.sdk.server",
    "serving": "meseta.sdk.server",
    "session": "meseta.sdk.scopes",
    "stream": "meseta.sdk.client",
    "supervise": "meseta.sdk.client",
}


def __getattr__(name: str) -> object:
    if name not in _HOMES:
        raise AttributeError(f"module 'meseta' has no attribute {name!r}")
    from importlib import import_module

    return getattr(import_module(_HOMES[name]), name)


def __dir__() -> list[str]:
    return sorted(__all__)
