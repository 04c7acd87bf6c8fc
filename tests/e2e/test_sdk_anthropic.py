"""The official `anthropic` package, before a provider of every dialect."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Iterator
from typing import TYPE_CHECKING, Any

import pytest

pytest.importorskip("anthropic")
import anthropic
from anthropic import beta_tool
from anthropic.types import Message, MessageParam, ToolParam, ToolResultBlockParam, Usage
from anthropic.types.beta import BetaMessage, BetaMessageParam, BetaUsage
from tests.e2e.weather import ANSWER, CALLS, DEGREES, QUESTION, Forecast

if TYPE_CHECKING:
    from tests.e2e.conftest import World

ASK: list[MessageParam] = [{"role": "user", "content": QUESTION}]
WEATHER: ToolParam = {
    "name": "weather",
    "description": "The weather in a city.",
    "input_schema": {"type": "object", "properties": {"city": {"type": "string"}}, "required": ["city"]},
}
THOUGHT: dict[str, Any] = {
    "content": [
        {"thinking": "Oslo is far north.", "signature": "c2lnbmVk"},
        {"text": "I look it up."},
        {"tool": "weather", "arguments": {"city": "Oslo"}, "id": "call_oslo"},
    ]
}


SIGNED = {
    "responses": "c2lnbmVk",
    "messages": "c2lnbmVk",
    "gemini": "thoughtSignature",
    "converse": "c2lnbmVk",
}
"""What a provider that signs gets back of `THOUGHT`."""
CHANGES = [
    ("responses", "messages"),
    ("messages", "gemini"),
    ("gemini", "converse"),
    ("converse", "responses"),
]
"""From each provider that signs to the next one."""


@pytest.fixture(scope="module")
def shared_client(shared_world: World) -> Iterator[anthropic.Anthropic]:
    with anthropic.Anthropic(
        base_url=shared_world.root, api_key="unused", max_retries=0, timeout=60
    ) as client:
        yield client


@pytest.fixture
def client(world: World, shared_client: anthropic.Anthropic) -> anthropic.Anthropic:
    """Return a client that does not retry, after `world` has forgotten its script."""
    return shared_client


def kinds_of(message: Message | BetaMessage) -> list[str]:
    """Return the kinds of its blocks, without the empty thoughts that carry Gemini's signatures."""
    return [block.type for block in message.content if not (block.type == "thinking" and not block.thinking)]


def check_usage(usage: Usage | BetaUsage) -> None:
    """Compare with what `ANSWER` says, in Anthropic's meaning: the input excludes what was cached."""
    assert (usage.input_tokens, usage.cache_read_input_tokens, usage.output_tokens) == (60, 40, 30)


def test_whole(world: World, client: anthropic.Anthropic, provider: str) -> None:
    world.play(ANSWER)
    message = client.messages.create(
        model=provider,
        max_tokens=500,
        messages=ASK,
        system="Answer briefly.",
        extra_body={"temperature": 0.5},
    )
    assert message.type == "message"
    assert message.role == "assistant"
    (block,) = message.content
    assert block.type == "text"
    assert block.text == "Rome is fifteen degrees warmer."
    assert message.stop_reason == "end_turn"
    assert message.stop_sequence is None
    check_usage(message.usage)
    (asked,) = world.asked()
    assert "Answer briefly." in json.dumps(asked)
    assert QUESTION in json.dumps(asked)
    assert "500" in json.dumps(asked)


@pytest.mark.parametrize(
    ("finish", "reason"),
    [("length", "max_tokens"), ("tool_calls", "tool_use"), ("refusal", "refusal")],
)
def test_stop_reasons(
    world: World, client: anthropic.Anthropic, provider: str, finish: str, reason: str
) -> None:
    content: dict[str, list[dict[str, object]]] = {
        "length": [{"text": "One, two"}],
        "tool_calls": [{"text": "I see."}, {"tool": "weather", "arguments": {"city": "Oslo"}}],
        "refusal": [{"refusal": "I will not."}],
    }
    said = {"content": content[finish], "finish": finish}
    world.play(said, said)
    whole = client.messages.create(model=provider, max_tokens=50, messages=ASK, tools=[WEATHER])
    assert whole.stop_reason == reason
    with client.messages.stream(model=provider, max_tokens=50, messages=ASK, tools=[WEATHER]) as stream:
        assert stream.get_final_message().stop_reason == reason


