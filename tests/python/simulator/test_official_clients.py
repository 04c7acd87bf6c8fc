"""The simulated provider answers the official clients, which are the strictest readers of its answers."""

from __future__ import annotations

import gc
import json
import os
import urllib.request
import warnings
from typing import TYPE_CHECKING, Any

import pytest

if TYPE_CHECKING:
    from collections.abc import Iterator

# The clients warn of their own affairs, such as fields that will go in their next version.
pytestmark = pytest.mark.filterwarnings("ignore")

WEATHER = {
    "type": "object",
    "properties": {"city": {"type": "string"}, "days": {"type": "integer"}},
    "required": ["city"],
}
ARGUMENTS = {"city": "text", "days": 1}
SCRIPT = [
    {
        "when": {"contains": "everything"},
        "reply": {
            "content": [
                {"thinking": "Hm, let me think.", "signature": "c2lnbmVk"},
                {"text": "I look it up."},
                {"tool": "weather", "arguments": {"city": "Oslo"}, "id": "call_one"},
                {"tool": "weather", "arguments": {"city": "Rome"}},
            ],
            "usage": {"input": 100, "cached": 40, "cache_write": 10, "output": 30, "reasoning": 12},
        },
    },
    {"when": {"contains": "no way"}, "reply": {"content": [{"refusal": "I will not."}]}},
]


@pytest.fixture(scope="module")
def url() -> Iterator[str]:
    """The simulator's base URL, which ends in ``/v1``; one that already runs may be named instead."""
    running = os.environ.get("MESETA_TEST_SIMULATOR")
    if running is not None:
        request = urllib.request.Request(
            f"{running.removesuffix('/v1')}/sim/script", data=json.dumps(SCRIPT).encode(), method="PUT"
        )
        with urllib.request.urlopen(request, timeout=10):
            yield running
        return
    from meseta import _core

    simulator = _core.Simulator(script=json.dumps(SCRIPT))
    yield simulator.url
    simulator.stop()
    # What the clients have left open is not blamed on the test of another module that runs when it is found.
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        gc.collect()


@pytest.fixture
def openai(url: str) -> Iterator[Any]:
    sdk = pytest.importorskip("openai")
    with sdk.OpenAI(base_url=url, api_key="none", max_retries=0) as client:
        yield client


@pytest.fixture
def anthropic(url: str) -> Iterator[Any]:
    sdk = pytest.importorskip("anthropic")
    with sdk.Anthropic(base_url=url, api_key="none", max_retries=0) as client:
        yield client


@pytest.fixture
def gemini(url: str) -> Iterator[Any]:
    sdk = pytest.importorskip("google.genai")
    client = sdk.Client(api_key="none", http_options={"base_url": url})
    yield client
    client.close()


@pytest.fixture
def bedrock(url: str) -> Iterator[Any]:
    sdk = pytest.importorskip("boto3")
    config = pytest.importorskip("botocore.config")
    client = sdk.client(
        "bedrock-runtime",
        endpoint_url=url,
        region_name="eu-north-1",
        aws_access_key_id="none",
        aws_secret_access_key="none",
        config=config.Config(retries={"max_attempts": 1}),
    )
    yield client
    client.close()


def user(text: str) -> list[dict[str, Any]]:
    return [{"role": "user", "content": text}]


def test_openai_chat(openai: Any) -> None:
    whole = openai.chat.completions.create(model="echo;think=3", messages=user("Hello, world"))
    assert whole.choices[0].message.content == "Hello, world"
    assert whole.choices[0].message.reasoning_content == "Let me look"
    assert whole.usage.completion_tokens_details.reasoning_tokens == 3
    assert whole.usage.completion_tokens == 3 + 3
    stream = openai.chat.completions.create(model="echo", messages=user("Hello, world"), stream=True)
    parts = [chunk.choices[0].delta.content or "" for chunk in stream]
    assert "".join(parts) == "Hello, world"
    probable = openai.chat.completions.create(model="echo", messages=user("a b"), logprobs=True)
    assert [entry.token for entry in probable.choices[0].logprobs.content] == ["a", " b"]


