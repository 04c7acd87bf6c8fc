"""Meseta, an AI gateway: a Rust data plane and its Python control plane.

Names are loaded on first use, so that importing the package costs next to nothing.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from meseta.lazy import lazily

if TYPE_CHECKING:
    from meseta.config.problems import ConfigError, Problem
    from meseta.errors import MesetaError
    from meseta.native import DebugBuildWarning
    from meseta.plane import Plane
    from meseta.sdk import (
        AgentError,
        Answer,
        Ask,
        CallError,
        Connection,
        Context,
        FanOutError,
        agent,
        aio,
        call,
        chain,
        connect,
        fan_out,
        run,
        serve,
        serving,
        session,
        stream,
        supervise,
    )
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

_HOMES = dict.fromkeys(__all__, "meseta.sdk") | {
    "ConfigError": "meseta.config.problems",
    "DebugBuildWarning": "meseta.native",
    "MesetaError": "meseta.errors",
    "Plane": "meseta.plane",
    "Problem": "meseta.config.problems",
    "__version__": "meseta.version",
}

__getattr__, __dir__ = lazily(__name__, _HOMES)