def test_stream_helper(world: World, client: anthropic.Anthropic, provider: str) -> None:
    world.play(ANSWER)
    with client.messages.stream(model=provider, max_tokens=500, messages=ASK) as stream:
        text = list(stream.text_stream)
        final = stream.get_final_message()
    assert len(text) > 1, "it came at once instead of streamed"
    assert "".join(text) == "Rome is fifteen degrees warmer."
    assert [block.type for block in final.content] == ["text"]
    assert stream.get_final_text() == "Rome is fifteen degrees warmer."
    assert final.stop_reason == "end_turn"
    check_usage(final.usage)


def test_stream_of_blocks(world: World, client: anthropic.Anthropic, provider: str) -> None:
    """Each block is begun, told and ended before the next one, whatever the provider's own order is."""
    world.play(THOUGHT)
    raw, thought, signatures, arguments = [], "", [], ""
    with client.messages.stream(
        model=provider,
        max_tokens=4000,
        messages=ASK,
        tools=[WEATHER],
        thinking={"type": "enabled", "budget_tokens": 2000},
    ) as stream:
        for event in stream:
            if event.type in ("content_block_start", "content_block_stop"):
                raw.append((event.type, event.index))
            elif event.type == "thinking":
                thought += event.thinking
                assert event.snapshot == thought
            elif event.type == "signature":
                signatures.append(event.signature)
            elif event.type == "input_json":
                arguments += event.partial_json
        final = stream.get_final_message()
    starts = [index for kind, index in raw if kind == "content_block_start"]
    assert starts == list(range(len(final.content)))
    assert raw == [
        (kind, index) for index in starts for kind in ("content_block_start", "content_block_stop")
    ]
    assert thought == "Oslo is far north."
    assert json.loads(arguments) == {"city": "Oslo"}
    assert final.stop_reason == "tool_use"
    assert kinds_of(final) == ["thinking", "text", "tool_use"]
    assert all(signatures)
    assert signatures, "clients drop a thought that is not signed"


@pytest.mark.parametrize("stream", [False, True], ids=["whole", "streamed"])
def test_tool_runner(world: World, client: anthropic.Anthropic, provider: str, stream: bool) -> None:
    """The package's own loop, with two calls at once."""
    asked_for: list[str] = []

    @beta_tool
    def weather(city: str) -> str:
        """The weather in a city.

        Args:
            city: Its name.
        """
        asked_for.append(city)
        return DEGREES[city]

    world.play(CALLS, ANSWER)
    asked: BetaMessageParam = {"role": "user", "content": QUESTION}
    if stream:
        streaming = client.beta.messages.tool_runner(
            model=provider, max_tokens=500, messages=[asked], tools=[weather], stream=True
        )
        turns: list[BetaMessage] = [turn.get_final_message() for turn in streaming]
    else:
        whole = client.beta.messages.tool_runner(
            model=provider, max_tokens=500, messages=[asked], tools=[weather]
        )
        turns = [*whole]
    called, answered = turns
    assert kinds_of(called) == ["text", "tool_use", "tool_use"]
    assert called.stop_reason == "tool_use"
    assert (called.usage.input_tokens, called.usage.output_tokens) == (60, 20)
    assert asked_for == ["Oslo", "Rome"]
    (block,) = answered.content
    assert block.type == "text"
    assert block.text == "Rome is fifteen degrees warmer."
    assert answered.stop_reason == "end_turn"
    check_usage(answered.usage)
    # The loop asks for a thread. Nobody here holds one, so it sends the whole conversation.
    assert "thread" not in world.asked()[-1]
    world.check_told(-1, QUESTION, "Oslo", "Rome", *DEGREES.values())


@pytest.mark.parametrize(("first", "second"), CHANGES)
def test_thinking_survives_a_change_of_provider(
    world: World, client: anthropic.Anthropic, first: str, second: str
) -> None:
    """Another provider is not shown thoughts that it did not sign; the one that did gets them back."""
    world.play(THOUGHT, {"text": "It is cold."}, ANSWER)
    messages = [*ASK]

    def ask(provider: str) -> Message:
        message = client.messages.create(
            model=provider,
            max_tokens=4000,
            messages=messages,
            tools=[WEATHER],
            thinking={"type": "enabled", "budget_tokens": 2000},
        )
        messages.append({"role": "assistant", "content": message.content})
        return message

    (call,) = (block for block in ask(first).content if block.type == "tool_use")
    result: ToolResultBlockParam = {"type": "tool_result", "tool_use_id": call.id, "content": "4 degrees"}
    messages.append({"role": "user", "content": [result]})
    assert [block.text for block in ask(second).content if block.type == "text"] == ["It is cold."]
    messages.append({"role": "user", "content": "And Rome?"})
    answered = ask(first)
    assert answered.stop_reason == "end_turn"
    check_usage(answered.usage)

    _, to_second, to_first = (json.dumps(asked) for asked in world.asked())
    for foreign in ("c2lnbmVk", "meseta.", "Oslo is far north."):
        assert foreign not in to_second
    world.check_told(1, QUESTION, "Oslo", "4 degrees")
    world.check_told(2, QUESTION, "Oslo", "4 degrees", "It is cold.", "And Rome?")
    assert SIGNED[first] in to_first
    assert "skip_thought_signature_validator" not in to_first
    assert "meseta." not in to_first


