"""The second half of `meseta demo`: one question that two agents answer, and its trace from the log."""

from __future__ import annotations

import http.client
import importlib.util
import json
import sys
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from meseta.cli.demo_desk import FACTS, MODEL
from meseta.insight.requests import RequestLog
from meseta.insight.trace import Trace, of_request
from meseta.plane import Plane

if TYPE_CHECKING:
    from meseta.settings import Settings

QUESTION = "What is the weather in Oslo on Friday, and which flights go there?"
NEEDED = ("httpx", "uvicorn")
"""What agents that are functions are served with; `meseta[agents]` has it."""
PATIENCE_SECONDS = 150.0


@dataclass(frozen=True)
class Asked:
    """What came back, and what the log has of it."""

    status: int
    agents: str
    """Who was asked, as the answer's head says."""
    text: str
    trace: Trace | None


def missing() -> list[str]:
    """Return the packages that the agents need and that are not here."""
    return [name for name in NEEDED if importlib.util.find_spec(name) is None]


def ask(folder: str, settings: Settings) -> Asked:
    """Start a plane and its agents, ask, stop, and read the log."""
    with Plane.from_text(_config(), settings=replace(settings, home=folder)) as plane:
        port = next(listener["port"] for listener in plane.listeners if listener["name"] == "assistant")
        connection = http.client.HTTPConnection("127.0.0.1", port, timeout=PATIENCE_SECONDS)
        body = {"model": "assistant", "messages": [{"role": "user", "content": QUESTION}]}
        try:
            connection.request(
                "POST", "/v1/chat/completions", json.dumps(body), {"content-type": "application/json"}
            )
            response = connection.getresponse()
            content = response.read()
        finally:
            connection.close()
        path = plane.log_path
    # The plane is stopped, so that every record has reached the log.
    request_id = response.getheader("x-meseta-request-id", "")
    trace = None if path is None else of_request(RequestLog(path), request_id)
    text = content.decode("utf-8", "replace")
    if response.status == http.HTTPStatus.OK:
        text = json.loads(text)["choices"][0]["message"]["content"]
    return Asked(response.status, response.getheader("x-meseta-agents", ""), text, trace)


def faults(asked: Asked) -> list[str]:
    """Return everything that is not as it should be, as sentences."""
    if asked.status != http.HTTPStatus.OK:
        return [f"The agents' answer has status {asked.status}: {asked.text[:200]}"]
    found = []
    if not all(fact in asked.text for fact in FACTS.values()):
        found.append("What an agent knows is missing in the agents' answer.")
    if asked.agents != ",".join(FACTS):
        found.append(f"Other agents were asked than should have been: {asked.agents}.")
    hops = () if asked.trace is None else asked.trace.children
    below = [[(child.name, child.request.caller) for child in hop.children] for hop in hops]
    if [hop.request.agent for hop in hops] != list(FACTS) or below != [[(MODEL, name)] for name in FACTS]:
        found.append("The trace in the log is not a hop to each agent with its call of the model below.")
    return found


def _config() -> str:
    # A rule chooses here, so that the demo does without the weights that choosing by meaning needs.
    package = str(Path(__file__).parents[2])
    runs = {name: [sys.executable, "-m", "meseta.cli.demo_desk", name] for name in FACTS}
    config: dict[str, Any] = {
        "version": 1,
        "listeners": [
            {"name": "models", "port": 0},
            {
                "name": "assistant",
                "type": "agent",
                "port": 0,
                "agents": [{"id": name} for name in FACTS],
                "rules": [{"name": "trip", "use": list(FACTS), "when": {"text": "(?i)weather.*flights"}}],
            },
        ],
        "agents": [
            {
                "id": name,
                # The first start compiles Python, on a slow machine for long.
                "hold": {"timeout": "2m"},
                "run": {"command": command, "env": {"PYTHONPATH": package}, "ready": {"path": "/health"}},
            }
            for name, command in runs.items()
        ],
        "model_providers": [{"model": "sim/*"}],
        "chooser": {"embedded": False},
    }
    # JSON is YAML.
    return json.dumps(config)
