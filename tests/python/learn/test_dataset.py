"""Reading rows in every shape, and what is said of those that cannot be read."""

from __future__ import annotations

import json
from contextlib import suppress
from typing import TYPE_CHECKING

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from meseta.learn import routes
from meseta.learn.dataset import Dataset, DatasetError, Said
from meseta.learn.routes import Route

if TYPE_CHECKING:
    from pathlib import Path

CONVERSATION = [
    {"role": "system", "content": "Be brief."},
    {"role": "user", "content": "Will it rain in Oslo?"},
    {"role": "assistant", "content": "Yes."},
    {"role": "user", "content": [{"type": "text", "text": "And"}, {"type": "text", "text": "tomorrow?"}]},
    {"role": "assistant", "content": "No."},
]


def written(folder: Path, name: str, text: str) -> Dataset:
    (folder / name).write_text(text, "utf-8")
    return Dataset.named(str(folder / name))


@pytest.mark.parametrize(
    ("name", "text"),
    [
        ("a.jsonl", '{"text": "hi, there", "route": "greet"}\n\n{"query": "?", "label": null}\n'),
        ("a.json", '[["hi, there", "greet"], ["?", "oos"]]'),
        ("a.json", '{"val": [{"text": "hi, there", "intent": "greet"}], "oos_val": [["?", "oos"]]}'),
        ("a.json", '{"greet": ["hi, there"], "oos": ["?"]}'),
        ("a.csv", 'Text,Category\n"hi, there",greet\n?,none\n'),
        ("a.tsv", "text\tlabel\nhi, there\tgreet\n?\t\n"),
    ],
)
def test_every_shape(tmp_path: Path, name: str, text: str) -> None:
    rows = list(written(tmp_path, name, text).rows())
    assert [row.turn for row in rows] == ["hi, there", "?"]
    assert rows[0].labels == ("greet",)
    assert [route.name for route in routes.of_labels([written(tmp_path, name, text)])] == ["greet"]


def test_a_conversation_ends_with_what_the_user_said_last(tmp_path: Path) -> None:
    line = json.dumps({"messages": CONVERSATION, "routes": ["weather", "flights", "weather"]})
    (row,) = written(tmp_path, "a.jsonl", line).rows()
    assert row.turn == "And\ntomorrow?"
    assert row.thread == (Said("user", "Will it rain in Oslo?"), Said("assistant", "Yes."))
    assert row.labels == ("weather", "flights")


def test_several_labels_in_a_table(tmp_path: Path) -> None:
    (row,) = written(tmp_path, "a.csv", "text,routes\nhi,weather| flights\n").rows()
    assert row.labels == ("weather", "flights")


def test_parts_of_a_file(tmp_path: Path) -> None:
    text = '{"train": [["a", "x"]], "val": [["b", "x"]], "test": [["c", "x"]]}'
    written(tmp_path, "a.json", text)
    chosen = Dataset.named(f"{tmp_path}/a.json#val, test")
    assert [row.turn for row in chosen.rows()] == ["b", "c"]
    with pytest.raises(DatasetError, match="no part 'vel'; it has train, val, test"):
        list(Dataset.named(f"{tmp_path}/a.json#vel").rows())


@pytest.mark.parametrize(
    ("name", "text", "message"),
    [
        ("a.txt", "", "a dataset is a .jsonl, .json, .csv or .tsv file"),
        ("a.jsonl", '{"text": "a", "route": "x"}\n{"text": ', "line 2: this is not JSON"),
        ("a.jsonl", "[1, 2, 3]", "line 1: A row is an object"),
        ("a.jsonl", '{"route": "x"}', "line 1: the row has no text"),
        ("a.jsonl", '{"text": "a"}', "line 1: the row has no label"),
        ("a.jsonl", '{"text": " ", "route": "x"}', "line 1: the row says nothing"),
        ("a.jsonl", '{"messages": [{"role": "assistant", "content": "a"}], "route": "x"}', "says nothing"),
        ("a.jsonl", '{"text": "a", "route": 7}', "`route` must be the name of a route"),
        ("a.json", '{"val": 3}', "a list of rows, or an object of such lists"),
        ("a.json", "[" * 100_000, "this is not JSON"),
        ("a.csv", "sentence_text,label\na,x\n", "no column is called text"),
        ("a.csv", "text,label\n" + "a" * 1_100_000 + ",x\n", "field larger than field limit"),
        ("a.jsonl", '{"text": "' + "a" * 1_100_000, "longer than 1 MiB"),
    ],
)
def test_what_is_said_of_rows_that_cannot_be_read(tmp_path: Path, name: str, text: str, message: str) -> None:
    with pytest.raises(DatasetError, match=message):
        list(written(tmp_path, name, text).rows())