@pytest.mark.parametrize("stream", [False, True], ids=["whole", "streamed"])
def test_thinking_goes_back(world: World, client: anthropic.Anthropic, provider: str, stream: bool) -> None:
    """The turn after a call returns the thought with its signature, and its provider gets it as it was."""
    world.play(THOUGHT, ANSWER)
    arguments: dict[str, Any] = {
        "model": provider,
        "max_tokens": 4000,
        "tools": [WEATHER],
        "thinking": {"type": "enabled", "budget_tokens": 2000},
    }
    if stream:
        with client.messages.stream(messages=ASK, **arguments) as events:
            called: anthropic.types.Message = events.get_final_message()
    else:
        called = client.messages.create(messages=ASK, **arguments)
    thoughts = [block for block in called.content if block.type == "thinking" and block.thinking]
    assert [block.thinking for block in thoughts] == ["Oslo is far north."]
    (call,) = (block for block in called.content if block.type == "tool_use")
    assert (call.name, call.input) == ("weather", {"city": "Oslo"})
    result: MessageParam = {
        "role": "user",
        "content": [{"type": "tool_result", "tool_use_id": call.id, "content": "4 degrees"}],
    }
    answered = client.messages.create(
        messages=[*ASK, {"role": "assistant", "content": called.content}, result], **arguments
    )
    assert [block.text for block in answered.content if block.type == "text"] == [
        "Rome is fifteen degrees warmer."
    ]
    _, second = world.asked()
    sent = json.dumps(second)
    assert "4 degrees" in sent
    assert SIGNED.get(provider, "4 degrees") in sent
    assert "skip_thought_signature_validator" not in sent
    assert "meseta." not in sent, "our mark on a foreign signature left the house"


def test_threads_are_refused(world: World, client: anthropic.Anthropic, provider: str) -> None:
    """A conversation that only Anthropic can hold is not begun elsewhere: its next turn would come alone."""
    with pytest.raises(anthropic.BadRequestError) as caught:
        client.beta.messages.create(
            model=provider,
            max_tokens=500,
            messages=[{"role": "user", "content": QUESTION}],
            thread={"type": "create"},
        )
    assert isinstance(caught.value.body, dict)
    assert caught.value.body["error"]["details"] == {"error_code": "thread_unsupported_request"}


def test_tool_that_failed(world: World, client: anthropic.Anthropic, provider: str) -> None:
    world.play(ANSWER)
    answer = client.messages.create(
        model=provider,
        max_tokens=500,
        tools=[WEATHER],
        messages=[
            *ASK,
            {
                "role": "assistant",
                "content": [{"type": "tool_use", "id": "toolu_1", "name": "weather", "input": {"city": "X"}}],
            },
            {
                "role": "user",
                "content": [
                    {
                        "type": "tool_result",
                        "tool_use_id": "toolu_1",
                        "content": "no such city",
                        "is_error": True,
                    }
                ],
            },
        ],
    )
    check_usage(answer.usage)
    (asked,) = world.asked()
    sent = json.dumps(asked)
    assert "no such city" in sent
    assert "error" in sent.lower(), "the provider is not told that the tool failed"


def test_structured_output(world: World, client: anthropic.Anthropic, provider: str) -> None:
    world.play({"text": '{"city": "Oslo", "degrees": 4}'}, {"text": '{"city": "Rome", "degrees": 19}'})
    whole = client.messages.parse(model=provider, max_tokens=500, messages=ASK, output_format=Forecast)
    assert whole.parsed_output == Forecast(city="Oslo", degrees=4)
    with client.messages.stream(
        model=provider, max_tokens=500, messages=ASK, output_format=Forecast
    ) as stream:
        streamed = stream.get_final_message()
    assert streamed.parsed_output == Forecast(city="Rome", degrees=19)
    for asked in world.asked():
        assert "degrees" in json.dumps(asked), "the schema did not reach the provider"


