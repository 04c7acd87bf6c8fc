"""The official `openai` package as a client, unmodified but for its base URL."""

from __future__ import annotations

import json
import time
import urllib.request
from collections.abc import Callable, Iterator, Sequence

import openai
import pytest
from openai.types.chat import (
    ChatCompletionMessageFunctionToolCall,
    ChatCompletionMessageParam,
    ChatCompletionToolParam,
)

import meseta

HELLO: list[ChatCompletionMessageParam] = [{"role": "user", "content": "one two three"}]
WEATHER: list[ChatCompletionToolParam] = [
    {
        "type": "function",
        "function": {
            "name": "weather",
            "description": "The weather in a city.",
            "parameters": {
                "type": "object",
                "properties": {"city": {"type": "string"}},
                "required": ["city"],
            },
        },
    }
]


@pytest.fixture
def client(plane: meseta.Plane) -> Iterator[openai.OpenAI]:
    """Return a client that does not retry: each test sees what the plane really did."""
    with openai.OpenAI(base_url=plane.url, api_key="unused", max_retries=0, timeout=60) as client:
        yield client


def test_whole(client: openai.OpenAI) -> None:
    answer = client.chat.completions.create(model="fast", messages=HELLO)
    assert answer.choices[0].message.content == "one two three"
    assert answer.choices[0].finish_reason == "stop"
    assert answer.usage is not None
    assert answer.usage.completion_tokens == 3


def test_headers_say_who_answered(client: openai.OpenAI) -> None:
    raw = client.chat.completions.with_raw_response.create(model="fast", messages=HELLO)
    assert raw.headers["x-meseta-model"] == "sim/echo"
    assert raw.headers["x-meseta-route"] == "fast"
    assert raw.headers["x-meseta-attempts"] == "1"
    assert raw.headers["x-meseta-request-id"].startswith("req_")


def test_streamed(client: openai.OpenAI) -> None:
    with client.chat.completions.create(model="fast", messages=HELLO, stream=True) as stream:
        chunks = list(stream)
    assert "".join(chunk.choices[0].delta.content or "" for chunk in chunks) == "one two three"
    assert all(chunk.usage is None for chunk in chunks), "usage was not asked for"


def test_streamed_with_usage(client: openai.OpenAI) -> None:
    options: openai.types.chat.ChatCompletionStreamOptionsParam = {"include_usage": True}
    with client.chat.completions.create(
        model="fast", messages=HELLO, stream=True, stream_options=options
    ) as stream:
        usage = [chunk.usage for chunk in stream if chunk.usage]
    assert [(found.prompt_tokens, found.completion_tokens) for found in usage] == [(3, 3)]


def test_stream_helper(client: openai.OpenAI) -> None:
    with client.chat.completions.stream(model="fast", messages=HELLO) as stream:
        content = stream.until_done().get_final_completion().choices[0].message.content
    assert content == "one two three"


@pytest.mark.parametrize("stream", [False, True], ids=["whole", "streamed"])
def test_tools(client: openai.OpenAI, stream: bool) -> None:
    """A tool is called with arguments that fit its schema, and its result is answered."""
    if stream:
        with client.chat.completions.stream(
            model="sim/echo;tool=auto", messages=HELLO, tools=WEATHER
        ) as events:
            calls: Sequence[object] = (
                events.until_done().get_final_completion().choices[0].message.tool_calls or []
            )
    else:
        whole = client.chat.completions.create(model="sim/echo;tool=auto", messages=HELLO, tools=WEATHER)
        calls = whole.choices[0].message.tool_calls or []
    (call,) = calls
    assert isinstance(call, ChatCompletionMessageFunctionToolCall)
    assert call.function.name == "weather"
    assert set(json.loads(call.function.arguments)) == {"city"}
    answer = client.chat.completions.create(
        model="sim/echo;tool=auto",
        tools=WEATHER,
        messages=[
            *HELLO,
            {
                "role": "assistant",
                "tool_calls": [
                    {
                        "id": call.id,
                        "type": "function",
                        "function": {"name": "weather", "arguments": call.function.arguments},
                    }
                ],
            },
            {"role": "tool", "tool_call_id": call.id, "content": "sunny"},
        ],
    )
    assert "sunny" in (answer.choices[0].message.content or "")


