"""`meseta.connect` before a real plane: whoever asks, the log knows the session, the run and the trace.

And the SDK's own calls, and agents that call through the plane themselves.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncIterator, Callable, Iterator
from typing import Any

import pytest

pytest.importorskip("httpx")
pytest.importorskip("uvicorn")
from tests.e2e.conftest import CONFIG

import meseta
from meseta.insight.requests import Request, RequestLog
from meseta.sdk.scopes import current
from meseta.settings import Settings

QUESTION: Any = [{"role": "user", "content": "Will it rain?"}]
TEXT = "Will it rain?"
MODEL = "sim/echo"
Ask = Callable[[meseta.Connection], None]


@pytest.fixture(scope="module")
def served(tmp_path_factory: pytest.TempPathFactory) -> Iterator[meseta.Plane]:
    settings = Settings.from_environment(
        {"MESETA_HOME": str(tmp_path_factory.mktemp("connect")), "MESETA_WORKERS": "2"}
    )
    with meseta.Plane.from_text(CONFIG, port=0, settings=settings) as plane:
        yield plane


@pytest.fixture
def connection(served: meseta.Plane) -> Iterator[meseta.Connection]:
    with meseta.connect(served.url) as opened:
        yield opened


def recorded(plane: meseta.Plane, run: str, count: int) -> list[Request]:
    """Return the log's rows of a run, once there are `count`."""
    assert plane.log_path is not None
    log = RequestLog(plane.log_path)
    rows: list[Request] = []
    for _ in range(3000):
        rows = [row for row in log.last(200) if row.run == run]
        if len(rows) >= count:
            break
        time.sleep(0.01)
    return rows


def openai_chat(connection: meseta.Connection) -> None:
    openai = pytest.importorskip("openai")
    with openai.OpenAI(**connection.openai_kwargs()) as client:
        client.chat.completions.create(model=MODEL, messages=QUESTION)
        list(client.chat.completions.create(model=MODEL, messages=QUESTION, stream=True))


def openai_responses(connection: meseta.Connection) -> None:
    openai = pytest.importorskip("openai")

    async def work() -> None:
        async with openai.AsyncOpenAI(**connection.openai_kwargs()) as client:
            await client.responses.create(model=MODEL, input=TEXT)
            async for _ in await client.responses.create(model=MODEL, input=TEXT, stream=True):
                pass

    asyncio.run(work())


def openai_by_the_environment(connection: meseta.Connection) -> None:
    openai = pytest.importorskip("openai")
    with pytest.MonkeyPatch.context() as environment:
        for name, value in connection.export({}).items():
            environment.setenv(name, value)
        with openai.OpenAI() as client:
            client.chat.completions.create(model=MODEL, messages=QUESTION)
            client.chat.completions.create(model=MODEL, messages=QUESTION)


def anthropic(connection: meseta.Connection) -> None:
    package = pytest.importorskip("anthropic")
    given: Any = {"model": MODEL, "max_tokens": 50, "messages": QUESTION}
    with package.Anthropic(**connection.anthropic_kwargs()) as client:
        client.messages.create(**given)

    async def work() -> None:
        async with (
            package.AsyncAnthropic(**connection.anthropic_kwargs()) as client,
            client.messages.stream(**given) as stream,
        ):
            await stream.get_final_message()

    asyncio.run(work())


def langchain_openai(connection: meseta.Connection) -> None:
    package = pytest.importorskip("langchain_openai")
    openai = pytest.importorskip("openai")

    async def work() -> None:
        # LangChain's own asynchronous client is never closed.
        async with openai.DefaultAsyncHttpxClient() as client:
            given = {"model": MODEL, "http_async_client": client, **connection.openai_kwargs()}
            for responses in (False, True):
                model = package.ChatOpenAI(use_responses_api=responses, **given)
                model.invoke(TEXT)
                list(model.stream(TEXT))
                await model.ainvoke(TEXT)

    asyncio.run(work())


def langchain_in_threads(connection: meseta.Connection) -> None:
    """`batch` runs in threads of LangChain's own, to which it hands the context."""
    package = pytest.importorskip("langchain_openai")
    model = package.ChatOpenAI(model=MODEL, **connection.openai_kwargs())
    model.batch([TEXT, TEXT, TEXT])


def langchain_anthropic(connection: meseta.Connection) -> None:
    package = pytest.importorskip("langchain_anthropic")
    model = package.ChatAnthropic(model_name=MODEL, stop=None, timeout=None, **connection.anthropic_kwargs())
    model.invoke(TEXT)
    list(model.stream(TEXT))


def openai_agents(connection: meseta.Connection) -> None:
    agents = pytest.importorskip("agents")
    openai = pytest.importorskip("openai")

    def weather(city: str) -> str:
        """Tell the weather in a city."""
        return f"4 degrees in {city}"

    tool = agents.function_tool(weather)

    async def work() -> None:
        async with openai.AsyncOpenAI(**connection.openai_kwargs()) as client:
            for kind in (agents.OpenAIChatCompletionsModel, agents.OpenAIResponsesModel):
                model = kind(f"{MODEL};tool=weather", client)
                agent = agents.Agent(name="a", model=model, tools=[tool])
                await agents.Runner.run(agent, TEXT, run_config=agents.RunConfig(tracing_disabled=True))

    asyncio.run(work())


