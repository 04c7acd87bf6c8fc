"""`meseta eval routing` as people run it."""

from __future__ import annotations

import json
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

from meseta.cli.main import main
from meseta.learn import setup
from meseta.learn.choosers import Embedded

if TYPE_CHECKING:
    from collections.abc import Sequence

    from meseta.learn.routes import Route

ROWS = "text,label\n" + "".join(
    f"{text},{label}\n"
    for text, label in (
        ("rain in oslo", "weather"),
        ("rain again", "weather"),
        ("snow in oslo", "weather"),
        ("fly to oslo", "flights"),
        ("fly home", "flights"),
        ("sing a song", "oos"),
    )
)


class Words:
    """A chooser that counts the words that a turn shares with what is said of a route."""

    def __init__(self, routes: Sequence[Route]) -> None:
        self.said = {
            route.name: " ".join((route.name, route.description, *route.examples)) for route in routes
        }

    def choose(self, turn: str, thread: list[str]) -> list[tuple[str, float]]:
        words = set(turn.split())
        scores = {name: len(words & set(said.split())) / len(words) for name, said in self.said.items()}
        return sorted(scores.items(), key=lambda pair: -pair[1])

    def decide(self, turn: str, thread: list[str], threshold: float, margin: float) -> list[str]:
        (first, best), (_, second) = self.choose(turn, thread)[:2]
        return [first] if best >= threshold and best - second >= margin else []


@pytest.fixture(autouse=True)
def words(monkeypatch: pytest.MonkeyPatch) -> None:
    """Put the chooser by words in the place of the native one."""

    def embedded(
        document: Any, routes: Sequence[Route], threshold: float | None, margin: float | None
    ) -> Embedded:
        return Embedded(Words(routes), 0.3 if threshold is None else threshold, margin or 0.0)

    monkeypatch.setattr(setup, "embedded", embedded)
    Path("rows.csv").write_text(ROWS)
    Path("first.json").write_text('[{"name": "weather", "examples": ["rain"]}, {"name": "flights"}]')


def evaluated(capsys: pytest.CaptureFixture[str], *arguments: str) -> Any:
    assert main(["eval", "routing", *arguments, "--json"]) == 0
    return json.loads(capsys.readouterr().out)


def test_routes_of_a_file(capsys: pytest.CaptureFixture[str]) -> None:
    report = evaluated(capsys, "rows.csv", "--routes", "first.json")["report"]
    assert (report["rows"], report["in_scope"]) == (6, 5)
    by_route = {route["route"]: route for route in report["routes"]}
    assert (by_route["weather"]["right"], by_route["weather"]["wanted"]) == (2, 3)
    assert by_route["flights"]["chosen"] == 0
    assert report["served"]["refused"]["value"] == 1


def test_examples_out_of_the_data_are_not_judged(capsys: pytest.CaptureFixture[str]) -> None:
    tree = evaluated(capsys, "rows.csv", "--examples", "1", "--seed", "3")
    assert tree["not_judged"]["said_by_an_example"] == 2
    assert tree["report"]["rows"] == 4


def test_two_configurations_are_compared(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    names = {"old.yaml": ["rain"], "new.yaml": ["rain", "snow"]}

    def document_of(file: str, home: str | None) -> dict[str, Any]:
        preference = {"name": "weather", "description": "", "examples": names[file]}
        flights = {"name": "flights", "description": "fly", "examples": []}
        return {"listeners": [], "preferences": [preference, flights]}

    monkeypatch.setattr(setup, "document_of", document_of)
    tree = evaluated(capsys, "rows.csv", "--config", "old.yaml", "--against", "new.yaml")
    assert (tree["comparison"]["only_first"], tree["comparison"]["only_second"]) == (0, 1)
    assert [change["text"] for change in tree["changes"]] == ["snow in oslo"]
    assert main(["eval", "routing", "rows.csv", "--config", "old.yaml", "--against", "new.yaml"]) == 0
    assert "rows only the second got right  1\n" in capsys.readouterr().out


def test_the_page_and_the_plot(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["eval", "routing", "rows.csv", "--routes", "first.json", "--plot", "out.svg"]) == 0
    told = capsys.readouterr()
    for line in ("best route is right", "calibration error", "out-of-scope AUROC", "wanted precision"):
        assert line in told.out
    assert told.err == "Wrote out.svg.\n"
    assert Path("out.svg").read_text().startswith("<svg ")


@pytest.mark.parametrize(
    ("arguments", "code", "message"),
    [
        (["no.csv"], 1, "cannot be read"),
        (["rows.csv", "--routes", "first.json", "--config", "a.yaml"], 2, "give one of them"),
        (["rows.csv", "--against", "a.yaml"], 2, "name the first one with --config"),
        (["rows.csv", "--chooser", "cascade"], 2, "needs --config, or --url"),
        (["rows.csv", "--url", "http://127.0.0.1:1", "--chooser", "model"], 2, "whole cascade"),
        (["rows.csv", "--url", "http://127.0.0.1:1"], 4, "cannot be reached"),
        (
            ["rows.csv", "--url", "http://127.0.0.1:1", "--key", "NOT_SET"],
            2,
            "environment variable that is set",
        ),
        (["rows.csv", "--examples-from", "rows.csv"], 2, "goes with --examples"),
        (["rows.csv", "--threshold", "2"], 2, "not a number from 0 to 1"),
        (["rows.csv", "--config", "no.yaml"], 3, "config.not_found"),
    ],
)
def test_what_cannot_be_done(
    arguments: list[str], code: int, message: str, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["eval", "routing", *arguments]) == code
    assert message in capsys.readouterr().err


def test_keys_of_a_configuration_need_not_be_there(monkeypatch: pytest.MonkeyPatch) -> None:
    Path("meseta.yaml").write_text(
        "version: 1\nmodel_providers:\n  - {model: openai/a, access_key: $NOT_SET}\n"
        "  - {model: openai/b, access_key: '${NOT_SET_EITHER}'}\n"
    )
    document = setup.document_of("meseta.yaml", None)
    assert [target["credentials"][0]["value"] for target in document["targets"]] == [
        f"Bearer {setup.STANDS_FOR_A_KEY}"
    ] * 2
