"""Calls through a gateway, synchronous and not: one meaning, and every failure as it is."""

from __future__ import annotations

import asyncio
import inspect
import json
import multiprocessing
import pickle
import socket
import threading
from collections.abc import AsyncIterator, Iterator
from typing import Any

import pytest
from tests.python.sdk.conftest import Gateway, Told, completion

import meseta
from meseta.sdk import aio, client, private_loop, requests
from meseta.sdk.events import EventReader, StreamError, event

Messages = list[dict[str, Any]]
FUNCTIONS = ("call", "chain", "fan_out", "stream", "supervise")
EVENTS = (("content-type", "text/event-stream"),)


def streamed(*deltas: dict[str, Any], end: bytes = b"data: [DONE]\n\n") -> Told:
    chunks = [event({"model": "m", "choices": [{"index": 0, "delta": delta}]}) for delta in deltas]
    usage = event({"choices": [], "usage": {"prompt_tokens": 1, "completion_tokens": 2}})
    return Told(headers=EVENTS, body=b"".join(chunks) + usage + end)


def test_both_surfaces_are_the_same() -> None:
    assert aio.__all__ == client.__all__
    for name in FUNCTIONS:
        ours, theirs = inspect.signature(getattr(aio, name)), inspect.signature(getattr(client, name))
        assert ours == theirs
        assert inspect.signature(getattr(aio.Client, name)) == inspect.signature(getattr(client.Client, name))
        assert list(inspect.signature(getattr(aio.Client, name)).parameters)[1:] == list(ours.parameters)


@pytest.mark.parametrize("name", FUNCTIONS)
def test_every_form_shows_itself_as_if_it_were_written_out(name: str) -> None:
    method = getattr(aio.Client, name)
    for module in (aio, client):
        function, own = getattr(module, name), getattr(module.Client, name)
        for form in (function, own):
            assert form.__name__ == name
            assert form.__module__ == module.__name__
            assert inspect.iscoroutinefunction(form) is (module is aio and name != "stream")
            assert form.__doc__.splitlines()[0] == method.__doc__.splitlines()[0]
        assert (function.__qualname__, own.__qualname__) == (name, f"Client.{name}")
        for form in (function, own):
            assert pickle.loads(pickle.dumps(form)) is form


def test_a_call(gateway: Gateway) -> None:
    gateway.next = [completion("Yes.", model="gpt")]
    with meseta.connect(gateway.url, "k-1", hub=gateway.url, session="s"):
        answer = meseta.call("openai/gpt", "Will it rain?", temperature=0, seconds=30)
    (asked,) = gateway.asked
    assert asked.path == "/v1/chat/completions"
    assert asked.document == {
        "model": "openai/gpt",
        "messages": [{"role": "user", "content": "Will it rain?"}],
        "temperature": 0,
        "stream": False,
    }
    assert asked.headers["authorization"] == "Bearer k-1"
    assert asked.headers["x-meseta-session"] == "s"
    assert asked.headers["x-meseta-deadline"].endswith("ms")
    assert "x-meseta-agent" not in asked.headers
    assert (str(answer), answer.finish, answer.model, answer.to) == ("Yes.", "stop", "gpt", "openai/gpt")
    assert answer.usage is not None
    assert (answer.usage.input_tokens, answer.usage.output_tokens) == (5, 7)


def test_an_agent_is_asked_at_the_hub(gateway: Gateway, other: Gateway) -> None:
    with meseta.connect(gateway.url, hub=other.url):
        asyncio.run(meseta.aio.call("agent/weather", "Rain?"))
        meseta.call("agent/*", "Rain?")
    assert gateway.asked == []
    named, chosen = other.asked
    assert (named.headers["x-meseta-agent"], named.document["model"]) == ("weather", "weather")
    assert "x-meseta-agent" not in chosen.headers


def test_what_cannot_be_asked(gateway: Gateway) -> None:
    with meseta.connect(gateway.url):
        with pytest.raises(ValueError, match="MESETA_HUB_URL"):
            meseta.call("agent/weather", "Rain?")
        with pytest.raises(ValueError, match="whom"):
            meseta.call("", "Rain?")
        with pytest.raises(ValueError, match="seconds"):
            meseta.call("m", "Rain?", seconds=-1)
    with meseta.connect(gateway.url, hub=gateway.url), pytest.raises(ValueError, match="name of an agent"):
        meseta.call("agent/a\r\nx: y", "Rain?")
    assert gateway.asked == []


