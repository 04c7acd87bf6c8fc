"""The golden documents of the matrix are what the official SDKs of the providers call well formed."""

from __future__ import annotations

import collections.abc
import functools
import json
import operator
import os
import typing
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Literal, Required, get_args, get_origin

import pytest

CONVERSATIONS = Path(__file__).parents[1] / "conversations"
GOLDEN = sorted((CONVERSATIONS / "golden").glob("*.txt"))


@dataclass
class Block:
    """A block of a golden file: what its first line says, and the lines below."""

    head: list[str]
    text: str = ""


@dataclass
class Cell:
    """What one client and one provider said to each other."""

    client: str
    provider: str
    blocks: dict[str, Block] = field(default_factory=dict)


NAMES = ("upstream", "upstream-streamed", "whole", "streamed")


@functools.cache
def read(path: Path) -> dict[str, Cell]:
    """Read a golden file into its cells, by their names."""
    cells: dict[str, Cell] = {}
    cell, block = Cell("", ""), Block([])
    for line in path.read_text("utf-8").split("\n"):
        words = line.split(" ")
        if words[0] == "===":
            cell, block = Cell(words[1], words[-1]), Block([])
            cells[line.removeprefix("=== ")] = cell
        elif words[0] in NAMES and len(words) > 1:
            block = Block(words[1:])
            cell.blocks[words[0]] = block
        else:
            block.text += line + "\n"
    return cells


def place(cells: dict[str, Cell], words: list[str]) -> Block:
    """Find the block that `chat > gemini whole` names."""
    return cells[" ".join(words[:3])].blocks[words[3]]


def text(cells: dict[str, Cell], block: Block) -> str:
    """Return the lines of a block, wherever they stand."""
    if "as" in block.head:
        return text(cells, place(cells, block.head[block.head.index("as") + 1 :]))
    return block.text


def document(cells: dict[str, Cell], block: Block) -> Any:
    """Return the JSON document of a block."""
    if "as" in block.head:
        return document(cells, place(cells, block.head[block.head.index("as") + 1 :]))
    found = json.loads(block.text)
    if "like" in block.head:
        base = document(cells, place(cells, block.head[block.head.index("like") + 1 :]))
        return {**base, **found}
    return found


def events(cells: dict[str, Cell], cell: Cell) -> list[Any]:
    """Return the events of a stream as they were sent, chat's last word left out."""
    each: dict[str, Any] = {}
    whole = cell.blocks.get("whole")
    response = document(cells, whole) if whole and whole.head[0] == "200" else {}
    found: list[Any] = []
    for line in text(cells, cell.blocks["streamed"]).split("\n"):
        if line.startswith("each "):
            each = json.loads(line.removeprefix("each "))
        elif line.startswith("~ "):
            _, path, texts = line.split(" ", 2)
            for one in json.loads(texts):
                event = json.loads(json.dumps(found[-1]))
                *above, last = path.split(".")
                inside = event
                for key in above:
                    inside = inside[int(key) if isinstance(inside, list) else key]
                inside[int(last) if isinstance(inside, list) else last] = one
                found.append(event)
        elif line not in ("", "[DONE]"):
            event = {**each, **json.loads(line)}
            if "response" in event and cell.client == "responses":
                response = (
                    event["response"] if event.pop("anew", False) else {**response, **event["response"]}
                )
                event["response"] = response
            found.append(event)
    if cell.client == "responses":
        found = [{**event, "sequence_number": number} for number, event in enumerate(found)]
    return found


CASES = [
    (path.stem, name)
    for path in GOLDEN
    for name, cell in read(path).items()
    if "whole" in cell.blocks or "streamed" in cell.blocks
]


def pick(what: str, dialect: str) -> list[tuple[str, str]]:
    """Return the cells whose client or provider speaks a dialect."""
    place = 0 if what == "client" else -1
    return [(case, name) for case, name in CASES if name.split(" > ")[place] == dialect]


def load(case: str, name: str) -> tuple[dict[str, Cell], Cell]:
    cells = read(CONVERSATIONS / "golden" / f"{case}.txt")
    return cells, cells[name]


def requests(case: str, name: str) -> list[Any]:
    """Return the bodies that a provider got."""
    cells, cell = load(case, name)
    asked = ("upstream", "upstream-streamed")
    return [document(cells, block) for key, block in cell.blocks.items() if key in asked]


def strict(hint: Any, known: dict[Any, Any] | None = None) -> Any:
    """Turn a type of an SDK's parameters into one that pydantic checks at once and to its depth.

    An `Iterable` would be read only when somebody iterates, and a key that is unknown would be let through.
    """
    extensions = pytest.importorskip("typing_extensions")
    known = {} if known is None else known
    if extensions.is_typeddict(hint):
        if hint not in known:
            known[hint] = Any  # of itself
            hints = extensions.get_type_hints(hint, include_extras=True)
            made = {}
            for key, value in hints.items():
                while get_origin(value) in (Required, extensions.Required, extensions.NotRequired):
                    value = get_args(value)[0]
                wrapper = extensions.Required if key in hint.__required_keys__ else extensions.NotRequired
                made[key] = wrapper[strict(value, known)]
            known[hint] = extensions.TypedDict(hint.__name__, made)
            known[hint].__pydantic_config__ = {"extra": "forbid"}
        return known[hint]
    origin, arguments = get_origin(hint), get_args(hint)
    if origin is None or origin is Literal or origin is extensions.Literal:
        return hint
    if origin in (typing.IO, os.PathLike):
        return bytes
    arguments = tuple(strict(argument, known) for argument in arguments)
    if origin is extensions.Annotated or origin is typing.Annotated:
        return arguments[0]
    if origin is collections.abc.Iterable or issubclass(list, origin if isinstance(origin, type) else int):
        return list[arguments[0]]  # type: ignore[valid-type]
    if origin is dict:
        return dict[arguments[0], arguments[1]]  # type: ignore[valid-type]
    return functools.reduce(operator.or_, arguments)