def test_count_tokens(client: anthropic.Anthropic, provider: str) -> None:
    def count(text: str) -> int:
        messages: list[MessageParam] = [{"role": "user", "content": text}]
        return client.messages.count_tokens(model=provider, messages=messages).input_tokens

    few, many = count("one two three"), count("one two three " * 100)
    assert many > few > 0
    if provider != "chat":  # Where nobody can count, four bytes are a token.
        assert (few, many) == (3, 301)


def test_models(client: anthropic.Anthropic) -> None:
    listed = {model.id for model in client.models.list()}
    assert {"chat", "messages", "gemini", "sim/claude-sonnet-4-5"} <= listed
    model = client.models.retrieve("messages")
    assert (model.id, model.type) == ("messages", "model")


def test_alias(world: World, client: anthropic.Anthropic) -> None:
    world.play(ANSWER)
    raw = client.messages.with_raw_response.create(model="messages", max_tokens=500, messages=ASK)
    assert raw.headers["x-meseta-model"] == "sim/claude-sonnet-4-5"
    assert raw.headers["x-meseta-route"] == "messages"
    (asked,) = world.asked()
    assert asked["model"] == "claude-sonnet-4-5"


def test_unknown_model(client: anthropic.Anthropic) -> None:
    with pytest.raises(anthropic.NotFoundError) as caught:
        client.messages.create(model="sim/none", max_tokens=500, messages=ASK)
    assert isinstance(caught.value.body, dict)
    assert caught.value.body["type"] == "error"
    assert caught.value.body["error"]["type"] == "not_found_error"
    assert "sim/none" in caught.value.body["error"]["message"]
    with pytest.raises(anthropic.NotFoundError):
        client.models.retrieve("sim/none")


@pytest.mark.parametrize("provider", ["chat", "responses", "gemini", "converse"])
def test_malformed_request(world: World, client: anthropic.Anthropic, provider: str) -> None:
    wrong: Any = [{"role": "user", "content": [{"type": "image", "source": {"type": "base64", "data": 5}}]}]
    with pytest.raises(anthropic.BadRequestError, match=r"messages\[0\]\.content\[0\]\.source\.") as caught:
        client.messages.create(model=provider, max_tokens=500, messages=wrong)
    assert isinstance(caught.value.body, dict)
    assert caught.value.body["error"]["type"] == "invalid_request_error"
    assert world.asked() == []


def test_no_limit(client: anthropic.Anthropic, provider: str) -> None:
    """`max_tokens` is required of a client of this API, whoever answers."""
    missing: Any = None
    with pytest.raises(anthropic.BadRequestError, match="max_tokens"):
        client.messages.create(model=provider, max_tokens=missing, messages=ASK)


def test_rate_limit(world: World, client: anthropic.Anthropic, provider: str) -> None:
    world.play({"directives": "status=429;retry-after=3;message=Slow down."})
    with pytest.raises(anthropic.RateLimitError, match="Slow down") as caught:
        client.messages.create(model=provider, max_tokens=500, messages=ASK)
    assert caught.value.response.headers["retry-after"] == "3"
    assert isinstance(caught.value.body, dict)
    assert caught.value.body["error"]["type"] == "rate_limit_error"


def test_error_inside_a_stream(world: World, client: anthropic.Anthropic, provider: str) -> None:
    world.play({"text": "one two three", "directives": "error=sse@2;message=Out of luck."})
    got: list[str] = []
    with (
        client.messages.stream(model=provider, max_tokens=500, messages=ASK) as stream,
        pytest.raises(anthropic.APIStatusError, match="Out of luck"),
    ):
        got.extend(stream.text_stream)
    assert "".join(got) == "one two"


def test_asynchronous(world: World, provider: str) -> None:
    async def run() -> tuple[str, str]:
        async with anthropic.AsyncAnthropic(base_url=world.root, api_key="unused", max_retries=0) as client:
            async with client.messages.stream(model=provider, max_tokens=500, messages=ASK) as stream:
                streamed = "".join([text async for text in stream.text_stream])
            whole = await client.messages.create(model=provider, max_tokens=500, messages=ASK)
            (block,) = whole.content
            assert block.type == "text"
            return streamed, block.text

    world.play({"text": "Good morning to you."}, {"text": "Good night."})
    assert asyncio.run(run()) == ("Good morning to you.", "Good night.")