def test_openai_chat_says_everything(openai: Any) -> None:
    whole = openai.chat.completions.create(model="m", messages=user("everything"))
    message = whole.choices[0].message
    assert message.content == "I look it up."
    assert message.reasoning_content == "Hm, let me think."
    assert [call.function.arguments for call in message.tool_calls] == ['{"city":"Oslo"}', '{"city":"Rome"}']
    assert whole.choices[0].finish_reason == "tool_calls"
    assert whole.usage.prompt_tokens == 100
    assert whole.usage.prompt_tokens_details.cache_write_tokens == 10
    refused = openai.chat.completions.create(model="m", messages=user("no way")).choices[0].message
    assert (refused.content, refused.refusal) == (None, "I will not.")


def test_openai_embeddings(openai: Any) -> None:
    answer = openai.embeddings.create(model="m", input=["a", "b"], dimensions=8)
    assert [len(entry.embedding) for entry in answer.data] == [8, 8]


def test_azure_chat(url: str) -> None:
    sdk = pytest.importorskip("openai")
    with sdk.AzureOpenAI(
        azure_endpoint=url, api_key="none", api_version="2024-10-21", max_retries=0
    ) as client:
        answer = client.chat.completions.create(model="echo", messages=user("Hello"))
        assert answer.choices[0].message.content == "Hello"
        assert len(client.embeddings.create(model="m", input="a").data[0].embedding) == 1536


def test_openai_responses(openai: Any) -> None:
    answer = openai.responses.create(model="echo", input="Hello, world", instructions="Be brief.")
    assert (answer.status, answer.output_text) == ("completed", "Hello, world")
    assert (answer.usage.input_tokens, answer.usage.output_tokens) == (6, 3)
    assert openai.responses.retrieve(answer.id).output_text == "Hello, world"
    follower = openai.responses.create(model="echo", input="More", previous_response_id=answer.id)
    assert follower.usage.input_tokens == 6 + 3 + 1
    openai.responses.delete(answer.id)
    sdk = pytest.importorskip("openai")
    with pytest.raises(sdk.NotFoundError):
        openai.responses.retrieve(answer.id)
    with pytest.raises(sdk.BadRequestError) as error:
        openai.responses.create(model="echo", input="More", previous_response_id=answer.id)
    assert error.value.code == "previous_response_not_found"
    assert openai.responses.input_tokens.count(model="echo", input="a b c").input_tokens == 3


def test_openai_responses_says_everything(openai: Any) -> None:
    for streamed in (False, True):
        if streamed:
            kinds = []
            with openai.responses.stream(model="m", input="everything") as stream:
                for number, event in enumerate(stream):
                    assert event.sequence_number == number
                    kinds.append(event.type)
                answer = stream.get_final_response()
            assert kinds[:2] == ["response.created", "response.in_progress"]
            assert kinds[-1] == "response.completed"
            for kind in (
                "response.reasoning_summary_part.added",
                "response.reasoning_summary_text.delta",
                "response.reasoning_summary_text.done",
                "response.reasoning_summary_part.done",
                "response.output_text.delta",
                "response.content_part.done",
                "response.function_call_arguments.done",
            ):
                assert kind in kinds
        else:
            answer = openai.responses.create(model="m", input="everything")
        assert [item.type for item in answer.output] == [
            "reasoning",
            "message",
            "function_call",
            "function_call",
        ]
        assert answer.output[0].summary[0].text == "Hm, let me think."
        assert answer.output[2].call_id == "call_one"
        assert json.loads(answer.output[3].arguments) == {"city": "Rome"}
        assert answer.usage.input_tokens_details.cached_tokens == 40
        assert answer.usage.output_tokens_details.reasoning_tokens == 12
        results = [
            {"type": "function_call_output", "call_id": item.call_id, "output": "12 degrees"}
            for item in answer.output[2:]
        ]
        after = openai.responses.create(model="echo", input=results, previous_response_id=answer.id)
        assert after.status == "completed"


