"""Agents made of functions: every kind of function, whole and streamed, errors, limits, leaving, draining."""

from __future__ import annotations

import asyncio
import json
import os
import signal
import socket
import subprocess
import sys
import threading
import time
from collections.abc import AsyncIterator, Callable, Iterator
from typing import TYPE_CHECKING, Any

import httpx
import pytest
from tests.waiting import until

import meseta
from meseta.sdk import server
from meseta.sdk.answers import Answer
from meseta.sdk.scopes import current

if TYPE_CHECKING:
    from tests.python.sdk.conftest import Gateway

Messages = list[dict[str, Any]]
QUESTION: Messages = [{"role": "user", "content": "Will it rain in Oslo?"}]
CALLS = [{"id": "c1", "type": "function", "function": {"name": "f", "arguments": "{}"}}]


def plain(messages: Messages) -> str:
    return f"echo {messages[-1]['content']}"


async def asynchronous(messages: Messages, context: meseta.Context) -> str:
    await asyncio.sleep(0)
    return f"echo {context.text}"


def generator(messages: Messages) -> Iterator[str]:
    yield "echo "
    yield from messages[-1]["content"].split("_")


async def asynchronous_generator(messages: Messages, context: meseta.Context) -> AsyncIterator[str]:
    yield "echo "
    await asyncio.sleep(0)
    yield context.text


class Answering:
    async def __call__(self, messages: Messages) -> Answer:
        return Answer(
            "m", "echo " + messages[-1]["content"], {"role": "assistant", "content": plain(messages)}
        )


async def passes_a_stream_on(messages: Messages) -> AsyncIterator[str]:
    return asynchronous_generator(messages, meseta.Context({"messages": messages}, {}))


KINDS: list[Callable[..., Any]] = [
    plain,
    asynchronous,
    generator,
    asynchronous_generator,
    Answering(),
    passes_a_stream_on,
    lambda *given: plain(given[0]),
    lambda messages, context: asynchronous(messages, context),
]


def ask(url: str, **more: Any) -> httpx.Response:
    headers = more.pop("headers", {})
    body = {"model": "m", "messages": QUESTION, **more}
    return httpx.post(f"{url}/v1/chat/completions", json=body, headers=headers, timeout=120)


def chunks(response: httpx.Response) -> list[dict[str, Any]]:
    lines = [line.removeprefix("data: ") for line in response.text.split("\n") if line]
    assert lines.pop() == "[DONE]"
    return [json.loads(line) for line in lines]


@pytest.mark.parametrize("function", KINDS)
def test_every_kind_of_function(function: Callable[..., Any]) -> None:
    with meseta.serving(function) as url:
        whole = ask(url)
        streamed = ask(url, stream=True)
    document = whole.json()
    assert document["object"] == "chat.completion"
    expected = {"role": "assistant", "content": "echo Will it rain in Oslo?"}
    assert document["choices"][0]["message"] == expected
    assert document["choices"][0]["finish_reason"] == "stop"
    assert streamed.headers["content-type"] == "text/event-stream"
    events = chunks(streamed)
    deltas = [event["choices"][0]["delta"] for event in events]
    assert deltas[0]["role"] == "assistant"
    assert "".join(delta.get("content", "") for delta in deltas) == expected["content"]
    assert [event["choices"][0]["finish_reason"] for event in events][-2:] == [None, "stop"]


def test_a_streamed_piece_is_sent_before_the_next_is_made() -> None:
    second = threading.Event()

    def two(_: Messages) -> Iterator[str]:
        yield "one"
        assert second.wait(120)
        yield "two"

    body = {"messages": QUESTION, "stream": True}
    with (
        meseta.serving(two) as url,
        httpx.stream("POST", f"{url}/v1/chat/completions", json=body, timeout=120) as response,
    ):
        lines = response.iter_lines()
        assert "one" in next(lines)
        second.set()
        assert any("two" in line for line in lines)


@pytest.mark.parametrize("stream", [False, True])
def test_tool_calls(stream: bool) -> None:
    def calls(_: Messages) -> dict[str, Any]:
        return {"role": "assistant", "content": None, "tool_calls": CALLS}

    with meseta.serving(calls) as url:
        response = ask(url, stream=stream)
    if stream:
        first, *_, last = (event["choices"][0] for event in chunks(response))
        assert first["delta"]["tool_calls"] == [{"index": 0, **CALLS[0]}]
        assert last["finish_reason"] == "tool_calls"
    else:
        choice = response.json()["choices"][0]
        assert choice["message"] == {"role": "assistant", "content": None, "tool_calls": CALLS}
        assert choice["finish_reason"] == "tool_calls"


