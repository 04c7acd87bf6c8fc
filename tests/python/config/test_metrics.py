"""Prices and latencies from elsewhere: read, put in place, kept when a source fails, and asked again."""

from __future__ import annotations

import json
import threading
import time
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import TYPE_CHECKING, Any
from urllib.parse import parse_qs, urlsplit

import pytest
from hypothesis import given
from hypothesis import strategies as st

from meseta import Plane
from meseta.config import ConfigError, load_bytes, resolve_loaded
from meseta.config.catalogues import fetch, latencies, prices
from meseta.config.child import measure_in_child
from meseta.config.metrics import FILE_NAME, Metrics, Source, SourceError, apply, load, save
from meseta.refresh import Refresh

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from meseta.config import Resolved

MODELS_DEV = {
    "openai": {"models": {"gpt-4o": {"cost": {"input": 1, "output": 2, "cache_read": 0.5}}}},
    "google": {"models": {"gemini-2.5-pro": {"cost": {"input": 3, "output": 4}}}},
    "one": {"models": {"shared": {"cost": {"input": 5, "output": 6}}, "free": {}}},
    "two": {"models": {"shared": {"cost": {"input": 7, "output": 8}}}},
}
DIGITALOCEAN = {
    "data": [
        {
            "model_id": "openai-gpt-4o",
            "pricing": {
                "input_price_per_million": 2.5e-06,
                "output_price_per_million": 1e-05,
                "input_cache_read": 1.25e-06,
            },
        },
        {"model_id": "images", "pricing": None},
    ]
}
PROMETHEUS = {
    "status": "success",
    "data": {
        "result": [
            {"metric": {"model_name": "openai/gpt-4o"}, "value": [1.0, "0.25"]},
            {"metric": {"model_name": "claude"}, "value": [1.0, "NaN"]},
            {"metric": {}, "value": [1.0, "1"]},
        ]
    },
}
FILE = """
version: 1
listeners: [{name: m, port: 0}]
model_providers:
  - {model: openai/gpt-4o, access_key: none}
  - {model: openai/local, base_url: "http://10.0.0.5:8000/v1", access_key: none, name: gpt-4o-here}
  - {model: gemini/gemini-2.5-pro, access_key: none, price: {input: 9, output: 9}}
  - {model: anthropic/*, access_key: none}
model_aliases: {quick: {target: gpt-4o}}
pools: [{name: both, targets: [openai/gpt-4o, gpt-4o-here]}]
"""


class Publisher(ThreadingHTTPServer):
    """Publishes what it is given."""

    def __init__(self) -> None:
        super().__init__(("127.0.0.1", 0), _Answer)
        self.catalogue: bytes = json.dumps(MODELS_DEV).encode()
        self.queries: list[str] = []

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.server_address[1]}"


