"""The embedded chooser with the real vectors, on a sample of public sets.

The turns are of CLINC150 (clinc/oos-eval, CC-BY-3.0), the validation part and the out-of-scope rows, and
of BANKING77 (PolyAI-LDN/task-specific-datasets, CC-BY-4.0), the train part.
"""

import json
from pathlib import Path

import pytest

from meseta import _core
from meseta.config import embeddings

SAMPLE = json.loads(Path(__file__).with_name("sample.json").read_text())


def chooser(routes: list[tuple[str, str, list[str]]]) -> _core.Chooser:
    """Fit a chooser on the installed embeddings."""
    files = embeddings.find_weights()
    assert files is not None
    return _core.Chooser(*files, routes)


def right(fitted: _core.Chooser, turns: list[tuple[str, str]]) -> float:
    best = fitted.choose_many([turn for turn, _ in turns])
    return sum(ranked[0][0] == expected for ranked, (_, expected) in zip(best, turns, strict=True)) / len(
        turns
    )


@pytest.mark.parametrize(
    ("name", "least"), [("names", 0.5), ("examples", 0.75), ("domains", 0.7), ("banking", 0.65)]
)
def test_accuracy_on_a_sample(name: str, least: float) -> None:
    case = SAMPLE[name]
    assert right(chooser([tuple(route) for route in case["routes"]]), case["turns"]) >= least


def test_strangers_are_less_probable_and_left_to_the_next_step() -> None:
    case = SAMPLE["examples"]
    fitted = chooser([tuple(route) for route in case["routes"]])
    decided = [bool(fitted.decide(turn, threshold=0.5, margin=0.1)) for turn, _ in case["turns"]]
    strange = [bool(fitted.decide(turn, threshold=0.5, margin=0.1)) for turn in SAMPLE["strangers"]]
    assert sum(decided) / len(decided) > 0.7
    assert sum(strange) / len(strange) < 0.3


AGENTS: list[tuple[str, str, list[str]]] = [
    ("weather", "Forecasts and current weather for any city.", ["Will it rain in Oslo tomorrow?"]),
    ("flights", "Finds and books flights.", ["Book me a flight to Rome", "When does my plane leave?"]),
    ("hotels", "Finds hotels. Handles: rooms, check in, prices for a night", ["I need a room in Paris"]),
]


def test_a_follow_up_needs_its_thread() -> None:
    agents = chooser(AGENTS)
    assert agents.decide("and tomorrow?", ["Find me a hotel in Lyon", "How warm is it in Madrid?"]) == [
        "weather"
    ]
    assert agents.decide("and next week?", ["How warm is it in Madrid?", "Book a flight to Rome"]) == [
        "flights"
    ]
    assert agents.decide("Reserve a hotel room for two", ["How warm is it in Madrid?"]) == ["hotels"]


def test_a_turn_may_ask_for_several() -> None:
    agents = chooser(AGENTS)
    assert agents.decide("Book a flight to Lisbon and then find a hotel room there.") == ["flights", "hotels"]
    assert agents.decide("What is the weather in Rome? I also need a flight there.") == ["weather", "flights"]
    assert agents.decide("Book a flight to Lisbon and back to Rome.") == ["flights"]
    assert agents.decide("asdf qwer") == []


def test_files_that_are_no_embeddings_are_refused(tmp_path: Path) -> None:
    path = tmp_path / "nothing"
    path.write_bytes(b"{}")
    with pytest.raises(ValueError, match="nothing is no file of the embedder"):
        _core.Chooser(path, path, [])


def test_embeddings_that_are_not_installed(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(embeddings, "PACKAGE", "no_such_package")
    assert embeddings.find_weights() is None
