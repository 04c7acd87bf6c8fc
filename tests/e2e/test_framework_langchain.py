"""LangChain: its OpenAI models before other providers than OpenAI, its Anthropic model before others."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING

import pytest
from pydantic import SecretStr

pytest.importorskip("langchain_openai")
pytest.importorskip("langchain_anthropic")
from langchain_anthropic import ChatAnthropic
from langchain_core.language_models import BaseChatModel
from langchain_core.messages import (
    AIMessage,
    AIMessageChunk,
    BaseMessage,
    HumanMessage,
    SystemMessage,
)
from langchain_core.tools import tool
from langchain_openai import ChatOpenAI
from tests.e2e.weather import ANSWER, CALLS, DEGREES, QUESTION, Forecast

if TYPE_CHECKING:
    from tests.e2e.conftest import World

WAYS = [
    *(("chat", provider) for provider in ("responses", "messages", "gemini", "converse")),
    *(("responses", provider) for provider in ("chat", "messages", "gemini", "converse")),
    *(("anthropic", provider) for provider in ("chat", "responses", "gemini", "converse")),
]
"""What the framework speaks, and a provider that speaks something else."""


@tool
def weather(city: str) -> str:
    """Tell the weather in a city."""
    return DEGREES[city]


def model_of(world: World, api: str, provider: str) -> BaseChatModel:
    if api == "anthropic":
        return ChatAnthropic(
            model_name=provider,
            base_url=world.root,
            api_key=SecretStr("unused"),
            max_retries=0,
            max_tokens_to_sample=500,
            timeout=60,
            stop=None,
        )
    return ChatOpenAI(
        model=provider,
        base_url=world.url,
        api_key=SecretStr("unused"),
        max_retries=0,
        stream_usage=True,
        use_responses_api=api == "responses",
        timeout=60,
    )


def check_usage(message: AIMessage) -> None:
    """Compare with what `ANSWER` says, in LangChain's meaning: the input includes what was cached."""
    usage = message.usage_metadata
    assert usage is not None
    assert (usage["input_tokens"], usage["output_tokens"], usage["total_tokens"]) == (100, 30, 130)
    assert usage["input_token_details"]["cache_read"] == 40


def finish_of(message: AIMessage) -> object:
    """Why the answer ended, in the words of the API that was called."""
    told = message.response_metadata
    return told.get("finish_reason") or told.get("stop_reason") or told.get("status")


@pytest.mark.parametrize(("api", "provider"), WAYS)
def test_tools(world: World, api: str, provider: str) -> None:
    """An agent's loop by hand: two calls at once, their results, the answer."""
    world.play(CALLS, ANSWER)
    model = model_of(world, api, provider).bind_tools([weather])
    messages: list[BaseMessage] = [SystemMessage("Answer briefly."), HumanMessage(QUESTION)]
    called = model.invoke(messages)
    assert called.text == "I look it up."
    assert [(call["name"], call["args"]) for call in called.tool_calls] == [
        ("weather", {"city": "Oslo"}),
        ("weather", {"city": "Rome"}),
    ]
    assert called.invalid_tool_calls == []
    assert finish_of(called) == {"chat": "tool_calls", "responses": "completed", "anthropic": "tool_use"}[api]
    messages += [called, *(weather.invoke(call) for call in called.tool_calls)]
    answered = model.invoke(messages)
    assert answered.text == "Rome is fifteen degrees warmer."
    assert answered.tool_calls == []
    assert finish_of(answered) == {"chat": "stop", "responses": "completed", "anthropic": "end_turn"}[api]
    check_usage(answered)
    world.check_told(1, QUESTION, "Oslo", "Rome", *DEGREES.values())


@pytest.mark.parametrize(("api", "provider"), WAYS)
def test_streaming(world: World, api: str, provider: str) -> None:
    world.play(ANSWER, CALLS)
    model = model_of(world, api, provider).bind_tools([weather])

    def gather() -> tuple[list[str], AIMessageChunk]:
        texts, whole = [], None
        for chunk in model.stream(QUESTION):
            assert isinstance(chunk, AIMessageChunk)
            texts.append(chunk.text)
            whole = chunk if whole is None else whole + chunk
        assert whole is not None
        return [text for text in texts if text], whole

    texts, answered = gather()
    assert len(texts) > 1, "it came at once instead of streamed"
    assert "".join(texts) == answered.text == "Rome is fifteen degrees warmer."
    check_usage(answered)
    texts, called = gather()
    assert "".join(texts) == "I look it up."
    assert [(call["name"], call["args"]) for call in called.tool_calls] == [
        ("weather", {"city": "Oslo"}),
        ("weather", {"city": "Rome"}),
    ]
    assert called.usage_metadata is not None
    assert (called.usage_metadata["input_tokens"], called.usage_metadata["output_tokens"]) == (60, 20)


@pytest.mark.parametrize("method", ["json_schema", "function_calling"])
@pytest.mark.parametrize(("api", "provider"), WAYS)
def test_structured_output(world: World, api: str, provider: str, method: str) -> None:
    said = {"city": "Oslo", "degrees": 4}
    if method == "json_schema":
        world.play({"text": json.dumps(said)})
    else:
        world.play({"content": [{"tool": "Forecast", "arguments": said}]})
    model = model_of(world, api, provider).with_structured_output(Forecast, method=method)
    assert model.invoke(QUESTION) == Forecast(city="Oslo", degrees=4)
    (asked,) = world.asked()
    assert "degrees" in json.dumps(asked), "the schema did not reach the provider"
