"""One pass over rows, what is summed up of it, and a plane that is asked instead of the embedded chooser."""

from __future__ import annotations

import json
import threading
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import TYPE_CHECKING, Any
from xml.etree import ElementTree

import pytest

from meseta.learn import report as reports
from meseta.learn.advice import confusions, shortened
from meseta.learn.choosers import Choice, Embedded, NoAnswerError, OfPlane, UnreachableError
from meseta.learn.dataset import Dataset, DatasetError, Row, Said
from meseta.learn.drawing import draw
from meseta.learn.outcomes import evaluate, judged
from meseta.learn.routes import Route
from meseta.learn.scores import confusion

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

ROUTES = [Route("weather"), Route("flights"), Route("hotels", labels=("room",))]
LINES = [
    ("rain tomorrow", ["weather"]),
    ("rain in oslo", ["weather"]),
    ("fly to oslo", ["flights"]),
    ("fly away from the rain", ["flights"]),
    ("a bed please", ["room"]),
    ("fly and sleep in a bed", ["flights", "hotels"]),
    ("sing a song", []),
    ("oh rain", []),
]
WORDS = {"rain": "weather", "fly": "flights", "bed": "hotels"}


class Words:
    """A chooser that goes by one word for each route; the sooner it is said, the surer it is."""

    def __init__(self, words: dict[str, str] = WORDS) -> None:
        self.words = words
        self.threads: list[list[str]] = []

    def choose(self, turn: str, thread: list[str]) -> list[tuple[str, float]]:
        self.threads.append(thread)
        said = turn.split()
        found = {route: 1 / (1 + said.index(word)) for word, route in self.words.items() if word in said}
        every = {route.name: found.get(route.name, 0.0) for route in ROUTES}
        return sorted(every.items(), key=lambda pair: -pair[1])

    def decide(self, turn: str, thread: list[str], threshold: float, margin: float) -> list[str]:
        (first, best), (second, next_best), *_ = self.choose(turn, thread)
        if best < threshold:
            return []
        return (
            [first, second] if "and" in turn and next_best else [first] if best - next_best >= margin else []
        )


@pytest.fixture
def dataset(tmp_path: Path) -> Dataset:
    file = tmp_path / "rows.jsonl"
    file.write_text("\n".join(json.dumps({"text": text, "routes": labels}) for text, labels in LINES))
    return Dataset(file)


def test_one_pass(dataset: Dataset) -> None:
    run = evaluate(dataset, ROUTES, [Embedded(Words(), 0.3, 0.1)])
    (outcomes,) = run.outcomes
    summary = reports.report(outcomes, [route.name for route in ROUTES], [], reports.PRECISIONS)
    assert (summary.rows, summary.in_scope, summary.several) == (8, 6, 1)
    assert summary.top1 is not None
    assert summary.top1.value == 1.0
    assert outcomes.chosen[3] == ("flights",)
    assert outcomes.chosen[5] == ("flights", "hotels")
    assert outcomes.chosen[6] == ()
    served = summary.served
    assert served.answered is not None
    assert served.answered.value == 1.0
    assert served.refused is not None
    assert served.refused.value == 0.5
    assert served.precision is not None
    assert served.precision.value == pytest.approx(6 / 7)
    assert served.exact is not None
    assert served.exact.value == pytest.approx(7 / 8)
    assert summary.calibration is not None
    assert summary.abstention is not None
    assert summary.abstention.auroc is not None
    assert summary.abstention.auroc.value == pytest.approx(11.5 / 12)
    assert set(summary.latency_ms) == {"p50", "p95", "p99"}
    assert json.loads(json.dumps(summary.as_dict(), allow_nan=False))["routes"][0]["route"] == "weather"


def test_rows_of_examples_and_unknown_labels_are_not_judged(dataset: Dataset) -> None:
    chooser = Embedded(Words(), 0.3, 0.1)
    run = evaluate(dataset, ROUTES, [chooser], spent=frozenset({"rain tomorrow"}))
    assert (run.spent, len(run.outcomes[0].labels)) == (1, 7)
    few = ROUTES[:2]
    with pytest.raises(DatasetError, match="line 5: the label 'room' is no route"):
        evaluate(dataset, few, [chooser])
    skipping = evaluate(dataset, few, [chooser], others="skip")
    assert (skipping.skipped, dict(skipping.unknown)) == (2, {"room": 1, "hotels": 1})
    outside = evaluate(dataset, few, [chooser], others="out-of-scope")
    assert outside.outcomes[0].labels[4] == ()
    assert outside.outcomes[0].labels[5] == ("flights",)