def test_the_official_client_reads_it() -> None:
    openai = pytest.importorskip("openai")
    with (
        meseta.serving(asynchronous_generator) as url,
        openai.OpenAI(base_url=f"{url}/v1", api_key="unused", max_retries=0) as client,
    ):
        whole = client.chat.completions.create(model="m", messages=QUESTION)
        assert whole.choices[0].message.content == "echo Will it rain in Oslo?"
        stream = client.chat.completions.create(model="m", messages=QUESTION, stream=True)
        texts = [chunk.choices[0].delta.content or "" for chunk in stream]
    assert "".join(texts) == "echo Will it rain in Oslo?"


def test_what_the_function_is_told() -> None:
    seen: list[meseta.Context] = []

    @meseta.agent(name="seer")
    def look(messages: Messages, context: meseta.Context) -> str:
        seen.append(context)
        assert current() == context.scope, "what it calls belongs to the same work"
        return "seen"

    headers = {
        "x-meseta-session": "s",
        "x-meseta-run": "r",
        "x-meseta-context": "token",
        "x-meseta-deadline": "20s",
        "traceparent": "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01",
        "authorization": "Bearer secret",
        "x-plan": "gold",
    }
    with meseta.serving(look) as url:
        response = ask(url, temperature=0.5, headers=headers)
    assert response.json()["model"] == "seer"
    (context,) = seen
    assert (context.session, context.run, context.scope.context) == ("s", "r", "token")
    assert context.seconds_left is not None
    assert 0 < context.seconds_left <= 20
    assert context.request["temperature"] == 0.5
    assert context.headers["x-plan"] == "gold"
    assert "secret" not in repr(context)
    assert context.cancelled, "nobody waits any more"


@pytest.mark.parametrize("asynchronously", [False, True])
def test_calls_of_an_agent_carry_what_it_was_asked_with(gateway: Gateway, asynchronously: bool) -> None:
    async def async_agent(messages: Messages) -> Answer:
        return await meseta.aio.call("sim/echo", messages)

    def sync_agent(messages: Messages) -> Iterator[str]:
        yield meseta.call("sim/echo", messages).text
        yield meseta.call("sim/echo", messages).text

    traceparent = "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01"
    headers = {
        "x-meseta-session": "s",
        "x-meseta-run": "r",
        "x-meseta-context": "token",
        "x-meseta-tags": "a,b",
        "x-meseta-deadline": "20s",
        "traceparent": traceparent,
    }
    with (
        meseta.connect(gateway.url),
        meseta.serving(async_agent if asynchronously else sync_agent) as url,
    ):
        assert ask(url, headers=headers).status_code == 200
    assert len(gateway.asked) == (1 if asynchronously else 2)
    for asked in gateway.asked:
        for name, value in headers.items():
            if name != "x-meseta-deadline":
                assert asked.headers[name] == value
        assert asked.headers["x-meseta-deadline"].endswith("ms")


def test_an_agent_may_use_a_vendors_sdk(gateway: Gateway) -> None:
    openai = pytest.importorskip("openai")

    async def with_a_vendor(messages: Messages) -> str:
        async with openai.AsyncOpenAI(**connection.openai_kwargs()) as client:
            answer = await client.chat.completions.create(model="sim/echo", messages=messages)
        return str(answer.choices[0].message.content)

    headers = {"x-meseta-context": "token", "x-meseta-run": "r", "x-meseta-session": "s"}
    with meseta.connect(gateway.url) as connection, meseta.serving(with_a_vendor) as url:
        assert ask(url, headers=headers).json()["choices"][0]["message"]["content"] == "Hello."
    (asked,) = gateway.asked
    assert {name: asked.headers[name] for name in headers} == headers


def failing(error: Exception) -> Callable[[Messages], str]:
    def fail(_: Messages) -> str:
        raise error

    return fail


@pytest.mark.parametrize(
    ("error", "status", "code", "message"),
    [
        (meseta.AgentError("No such city.", status=422, code="city.unknown"), 422, "city.unknown", "No such"),
        (
            meseta.CallError("Too many.", to="m", code="rate", status=429, retry_after=3),
            429,
            "rate",
            "Too many.",
        ),
        (
            meseta.CallError("Nobody.", to="m", code="call.cannot_connect"),
            502,
            "call.cannot_connect",
            "Nobody.",
        ),
        (RuntimeError("password=hunter2"), 500, "agent.failed", "The agent fail failed."),
        (StopIteration(), 500, "agent.failed", "The agent fail failed."),
    ],
)
@pytest.mark.parametrize("stream", [False, True])
def test_errors_keep_their_status(
    error: Exception, status: int, code: str, message: str, stream: bool
) -> None:
    with meseta.serving(failing(error)) as url:
        response = ask(url, stream=stream)
    told = response.json()["error"]
    assert (response.status_code, told["code"]) == (status, code)
    assert message in told["message"]
    assert "hunter2" not in response.text
    assert response.headers.get("retry-after") == ("3" if status == 429 else None)