def test_files_that_cannot_be_read(tmp_path: Path) -> None:
    with pytest.raises(DatasetError, match="cannot be read: No such file"):
        list(Dataset.named(str(tmp_path / "no.csv")).rows())
    (tmp_path / "latin.csv").write_bytes(b"text,label\n\xe4,x\n")
    with pytest.raises(DatasetError, match="not UTF-8"):
        list(Dataset.named(str(tmp_path / "latin.csv")).rows())


@given(st.sampled_from(["jsonl", "json", "csv", "tsv"]), st.binary(max_size=200) | st.text(max_size=200))
@settings(deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
def test_any_content_is_rows_or_a_sentence(tmp_path: Path, kind: str, content: bytes | str) -> None:
    file = tmp_path / f"any.{kind}"
    file.write_bytes(content if isinstance(content, bytes) else content.encode("utf-8", "surrogatepass"))
    with suppress(DatasetError):
        assert all(row.turn.strip() for row in Dataset(file).rows())


def test_examples_are_drawn_and_their_rows_are_spent(tmp_path: Path) -> None:
    rows = [[f"text {number}", "x" if number % 2 else "y"] for number in range(40)]
    source = written(tmp_path, "a.json", json.dumps([*rows, ["TEXT  1", "x"], ["two", "oos"]]))
    plain = [Route("x"), Route("y", examples=("kept",))]
    split = routes.with_examples(plain, source, 5, seed=1)
    assert [len(route.examples) for route in split.routes] == [5, 6]
    assert split.routes[1].examples[0] == "kept"
    assert len(split.keys) == 10
    assert split == routes.with_examples(plain, source, 5, seed=1)
    assert split != routes.with_examples(plain, source, 5, seed=2)
    assert split.keys == {text.casefold() for route in split.routes for text in route.examples} - {"kept"}


def test_routes_of_a_configuration() -> None:
    agents = [{"id": "weather", "description": "Rain.", "examples": ["Will it rain?"]}]
    listener = {"name": "assistant", "orchestration": {"agents": agents}}
    model = {"name": "models", "orchestration": None}
    preferences = [{"name": "code", "description": "Code.", "examples": [], "models": ["m"]}]
    document = {"listeners": [model, listener], "preferences": preferences}
    weather = [Route("weather", "Rain.", ("Will it rain?",))]
    assert routes.of_document(document) == [Route("code", "Code.")]
    assert routes.of_document(document, "assistant") == weather
    assert routes.of_document({**document, "preferences": []}) == weather
    with pytest.raises(DatasetError, match="no listener 'models' of type agent; there is: assistant"):
        routes.of_document(document, "models")
    with pytest.raises(DatasetError, match="nothing to choose from"):
        routes.of_document({"listeners": [model], "preferences": []})
    two = {"listeners": [listener, {**listener, "name": "other"}], "preferences": []}
    with pytest.raises(DatasetError, match="several listeners"):
        routes.of_document(two)


def test_routes_of_a_file(tmp_path: Path) -> None:
    file = tmp_path / "routes.json"
    file.write_text('{"travel": ["book_flight", "visa"], "food": []}')
    travel, _ = found = routes.of_file(file)
    assert travel == Route("travel", "Handles: book flight, visa", labels=("book_flight", "visa"))
    assert routes.by_label(found) == {
        "book_flight": "travel",
        "visa": "travel",
        "travel": "travel",
        "food": "food",
    }
    file.write_text('[{"name": "a", "description": "d", "examples": ["e"], "labels": ["l"]}]')
    assert routes.of_file(file) == [Route("a", "d", ("e",), ("l",))]
    for wrong in ("[]", "[1]", '{"a": 1}', '[{"name": 1}]', "nonsense"):
        file.write_text(wrong)
        with pytest.raises(DatasetError, match=r"routes\.json"):
            routes.of_file(file)