def test_no_rows_are_an_error(dataset: Dataset) -> None:
    dataset.path.write_text("\n")
    with pytest.raises(DatasetError, match="no row to judge"):
        evaluate(dataset, ROUTES, [Embedded(Words(), 0.3, 0.1)])


def test_what_the_user_said_before_goes_to_the_chooser() -> None:
    words = Words()
    thread = (Said("user", "fly to rome"), Said("assistant", "When?"))
    Embedded(words, 0.3, 0.1).choose(Row("line 1", "tomorrow", thread, ("flights",)))
    assert words.threads == [["fly to rome"], ["fly to rome"]]


def test_two_choosers_are_compared_on_the_same_rows(dataset: Dataset) -> None:
    worse = Embedded(Words({"rain": "weather", "fly": "hotels"}), 0.3, 0.1)
    run = evaluate(dataset, ROUTES, [Embedded(Words(), 0.3, 0.1), worse])
    found = reports.compare(run.outcomes[0], run.outcomes[1], [route.name for route in ROUTES])
    assert (found.only_first, found.only_second) == (4, 0)
    assert found.chance == pytest.approx(2 / 16)
    assert found.exact.value == pytest.approx(-0.5)
    assert found.exact.low < -0.5 < found.exact.high <= 0
    assert set(found.routes) == {"flights", "hotels"}
    assert [row.place for row, *_ in run.changed] == ["line 3", "line 4", "line 5", "line 6"]


def test_confused_routes_and_the_words_that_tell_them_apart(tmp_path: Path) -> None:
    file = tmp_path / "rows.csv"
    rows = [f"fly with luggage number {number},room" for number in range(4)]
    rows += [f"fly to place {number},flights" for number in range(4)]
    file.write_text("\n".join(["text,label", *rows]))
    dataset = Dataset(file)
    (outcomes,) = evaluate(dataset, ROUTES, [Embedded(Words(), 0.3, 0.1)]).outcomes
    pairs = confusion(outcomes.forced())
    assert pairs == {("hotels", "flights"): 4}
    (pair,) = confusions(judged(dataset, ROUTES, frozenset(), "error"), outcomes, pairs, ROUTES)
    assert (pair.count, pair.share) == (4, 1.0)
    assert set(pair.words) == {"luggage", "number"}
    assert pair.rows[0] == "fly with luggage number 0"
    assert len(pair.rows) == 3


def test_a_text_is_shown_on_one_line_without_control_characters() -> None:
    assert shortened("a\n\x1b[31m  b") == "a [31m b"
    assert len(shortened("a" * 5000)) == 160


def test_the_plot_is_well_formed(dataset: Dataset) -> None:
    (outcomes,) = evaluate(dataset, ROUTES, [Embedded(Words(), 0.3, 0.1)]).outcomes
    summary = reports.report(outcomes, [route.name for route in ROUTES], [], ())
    root = ElementTree.fromstring(draw([("<first> & one", summary), ("second", summary)]))
    texts = [element.text for element in root.iter("{http://www.w3.org/2000/svg}text")]
    assert {"Reliability", "Risk against coverage", "<first> & one", "second"} <= set(texts)
    assert len(list(root.iter("{http://www.w3.org/2000/svg}circle"))) == 2 * len(
        summary.calibration.bins if summary.calibration else []
    )


