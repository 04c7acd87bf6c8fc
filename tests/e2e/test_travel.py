"""The travel assistant: its agents as programs of their own before a plane, alone and one after the other."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

pytest.importorskip("httpx")
pytest.importorskip("uvicorn")
import httpx
from ruamel.yaml import YAML

import meseta
from meseta.settings import Settings

TRAVEL = Path(__file__).parents[2] / "examples" / "travel"
AGENTS = ("weather", "flights", "hotels")
CONFIG = """
version: 1
listeners: [{name: models, type: model, port: 12000}]
model_providers: [{model: sim/*}]
model_aliases: {writer: {target: sim/echo}}
"""
QUESTION = "What is the weather in Oslo on Friday, and which flights go there from Berlin?"
WEATHER = "Oslo, Friday: clouds, 9 °C."
FLIGHTS = "BER to OSL, Friday: MS 308 at 07:30 (1 h 33 min, 143 €) or MS 459 at 17:40 (1 h 33 min, 174 €)."
HOTELS = "Hotels in Oslo: Fjord Hotel (156 €), Akerselva Hostel (64 €)."

Messages = list[dict[str, Any]]


@pytest.fixture(scope="module")
def urls(tmp_path_factory: pytest.TempPathFactory) -> Iterator[dict[str, str]]:
    """Start the three programs as Meseta does, before a plane with the simulated model."""
    home = str(tmp_path_factory.mktemp("travel"))
    settings = Settings.from_environment({"MESETA_HOME": home, "MESETA_WORKERS": "2"})
    programs: list[subprocess.Popen[str]] = []
    with meseta.Plane.from_text(CONFIG, port=0, settings=settings) as plane:
        environment = {**os.environ, "MESETA_URL": plane.url, "PORT": "0"}
        try:
            for name in AGENTS:
                command = [sys.executable, f"{name}.py"]
                programs.append(
                    subprocess.Popen(command, cwd=TRAVEL, env=environment, stderr=subprocess.PIPE, text=True)
                )
            yield {name: address(name, program) for name, program in zip(AGENTS, programs, strict=True)}
            for program in programs:
                program.send_signal(signal.SIGTERM)
            assert [program.wait(60) for program in programs] == [0, 0, 0]
        finally:
            for program in programs:
                program.kill()
                program.communicate()


def address(name: str, program: subprocess.Popen[str]) -> str:
    assert program.stderr is not None
    line = program.stderr.readline()
    assert line.startswith(f"{name} listens on "), line
    return line.split()[-1]


def ask(url: str, messages: Messages | str) -> str:
    if isinstance(messages, str):
        messages = [{"role": "user", "content": messages}]
    answer = httpx.post(f"{url}/v1/chat/completions", json={"model": "m", "messages": messages}, timeout=60)
    assert answer.status_code == 200, answer.text
    return str(answer.json()["choices"][0]["message"]["content"])


def test_each_agent_has_its_facts(urls: dict[str, str]) -> None:
    assert ask(urls["weather"], QUESTION) == WEATHER
    assert ask(urls["flights"], QUESTION) == FLIGHTS
    assert ask(urls["hotels"], QUESTION) == HOTELS


def test_an_agent_says_what_its_colleagues_said_too(urls: dict[str, str]) -> None:
    """So the last one of a chain answers the whole question."""
    messages: Messages = [{"role": "user", "content": QUESTION}]
    for name in AGENTS[:2]:
        messages.append({"role": "assistant", "name": name, "content": ask(urls[name], messages)})
    assert messages[-1]["content"] == f"{WEATHER}\n{FLIGHTS}"


def test_a_later_turn_needs_no_more_than_its_own_words(urls: dict[str, str]) -> None:
    messages: Messages = [
        {"role": "user", "content": QUESTION},
        {"role": "assistant", "content": f"{WEATHER}\n{FLIGHTS}"},
        {"role": "user", "content": [{"type": "text", "text": "And where can I stay?"}]},
    ]
    assert ask(urls["hotels"], messages) == HOTELS
    messages[-1]["content"] = "And what if I go to Rome on Sunday instead?"
    assert ask(urls["flights"], messages).startswith("BER to FCO, Sunday: ")


@pytest.mark.parametrize("name", AGENTS)
def test_a_question_without_a_place(urls: dict[str, str], name: str) -> None:
    assert ask(urls[name], "Hello!").startswith("Which city? These are known: Amsterdam, ")


def test_everybody_at_once(urls: dict[str, str]) -> None:
    with meseta.connect(urls["hotels"], hub=urls["weather"]):
        answers = meseta.fan_out(["agent/weather", "any model"], QUESTION)
    assert [answer.text for answer in answers] == [WEATHER, HOTELS]


def test_the_file_with_a_key_differs_in_the_model_alone() -> None:
    plain, keyed = (
        YAML(typ="safe").load((TRAVEL / name).read_text("utf-8"))
        for name in ("travel.yaml", "travel.openai.yaml")
    )
    assert keyed.pop("chooser") == {"model": {"model": "writer"}}
    assert plain.pop("model_aliases") == {"writer": {"target": "sim/echo"}}
    assert keyed.pop("model_aliases") == {"writer": {"target": "openai/gpt-5-mini"}}
    assert keyed.pop("model_providers")[1:] == plain.pop("model_providers")
    assert keyed == plain