@pytest.mark.parametrize("kept", [False, True])
def test_a_stream(gateway: Gateway, kept: bool) -> None:
    call = {"index": 0, "id": "c1", "function": {"name": "look", "arguments": '{"a"'}}
    more = {"index": 0, "function": {"arguments": ": 1}"}}
    gateway.reply = lambda _: streamed(
        {"role": "assistant", "content": "Rain\u2028"},
        {"content": "bow"},
        {"tool_calls": [call]},
        {"tool_calls": [more]},
    )
    texts: list[str] = []
    with meseta.connect(gateway.url):
        if kept:
            with meseta.sdk.Client() as one, one.stream("m", "Go") as stream:
                texts += stream
        else:
            stream = meseta.stream("m", "Go")
            texts += stream
        again: list[str] = []

        async def asynchronously() -> meseta.Answer:
            async with meseta.aio.stream("m", "Go") as stream:
                again.extend([text async for text in stream])
            return stream.answer

        answer = asyncio.run(asynchronously())
    assert texts == again == ["Rain\u2028", "bow"]
    assert answer == stream.answer
    assert answer.text == "Rain\u2028bow"
    function = {"name": "look", "arguments": '{"a": 1}'}
    assert answer.message["tool_calls"] == [{"type": "function", "id": "c1", "function": function}]
    assert answer.usage is not None
    assert gateway.asked[0].document["stream"] is True


def test_a_parameter_may_have_any_name(gateway: Gateway) -> None:
    with meseta.connect(gateway.url), meseta.sdk.Client() as one:
        one.call("m", "Go", self=1)
        meseta.call("m", "Go", self=2)
    assert [asked.document["self"] for asked in gateway.asked] == [1, 2]


def test_a_whole_answer_where_a_stream_was_asked_for(gateway: Gateway) -> None:
    with meseta.connect(gateway.url):
        assert list(meseta.stream("m", "Go")) == ["Hello."]


def test_closing_a_stream_early_cancels_the_call() -> None:
    cancelled = threading.Event()

    async def endless(_: Messages) -> AsyncIterator[str]:
        try:
            while True:
                yield "more "
                await asyncio.sleep(0.01)
        finally:
            cancelled.set()

    with meseta.serving(endless) as url, meseta.connect(url):
        with meseta.stream("m", "Go") as stream:
            assert next(stream) == "more "
        assert cancelled.wait(120)
        assert list(stream) == []


@pytest.mark.parametrize("stream", [False, True])
@pytest.mark.parametrize(
    ("told", "code", "status"),
    [
        (Told(429, body=b'{"error": {"message": "Slow.", "code": "rate.limited"}}'), "rate.limited", 429),
        (Told(500, (("content-type", "text/html"),), b"<html>"), "call.refused", 500),
        (Told(200, (("content-type", "text/html"),), b"<html>"), "call.unreadable", 200),
        (Told(200, body=b'{"choices": []}'), "call.unreadable", 200),
        (Told(200, body=b'{"choices": [5]}'), "call.unreadable", 200),
        (Told(302, (("location", "http://127.0.0.1:1/"),), b""), "call.refused", 302),
    ],
)
def test_failures(gateway: Gateway, told: Told, code: str, status: int, stream: bool) -> None:
    gateway.next = [
        told._replace(headers=(*told.headers, ("retry-after", "7"), ("x-meseta-request-id", "req_1")))
    ]
    with meseta.connect(gateway.url), pytest.raises(meseta.CallError) as raised:
        list(meseta.stream("m", "Go")) if stream else meseta.call("m", "Go")
    error = raised.value
    assert (error.code, error.status, error.request_id, error.to) == (code, status, "req_1", "m")
    assert error.retry_after == (None if code == "call.unreadable" else 7)
    assert str(error)
    assert len(gateway.asked) == 1, "nothing is asked twice"


@pytest.mark.parametrize(
    ("told", "code"),
    [
        (streamed({"content": "half"}, end=b""), "call.cut"),
        (streamed({"content": "half"}, end=b'data: {"error": {"message": "Out.", "code": "c"}}\n\n'), "c"),
        (streamed({"content": "half"}, end=b"data: {broken\n\n"), "call.unreadable"),
        (streamed({"content": "half"}, end=b"data: [1]\n\n"), "call.unreadable"),
    ],
)
def test_streams_that_break(gateway: Gateway, told: Told, code: str) -> None:
    gateway.next = [told]
    texts: list[str] = []
    with meseta.connect(gateway.url):
        stream = meseta.stream("m", "Go")
        texts.append(next(stream))
        with pytest.raises(meseta.CallError) as raised:
            texts.extend(stream)
    assert (texts, stream.answer.text, raised.value.code) == (["half"], "half", code)


def test_nobody_answers() -> None:
    with socket.create_server(("127.0.0.1", 0)) as free:
        port = free.getsockname()[1]
    with (
        meseta.connect(f"http://127.0.0.1:{port}"),
        pytest.raises(meseta.CallError, match="meseta up") as raised,
    ):
        meseta.call("m", "Go")
    assert (raised.value.code, raised.value.status) == ("call.cannot_connect", None)