def test_embeddings(client: openai.OpenAI) -> None:
    answer = client.embeddings.create(model="sim/embed", input=["a", "b", "a"])
    vectors = [row.embedding for row in answer.data]
    assert vectors[0] == vectors[2] != vectors[1]


def test_models(client: openai.OpenAI) -> None:
    assert "fast" in {model.id for model in client.models.list()}
    assert client.models.retrieve("fast").id == "fast"


@pytest.mark.parametrize(
    ("call", "raised", "code"),
    [
        ({"model": "nothing"}, openai.NotFoundError, "model.not_found"),
        ({"model": "fast", "extra_body": {"stream": "yes"}}, openai.BadRequestError, "request.invalid_field"),
        ({"model": "sim/echo;garbage=json"}, openai.InternalServerError, "upstream.invalid_answer"),
        ({"model": "sim/echo;cut=fin@1"}, openai.InternalServerError, "upstream.cut"),
    ],
)
def test_errors(
    client: openai.OpenAI, call: dict[str, object], raised: type[openai.APIStatusError], code: str
) -> None:
    """Errors arrive as the package's own exceptions, with our code and request id."""
    create: Callable[..., object] = client.chat.completions.create
    with pytest.raises(raised) as caught:
        create(messages=HELLO, **call)
    assert caught.value.code == code
    assert isinstance(caught.value.body, dict)
    assert str(caught.value.body["request_id"]).startswith("req_")


def test_provider_errors_pass(client: openai.OpenAI) -> None:
    with pytest.raises(openai.RateLimitError) as caught:
        client.chat.completions.create(model="sim/echo;status=429;retry-after=3", messages=HELLO)
    assert caught.value.response.headers["retry-after"] == "3"


def test_error_inside_a_stream(client: openai.OpenAI) -> None:
    """A stream that breaks off raises instead of ending as if it were complete."""
    got: list[str] = []
    with (
        pytest.raises(openai.APIError) as caught,
        client.chat.completions.create(model="sim/echo;cut=rst@2", messages=HELLO, stream=True) as stream,
    ):
        got.extend(chunk.choices[0].delta.content or "" for chunk in stream)
    assert "".join(got) == "one two"
    assert caught.value.code == "upstream.cut"


def test_cancellation_reaches_the_provider(plane: meseta.Plane, client: openai.OpenAI) -> None:
    """Closing a stream ends the provider's work; the record says who left."""
    stream = client.chat.completions.create(
        model="sim/canned;tokens=100000;pace=10ms", messages=HELLO, stream=True
    )
    request_id = stream.response.headers["x-meseta-request-id"]
    next(iter(stream))
    stream.close()
    deadline = time.monotonic() + 60
    while plane.stats()["in_flight"]:
        assert time.monotonic() < deadline
        time.sleep(0.005)
    from meseta.insight.requests import RequestLog

    assert plane.log_path is not None
    log = RequestLog(plane.log_path)
    while (row := log.find(request_id)) is None:
        assert time.monotonic() < deadline
        time.sleep(0.005)
    assert row.code == "client.disconnected"


async def drain(client: openai.AsyncOpenAI) -> str:
    stream = await client.chat.completions.create(model="fast", messages=HELLO, stream=True)
    return "".join([chunk.choices[0].delta.content or "" async for chunk in stream])


def test_many_at_once(plane: meseta.Plane) -> None:
    """A hundred asynchronous streams on one client, each with its own answer."""
    import asyncio

    async def run() -> list[str]:
        async with openai.AsyncOpenAI(base_url=plane.url, api_key="unused", max_retries=0) as client:
            return await asyncio.gather(*(drain(client) for _ in range(100)))

    assert asyncio.run(run()) == ["one two three"] * 100


def test_ready(plane: meseta.Plane) -> None:
    with urllib.request.urlopen(plane.url.removesuffix("/v1") + "/readyz") as answer:
        assert json.load(answer)["status"] == "ok"