@functools.cache
def adapter(module: str, name: str) -> Any:
    """Return what checks a document against a type of an SDK."""
    pydantic = pytest.importorskip("pydantic")
    hint = getattr(pytest.importorskip(module), name)
    return pydantic.TypeAdapter(strict(hint) if isinstance(hint, type) and issubclass(hint, dict) else hint)


@functools.cache
def bedrock() -> tuple[Any, Any]:
    """Return Bedrock's validator and the shape of a request."""
    loaders = pytest.importorskip("botocore.loaders")
    model = pytest.importorskip("botocore.model")
    validate = pytest.importorskip("botocore.validate")
    service = model.ServiceModel(loaders.Loader().load_service_model("bedrock-runtime", "service-2"))
    return validate.ParamValidator(), service.operation_model("Converse").input_shape


@pytest.mark.parametrize(("case", "name"), pick("provider", "chat"))
def test_chat_requests(case: str, name: str) -> None:
    check = adapter("openai.types.chat.completion_create_params", "CompletionCreateParamsNonStreaming")
    for body in requests(case, name):
        check.validate_python(body, strict=True)


@pytest.mark.parametrize(("case", "name"), pick("provider", "responses"))
def test_responses_requests(case: str, name: str) -> None:
    check = adapter("openai.types.responses.response_create_params", "ResponseCreateParamsNonStreaming")
    for body in requests(case, name):
        for item in body["input"]:
            # The API takes an assistant's words without the id and the status that it gave them.
            if item.get("role") == "assistant":
                item.setdefault("id", "msg_1")
                item.setdefault("status", "completed")
        check.validate_python(body, strict=True)


@pytest.mark.parametrize(("case", "name"), pick("provider", "messages"))
def test_messages_requests(case: str, name: str) -> None:
    check = adapter("anthropic.types.message_create_params", "MessageCreateParamsNonStreaming")
    for body in requests(case, name):
        # The newest models refuse these, so the SDK's types have lost them; older models take them still.
        for key in ("temperature", "top_p", "top_k"):
            body.pop(key, None)
        check.validate_python(body, strict=True)


@pytest.mark.parametrize(("case", "name"), pick("provider", "gemini"))
def test_gemini_requests(case: str, name: str) -> None:
    types = pytest.importorskip("google.genai.types")
    for body in requests(case, name):
        for content in body.pop("contents"):
            types.Content.model_validate(content)
        types.Content.model_validate(body.pop("systemInstruction", {}))
        types.GenerationConfig.model_validate(body.pop("generationConfig", {}))
        types.ToolConfig.model_validate(body.pop("toolConfig", {}))
        for tool in body.pop("tools", []):
            types.Tool.model_validate(tool)
        assert body == {}


@pytest.mark.parametrize(("case", "name"), pick("provider", "converse"))
def test_converse_requests(case: str, name: str) -> None:
    validator, shape = bedrock()
    for body in requests(case, name):
        report = validator.validate({**body, "modelId": "a-model"}, shape)
        assert not report.has_errors(), report.generate_report()


@pytest.mark.parametrize(("case", "name"), pick("client", "chat"))
def test_chat_answers(case: str, name: str) -> None:
    cells, cell = load(case, name)
    if cell.blocks["whole"].head[0] == "200":
        adapter("openai.types.chat", "ChatCompletion").validate_python(document(cells, cell.blocks["whole"]))
    if cell.blocks["streamed"].head[0] == "200":
        for event in events(cells, cell):
            if "error" not in event:
                adapter("openai.types.chat", "ChatCompletionChunk").validate_python(event)


@pytest.mark.parametrize(("case", "name"), pick("client", "responses"))
def test_responses_answers(case: str, name: str) -> None:
    cells, cell = load(case, name)
    if cell.blocks["whole"].head[0] == "200":
        adapter("openai.types.responses", "Response").validate_python(document(cells, cell.blocks["whole"]))
    if cell.blocks["streamed"].head[0] == "200":
        for event in events(cells, cell):
            adapter("openai.types.responses", "ResponseStreamEvent").validate_python(event)


@pytest.mark.parametrize(("case", "name"), pick("client", "messages"))
def test_messages_answers(case: str, name: str) -> None:
    cells, cell = load(case, name)
    if cell.blocks["whole"].head[0] == "200":
        adapter("anthropic.types", "Message").validate_python(document(cells, cell.blocks["whole"]))
    if cell.blocks["streamed"].head[0] == "200":
        for event in events(cells, cell):
            # The SDK reads these two itself.
            if event["type"] not in ("ping", "error"):
                adapter("anthropic.types", "RawMessageStreamEvent").validate_python(event)


def test_there_is_something_to_check() -> None:
    assert len(GOLDEN) >= 40
    assert {name for _, name in CASES} >= {
        f"{client} > {provider}"
        for client in ("chat", "responses", "messages")
        for provider in ("chat", "responses", "messages", "gemini", "converse")
        if client != provider
    }