def pydantic_ai(connection: meseta.Connection) -> None:
    package = pytest.importorskip("pydantic_ai")
    from pydantic_ai.models.openai import OpenAIChatModel, OpenAIResponsesModel
    from pydantic_ai.providers.openai import OpenAIProvider

    openai = pytest.importorskip("openai")

    async def work() -> None:
        async with openai.AsyncOpenAI(**connection.openai_kwargs()) as client:
            provider = OpenAIProvider(openai_client=client)
            for kind in (OpenAIChatModel, OpenAIResponsesModel):
                agent = package.Agent(kind(f"{MODEL};tool=weather", provider=provider))
                agent.tool_plain(lambda city: f"4 degrees in {city}", name="weather")
                await agent.run(TEXT)

    asyncio.run(work())


WAYS: list[tuple[Ask, int]] = [
    (openai_chat, 2),
    (openai_responses, 2),
    (openai_by_the_environment, 2),
    (anthropic, 2),
    (langchain_openai, 6),
    (langchain_in_threads, 3),
    (langchain_anthropic, 2),
    (openai_agents, 4),
    (pydantic_ai, 4),
]
"""Who asks, and how many requests that makes."""


@pytest.mark.parametrize(("ask", "count"), WAYS, ids=[way.__name__ for way, _ in WAYS])
def test_the_log_knows_what_every_call_belongs_to(
    served: meseta.Plane, connection: meseta.Connection, ask: Ask, count: int
) -> None:
    with meseta.session(f"s-{ask.__name__}", tags="matrix"), meseta.run() as run:
        scope = current()
        ask(connection)
    assert run.name is not None
    assert scope.trace is not None
    rows = recorded(served, run.name, count)
    assert len(rows) == count
    assert {(row.status, row.session, row.tags) for row in rows} == {(200, f"s-{ask.__name__}", "matrix")}
    assert {row.trace_id for row in rows} == {scope.trace.trace_id}


def test_calls_of_our_own(served: meseta.Plane, connection: meseta.Connection) -> None:
    with meseta.run() as run:
        answer = meseta.call(MODEL, TEXT)
        stream = meseta.stream(MODEL, TEXT)
        assert len(list(stream)) > 1, "it came at once instead of streamed"
        everybody = meseta.fan_out([MODEL, "fast"], TEXT)
        both = meseta.chain([MODEL, MODEL], TEXT)
    assert {one.text for one in (answer, stream.answer, *everybody, *both)} == {TEXT}
    assert answer.usage is not None
    assert (answer.model, answer.finish, answer.usage.input_tokens) == (MODEL, "stop", 4)
    assert run.name is not None
    rows = recorded(served, run.name, 6)
    assert len(rows) == 6
    assert answer.request_id in {row.request_id for row in rows}


def test_errors_of_the_plane_arrive_as_they_are(connection: meseta.Connection) -> None:
    for name, seconds, code in (
        ("no-such-model", None, "model.not_found"),
        (f"{MODEL};first=10s", 0.2, "request.deadline"),
    ):
        for ask in (
            lambda name=name, seconds=seconds: meseta.call(name, TEXT, seconds=seconds),
            lambda name=name, seconds=seconds: list(meseta.stream(name, TEXT, seconds=seconds)),
        ):
            with pytest.raises(meseta.CallError) as raised:
                ask()
            assert raised.value.code == code
            assert raised.value.request_id is not None


def test_the_rest_of_a_fan_out_is_cancelled_at_the_provider(
    served: meseta.Plane, connection: meseta.Connection
) -> None:
    with meseta.run() as run:
        answers = meseta.fan_out([f"{MODEL};first=60s", MODEL], TEXT, wait="first")
    assert [answer.to for answer in answers] == [MODEL]
    assert run.name is not None
    codes = {row.code for row in recorded(served, run.name, 2)}
    assert codes == {None, "client.disconnected"}


def test_an_agent_calls_through_the_plane_on_behalf_of_its_caller(
    served: meseta.Plane, connection: meseta.Connection
) -> None:
    @meseta.agent
    async def weather(messages: list[dict[str, Any]], context: meseta.Context) -> AsyncIterator[str]:
        yield "I asked: "
        async for text in meseta.aio.stream(MODEL, messages):
            yield text

    with (
        meseta.serving(weather) as url,
        meseta.connect(served.url, hub=url),
        meseta.session("s"),
        meseta.run() as run,
    ):
        trace = current().trace
        assert meseta.call("agent/weather", TEXT).text == f"I asked: {TEXT}"
        assert "".join(meseta.stream("agent/weather", TEXT)) == f"I asked: {TEXT}"
    assert run.name is not None
    assert trace is not None
    rows = recorded(served, run.name, 2)
    assert {(row.session, row.trace_id) for row in rows} == {("s", trace.trace_id)}
    assert len(rows) == 2
