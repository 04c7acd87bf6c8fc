"""The OpenAI Agents SDK on both of its APIs, before a provider of every dialect."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Awaitable, Callable
from typing import TYPE_CHECKING, Any, TypeVar

import pytest

pytest.importorskip("agents")
import openai
from agents import (
    Agent,
    ModelSettings,
    OpenAIChatCompletionsModel,
    OpenAIResponsesModel,
    RunConfig,
    Runner,
    function_tool,
)
from agents.models.interface import Model
from tests.e2e.weather import ANSWER, DEGREES, QUESTION, Forecast, calls

if TYPE_CHECKING:
    from tests.e2e.conftest import World

CALLS = calls()
QUIET = RunConfig(tracing_disabled=True)
Found = TypeVar("Found")


@function_tool
def weather(city: str) -> str:
    """Tell the weather in a city."""
    return DEGREES[city]


@pytest.fixture(params=["chat", "responses"])
def api(request: pytest.FixtureRequest) -> str:
    return str(request.param)


def run(world: World, api: str, provider: str, work: Callable[[Model], Awaitable[Found]]) -> Found:
    """Do `work` with a model of the SDK that is served by `provider`."""

    async def inside() -> Found:
        async with openai.AsyncOpenAI(base_url=world.url, api_key="unused", max_retries=0) as client:
            kind = OpenAIChatCompletionsModel if api == "chat" else OpenAIResponsesModel
            return await work(kind(provider, client))

    return asyncio.run(inside())


@pytest.mark.parametrize("stream", [False, True], ids=["whole", "streamed"])
def test_agent_with_a_tool(world: World, api: str, provider: str, stream: bool) -> None:
    async def work(model: Model) -> Any:
        settings = ModelSettings(include_usage=True)
        agent = Agent(
            name="assistant",
            instructions="Answer briefly.",
            model=model,
            tools=[weather],
            model_settings=settings,
        )
        if not stream:
            return await Runner.run(agent, QUESTION, run_config=QUIET)
        streamed = Runner.run_streamed(agent, QUESTION, run_config=QUIET)
        said = ""
        async for event in streamed.stream_events():
            if event.type == "raw_response_event" and event.data.type == "response.output_text.delta":
                said += event.data.delta
        assert said == "Rome is fifteen degrees warmer."
        return streamed

    world.play(CALLS, ANSWER)
    result = run(world, api, provider, work)
    assert result.final_output == "Rome is fifteen degrees warmer."
    # Gemini's signature of a call comes in an item of its own.
    kinds = [item.type for item in result.new_items if item.type != "reasoning_item"]
    assert kinds[-1] == "message_output_item"
    assert sorted(kinds[:-1]) == [*["tool_call_item"] * 2, *["tool_call_output_item"] * 2]
    outputs = [item.output for item in result.new_items if item.type == "tool_call_output_item"]
    assert outputs == ["4 degrees", "19 degrees"]
    first, second = (response.usage for response in result.raw_responses)
    assert (second.input_tokens, second.output_tokens) == (100, 30)
    assert second.input_tokens_details.cached_tokens == 40
    assert (first.input_tokens, first.output_tokens) == (60, 20)
    assert len(world.asked()) == 2
    world.check_told(0, "Answer briefly.")
    world.check_told(1, QUESTION, "Oslo", "Rome", *DEGREES.values())


def test_structured_output(world: World, api: str, provider: str) -> None:
    async def work(model: Model) -> object:
        agent = Agent(name="forecaster", model=model, output_type=Forecast)
        return (await Runner.run(agent, QUESTION, run_config=QUIET)).final_output

    world.play({"text": '{"city": "Oslo", "degrees": 4}'})
    assert run(world, api, provider, work) == Forecast(city="Oslo", degrees=4)
    (asked,) = world.asked()
    assert "degrees" in json.dumps(asked), "the schema did not reach the provider"


def test_handoff(world: World, api: str, provider: str) -> None:
    """A tool of the SDK's own making: one agent hands the conversation to another one."""

    async def work(model: Model) -> tuple[str, object]:
        other = Agent(name="forecaster", model=model, handoff_description="Knows the weather.")
        agent = Agent(name="front", model=model, handoffs=[other])
        result = await Runner.run(agent, QUESTION, run_config=QUIET)
        return result.last_agent.name, result.final_output

    world.play({"content": [{"tool": "transfer_to_forecaster", "arguments": {}}]}, ANSWER)
    assert run(world, api, provider, work) == ("forecaster", "Rome is fifteen degrees warmer.")


def test_server_keeps_the_conversation(world: World, provider: str) -> None:
    """With `auto_previous_response_id` the SDK sends what is new alone, and Meseta what came before."""

    async def work(model: Model) -> object:
        agent = Agent(name="assistant", model=model, tools=[weather])
        result = await Runner.run(agent, QUESTION, run_config=QUIET, auto_previous_response_id=True)
        return result.final_output

    world.play(CALLS, ANSWER)
    assert run(world, "responses", provider, work) == "Rome is fifteen degrees warmer."
    _, second = world.asked()
    sent = json.dumps(second)
    assert all(text in sent for text in DEGREES.values())
    assert (QUESTION in sent) == (provider != "responses"), "a provider that keeps it is not told again"