def test_an_error_in_a_stream_is_its_last_event() -> None:
    def breaks(_: Messages) -> Iterator[str]:
        yield "half"
        raise meseta.AgentError("It broke.", status=503, code="agent.broke")

    with meseta.serving(breaks) as url:
        response = ask(url, stream=True)
        with pytest.raises(meseta.CallError, match="It broke") as raised, meseta.connect(url):
            list(meseta.stream("m", QUESTION))
    assert response.status_code == 200
    *_, last = response.text.strip().split("\n\n")
    assert json.loads(last.removeprefix("data: "))["error"]["code"] == "agent.broke"
    assert "[DONE]" not in response.text
    assert (raised.value.code, raised.value.status) == ("agent.broke", 503)


def test_the_log_names_the_line_that_failed(caplog: pytest.LogCaptureFixture) -> None:
    def deep(_: Messages) -> str:
        raise RuntimeError("found me")

    with meseta.serving(deep) as url:
        ask(url)
    assert 'raise RuntimeError("found me")' in caplog.text


def test_an_answer_that_is_none() -> None:
    with meseta.serving(lambda messages: None) as url:
        assert ask(url).status_code == 500


@pytest.mark.parametrize(
    "body",
    [
        b"",
        b"{",
        b"[]",
        b"{}",
        b'{"messages": []}',
        b'{"messages": ["hello"]}',
        b'{"messages": {"role": "user"}}',
        b"\xff\xfe",
        b"[" * 100_000,
        b'{"messages": ' + b"9" * 5000 + b"}",
    ],
)
def test_bodies_that_are_no_conversation(body: bytes) -> None:
    with meseta.serving(plain) as url:
        response = httpx.post(f"{url}/v1/chat/completions", content=body, timeout=120)
        assert (response.status_code, response.json()["error"]["code"]) == (400, "request.invalid_body")
        assert ask(url).status_code == 200


def test_other_paths_and_methods() -> None:
    with meseta.serving(plain) as url:
        assert httpx.get(f"{url}/v1/chat/completions", timeout=120).status_code == 405
        assert httpx.post(f"{url}/health", timeout=120).status_code == 405
        assert httpx.post(f"{url}/v1/messages", json={}, timeout=120).status_code == 404
        assert (
            httpx.post(f"{url}/chat/completions", json={"messages": QUESTION}, timeout=120).status_code == 200
        )


