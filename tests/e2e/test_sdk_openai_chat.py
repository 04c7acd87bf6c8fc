"""The official `openai` package on Chat Completions, before a provider of every dialect."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Iterator
from typing import TYPE_CHECKING, Any

import pytest

pytest.importorskip("openai")
import openai
from openai.types import CompletionUsage
from openai.types.chat import (
    ChatCompletionMessageFunctionToolCall,
    ChatCompletionMessageParam,
    ChatCompletionToolParam,
)
from tests.e2e.weather import ANSWER, CALLS, DEGREES, QUESTION, Forecast

if TYPE_CHECKING:
    from tests.e2e.conftest import World

ASK: list[ChatCompletionMessageParam] = [
    {"role": "system", "content": "Answer briefly."},
    {"role": "user", "content": QUESTION},
]
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
TRANSLATED = ["responses", "messages", "gemini", "converse"]


@pytest.fixture(scope="module")
def shared_client(shared_world: World) -> Iterator[openai.OpenAI]:
    with openai.OpenAI(base_url=shared_world.url, api_key="unused", max_retries=0, timeout=60) as client:
        yield client


@pytest.fixture
def client(world: World, shared_client: openai.OpenAI) -> openai.OpenAI:
    """Return a client that does not retry, after `world` has forgotten its script."""
    return shared_client


def check_usage(usage: CompletionUsage | None, provider: str) -> None:
    """Compare with what `ANSWER` says, in OpenAI's meaning: the prompt includes what was cached."""
    assert usage is not None
    assert (usage.prompt_tokens, usage.completion_tokens, usage.total_tokens) == (100, 30, 130)
    assert usage.prompt_tokens_details is not None
    assert usage.prompt_tokens_details.cached_tokens == 40
    if provider != "converse":  # Bedrock does not say how much of the output is reasoning.
        assert usage.completion_tokens_details is not None
        assert usage.completion_tokens_details.reasoning_tokens == 12


def test_whole(world: World, client: openai.OpenAI, provider: str) -> None:
    world.play(ANSWER)
    answer = client.chat.completions.create(model=provider, messages=ASK, temperature=0.5)
    (choice,) = answer.choices
    assert choice.message.content == "Rome is fifteen degrees warmer."
    assert choice.message.tool_calls is None
    assert choice.finish_reason == "stop"
    assert answer.object == "chat.completion"
    check_usage(answer.usage, provider)
    (asked,) = world.asked()
    assert "0.5" in json.dumps(asked)
    for text in ("Answer briefly.", QUESTION):
        world.check_told(0, text)


@pytest.mark.parametrize(
    ("finish", "reason"),
    [("length", "length"), ("stop_sequence", "stop"), ("content_filter", "content_filter")],
)
def test_finish_reasons(world: World, client: openai.OpenAI, provider: str, finish: str, reason: str) -> None:
    said = {"text": "One, two", "finish": finish}
    world.play(said, said)
    whole = client.chat.completions.create(model=provider, messages=ASK, stop=["three"], max_tokens=50)
    assert whole.choices[0].finish_reason == reason
    with client.chat.completions.create(
        model=provider, messages=ASK, stop=["three"], max_tokens=50, stream=True
    ) as stream:
        reasons = [choice.finish_reason for chunk in stream for choice in chunk.choices]
    assert [found for found in reasons if found] == [reason]


def test_streamed(world: World, client: openai.OpenAI, provider: str) -> None:
    world.play(ANSWER)
    with client.chat.completions.create(
        model=provider, messages=ASK, stream=True, stream_options={"include_usage": True}
    ) as stream:
        chunks = list(stream)
    *parts, last = chunks
    deltas = [choice.delta for chunk in parts for choice in chunk.choices]
    assert deltas[0].role == "assistant"
    text = [delta.content for delta in deltas if delta.content]
    assert len(text) > 1, "it came at once instead of streamed"
    assert "".join(text) == "Rome is fifteen degrees warmer."
    reasons = [choice.finish_reason for chunk in parts for choice in chunk.choices if choice.finish_reason]
    assert reasons == ["stop"]
    assert last.choices == []
    check_usage(last.usage, provider)
    assert len({chunk.id for chunk in chunks}) == 1


def test_stream_helper(world: World, client: openai.OpenAI, provider: str) -> None:
    """The helper's events arrive in order and add up to the whole answer, calls of tools included."""
    world.play(CALLS)
    said, arguments, done = "", {0: "", 1: ""}, []
    with client.chat.completions.stream(
        model=provider, messages=ASK, tools=WEATHER, stream_options={"include_usage": True}
    ) as stream:
        for event in stream:
            if event.type == "content.delta":
                said += event.delta
                assert event.snapshot == said
            elif event.type == "content.done":
                assert event.content == said
            elif event.type == "tool_calls.function.arguments.delta":
                arguments[event.index] += event.arguments_delta
                assert event.arguments == arguments[event.index]
            elif event.type == "tool_calls.function.arguments.done":
                done.append((event.index, event.name, json.loads(event.arguments)))
        final = stream.get_final_completion()
    assert said == "I look it up."
    assert done == [(0, "weather", {"city": "Oslo"}), (1, "weather", {"city": "Rome"})]
    (choice,) = final.choices
    assert choice.finish_reason == "tool_calls"
    assert choice.message.content == said
    calls = choice.message.tool_calls or []
    assert [json.loads(call.function.arguments) for call in calls] == [{"city": "Oslo"}, {"city": "Rome"}]
    assert len({call.id for call in calls}) == 2
    assert final.usage is not None
    assert (final.usage.prompt_tokens, final.usage.completion_tokens) == (60, 20)