def test_openai_responses_ends_early(openai: Any) -> None:
    sdk = pytest.importorskip("openai")
    text = " ".join(["word"] * 20)
    cut = openai.responses.create(model="echo", input=text, max_output_tokens=16)
    assert (cut.status, cut.incomplete_details.reason) == ("incomplete", "max_output_tokens")
    refused = openai.responses.create(model="m", input="no way")
    assert refused.output[0].content[0].refusal == "I will not."
    events = list(openai.responses.create(model="echo;error=failed@2", input="a b c", stream=True))
    assert events[-1].type == "response.failed"
    assert events[-1].response.error.message
    *before, last = openai.responses.create(model="echo;error=sse@2", input="a b c", stream=True)
    assert (last.type, last.code, last.sequence_number) == ("error", "server_error", len(before))
    with pytest.raises(sdk.BadRequestError) as error:
        openai.responses.create(model="echo", input="a", extra_body={"nonsense": 1})
    assert (error.value.param, error.value.code) == ("nonsense", "unknown_parameter")


def test_anthropic(anthropic: Any) -> None:
    sdk = pytest.importorskip("anthropic")
    answer = anthropic.messages.create(model="echo", max_tokens=99, messages=user("Hello, world"))
    assert (answer.content[0].text, answer.stop_reason) == ("Hello, world", "end_turn")
    stopped = anthropic.messages.create(
        model="echo", max_tokens=99, messages=user("a b c"), stop_sequences=[" b"]
    )
    assert (stopped.stop_reason, stopped.stop_sequence) == ("stop_sequence", " b")
    assert anthropic.messages.count_tokens(model="echo", messages=user("a b c")).input_tokens == 3
    with pytest.raises(sdk.BadRequestError) as error:
        anthropic.messages.create(model="echo", max_tokens=99, messages=user("a"), extra_body={"nonsense": 1})
    assert "nonsense: Extra inputs are not permitted" in str(error.value)
    with pytest.raises(sdk.InternalServerError) as overloaded:
        anthropic.messages.create(model="echo;status=529", max_tokens=9, messages=user("a"))
    assert overloaded.value.body["error"]["type"] == "overloaded_error"


def test_anthropic_says_everything(anthropic: Any) -> None:
    asked = {"model": "m", "max_tokens": 99, "messages": user("everything")}
    with anthropic.messages.stream(**asked) as stream:
        kinds = [event.type for event in stream]
        streamed = stream.get_final_message()
    assert kinds[0] == "message_start"
    assert kinds[-1] == "message_stop"
    for answer in (anthropic.messages.create(**asked), streamed):
        assert [block.type for block in answer.content] == ["thinking", "text", "tool_use", "tool_use"]
        assert (answer.content[0].thinking, answer.content[0].signature) == ("Hm, let me think.", "c2lnbmVk")
        assert answer.content[2].id == "call_one"
        assert answer.content[3].input == {"city": "Rome"}
        assert answer.stop_reason == "tool_use"
        usage = answer.usage
        assert (usage.input_tokens, usage.cache_read_input_tokens) == (50, 40)
        assert (usage.cache_creation_input_tokens, usage.output_tokens) == (10, 30)
    turns = [
        *user("everything"),
        {"role": "assistant", "content": [block.model_dump(exclude_none=True) for block in streamed.content]},
        {
            "role": "user",
            "content": [
                {"type": "tool_result", "tool_use_id": block.id, "content": "12 degrees"}
                for block in streamed.content[2:]
            ],
        },
    ]
    after = anthropic.messages.create(model="m", max_tokens=99, messages=turns)
    assert after.stop_reason == "end_turn"


