"""A plane with the simulated provider behind it, as users run it."""

from __future__ import annotations

import json
import urllib.request
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

import meseta
from meseta.native import core
from meseta.settings import Settings

CONFIG = """
version: 1
listeners:
  - {name: models, type: model, port: 12000}
model_providers:
  - {model: sim/*}
model_aliases: {fast: {target: sim/echo}}
admission: {concurrency: 256}
"""

PROVIDERS = {
    "chat": ("openai_chat", "gpt-5-mini"),
    "responses": ("openai_responses", "gpt-5"),
    "messages": ("anthropic_messages", "claude-sonnet-4-5"),
    "gemini": ("gemini_generate_content", "gemini-3-pro-preview"),
    "converse": ("bedrock_converse", "anthropic.claude-sonnet-4-5-20250929-v1:0"),
}
"""What clients of `world` send as the model; what its provider speaks, and the id of the model there.

The ids are real ones, because some of what a provider is told depends on its model.
"""

WORLD = """
version: 1
listeners:
  - {{name: models, type: model, port: 12000}}
  - {{name: shared, type: model, port: 0, auth: {{keys: [$FIRST_KEY, $SECOND_KEY]}}}}
model_providers:
{providers}
model_aliases:
{aliases}
"""


@pytest.fixture
def plane(tmp_path: Path) -> Iterator[meseta.Plane]:
    """Serve `CONFIG` on a free port, with the log in the test's own directory."""
    settings = Settings.from_environment({"MESETA_HOME": str(tmp_path), "MESETA_WORKERS": "2"})
    with meseta.Plane.from_text(CONFIG, port=0, settings=settings) as plane:
        yield plane


class World:
    """A plane before five providers, one a dialect, all played by one simulator that says what it is told.

    `keys` are those of the second listener; the first one asks for none.
    """

    keys = ("key-of-the-first", "key-of-the-second")

    def __init__(self, plane: meseta.Plane, simulator: str) -> None:
        self._plane = plane
        self._control = simulator.removesuffix("/v1") + "/sim/"
        open_, shared = (f"http://127.0.0.1:{listener['port']}" for listener in plane.listeners)
        self.root = open_
        """Base URL for Anthropic's clients, who add `/v1` themselves."""
        self.url = open_ + "/v1"
        """Base URL for OpenAI's clients."""
        self.shared_url = shared + "/v1"
        """Where a key is asked for."""

    def play(self, *replies: dict[str, Any]) -> None:
        """Let the providers say `replies`, each once and in this order; after that the same sentence.

        What the plane has learned of them so far, such as when to ask again after a 429, is forgotten.
        """
        self._plane.reset_health()
        rules = [{"reply": reply, "times": 1} for reply in replies]
        self._call("PUT", "script", json.dumps(rules).encode())
        self._call("DELETE", "requests")

    def asked(self) -> list[dict[str, Any]]:
        """Return the bodies of the conversations that reached a provider since the last `play`."""
        recorded = json.loads(self._call("GET", "requests"))
        return [json.loads(request["body"]) for request in recorded if request["method"] == "POST"]

    def check_told(self, number: int, *texts: str) -> None:
        """Assert that request `number` since the last `play` told its provider `texts`, in this order."""
        told, position = json.dumps(self.asked()[number], ensure_ascii=False), 0
        for text in texts:
            position = told.find(text, position) + 1
            assert position, f"{text!r} is not where it belongs in {told}"

    def _call(self, method: str, path: str, body: bytes | None = None) -> bytes:
        request = urllib.request.Request(self._control + path, data=body, method=method)
        with urllib.request.urlopen(request, timeout=60) as answer:
            content: bytes = answer.read()
        return content


@pytest.fixture(scope="session")
def shared_world(tmp_path_factory: pytest.TempPathFactory) -> Iterator[World]:
    """Start what `world` is made of, once for all tests."""
    simulator = core().Simulator()
    providers = "\n".join(
        f"  - {{model: 'sim/{model}', base_url: '{simulator.url}', dialects: [{dialect}]}}"
        for dialect, model in PROVIDERS.values()
    )
    aliases = "\n".join(f"  {name}: {{target: 'sim/{model}'}}" for name, (_, model) in PROVIDERS.items())
    settings = Settings.from_environment(
        {"MESETA_HOME": str(tmp_path_factory.mktemp("world")), "MESETA_WORKERS": "2"}
    )
    with pytest.MonkeyPatch.context() as environment:
        for name, key in zip(("FIRST_KEY", "SECOND_KEY"), World.keys, strict=True):
            environment.setenv(name, key)
        text = WORLD.format(providers=providers, aliases=aliases)
        plane = meseta.Plane.from_text(text, port=0, settings=settings)
    with plane:
        yield World(plane, simulator.url)
    simulator.stop()


@pytest.fixture
def world(shared_world: World) -> World:
    """Return the plane before five providers, with nothing left of an earlier script."""
    shared_world.play()
    return shared_world


@pytest.fixture(params=PROVIDERS)
def provider(request: pytest.FixtureRequest) -> str:
    """Return the model of each of the five providers in turn."""
    return str(request.param)