@pytest.mark.parametrize("stream", [False, True])
def test_seconds_end_a_call_that_nobody_else_ends(stream: bool, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(requests, "GRACE_SECONDS", 0.0)
    with (
        socket.create_server(("127.0.0.1", 0)) as silent,
        meseta.connect(f"http://127.0.0.1:{silent.getsockname()[1]}"),
    ):
        with pytest.raises(meseta.CallError) as raised:
            list(meseta.stream("m", "Go", seconds=0.1)) if stream else meseta.call("m", "Go", seconds=0.1)
        assert raised.value.code == "call.timed_out"


def test_an_answer_has_a_bound(gateway: Gateway, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(requests, "MOST_BYTES", 100)
    gateway.reply = lambda asked: (
        streamed({"content": "x" * 200}) if asked.document["stream"] else completion("x" * 200)
    )
    with meseta.connect(gateway.url):
        for ask in (lambda: list(meseta.stream("m", "Go")), lambda: meseta.call("m", "Go")):
            with pytest.raises(meseta.CallError, match="more than 100 bytes"):
                ask()


def test_synchronous_calls_carry_the_scope_of_their_thread(gateway: Gateway) -> None:
    with meseta.connect(gateway.url), meseta.session("s"), meseta.run("r"):
        meseta.call("m", "Go")
        list(meseta.stream("m", "Go"))
    assert [asked.headers["x-meseta-session"] for asked in gateway.asked] == ["s", "s"]
    assert len({asked.headers["traceparent"] for asked in gateway.asked}) == 1


def test_a_stream_has_the_scope_in_which_it_was_made(gateway: Gateway) -> None:
    with meseta.connect(gateway.url):
        with meseta.session("s"):
            stream = meseta.stream("m", "Go")
        list(stream)
    assert gateway.asked[0].headers["x-meseta-session"] == "s"


def test_many_threads_at_once(gateway: Gateway) -> None:
    gateway.reply = lambda asked: completion(asked.document["messages"][0]["content"])
    found: dict[int, str] = {}
    with meseta.connect(gateway.url), meseta.sdk.Client() as one:

        def work(number: int) -> None:
            found[number] = one.call("m", f"number {number}").text

        threads = [threading.Thread(target=work, args=(number,)) for number in range(24)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
    assert found == {number: f"number {number}" for number in range(24)}


def test_the_private_loop_does_not_wait_for_itself() -> None:
    async def inside() -> None:
        async def nothing() -> None: ...

        private_loop.run(nothing())

    with pytest.raises(RuntimeError, match="aio"):
        private_loop.run(inside())


def forked(url: str, answers: Any) -> None:
    with meseta.connect(url):
        answers.put(meseta.call("m", "Go").text)


@pytest.mark.filterwarnings("ignore:.*fork.*:DeprecationWarning")
def test_a_forked_process_has_a_loop_of_its_own(gateway: Gateway) -> None:
    context = multiprocessing.get_context("fork")
    with meseta.connect(gateway.url):
        assert meseta.call("m", "Go").text == "Hello."
        answers = context.Queue()
        process = context.Process(target=forked, args=(gateway.url, answers))
        process.start()
        assert answers.get(timeout=120) == "Hello."
        process.join(30)


@pytest.mark.parametrize("size", [1, 2, 7, 1000])
def test_events_may_be_cut_anywhere(size: int) -> None:
    text = (
        b': a comment\r\n\r\nevent: message\r\ndata: {"a": \r\ndata: 1}\r\n\r\n'
        b'id: 5\ndata:{"b": "\xc3\xa9"}\n\n\n\ndata: [DONE]\n\ndata: {"after": 1}\n\n'
    )
    reader = EventReader()
    found = [one for start in range(0, len(text), size) for one in reader.take(text[start : start + size])]
    assert found == [{"a": 1}, {"b": "é"}]
    assert reader.done


def test_an_event_has_a_bound(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("meseta.sdk.events.LONGEST_LINE", 100)

    def read(*pieces: bytes) -> list[dict[str, Any]]:
        reader = EventReader()
        return [one for piece in pieces for one in reader.take(piece)]

    long = b'data: {"a": "' + b"x" * 80 + b'"}\n\n'
    assert len(read(long, long, long)) == 3
    for pieces in ([b"data: " + b"x" * 101 + b"\n"], [b"x"] * 102, [b"data: xxxxxxxxxx\n"] * 20):
        with pytest.raises(StreamError, match="100 bytes"):
            read(*pieces)
    with pytest.raises(StreamError, match="JSON"):
        read(b"data: " + b"[" * 50 + b"\n\n")


def pieces() -> Iterator[dict[str, Any]]:
    yield {"choices": [None]}
    yield {"choices": [{"delta": None}]}
    yield {"choices": [{"delta": {"content": 5, "tool_calls": [None, {"index": "x"}, {"function": 5}]}}]}
    yield {"usage": {"prompt_tokens": "many", "completion_tokens": 1}}
    yield {"choices": [{"delta": {"tool_calls": [{"index": n} for n in range(2000)]}}]}


def test_odd_pieces_of_a_stream_do_no_harm(gateway: Gateway) -> None:
    gateway.next = [Told(headers=EVENTS, body=b"".join(map(event, pieces())) + b"data: [DONE]\n\n")]
    with meseta.connect(gateway.url):
        stream = meseta.stream("m", "Go")
        assert list(stream) == []
    assert len(stream.answer.message["tool_calls"]) == 1024
    json.dumps(stream.answer.message)