def test_anthropic_breaks_off(anthropic: Any) -> None:
    sdk = pytest.importorskip("anthropic")
    texts = []
    with (
        pytest.raises(sdk.APIStatusError),
        anthropic.messages.stream(
            model="echo;error=sse@2;message=Out of luck", max_tokens=9, messages=user("a b c")
        ) as stream,
    ):
        texts.extend(stream.text_stream)
    assert texts == ["a", " b"]


def test_gemini(gemini: Any) -> None:
    answer = gemini.models.generate_content(model="echo;think=2", contents="Hello, world")
    assert answer.text == "Hello, world"
    assert answer.usage_metadata.thoughts_token_count == 2
    assert answer.usage_metadata.candidates_token_count == 3
    stream = gemini.models.generate_content_stream(model="echo", contents="Hello, world")
    assert "".join(chunk.text or "" for chunk in stream) == "Hello, world"
    assert gemini.models.count_tokens(model="echo", contents="a b c").total_tokens == 3
    vectors = gemini.models.embed_content(model="m", contents=["a", "b"], config={"output_dimensionality": 8})
    assert [len(vector.values) for vector in vectors.embeddings] == [8, 8]


def test_gemini_says_everything(gemini: Any) -> None:
    whole = gemini.models.generate_content(model="m;ids=on", contents="everything")
    chunks = list(gemini.models.generate_content_stream(model="m;ids=on", contents="everything"))
    streamed = [part for chunk in chunks for part in chunk.candidates[0].content.parts or []]
    for parts in (whole.candidates[0].content.parts, streamed):
        assert "".join(part.text for part in parts if part.thought) == "Hm, let me think."
        calls = [part for part in parts if part.function_call]
        assert [part.function_call.args for part in calls] == [{"city": "Oslo"}, {"city": "Rome"}]
        assert [part.thought_signature for part in calls] == [b"signed", None]
        assert calls[0].function_call.id == "call_one"
    for usage in (whole.usage_metadata, chunks[-1].usage_metadata):
        assert (usage.prompt_token_count, usage.cached_content_token_count) == (100, 40)
        assert (usage.candidates_token_count, usage.thoughts_token_count) == (18, 12)
    assert chunks[-1].candidates[0].finish_reason.value == "STOP"
    refused = gemini.models.generate_content(model="m", contents="no way")
    assert refused.candidates[0].finish_reason.value == "SAFETY"


def test_gemini_calls_tools_and_refuses(gemini: Any) -> None:
    types = pytest.importorskip("google.genai.types")
    errors = pytest.importorskip("google.genai.errors")
    declared = types.FunctionDeclaration(name="weather", parameters_json_schema=WEATHER)
    config = types.GenerateContentConfig(
        tools=[types.Tool(function_declarations=[declared])], system_instruction="Be brief.", temperature=0.5
    )
    answer = gemini.models.generate_content(model="m;tool=auto", contents="Oslo?", config=config)
    assert answer.function_calls[0].args == ARGUMENTS
    turns = [
        types.UserContent("Oslo?"),
        answer.candidates[0].content,
        types.UserContent(types.Part.from_function_response(name="weather", response={"result": "12"})),
    ]
    after = gemini.models.generate_content(model="m;tool=auto", contents=turns, config=config)
    assert after.text == "The tool answered: 12"
    with pytest.raises(errors.ClientError) as error:
        gemini.models.generate_content(model="echo;status=429", contents="a")
    assert (error.value.code, error.value.status) == (429, "RESOURCE_EXHAUSTED")


def converse(text: str) -> list[dict[str, Any]]:
    return [{"role": "user", "content": [{"text": text}]}]


