"""The official `openai` package on the Responses API, before a provider of every dialect."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Iterator
from typing import TYPE_CHECKING, Any

import pytest

pytest.importorskip("openai")
import openai
from openai.lib.responses_tool_runner import RegisteredFunction, ResponsesToolRunner
from openai.types.responses import (
    FunctionToolParam,
    Response,
    ResponseFunctionToolCall,
    ResponseInputParam,
    ResponseReasoningItem,
)
from tests.e2e.weather import ANSWER, CALLS, DEGREES, QUESTION, Forecast

if TYPE_CHECKING:
    from tests.e2e.conftest import World

WEATHER: FunctionToolParam = {
    "type": "function",
    "name": "weather",
    "description": "The weather in a city.",
    "strict": True,
    "parameters": {
        "type": "object",
        "properties": {"city": {"type": "string"}},
        "required": ["city"],
        "additionalProperties": False,
    },
}
THOUGHT: dict[str, Any] = {
    "content": [{"thinking": "Oslo is far north.", "signature": "c2lnbmVk"}, {"text": "Rome is warmer."}]
}
PROVIDERS = ["chat", "responses", "messages", "gemini", "converse"]
TRANSLATED = [name for name in PROVIDERS if name != "responses"]
CHANGES = [*zip(PROVIDERS, [*PROVIDERS[1:], PROVIDERS[0]], strict=True)]
"""From each provider to the next one."""


@pytest.fixture(scope="module")
def shared_client(shared_world: World) -> Iterator[openai.OpenAI]:
    with openai.OpenAI(base_url=shared_world.url, api_key="unused", max_retries=0, timeout=60) as client:
        yield client


@pytest.fixture
def client(world: World, shared_client: openai.OpenAI) -> openai.OpenAI:
    """Return a client that does not retry, after `world` has forgotten its script."""
    return shared_client


def check_answer(response: Response, provider: str) -> None:
    """Compare with what `ANSWER` says, in OpenAI's meaning: the input includes what was cached."""
    assert response.status == "completed"
    assert response.output_text == "Rome is fifteen degrees warmer."
    assert [item.type for item in response.output] == ["message"]
    assert response.incomplete_details is None
    assert response.error is None
    usage = response.usage
    assert usage is not None
    assert (usage.input_tokens, usage.output_tokens, usage.total_tokens) == (100, 30, 130)
    assert usage.input_tokens_details.cached_tokens == 40
    if provider != "converse":  # Bedrock does not say how much of the output is reasoning.
        assert usage.output_tokens_details.reasoning_tokens == 12


def kinds_of(response: Response) -> list[str]:
    """Return the kinds of its items, without the empty reasoning that carries Gemini's signatures."""
    return [item.type for item in response.output if not (item.type == "reasoning" and not item.summary)]


def calls_of(response: Response) -> list[ResponseFunctionToolCall]:
    return [item for item in response.output if item.type == "function_call"]


def results_of(response: Response) -> ResponseInputParam:
    return [
        {
            "type": "function_call_output",
            "call_id": call.call_id,
            "output": DEGREES[json.loads(call.arguments)["city"]],
        }
        for call in calls_of(response)
    ]


def test_whole(world: World, client: openai.OpenAI, provider: str) -> None:
    world.play(ANSWER)
    response = client.responses.create(
        model=provider, instructions="Answer briefly.", input=QUESTION, temperature=0.5, metadata={"a": "b"}
    )
    check_answer(response, provider)
    assert response.instructions == "Answer briefly."
    assert response.temperature == 0.5
    assert response.metadata == {"a": "b"}
    (asked,) = world.asked()
    assert "Answer briefly." in json.dumps(asked)
    assert QUESTION in json.dumps(asked)


def test_stream_helper(world: World, client: openai.OpenAI, provider: str) -> None:
    world.play(ANSWER)
    with client.responses.stream(model=provider, input=QUESTION) as stream:
        events = list(stream)
        final = stream.get_final_response()
    check_answer(final, provider)
    assert [event.sequence_number for event in events] == list(range(len(events)))
    deltas = [event.delta for event in events if event.type == "response.output_text.delta"]
    assert len(deltas) > 1, "it came at once instead of streamed"
    assert "".join(deltas) == "Rome is fifteen degrees warmer."
    kinds = list(dict.fromkeys(event.type.removeprefix("response.") for event in events))
    assert kinds == [
        "created",
        "in_progress",
        "output_item.added",
        "content_part.added",
        "output_text.delta",
        "output_text.done",
        "content_part.done",
        "output_item.done",
        "completed",
    ]


