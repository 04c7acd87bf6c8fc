"""The travel assistant: its agents as programs before a plane, and its own file behind `meseta up`."""

from __future__ import annotations

import os
import shutil
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
from tests.python.cli.conftest import Running, start

import meseta
from meseta.config.embeddings import find_weights
from meseta.insight import trace
from meseta.insight.requests import RequestLog
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


RULES = """
    rules:
      - {name: both, use: [weather, flights], when: {text: "(?i)weather.*flights"}}
      - {name: stay, use: [hotels], when: {text: "(?i)stay"}}
"""


def prepare(folder: Path, *, rules: bool) -> None:
    """Copy the example to where `meseta up` is started, with free ports and the package that is tested."""
    for file in TRAVEL.iterdir():
        if file.is_file():
            shutil.copy(file, folder)
    text = (TRAVEL / "travel.yaml").read_text("utf-8")
    package = str(Path(meseta.__file__).parents[1])
    for old, new in (
        ("port: 12000", "port: 0"),
        ("port: 8001", "port: 0"),
        (", run: {", ", hold: {timeout: 4m}, run: {"),
        ("ready:", f"env: {{PYTHONPATH: {package}}}, ready:"),
        ("    strategy: parallel\n", f"    strategy: parallel{RULES if rules else chr(10)}"),
    ):
        assert old in text
        text = text.replace(old, new)
    (folder / "travel.yaml").write_text(text, "utf-8")


def hub(running: Running) -> str:
    return next(str(one["url"]) for one in running.announced["listeners"] if one["name"] == "assistant")


def turn(url: str, text: str) -> httpx.Response:
    headers = {"x-meseta-session": "trip-1", "x-meseta-run": "run-1"}
    body = {"model": "travel", "messages": [{"role": "user", "content": text}]}
    answer = httpx.post(f"{url}/v1/chat/completions", json=body, headers=headers, timeout=300)
    assert answer.status_code == 200, answer.text
    return answer


def said(answer: httpx.Response) -> str:
    return str(answer.json()["choices"][0]["message"]["content"])


def test_with_its_own_file(tmp_path: Path) -> None:
    """Two agents answer a question, a third the next turn, and the log has the whole of it as a tree."""
    prepare(tmp_path, rules=True)
    with start(str(tmp_path / "travel.yaml")) as running:
        first = turn(hub(running), QUESTION)
        assert first.headers["x-meseta-agents"] == "weather,flights"
        assert said(first) == f"{WEATHER}\n{FLIGHTS}"
        second = turn(hub(running), "And where can I stay?")
        assert second.headers["x-meseta-agents"] == "hotels"
        assert said(second) == HOTELS, "the conversation is kept, so the place is known"
        running.process.terminate()
        running.until("Stopped.")
        assert running.process.wait() == 0
    log = RequestLog(tmp_path / ".meseta" / "log.db")
    tree = trace.of_request(log, first.headers["x-meseta-request-id"])
    assert tree is not None
    assert tree.name == "assistant: weather, flights"
    assert [(hop.name, [below.request.caller for below in hop.children]) for hop in tree.children] == [
        ("agent weather", ["weather"]),
        ("agent flights", ["flights"]),
    ]
    every = list(tree.walk())
    assert {one.request.session for one in every} == {"trip-1"}
    assert {one.request.run for one in every} == {"run-1"}
    assert [decision.step for decision in tree.decisions] == ["rules"]
    assert len(trace.of_run(log, "run-1")) == 2


@pytest.mark.skipif(find_weights() is None, reason="the weights that choose by meaning are not installed")
@pytest.mark.parametrize(
    ("question", "agents"),
    [
        (QUESTION, "weather,flights"),
        ("Do I need an umbrella in Paris tomorrow?", "weather"),
        ("When does the next plane to Tokyo leave?", "flights"),
        ("I need a cheap room in Lisbon for two nights.", "hotels"),
    ],
)
def test_who_answers_is_chosen_by_meaning(tmp_path: Path, question: str, agents: str) -> None:
    prepare(tmp_path, rules=False)
    with start(str(tmp_path / "travel.yaml")) as running:
        assert turn(hub(running), question).headers["x-meseta-agents"] == agents