class Decisions:
    """A server that decides like `Words`, in the form of the decision API."""

    def __init__(self) -> None:
        self.asked: list[tuple[str, str | None, dict[str, Any]]] = []
        self.status = 200
        self.answer: Any = None
        decisions = self

        class Handler(BaseHTTPRequestHandler):
            protocol_version = "HTTP/1.1"

            def do_POST(self) -> None:
                body = json.loads(self.rfile.read(int(self.headers["content-length"])))
                decisions.asked.append((self.path, self.headers["authorization"], body))
                turn = body["messages"][-1]["content"]
                chosen = Words().decide(turn, [], 0.3, 0.1)
                answer = decisions.answer or {"models": ["m"], "route": chosen[0] if chosen else None}
                content = json.dumps(answer).encode()
                self.send_response(decisions.status)
                self.send_header("content-length", str(len(content)))
                self.end_headers()
                self.wfile.write(content)

            def log_message(self, *_: object) -> None:
                pass

        self.server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self.server.daemon_threads = True
        self.url = f"http://127.0.0.1:{self.server.server_address[1]}"
        self.thread = threading.Thread(target=self.server.serve_forever)
        self.thread.start()
        self.client = OfPlane(f"{self.url}/v1", "any", "key-1")

    def close(self) -> None:
        self.client.close()
        self.server.shutdown()
        self.server.server_close()
        self.thread.join()


@pytest.fixture
def plane() -> Iterator[Decisions]:
    decisions = Decisions()
    yield decisions
    decisions.close()


def test_a_plane_is_asked_for_its_decisions(plane: Decisions, dataset: Dataset) -> None:
    run = evaluate(dataset, ROUTES, [plane.client], parallel=3)
    (outcomes,) = run.outcomes
    assert outcomes.chosen[:3] == [("weather",), ("weather",), ("flights",)]
    assert outcomes.chosen[6] == ()
    assert not outcomes.scored
    summary = reports.report(outcomes, [route.name for route in ROUTES], [], ())
    assert summary.calibration is None
    assert summary.abstention is None
    path, key, body = plane.asked[0]
    assert (path, key, body["model"]) == ("/routing/v1/chat/completions", "Bearer key-1", "any")
    assert len(plane.asked) == len(LINES)


def test_agents_of_a_decision(plane: Decisions) -> None:
    plane.answer = {"agents": ["flights", "hotels"], "route": None, "decisions": [{"step": "rules"}]}
    choice = plane.client.choose(Row("line 1", "x", (Said("assistant", "hi"),), ()))
    assert isinstance(choice, Choice)
    assert (choice.chosen, choice.step) == (("flights", "hotels"), "rules")
    assert plane.asked[0][2]["messages"] == [
        {"role": "assistant", "content": "hi"},
        {"role": "user", "content": "x"},
    ]


def test_the_default_of_a_plane_is_no_choice(plane: Decisions, dataset: Dataset) -> None:
    plane.answer = {"agents": ["weather"], "decisions": [{"step": "default", "chosen": []}]}
    (outcomes,) = evaluate(dataset, ROUTES, [plane.client]).outcomes
    assert set(outcomes.chosen) == {()}
    summary = reports.report(outcomes, [route.name for route in ROUTES], [], ())
    assert summary.decided_by == {"default": 8}
    assert summary.served.refused is not None
    assert summary.served.refused.value == 1


def test_a_plane_that_refuses_or_says_nonsense(plane: Decisions, dataset: Dataset) -> None:
    plane.status, plane.answer = 503, {"error": {"message": "Nobody is there."}}
    row = Row("line 1", "x", (), ())
    with pytest.raises(NoAnswerError, match="status 503: Nobody is there"):
        plane.client.choose(row)
    (outcomes,) = evaluate(dataset, ROUTES, [plane.client]).outcomes
    assert outcomes.failures == {"status 503: Nobody is there.": 8}
    assert set(outcomes.chosen) == {()}
    plane.status, plane.answer = 200, {"choices": []}
    with pytest.raises(NoAnswerError, match="not a decision"):
        plane.client.choose(row)


def test_nobody_there(plane: Decisions, dataset: Dataset) -> None:
    plane.close()
    with pytest.raises(UnreachableError, match="cannot be reached"):
        evaluate(dataset, ROUTES, [plane.client], parallel=2)
    with pytest.raises(DatasetError, match="not an address"):
        OfPlane("127.0.0.1:80", "any")


def test_rows_without_answers_end_the_run(plane: Decisions, tmp_path: Path) -> None:
    plane.status = 500
    file = tmp_path / "rows.csv"
    file.write_text("text,label\n" + "fly,flights\n" * 50)
    with pytest.raises(DatasetError, match="20 rows in a row got no answer"):
        evaluate(Dataset(file), ROUTES, [plane.client])
    assert len(plane.asked) == 20