def test_stream_of_calls(world: World, client: openai.OpenAI, provider: str) -> None:
    world.play(CALLS)
    arguments: dict[str, str] = {}
    done = []
    with client.responses.stream(model=provider, input=QUESTION, tools=[WEATHER]) as stream:
        for event in stream:
            if event.type == "response.function_call_arguments.delta":
                arguments[event.item_id] = arguments.get(event.item_id, "") + event.delta
                assert event.snapshot == arguments[event.item_id]
            elif event.type == "response.function_call_arguments.done":
                assert event.arguments == arguments[event.item_id]
                done.append(json.loads(event.arguments))
        final = stream.get_final_response()
    assert done == [{"city": "Oslo"}, {"city": "Rome"}]
    assert kinds_of(final) == ["message", "function_call", "function_call"]
    assert [call.id for call in calls_of(final)] == list(arguments)
    assert [call.name for call in calls_of(final)] == ["weather", "weather"]
    assert [call.parsed_arguments for call in final.output if call.type == "function_call"] == done
    assert final.usage is not None
    assert (final.usage.input_tokens, final.usage.output_tokens) == (60, 20)


@pytest.mark.parametrize(
    ("finish", "reason"), [("length", "max_output_tokens"), ("content_filter", "content_filter")]
)
def test_incomplete(world: World, client: openai.OpenAI, provider: str, finish: str, reason: str) -> None:
    world.play({"text": "One, two", "finish": finish})
    response = client.responses.create(model=provider, input="Count.", max_output_tokens=50)
    assert response.status == "incomplete"
    assert response.incomplete_details is not None
    assert response.incomplete_details.reason == reason
    assert response.output_text == "One, two"


def test_parse(world: World, client: openai.OpenAI, provider: str) -> None:
    world.play({"text": '{"city": "Oslo", "degrees": 4}'}, {"text": '{"city": "Rome", "degrees": 19}'})
    whole = client.responses.parse(model=provider, input=QUESTION, text_format=Forecast)
    assert whole.output_parsed == Forecast(city="Oslo", degrees=4)
    with client.responses.stream(model=provider, input=QUESTION, text_format=Forecast) as stream:
        streamed = stream.get_final_response()
    assert streamed.output_parsed == Forecast(city="Rome", degrees=19)
    for asked in world.asked():
        assert "degrees" in json.dumps(asked), "the schema did not reach the provider"


@pytest.mark.parametrize("stream", [False, True], ids=["whole", "streamed"])
def test_tool_runner(world: World, client: openai.OpenAI, provider: str, stream: bool) -> None:
    """The package's own loop, which sends the items of every turn back as they came."""
    world.play(CALLS, ANSWER)
    asked_for: list[object] = []

    def weather(arguments: dict[str, object]) -> str:
        asked_for.append(arguments["city"])
        return DEGREES[str(arguments["city"])]

    runner = ResponsesToolRunner(functions=[RegisteredFunction(WEATHER, weather)])
    response = runner.run(client, {"model": provider, "input": QUESTION}, stream=stream)
    check_answer(response, provider)
    assert asked_for == ["Oslo", "Rome"]
    world.check_told(1, QUESTION, "Oslo", "Rome", *DEGREES.values())


@pytest.mark.parametrize("stream", [False, True], ids=["whole", "streamed"])
@pytest.mark.parametrize(("first", "second"), CHANGES)
def test_conversation_survives_a_change_of_provider(
    world: World, client: openai.OpenAI, first: str, second: str, stream: bool
) -> None:
    """Calls that one provider asked for are answered to another one, which is told what came before."""
    world.play(CALLS, ANSWER, {"text": "You are welcome."})

    def ask(**arguments: Any) -> Response:
        if stream:
            with client.responses.stream(tools=[WEATHER], **arguments) as events:
                return events.get_final_response()
        response: Response = client.responses.create(tools=[WEATHER], **arguments)
        return response

    called = ask(model=first, input=QUESTION)
    answered = ask(model=second, previous_response_id=called.id, input=results_of(called))
    check_answer(answered, second)
    assert answered.previous_response_id == called.id
    thanked = ask(model=first, previous_response_id=answered.id, input="Thank you.")
    assert thanked.output_text == "You are welcome."

    told = [QUESTION, "I look it up.", "Oslo", "Rome", "4 degrees", "19 degrees"]
    world.check_told(1, *told)
    world.check_told(2, *told, "Rome is fifteen degrees warmer.", "Thank you.")