@pytest.mark.parametrize("stream", [False, True], ids=["whole", "streamed"])
def test_tool_loop(world: World, client: openai.OpenAI, provider: str, stream: bool) -> None:
    """Two calls at once are answered at once, and the provider sees whose answer is whose."""
    world.play(CALLS, ANSWER)
    messages = list(ASK)
    for _ in range(3):
        if stream:
            with client.chat.completions.stream(model=provider, messages=messages, tools=WEATHER) as events:
                choice: Any = events.get_final_completion().choices[0]
        else:
            whole = client.chat.completions.create(model=provider, messages=messages, tools=WEATHER)
            choice = whole.choices[0]
        messages.append(choice.message.to_dict())
        if choice.finish_reason != "tool_calls":
            break
        for call in choice.message.tool_calls:
            assert call.type == "function"
            degrees = DEGREES[json.loads(call.function.arguments)["city"]]
            messages.append({"role": "tool", "tool_call_id": call.id, "content": degrees})
    assert choice.finish_reason == "stop"
    assert choice.message.content == "Rome is fifteen degrees warmer."
    assert len(world.asked()) == 2
    world.check_told(0, QUESTION, "weather")
    world.check_told(1, QUESTION, "Oslo", "Rome", *DEGREES.values())


def test_required_tool(world: World, client: openai.OpenAI, provider: str) -> None:
    world.play({"content": [{"tool": "weather", "arguments": {"city": "Zürich"}}]})
    answer = client.chat.completions.create(
        model=provider,
        messages=ASK,
        tools=WEATHER,
        tool_choice={"type": "function", "function": {"name": "weather"}},
    )
    assert answer.choices[0].finish_reason == "tool_calls"
    (call,) = answer.choices[0].message.tool_calls or []
    assert isinstance(call, ChatCompletionMessageFunctionToolCall)
    assert call.function.name == "weather"
    assert json.loads(call.function.arguments) == {"city": "Zürich"}
    (asked,) = world.asked()
    choices: dict[str, dict[str, object]] = {
        "chat": {"tool_choice": {"type": "function", "function": {"name": "weather"}}},
        "responses": {"tool_choice": {"type": "function", "name": "weather"}},
        "messages": {"tool_choice": {"type": "tool", "name": "weather"}},
        "gemini": {"functionCallingConfig": {"mode": "ANY", "allowedFunctionNames": ["weather"]}},
        "converse": {"toolChoice": {"tool": {"name": "weather"}}},
    }
    ((key, value),) = choices[provider].items()
    place = asked if key in asked else asked.get("toolConfig", {})
    assert place[key] == value


def test_parse(world: World, client: openai.OpenAI, provider: str) -> None:
    """A pydantic model is the answer's schema, and its instance the answer."""
    world.play({"text": '{"city": "Oslo", "degrees": 4}'}, {"text": '{"city": "Rome", "degrees": 19}'})
    whole = client.chat.completions.parse(model=provider, messages=ASK, response_format=Forecast)
    assert whole.choices[0].message.parsed == Forecast(city="Oslo", degrees=4)
    with client.chat.completions.stream(model=provider, messages=ASK, response_format=Forecast) as stream:
        streamed = stream.get_final_completion()
    assert streamed.choices[0].message.parsed == Forecast(city="Rome", degrees=19)
    for asked in world.asked():
        assert "degrees" in json.dumps(asked), "the schema did not reach the provider"


def test_parse_tools(world: World, client: openai.OpenAI, provider: str) -> None:
    world.play({"content": [{"tool": "Forecast", "arguments": {"city": "Oslo", "degrees": 4}}]})
    answer = client.chat.completions.parse(
        model=provider, messages=ASK, tools=[openai.pydantic_function_tool(Forecast)]
    )
    (call,) = answer.choices[0].message.tool_calls or []
    assert call.function.parsed_arguments == Forecast(city="Oslo", degrees=4)