def test_a_body_has_a_bound(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(server, "MOST_BODY_BYTES", 1000)
    with meseta.serving(plain) as url:
        announced = httpx.post(f"{url}/v1/chat/completions", content=b"x" * 1001, timeout=120)

        def unannounced() -> Iterator[bytes]:
            yield from [b"x" * 500] * 4

        chunked = httpx.post(f"{url}/v1/chat/completions", content=unannounced(), timeout=120)
    assert [announced.status_code, chunked.status_code] == [413, 413]


def test_web_pages_and_keys() -> None:
    origin = {"origin": "https://page.example"}
    with meseta.serving(plain) as url:
        assert ask(url, headers=origin).status_code == 403
    with meseta.serving(plain, key="k-1") as url:
        assert ask(url).status_code == 401
        assert ask(url, headers={"authorization": "Bearer k-2"}).status_code == 401
        assert ask(url, headers={"authorization": "Basic k-1"}).status_code == 401
        assert ask(url, headers={"authorization": "Bearer k-1", **origin}).status_code == 200
        assert httpx.get(f"{url}/health", timeout=120).status_code == 200


def test_health_counts_and_more_than_it_can_do_is_refused() -> None:
    go = threading.Event()
    begun = threading.Semaphore(0)

    def wait(_: Messages) -> str:
        begun.release()
        assert go.wait(120)
        return "done"

    answers: list[httpx.Response] = []
    with meseta.serving(wait, concurrency=2) as url:
        assert httpx.get(f"{url}/health", timeout=120).json() == {"active": 0}
        threads = [threading.Thread(target=lambda: answers.append(ask(url))) for _ in range(2)]
        for thread in threads:
            thread.start()
            assert begun.acquire(timeout=120)
        assert httpx.get(f"{url}/health", timeout=120).json() == {"active": 2}
        refused = ask(url)
        assert (refused.status_code, refused.headers["retry-after"]) == (503, "1")
        go.set()
        for thread in threads:
            thread.join()
        assert httpx.get(f"{url}/health", timeout=120).json() == {"active": 0}
    assert [answer.status_code for answer in answers] == [200, 200]


@pytest.mark.parametrize("stream", [False, True])
def test_a_client_that_leaves_cancels_the_function(stream: bool) -> None:
    cancelled, begun = threading.Event(), threading.Event()

    async def endless(_: Messages) -> AsyncIterator[str]:
        try:
            yield "begun"
            begun.set()
            await asyncio.sleep(600)
        finally:
            cancelled.set()

    with meseta.serving(endless) as url:
        host, port = url.removeprefix("http://").split(":")
        body = json.dumps({"messages": QUESTION, "stream": stream}).encode()
        head = f"POST /v1/chat/completions HTTP/1.1\r\nhost: x\r\ncontent-length: {len(body)}\r\n\r\n"
        with socket.create_connection((host, int(port))) as connection:
            connection.sendall(head.encode() + body)
            assert begun.wait(120)
        assert cancelled.wait(120)
        until(lambda: httpx.get(f"{url}/health", timeout=120).json() == {"active": 0})


def test_a_client_that_leaves_is_known_to_a_synchronous_function() -> None:
    begun, ended = threading.Event(), threading.Event()

    def work(_: Messages, context: meseta.Context) -> Iterator[str]:
        try:
            yield "begun"
            begun.set()
            while not context.cancelled:
                time.sleep(0.005)
            yield "nobody reads this"
            yield "and this is never made"
        finally:
            ended.set()

    with meseta.serving(work) as url:
        with httpx.stream(
            "POST", f"{url}/v1/chat/completions", json={"messages": QUESTION, "stream": True}
        ) as response:
            assert "begun" in next(response.iter_lines())
            assert begun.wait(120)
        assert ended.wait(120), "the generator was closed behind the step it was in"


def test_a_deadline_ends_it() -> None:
    cancelled = threading.Event()

    async def slow(_: Messages) -> str:
        try:
            await asyncio.sleep(600)
        finally:
            cancelled.set()
        return "late"

    with meseta.serving(slow) as url:
        response = ask(url, headers={"x-meseta-deadline": "50ms"})
    assert (response.status_code, response.json()["error"]["code"]) == (504, "agent.deadline")
    assert cancelled.is_set()


@pytest.mark.parametrize(
    "function",
    [lambda: "nothing", lambda a, b, c: "too many", lambda a, *, b: "a keyword"],
)
def test_functions_that_are_no_agents(function: Callable[..., Any]) -> None:
    with pytest.raises(TypeError, match="context"):
        meseta.agent(function)
    with pytest.raises(TypeError, match="function"):
        meseta.agent(5)  # type: ignore[call-overload]


def test_connections_are_known_to_be_tcp() -> None:
    """asyncio sends small pieces at once where the socket says so itself, and only there."""
    with (
        server._listening("127.0.0.1", 0) as listening,
        socket.create_connection(listening.getsockname()),
    ):
        accepted, _ = listening.accept()
        with accepted:
            assert accepted.proto == socket.IPPROTO_TCP


def test_an_agent_is_still_its_function() -> None:
    decorated = meseta.agent(plain)
    assert decorated(QUESTION) == plain(QUESTION)
    assert (decorated.name, decorated.__doc__) == ("plain", plain.__doc__)


PROGRAM = """
import time
import meseta

@meseta.agent
def patient(messages, context):
    yield "begun"
    while not open(messages[-1]["content"]).read():
        time.sleep(0.01)
    yield " and ended"

meseta.serve(patient)
"""


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_a_signal_drains_and_is_a_success(number: signal.Signals, tmp_path: Any) -> None:
    switch = tmp_path / "switch"
    switch.write_text("")
    environment = {**os.environ, "PORT": "0"}
    with subprocess.Popen(
        [sys.executable, "-c", PROGRAM], env=environment, stderr=subprocess.PIPE, text=True
    ) as process:
        assert process.stderr is not None
        line = process.stderr.readline()
        assert line.startswith("patient listens on http://127.0.0.1:"), line
        url = line.split()[-1]
        body = {"messages": [{"role": "user", "content": str(switch)}], "stream": True}
        with httpx.stream("POST", f"{url}/v1/chat/completions", json=body, timeout=120) as response:
            lines = response.iter_lines()
            assert "begun" in next(lines)
            process.send_signal(number)
            until(lambda: refuses(url))
            switch.write_text("go")
            assert any("and ended" in line for line in lines)
        assert process.wait(120) == 0
        assert process.stderr.read() == ""


def refuses(url: str) -> bool:
    try:
        httpx.get(f"{url}/health", timeout=120)
    except httpx.TransportError:
        return True
    return False