def test_bedrock(bedrock: Any) -> None:
    answer = bedrock.converse(modelId="echo", messages=converse("Hello, world"))
    assert answer["output"]["message"]["content"] == [{"text": "Hello, world"}]
    assert answer["stopReason"] == "end_turn"
    assert answer["usage"]["totalTokens"] == 6
    stream = bedrock.converse_stream(modelId="echo", messages=converse("Hello, world"))["stream"]
    events = list(stream)
    text = [event["contentBlockDelta"]["delta"]["text"] for event in events if "contentBlockDelta" in event]
    assert "".join(text) == "Hello, world"
    assert events[-1]["metadata"]["usage"]["outputTokens"] == 3
    counted = bedrock.count_tokens(modelId="echo", input={"converse": {"messages": converse("a b c")}})
    assert counted["inputTokens"] == 3


def test_bedrock_says_everything(bedrock: Any) -> None:
    tools = {"tools": [{"toolSpec": {"name": "weather", "inputSchema": {"json": WEATHER}}}]}
    asked = {"messages": converse("everything"), "toolConfig": tools}
    whole = bedrock.converse(modelId="vendor.model-v1:0", **asked)
    content = whole["output"]["message"]["content"]
    assert content[0]["reasoningContent"]["reasoningText"] == {
        "text": "Hm, let me think.",
        "signature": "c2lnbmVk",
    }
    assert content[2]["toolUse"] == {"toolUseId": "call_one", "name": "weather", "input": {"city": "Oslo"}}
    assert whole["stopReason"] == "tool_use"
    assert whole["usage"]["inputTokens"] == 50
    assert whole["usage"]["cacheReadInputTokens"] == 40
    told: dict[int, str] = {}
    for event in bedrock.converse_stream(modelId="vendor.model-v1:0", **asked)["stream"]:
        if "contentBlockDelta" in event:
            part = event["contentBlockDelta"]
            delta = part["delta"]
            text = delta.get("text") or delta.get("toolUse", {}).get("input", "")
            text += delta.get("reasoningContent", {}).get("text", "")
            told[part["contentBlockIndex"]] = told.get(part["contentBlockIndex"], "") + text
    assert told == {
        0: "Hm, let me think.",
        1: "I look it up.",
        2: '{"city":"Oslo"}',
        3: '{"city":"Rome"}',
    }
    results = [
        {"toolResult": {"toolUseId": block["toolUse"]["toolUseId"], "content": [{"text": "12"}]}}
        for block in content[2:]
    ]
    turns = [*asked["messages"], whole["output"]["message"], {"role": "user", "content": results}]
    after = bedrock.converse(modelId="m;tool=auto", messages=turns, toolConfig=tools)
    assert after["output"]["message"]["content"] == [{"text": "The tool answered: 12"}]


def test_bedrock_refuses(bedrock: Any) -> None:
    errors = pytest.importorskip("botocore.exceptions")
    with pytest.raises(bedrock.exceptions.ThrottlingException):
        bedrock.converse(modelId="echo;status=429", messages=converse("a"))
    with pytest.raises(bedrock.exceptions.ValidationException) as error:
        bedrock.converse(modelId="echo", messages=converse("a") + converse("b"))
    assert "must alternate" in str(error.value)
    stream = bedrock.converse_stream(modelId="echo;error=sse@2", messages=converse("a b c"))["stream"]
    with pytest.raises(errors.EventStreamError, match="internalServerException"):
        list(stream)


def test_bedrock_embeds(bedrock: Any) -> None:
    body = json.dumps({"inputText": "a b", "dimensions": 256})
    titan = json.loads(bedrock.invoke_model(modelId="amazon.titan-embed-text-v2:0", body=body)["body"].read())
    assert (len(titan["embedding"]), titan["inputTextTokenCount"]) == (256, 2)
    body = json.dumps({"texts": ["a", "b"], "input_type": "search_query"})
    cohere = json.loads(bedrock.invoke_model(modelId="cohere.embed-english-v3", body=body)["body"].read())
    assert [len(vector) for vector in cohere["embeddings"]] == [1024, 1024]