class _Answer(BaseHTTPRequestHandler):
    server: Publisher

    def do_GET(self) -> None:
        parts = urlsplit(self.path)
        if parts.path == "/missing":
            self.send_error(404)
            return
        body = self.server.catalogue
        if parts.path == "/api/v1/query":
            self.server.queries += parse_qs(parts.query)["query"]
            body = json.dumps(PROMETHEUS).encode()
        self.send_response(200)
        self.send_header("content-length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, *_: Any) -> None:
        """Say nothing."""


@pytest.fixture
def publisher() -> Iterator[Publisher]:
    with Publisher() as server:
        thread = threading.Thread(target=server.serve_forever)
        thread.start()
        yield server
        server.shutdown()
        thread.join()


def sources(url: str) -> str:
    return (
        "model_metrics_sources:\n"
        f'  - {{type: cost, provider: models.dev, url: "{url}/models", refresh_interval: 60,\n'
        "      model_aliases: {one/shared: gpt-4o-here}}\n"
        f'  - {{type: latency, provider: prometheus, url: "{url}/", query: "avg(x) by (y)"}}\n'
    )


def resolve(text: str, folder: Path, *, online: bool) -> Resolved:
    loaded = load_bytes(text.encode(), "meseta.yaml", folder)
    return resolve_loaded(loaded, environment={}, online=online)


def priced(resolved: Resolved) -> dict[str, tuple[float | None, str] | None]:
    return {
        target["name"]: target["price"] and (target["price"]["input"], target["price"]["source"])
        for target in resolved.snapshot["targets"]
    }


def test_a_file_gets_what_its_sources_say(publisher: Publisher, tmp_path: Path) -> None:
    resolved = resolve(FILE + sources(publisher.url), tmp_path, online=True)
    assert not resolved.warnings
    assert priced(resolved) == {
        "openai/gpt-4o": (1.0, "models.dev"),
        "gpt-4o-here": (5.0, "models.dev"),  # named by an alias; otherwise a server of one's own has no price
        "gemini/gemini-2.5-pro": (9.0, "config"),
        "anthropic/*": None,
    }
    found = resolved.snapshot["latencies"]
    assert found == {"openai/gpt-4o": 0.25, "gpt-4o": 0.25, "quick": 0.25, "both": 0.25}
    assert publisher.queries == ["avg(x) by (y)"]
    assert [source.refresh_seconds for source in resolved.sources] == [60, None]


def test_what_a_source_said_last_counts_when_it_fails(publisher: Publisher, tmp_path: Path) -> None:
    text = FILE + sources(publisher.url)
    before = resolve(text, tmp_path, online=True)
    publisher.catalogue = b"<html>"
    after = resolve(text, tmp_path, online=True)
    assert priced(after) == priced(before)
    [warning] = after.warnings
    assert warning.code == "config.source_unavailable"
    assert "is not JSON; what it said last counts" in warning.message
    offline = resolve(text, tmp_path, online=False)
    assert priced(offline) == priced(before)
    assert not offline.warnings


def test_without_its_source_a_file_is_served(tmp_path: Path) -> None:
    resolved = resolve(FILE + sources("http://127.0.0.1:1"), tmp_path, online=True)
    assert [warning.code for warning in resolved.warnings] == ["config.source_unavailable"] * 2
    assert "done without" in resolved.warnings[0].message
    assert resolved.snapshot["latencies"] == {}


def test_a_wrong_file_asks_nobody(publisher: Publisher, tmp_path: Path) -> None:
    with pytest.raises(ConfigError):
        resolve(FILE + sources(publisher.url) + "retry: {attempts: 0}\n", tmp_path, online=True)
    assert not publisher.queries


def test_the_catalogue_of_models_dev() -> None:
    found = prices("models.dev", MODELS_DEV)
    assert found["openai/gpt-4o"] == found["gpt-4o"]
    assert found["gpt-4o"]["cached_input"] == 0.5
    assert "shared" not in found, "two ask different prices, so that the id alone says none"
    assert found["one/shared"]["input"] == 5
    assert "one/free" not in found


def test_the_catalogue_of_digitalocean_is_per_token() -> None:
    [(model, rates)] = prices("digitalocean", DIGITALOCEAN).items()
    assert model == "openai-gpt-4o"
    assert rates == {
        "input": pytest.approx(2.5),
        "output": pytest.approx(10),
        "cached_input": pytest.approx(1.25),
        "cache_write": None,
    }


def test_a_query_that_was_refused_says_why() -> None:
    assert latencies(PROMETHEUS) == {"openai/gpt-4o": 0.25}
    with pytest.raises(SourceError, match="parse error"):
        latencies({"status": "error", "error": "parse error at char 1"})


@pytest.mark.parametrize(
    "result",
    [
        [],
        None,
        [{"metric": {"model_name": "claude"}, "value": [1.0, "NaN"]}],
        [{"metric": {}, "value": [1, "1"]}],
    ],
)
def test_an_answer_without_a_latency_is_no_answer(result: object) -> None:
    empty = json.dumps({"status": "success", "data": {"resultType": "vector", "result": result}}).encode()
    source = Source("latency", "prometheus", "http://prometheus:9090", "q")
    known = Metrics(latencies={source.key: {"openai/gpt-4o": 0.25}})
    newer, failed = fetch([source], lambda _: empty)
    known.take(newer)
    assert failed == [(source, "its answer has no latency of any model")]
    assert known.latencies == {source.key: {"openai/gpt-4o": 0.25}}


plain = st.recursive(
    st.none() | st.booleans() | st.floats() | st.integers() | st.text(max_size=8),
    lambda inner: (
        st.lists(inner, max_size=3)
        | st.dictionaries(
            st.sampled_from(
                ["data", "result", "models", "cost", "metric", "value", "input", "model_id", "a"]
            ),
            inner,
            max_size=4,
        )
    ),
    max_leaves=20,
)


@given(plain)
def test_any_answer_is_read_or_refused(answer: Any) -> None:
    for read in (
        latencies,
        lambda one: prices("models.dev", one),
        lambda one: prices("digitalocean", one),
    ):
        try:
            found: dict[str, Any] = read(answer)
        except SourceError:
            continue
        json.dumps(found, allow_nan=False)


@pytest.mark.parametrize("body", [b"", b"[" * 100_000, b'{"openai": 1}', b"\xff", b"{}"])
def test_an_answer_of_no_use(body: bytes) -> None:
    source = Source("cost", "models.dev", "http://somewhere")
    metrics, failed = fetch([source], lambda _: body)
    assert metrics == Metrics()
    assert [one for one, _ in failed] == [source]


def test_a_status_that_is_no_success(publisher: Publisher) -> None:
    _, [(_, reason)] = fetch([Source("cost", "models.dev", publisher.url + "/missing")])
    assert reason == "it answered with status 404"


@pytest.mark.parametrize("content", ["", "[]", '{"prices": {}}', '{"prices": {"a": 1}, "latencies": {}}'])
def test_a_damaged_file_counts_for_nothing(tmp_path: Path, content: str) -> None:
    (tmp_path / FILE_NAME).write_text(content)
    assert load(tmp_path) == Metrics()


def test_what_is_kept_is_read_again(tmp_path: Path) -> None:
    metrics = Metrics({"a": {"m": {"input": 1.0, "output": None}}}, {"b": {"n": 2.0}})
    save(tmp_path / "new", metrics)
    assert load(tmp_path / "new") == metrics
    assert (tmp_path / "new" / FILE_NAME).stat().st_mode & 0o777 == 0o600
    (tmp_path / "file").write_text("")
    save(tmp_path / "file", metrics)  # not a directory: nothing is kept, and nothing fails


def test_the_child_asks_the_same(publisher: Publisher) -> None:
    asked = [
        Source("cost", "models.dev", publisher.url),
        Source("latency", "prometheus", publisher.url, "up"),
        Source("cost", "models.dev", publisher.url + "/missing"),
    ]
    metrics, failed = measure_in_child(asked)
    here, _ = fetch(asked)
    assert metrics == here
    assert failed == {asked[2].key: "it answered with status 404"}


class Heard:
    """What a refresh put in force and reported, with a way to wait for it."""

    def __init__(self) -> None:
        self.put: list[tuple[int, Metrics]] = []
        self.said: list[str] = []
        self.happened = threading.Event()

    def take(self, generation: int, sources: Sequence[Source], metrics: Metrics) -> None:
        self.put.append((generation, metrics))
        self.happened.set()

    def hear(self, message: str, level: str) -> None:
        self.said.append(f"{level}: {message}")
        self.happened.set()


SECOND = Source("latency", "prometheus", "http://somewhere", "up", refresh_seconds=1)
METRICS = Metrics({}, {SECOND.key: {"a": 1.0}})


def test_a_source_is_asked_again() -> None:
    heard = Heard()
    refresh = Refresh(lambda _: (METRICS, {}), heard.take, heard.hear)
    generation = refresh.follow([SECOND])
    assert heard.happened.wait(120)
    refresh.stop()
    assert heard.put[0] == (generation, METRICS)
    assert not heard.said


def test_a_failure_is_told_and_the_next_question_comes() -> None:
    heard, answered = Heard(), threading.Event()
    turns = iter(range(100))

    def measure(_: Sequence[Source]) -> tuple[Metrics, dict[str, str]]:
        turn = next(turns)
        if turn == 0:
            raise OSError("broken")
        if turn == 1:
            return Metrics(), {SECOND.key: "no route."}
        answered.set()
        return METRICS, {}

    refresh = Refresh(measure, heard.take, heard.hear)
    refresh.follow([SECOND])
    assert answered.wait(60)
    refresh.stop()
    assert heard.said == [
        "warn: http://somewhere could not be asked: OSError: broken; what it said last counts.",
        "warn: http://somewhere could not be asked: no route; what it said last counts.",
    ]


def test_what_comes_too_late_changes_nothing() -> None:
    heard, asked, go = Heard(), threading.Event(), threading.Event()

    def measure(_: Sequence[Source]) -> tuple[Metrics, dict[str, str]]:
        asked.set()
        go.wait(120)
        return METRICS, {}

    refresh = Refresh(measure, heard.take, heard.hear)
    refresh.follow([SECOND])
    assert asked.wait(120)
    refresh.follow([])
    go.set()
    refresh.stop()
    refresh.join()
    assert not heard.put


def test_a_source_without_an_interval_needs_no_thread() -> None:
    refresh = Refresh(lambda _: (METRICS, {}), Heard().take, Heard().hear)
    before = set(threading.enumerate())
    refresh.follow([Source("latency", "prometheus", "http://somewhere", "up")])
    assert set(threading.enumerate()) <= before


def test_a_plane_that_serves_asks_again(publisher: Publisher, tmp_path: Path) -> None:
    file = tmp_path / "meseta.yaml"
    written = sources(publisher.url).replace("refresh_interval: 60", "refresh_interval: 1")
    file.write_text(FILE + "store: {path: kept}\n" + written)
    with Plane.from_config(file) as plane:
        before = plane.stats()["snapshot"]
        dearer = {"openai": {"models": {"gpt-4o": {"cost": {"input": 11, "output": 12}}}}}
        publisher.catalogue = json.dumps(dearer).encode()
        deadline = time.monotonic() + 240
        while plane.snapshot["targets"][0]["price"] != priced_at(11, 12):
            assert time.monotonic() < deadline, "the plane has not asked again"
            time.sleep(0.05)
        assert plane.stats()["snapshot"] != before
        assert plane.snapshot["latencies"]["quick"] == 0.25
    [rates] = load(tmp_path / "kept").prices.values()
    assert rates["openai/gpt-4o"]["input"] == 11


def priced_at(paid: float, answered: float) -> dict[str, float | str | None]:
    return {
        "input": paid,
        "cached_input": None,
        "cache_write": None,
        "output": answered,
        "source": "models.dev",
    }


def test_a_snapshot_in_force_gets_what_was_asked_again(tmp_path: Path) -> None:
    text = FILE + sources("http://127.0.0.1:1")
    resolved = resolve(text, tmp_path, online=False)
    newer = Metrics({}, {resolved.sources[1].key: {"quick": 2.0, "nobody": 1.0}})
    before = json.dumps(resolved.snapshot)
    after = apply(resolved.snapshot, resolved.sources, newer)
    assert after["latencies"] == {"quick": 2.0}
    assert json.dumps(resolved.snapshot) == before
