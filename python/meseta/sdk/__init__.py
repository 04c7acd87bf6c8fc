"""The Python SDK: SDKs of vendors through the plane, agents made of functions, and orchestration in code.

Names are loaded on first use. `import meseta` has those that programs need most.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from meseta.lazy import lazily

if TYPE_CHECKING:
    from meseta.sdk import aio
    from meseta.sdk.agents import Agent, Context, agent
    from meseta.sdk.answers import Answer, Message, Usage
    from meseta.sdk.client import Client, Stream, call, chain, fan_out, stream, supervise
    from meseta.sdk.connection import Connection, connect
    from meseta.sdk.failures import AgentError, CallError, FanOutError
    from meseta.sdk.parallel import Ask
    from meseta.sdk.scopes import run, session
    from meseta.sdk.server import serve, serving
    from meseta.sdk.supervision import Outcome, Step

__all__ = [
    "Agent",
    "AgentError",
    "Answer",
    "Ask",
    "CallError",
    "Client",
    "Connection",
    "Context",
    "FanOutError",
    "Message",
    "Outcome",
    "Step",
    "Stream",
    "Usage",
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
    "Agent": "meseta.sdk.agents",
    "AgentError": "meseta.sdk.failures",
    "Answer": "meseta.sdk.answers",
    "Ask": "meseta.sdk.parallel",
    "CallError": "meseta.sdk.failures",
    "Client": "meseta.sdk.client",
    "Connection": "meseta.sdk.connection",
    "Context": "meseta.sdk.agents",
    "FanOutError": "meseta.sdk.failures",
    "Message": "meseta.sdk.answers",
    "Outcome": "meseta.sdk.supervision",
    "Step": "meseta.sdk.supervision",
    "Stream": "meseta.sdk.client",
    "Usage": "meseta.sdk.answers",
    "agent": "meseta.sdk.agents",
    "aio": "meseta.sdk.aio",
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

__getattr__, __dir__ = lazily(__name__, _HOMES)