@pytest.mark.parametrize("stream", [False, True], ids=["whole", "streamed"])
def test_thinking(world: World, client: openai.OpenAI, provider: str, stream: bool) -> None:
    """Thoughts arrive beside the answer, in the field that DeepSeek gave them, and never in it."""
    world.play({"content": [{"thinking": "Oslo is far north.", "signature": "c2lnbmVk"}, {"text": "Rome."}]})
    thoughts, said = "", ""
    if stream:
        with client.chat.completions.create(
            model=provider, messages=ASK, reasoning_effort="high", stream=True
        ) as chunks:
            for chunk in chunks:
                for choice in chunk.choices:
                    thoughts += (choice.delta.model_extra or {}).get("reasoning_content") or ""
                    said += choice.delta.content or ""
    else:
        whole = client.chat.completions.create(model=provider, messages=ASK, reasoning_effort="high")
        message = whole.choices[0].message
        thoughts = (message.model_extra or {})["reasoning_content"]
        said = message.content or ""
    assert (thoughts, said) == ("Oslo is far north.", "Rome.")


@pytest.mark.parametrize("stream", [False, True], ids=["whole", "streamed"])
def test_thinking_goes_back(world: World, client: openai.OpenAI, provider: str, stream: bool) -> None:
    """A client that returns the whole message returns the signature too, and its provider gets it."""
    call = {"tool": "weather", "arguments": {"city": "Oslo"}, "id": "call_oslo"}
    world.play({"content": [{"thinking": "Oslo is far north.", "signature": "c2lnbmVk"}, call]}, ANSWER)
    if stream:
        with client.chat.completions.stream(
            model=provider, messages=ASK, tools=WEATHER, reasoning_effort="high"
        ) as events:
            message: Any = events.get_final_completion().choices[0].message
    else:
        whole = client.chat.completions.create(
            model=provider, messages=ASK, tools=WEATHER, reasoning_effort="high"
        )
        message = whole.choices[0].message
    result: ChatCompletionMessageParam = {
        "role": "tool",
        "tool_call_id": message.tool_calls[0].id,
        "content": "4 degrees",
    }
    answer = client.chat.completions.create(
        model=provider, messages=[*ASK, message.to_dict(), result], tools=WEATHER, reasoning_effort="high"
    )
    assert answer.choices[0].message.content == "Rome is fifteen degrees warmer."
    check_usage(answer.usage, provider)
    sent = json.dumps(world.asked()[1])
    assert {"chat": "4 degrees", "gemini": "thoughtSignature"}.get(provider, "c2lnbmVk") in sent
    assert "skip_thought_signature_validator" not in sent
    assert "meseta." not in sent


def test_unknown_model(client: openai.OpenAI) -> None:
    with pytest.raises(openai.NotFoundError) as caught:
        client.chat.completions.create(model="sim/none", messages=ASK)
    assert caught.value.code == "model.not_found"
    assert "sim/none" in caught.value.message


@pytest.mark.parametrize("provider", TRANSLATED)
def test_malformed_request(world: World, client: openai.OpenAI, provider: str) -> None:
    """What is wrong is named down to its place, and no provider is asked."""
    wrong: Any = [{"role": "user", "content": [{"type": "image_url", "image_url": {"url": 5}}]}]
    with pytest.raises(openai.BadRequestError) as caught:
        client.chat.completions.create(model=provider, messages=wrong)
    assert caught.value.param == "messages[0].content[0].image_url.url"
    assert caught.value.code == "request.invalid_field"
    assert caught.value.type == "invalid_request_error"
    assert world.asked() == []


def test_what_a_provider_cannot_be_told(client: openai.OpenAI) -> None:
    with pytest.raises(openai.BadRequestError) as caught:
        client.chat.completions.create(model="messages", messages=ASK, n=2)
    assert caught.value.code == "request.unsupported"
    assert caught.value.param == "n"


def test_rate_limit(world: World, client: openai.OpenAI, provider: str) -> None:
    world.play({"directives": "status=429;retry-after=3;message=Slow down."})
    with pytest.raises(openai.RateLimitError) as caught:
        client.chat.completions.create(model=provider, messages=ASK)
    assert caught.value.response.headers["retry-after"] == "3"
    assert "Slow down." in caught.value.message


def test_error_inside_a_stream(world: World, client: openai.OpenAI, provider: str) -> None:
    """A provider that fails in the middle raises, in whatever words it says so."""
    world.play({"text": "one two three", "directives": "error=sse@2;message=Out of luck."})
    got: list[str] = []
    with (
        client.chat.completions.create(model=provider, messages=ASK, stream=True) as stream,
        pytest.raises(openai.APIError, match="Out of luck"),
    ):
        got.extend(chunk.choices[0].delta.content or "" for chunk in stream)
    assert "".join(got) == "one two"


def test_asynchronous(world: World, provider: str) -> None:
    async def run() -> tuple[str, str | None]:
        async with openai.AsyncOpenAI(base_url=world.url, api_key="unused", max_retries=0) as client:
            said = ""
            async with client.chat.completions.stream(model=provider, messages=ASK) as stream:
                async for event in stream:
                    if event.type == "content.delta":
                        said += event.delta
            whole = await client.chat.completions.create(model=provider, messages=ASK)
            return said, whole.choices[0].message.content

    world.play({"text": "Good morning to you."}, {"text": "Good night."})
    assert asyncio.run(run()) == ("Good morning to you.", "Good night.")
