"""pydantic-ai with its OpenAI and Anthropic models, before a provider of every dialect."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Awaitable, Callable
from typing import TYPE_CHECKING, Any, TypeVar

import pytest

pytest.importorskip("pydantic_ai")
pytest.importorskip("anthropic")
pytest.importorskip("openai")
import anthropic
import openai
from pydantic_ai import Agent, NativeOutput, ToolOutput
from pydantic_ai.messages import ModelResponse, ThinkingPart, ToolCallPart
from pydantic_ai.models import Model
from pydantic_ai.models.anthropic import AnthropicModel
from pydantic_ai.models.openai import OpenAIChatModel, OpenAIResponsesModel
from pydantic_ai.providers.anthropic import AnthropicProvider
from pydantic_ai.providers.openai import OpenAIProvider
from tests.e2e.weather import ANSWER, DEGREES, QUESTION, Forecast, calls

if TYPE_CHECKING:
    from tests.e2e.conftest import World

CALLS = calls({"thinking": "Oslo is far north.", "signature": "c2lnbmVk"})
Found = TypeVar("Found")


def weather(city: str) -> str:
    """Tell the weather in a city."""
    return DEGREES[city]


@pytest.fixture(params=["chat", "responses", "anthropic"])
def api(request: pytest.FixtureRequest) -> str:
    return str(request.param)


def run(world: World, api: str, provider: str, work: Callable[[Model], Awaitable[Found]]) -> Found:
    """Do `work` with a model of the framework that is served by `provider`."""

    async def inside() -> Found:
        if api == "anthropic":
            async with anthropic.AsyncAnthropic(
                base_url=world.root, api_key="unused", max_retries=0
            ) as claude:
                owner = AnthropicProvider(anthropic_client=claude)
                return await work(AnthropicModel(provider, provider=owner))
        async with openai.AsyncOpenAI(base_url=world.url, api_key="unused", max_retries=0) as client:
            kind = OpenAIChatModel if api == "chat" else OpenAIResponsesModel
            return await work(kind(provider, provider=OpenAIProvider(openai_client=client)))

    return asyncio.run(inside())


@pytest.mark.parametrize("stream", [False, True], ids=["whole", "streamed"])
def test_agent_with_a_tool(world: World, api: str, provider: str, stream: bool) -> None:
    async def work(model: Model) -> Any:
        agent = Agent(model, instructions="Answer briefly.", tools=[weather])
        if not stream:
            return await agent.run(QUESTION)
        async with agent.run_stream(QUESTION) as streamed:
            said = [text async for text in streamed.stream_text(delta=True, debounce_by=None)]
            assert "".join(said) == "Rome is fifteen degrees warmer."
            return streamed

    world.play(CALLS, ANSWER)
    result = run(world, api, provider, work)
    if not stream:
        assert result.output == "Rome is fifteen degrees warmer."
    called, answered = (message for message in result.all_messages() if isinstance(message, ModelResponse))
    calls = [part for part in called.parts if isinstance(part, ToolCallPart)]
    assert [(call.tool_name, call.args_as_dict()) for call in calls] == [
        ("weather", {"city": "Oslo"}),
        ("weather", {"city": "Rome"}),
    ]
    thoughts = [part.content for part in called.parts if isinstance(part, ThinkingPart) and part.content]
    assert thoughts == ["Oslo is far north."]
    assert (called.usage.input_tokens, called.usage.output_tokens) == (60, 20)
    assert called.finish_reason in ("tool_call", "stop")  # Responses have no word for it.
    assert answered.usage.cache_read_tokens == 40
    assert (answered.usage.input_tokens, answered.usage.output_tokens) == (100, 30)
    assert answered.finish_reason == "stop"
    assert len(world.asked()) == 2
    world.check_told(0, "Answer briefly.")
    world.check_told(1, QUESTION, "Oslo", "Rome", *DEGREES.values())


def test_structured_output_by_a_tool(world: World, api: str, provider: str) -> None:
    async def work(model: Model) -> object:
        return (await Agent(model, output_type=ToolOutput(Forecast, name="forecast")).run(QUESTION)).output

    world.play({"content": [{"tool": "forecast", "arguments": {"city": "Oslo", "degrees": 4}}]})
    assert run(world, api, provider, work) == Forecast(city="Oslo", degrees=4)
    (asked,) = world.asked()
    assert "forecast" in json.dumps(asked)


@pytest.mark.parametrize("api", ["chat", "responses"], indirect=True)
def test_structured_output_by_a_schema(world: World, api: str, provider: str) -> None:
    async def work(model: Model) -> object:
        return (await Agent(model, output_type=NativeOutput(Forecast)).run(QUESTION)).output

    world.play({"text": '{"city": "Oslo", "degrees": 4}'})
    assert run(world, api, provider, work) == Forecast(city="Oslo", degrees=4)
    (asked,) = world.asked()
    assert "degrees" in json.dumps(asked), "the schema did not reach the provider"


def test_two_turns(world: World, api: str, provider: str) -> None:
    """The history that the framework keeps is taken back, its thoughts and calls included."""

    async def work(model: Model) -> str:
        agent = Agent(model, tools=[weather])
        first = await agent.run(QUESTION)
        second = await agent.run("Thank you.", message_history=first.all_messages())
        return str(second.output)

    world.play(CALLS, ANSWER, {"text": "You are welcome."})
    assert run(world, api, provider, work) == "You are welcome."
    told = [QUESTION, "Oslo", "Rome", *DEGREES.values(), "Rome is fifteen degrees warmer.", "Thank you."]
    world.check_told(2, *told)
