"""Hooks on httpx and httpx2: our origins alone, once, removable, whatever runs at the same time."""

from __future__ import annotations

import asyncio
import importlib
import threading
from concurrent.futures import ThreadPoolExecutor
from typing import TYPE_CHECKING, Any

import pytest
from tests.python.sdk.conftest import Told

import meseta
from meseta.sdk import hooks

if TYPE_CHECKING:
    from tests.python.sdk.conftest import Gateway

OURS = ("x-meseta-session", "x-meseta-run", "x-meseta-tags", "traceparent", "idempotency-key")


@pytest.fixture(params=hooks.LIBRARIES)
def library(request: pytest.FixtureRequest) -> Any:
    return pytest.importorskip(request.param)


def sent(gateway: Gateway, number: int = -1) -> dict[str, str]:
    headers = gateway.asked[number].headers
    return {name: headers[name] for name in OURS if name in headers}


def test_calls_carry_the_scope(library: Any, gateway: Gateway) -> None:
    with meseta.connect(gateway.url), meseta.session("s", tags=["a", "b"]), meseta.run("r"):
        with library.Client() as client:
            client.post(f"{gateway.url}/v1/chat/completions", json={})
        one = sent(gateway)

        async def again() -> None:
            async with library.AsyncClient() as client:
                await client.post(f"{gateway.url}/v1/chat/completions", json={})

        asyncio.run(again())
        two = sent(gateway)
    assert [one[name] for name in OURS[:3]] == ["s", "r", "a,b"]
    assert set(one) == set(two) == set(OURS)
    assert one["traceparent"] == two["traceparent"], "a run is one trace"
    assert one["idempotency-key"] != two["idempotency-key"]


def test_nobody_else_is_told_anything(library: Any, gateway: Gateway, other: Gateway) -> None:
    with meseta.connect(gateway.url, session="s", tags="t"), meseta.run("r"), library.Client() as client:
        client.post(other.url, json={})
        assert sent(other) == {}
        # A redirect leads to somebody else, and with it go no headers of ours.
        gateway.next = [Told(307, (("location", f"{other.url}/elsewhere"),))]
        answer = client.post(f"{gateway.url}/v1/chat/completions", json={}, follow_redirects=True)
    assert answer.status_code == 200
    assert sent(gateway)["x-meseta-session"] == "s"
    assert (other.asked[-1].path, sent(other)) == ("/elsewhere", {})


def test_what_is_not_ours_stays_as_it_was(library: Any, gateway: Gateway) -> None:
    headers = {"X-Meseta-Session": "theirs", "idempotency-key": "k", "traceparent": "odd"}
    with meseta.connect(gateway.url, session="s"), meseta.session("ours"), library.Client() as client:
        request = client.build_request("POST", gateway.url, headers=headers, json={})
        before = request.headers.raw
        client.send(request)
    assert sent(gateway) == {name.lower(): value for name, value in headers.items()}
    assert request.headers.raw == before


def test_a_get_has_no_idempotency_key(library: Any, gateway: Gateway) -> None:
    with meseta.connect(gateway.url), library.Client() as client:
        client.get(f"{gateway.url}/v1/models")
    assert set(sent(gateway)) == {"traceparent"}


def test_an_error_leaves_the_request_as_it_was(library: Any) -> None:
    with meseta.connect("http://127.0.0.1:1"), meseta.session("s"), library.Client() as client:
        request = client.build_request("POST", "http://127.0.0.1:1/v1", json={})
        with pytest.raises(library.ConnectError):
            client.send(request)
    assert "x-meseta-session" not in request.headers


def test_hooks_are_there_once_and_go_with_the_last_connection(library: Any, gateway: Gateway) -> None:
    name = library.__name__
    method = library.Client._send_single_request
    first = meseta.connect(gateway.url, session="first")
    hooked = library.Client._send_single_request
    assert hooked is not method
    second = meseta.connect(gateway.url, session="second")
    first.open()
    assert library.Client._send_single_request is hooked
    assert sum(name == found.partition(".")[0] for found in hooks.installed()) == 2
    with library.Client() as client:
        client.post(gateway.url, json={})
        assert sent(gateway)["x-meseta-session"] == "second", "the newest one speaks for who says nothing"
        client.post(gateway.url, json={}, headers=first.headers)
        assert sent(gateway)["x-meseta-session"] == "first"
        with meseta.session("scope"):
            client.post(gateway.url, json={}, headers=first.headers)
        assert sent(gateway)["x-meseta-session"] == "scope"
    second.close()
    second.close()
    assert library.Client._send_single_request is hooked
    first.close()
    assert library.Client._send_single_request is method
    assert hooks.installed() == []


def test_a_hook_over_ours_is_left_alone(
    library: Any, gateway: Gateway, monkeypatch: pytest.MonkeyPatch
) -> None:
    connection = meseta.connect(gateway.url, session="s")
    ours = library.Client._send_single_request
    calls: list[str] = []

    def theirs(self: Any, request: Any) -> Any:
        calls.append(request.method)
        return ours(self, request)

    original = ours._meseta_original
    monkeypatch.setattr(library.Client, "_send_single_request", theirs)
    connection.close()
    assert library.Client._send_single_request is theirs
    with library.Client() as client:
        client.post(gateway.url, json={})
    assert (calls, sent(gateway)) == (["POST"], {})
    monkeypatch.setattr(library.Client, "_send_single_request", original)


def test_threads_do_not_mix(library: Any, gateway: Gateway) -> None:
    def work(number: int) -> None:
        with meseta.session(f"s{number}"), library.Client() as client:
            for _ in range(5):
                client.post(gateway.url, json={"number": number})

    with meseta.connect(gateway.url), ThreadPoolExecutor(8) as pool:
        list(pool.map(work, range(16)))
    assert len(gateway.asked) == 80
    for asked in gateway.asked:
        assert asked.headers["x-meseta-session"] == f"s{asked.document['number']}"


def test_opening_and_closing_from_many_threads(gateway: Gateway, other: Gateway) -> None:
    start = threading.Barrier(8)

    def work(number: int) -> None:
        start.wait()
        for _ in range(50):
            meseta.connect((gateway if number % 2 else other).url).close()

    with ThreadPoolExecutor(8) as pool:
        list(pool.map(work, range(8)))
    assert hooks.installed() == []


@pytest.mark.parametrize(
    ("url", "origin"),
    [
        ("http://127.0.0.1:12000/v1", ("http", "127.0.0.1", 12000)),
        ("HTTPS://Gateway.Example", ("https", "gateway.example", 443)),
        ("http://[::1]:80", ("http", "::1", 80)),
        ("http://bücher.example:8080", ("http", "xn--bcher-kva.example", 8080)),
    ],
)
def test_origins(url: str, origin: hooks.Origin) -> None:
    assert hooks.origin_of(url) == origin
    for name in hooks.LIBRARIES:
        library = importlib.import_module(name)
        assert hooks._origin_of_request(library.URL(url)) == origin


@pytest.mark.parametrize(
    "url", ["127.0.0.1:12000", "ftp://gateway", "http://", "http://u:p@gateway", "http://g:x"]
)
def test_what_is_no_origin(url: str) -> None:
    with pytest.raises(ValueError, match=r"gateway|Port"):
        meseta.connect(url)