def test_retrieve_and_delete(world: World, client: openai.OpenAI, provider: str) -> None:
    world.play(ANSWER)
    created = client.responses.create(model=provider, input=QUESTION)
    kept = client.responses.retrieve(created.id)
    assert kept.to_dict() == created.to_dict()
    client.responses.delete(created.id)
    with pytest.raises(openai.NotFoundError) as caught:
        client.responses.retrieve(created.id)
    assert caught.value.code == "response.not_found"
    with pytest.raises(openai.NotFoundError):
        client.responses.delete(created.id)
    with pytest.raises(openai.BadRequestError) as refused:
        client.responses.create(model=provider, input="And?", previous_response_id=created.id)
    assert refused.value.param == "previous_response_id"


def test_retrieve_what_was_streamed(world: World, client: openai.OpenAI, provider: str) -> None:
    world.play(CALLS)
    with client.responses.create(model=provider, input=QUESTION, tools=[WEATHER], stream=True) as stream:
        *_, last = stream
    assert last.type == "response.completed"
    final = last.response
    kept = client.responses.retrieve(final.id)
    assert kept.to_dict() == final.to_dict()
    assert kinds_of(kept) == ["message", "function_call", "function_call"]
    assert [json.loads(call.arguments) for call in calls_of(kept)] == [{"city": "Oslo"}, {"city": "Rome"}]


@pytest.mark.parametrize("stream", [False, True], ids=["whole", "streamed"])
def test_not_stored(world: World, client: openai.OpenAI, provider: str, stream: bool) -> None:
    world.play(ANSWER)
    if stream:
        with client.responses.stream(model=provider, input=QUESTION, store=False) as events:
            created: Response = events.get_final_response()
    else:
        created = client.responses.create(model=provider, input=QUESTION, store=False)
    check_answer(created, provider)
    assert created.model_extra is None or created.model_extra.get("store") in (None, False)
    with pytest.raises(openai.NotFoundError):
        client.responses.retrieve(created.id)
    with pytest.raises(openai.BadRequestError) as refused:
        client.responses.create(model=provider, input="And?", previous_response_id=created.id)
    assert refused.value.param == "previous_response_id"


def test_stored_for_its_key_alone(world: World, provider: str) -> None:
    """Whoever has another key of the same listener can neither read nor go on nor delete."""
    first, second = (
        openai.OpenAI(base_url=world.shared_url, api_key=key, max_retries=0, timeout=60) for key in world.keys
    )
    with first, second:
        world.play(ANSWER, {"text": "I said so."})
        created = first.responses.create(model=provider, input=QUESTION)
        with pytest.raises(openai.NotFoundError):
            second.responses.retrieve(created.id)
        with pytest.raises(openai.NotFoundError):
            second.responses.delete(created.id)
        assert first.responses.retrieve(created.id).output_text == "Rome is fifteen degrees warmer."
        more = first.responses.create(model=provider, input="Sure?", previous_response_id=created.id)
        assert more.output_text == "I said so."


def test_continued_by_its_key_alone(world: World, provider: str) -> None:
    first, second = (
        openai.OpenAI(base_url=world.shared_url, api_key=key, max_retries=0, timeout=60) for key in world.keys
    )
    with first, second:
        world.play(ANSWER)
        created = first.responses.create(model=provider, input=QUESTION)
        with pytest.raises(openai.BadRequestError) as refused:
            second.responses.create(model=provider, input="Sure?", previous_response_id=created.id)
        assert refused.value.code == "response.not_found"
        assert refused.value.param == "previous_response_id"


def test_wrong_key(world: World) -> None:
    with openai.OpenAI(base_url=world.shared_url, api_key="another", max_retries=0) as client:
        with pytest.raises(openai.AuthenticationError) as caught:
            client.responses.create(model="chat", input=QUESTION)
        assert caught.value.code == "auth.invalid"


@pytest.mark.parametrize("stream", [False, True], ids=["whole", "streamed"])
def test_reasoning_comes_back(world: World, client: openai.OpenAI, provider: str, stream: bool) -> None:
    """Reasoning items hold the thought and, where its provider signs, the signature, which returns to it."""
    world.play(THOUGHT, ANSWER)
    asked: dict[str, Any] = {
        "model": provider,
        "reasoning": {"effort": "medium", "summary": "auto"},
        "include": ["reasoning.encrypted_content"],
        "store": False,
    }
    if stream:
        said = ""
        with client.responses.stream(input=QUESTION, **asked) as events:
            for event in events:
                if event.type == "response.reasoning_summary_text.delta":
                    said += event.delta
            response: Response = events.get_final_response()
        assert said == "Oslo is far north."
    else:
        response = client.responses.create(input=QUESTION, **asked)
    reasoning, message = response.output
    assert isinstance(reasoning, ResponseReasoningItem)
    assert [part.text for part in reasoning.summary] == ["Oslo is far north."]
    assert message.type == "message"
    assert response.output_text == "Rome is warmer."
    signs = provider in ("responses", "messages", "converse")
    if signs:
        assert reasoning.encrypted_content

    history: Any = [{"role": "user", "content": QUESTION}, *(item.to_dict() for item in response.output)]
    again = client.responses.create(input=[*history, {"role": "user", "content": "Sure?"}], **asked)
    check_answer(again, provider)
    _, second = world.asked()
    assert ("c2lnbmVk" in json.dumps(second)) == signs
    assert "Rome is warmer." in json.dumps(second)


@pytest.mark.parametrize(("first", "second"), CHANGES)
def test_reasoning_survives_a_change_of_provider(
    world: World, client: openai.OpenAI, first: str, second: str
) -> None:
    """Another provider is not shown reasoning that it did not sign; the one that did gets it back."""
    world.play(THOUGHT, {"text": "It is cold."}, ANSWER)

    def ask(provider: str, **arguments: Any) -> Response:
        response: Response = client.responses.create(
            model=provider, reasoning={"effort": "medium", "summary": "auto"}, **arguments
        )
        return response

    thought = ask(first, input=QUESTION, include=["reasoning.encrypted_content"])
    told = ask(second, input="Is it cold?", previous_response_id=thought.id)
    assert told.output_text == "It is cold."
    check_answer(ask(first, input="Sure?", previous_response_id=told.id), first)
    _, to_second, to_first = (json.dumps(asked) for asked in world.asked())
    assert "c2lnbmVk" not in to_second
    assert "meseta." not in to_second + to_first
    world.check_told(1, QUESTION, "Rome is warmer.", "Is it cold?")
    world.check_told(2, QUESTION, "Rome is warmer.", "Is it cold?", "It is cold.", "Sure?")
    assert ("c2lnbmVk" in to_first) == (first in ("responses", "messages", "converse"))


def test_unknown_model(client: openai.OpenAI) -> None:
    with pytest.raises(openai.NotFoundError) as caught:
        client.responses.create(model="sim/none", input=QUESTION)
    assert caught.value.code == "model.not_found"


@pytest.mark.parametrize("provider", TRANSLATED)
def test_malformed_request(world: World, client: openai.OpenAI, provider: str) -> None:
    wrong: Any = [{"role": "user", "content": [{"type": "input_text", "text": 5}]}]
    with pytest.raises(openai.BadRequestError) as caught:
        client.responses.create(model=provider, input=wrong)
    assert caught.value.param == "input[0].content[0].text"
    assert caught.value.code == "request.invalid_field"
    assert world.asked() == []


def test_rate_limit(world: World, client: openai.OpenAI, provider: str) -> None:
    world.play({"directives": "status=429;retry-after=3;message=Slow down."})
    with pytest.raises(openai.RateLimitError) as caught:
        client.responses.create(model=provider, input=QUESTION)
    assert caught.value.response.headers["retry-after"] == "3"
    assert "Slow down." in caught.value.message


def test_error_inside_a_stream(world: World, client: openai.OpenAI, provider: str) -> None:
    """A provider that fails in the middle leaves an event that says so, and nothing is stored."""
    world.play({"text": "one two three", "directives": "error=sse@2;message=Out of luck."})
    got, failures, ids = "", [], []
    try:
        # The simulator makes ids from the request: this one must be like no other.
        with client.responses.create(model=provider, input="Count to three.", stream=True) as stream:
            for event in stream:
                if event.type == "response.created":
                    ids.append(event.response.id)
                elif event.type == "response.output_text.delta":
                    got += event.delta
                elif event.type == "error":
                    failures.append(event.message)
                elif event.type == "response.failed":
                    assert event.response.error is not None
                    failures.append(event.response.error.message)
                else:
                    assert event.type != "response.completed"
    except openai.APIError as error:
        failures.append(error.message)
    assert got == "one two"
    assert failures
    assert all("Out of luck." in failure for failure in failures)
    with pytest.raises(openai.NotFoundError):
        client.responses.retrieve(ids[0])


def test_asynchronous(world: World, provider: str) -> None:
    async def run() -> tuple[str, str]:
        async with openai.AsyncOpenAI(base_url=world.url, api_key="unused", max_retries=0) as client:
            async with client.responses.stream(model=provider, input=QUESTION) as stream:
                streamed = await stream.get_final_response()
            whole = await client.responses.create(model=provider, input=QUESTION)
            return streamed.output_text, whole.output_text

    world.play({"text": "Good morning to you."}, {"text": "Good night."})
    assert asyncio.run(run()) == ("Good morning to you.", "Good night.")
