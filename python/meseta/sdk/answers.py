"""Answers in the shape of OpenAI's chat completions: read whole, or put together from a stream's pieces."""

from __future__ import annotations

import json
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

Message = dict[str, Any]
"""One message as OpenAI's chat completions have it: `role`, `content`, perhaps `name`, `tool_calls`, ..."""
MOST_TOOL_CALLS = 1024


@dataclass(frozen=True)
class Usage:
    """Tokens as the provider counted them."""

    input_tokens: int
    """All that went in, what was read from a cache included."""
    output_tokens: int
    """All that came out, reasoning included."""
    cached_tokens: int = 0


@dataclass(frozen=True)
class Answer:
    """What one model or agent answered; `str()` is its text."""

    to: str
    """Who was asked, as the call named it."""
    text: str
    message: Message
    """The whole message, tool calls included, as it can be sent back in a later request."""
    finish: str | None = None
    """Why it ended: `stop`, `length`, `tool_calls`, `content_filter`."""
    model: str | None = None
    """Who really answered, as `provider/model` where the gateway said so."""
    usage: Usage | None = None
    request_id: str | None = None
    """The gateway's id of the request."""

    def __str__(self) -> str:
        return self.text


def messages_of(messages: str | Sequence[Message]) -> list[Message]:
    """Return messages as a new list; a text is one message of the user."""
    if isinstance(messages, str):
        return [{"role": "user", "content": messages}]
    return [dict(message) for message in messages]


def text_of(content: object) -> str:
    """Return the text of a message's `content`, which is a text, a list of parts, or nothing."""
    if isinstance(content, str):
        return content
    if isinstance(content, list):
        texts = [part.get("text") for part in content if isinstance(part, dict)]
        return "".join(text for text in texts if isinstance(text, str))
    return ""


def read_answer(to: str, document: object, headers: Mapping[str, str]) -> Answer | None:
    """Return the answer in a chat completion, or None when it is none."""
    if not isinstance(document, dict):
        return None
    choices = document.get("choices")
    choice = choices[0] if isinstance(choices, list) and choices else None
    message = choice.get("message") if isinstance(choice, dict) else None
    if not isinstance(message, dict):
        return None
    return Answer(
        to=to,
        text=text_of(message.get("content")),
        message={"role": "assistant", **message},
        finish=_text_or_none(choice.get("finish_reason")) if isinstance(choice, dict) else None,
        model=headers.get("x-meseta-model") or _text_or_none(document.get("model")),
        usage=read_usage(document.get("usage")),
        request_id=headers.get("x-meseta-request-id"),
    )


def read_usage(usage: object) -> Usage | None:
    """Return the token counts of a chat completion, or None when they are missing."""
    if not isinstance(usage, dict):
        return None
    came, went = usage.get("prompt_tokens"), usage.get("completion_tokens")
    if not isinstance(came, int) or not isinstance(went, int):
        return None
    details = usage.get("prompt_tokens_details")
    cached = details.get("cached_tokens") if isinstance(details, dict) else None
    return Usage(came, went, cached if isinstance(cached, int) else 0)


@dataclass
class Gathering:
    """An answer that is being put together."""

    to: str
    headers: Mapping[str, str]
    texts: list[str] = field(default_factory=list)
    _calls: dict[int, Message] = field(default_factory=dict)
    _finish: str | None = None
    _model: str | None = None
    _usage: Usage | None = None

    def take(self, chunk: Mapping[str, Any]) -> str:
        """Add one chunk of a stream and return the text in it."""
        self._model = self._model or _text_or_none(chunk.get("model"))
        self._usage = read_usage(chunk.get("usage")) or self._usage
        choices = chunk.get("choices")
        choice = choices[0] if isinstance(choices, list) and choices else None
        if not isinstance(choice, dict):
            return ""
        self._finish = _text_or_none(choice.get("finish_reason")) or self._finish
        delta = choice.get("delta")
        return self.take_delta(delta) if isinstance(delta, dict) else ""

    def take_delta(self, delta: Mapping[str, Any]) -> str:
        """Add what one `delta` says and return the text in it."""
        calls = delta.get("tool_calls")
        for position, call in enumerate(calls if isinstance(calls, list) else ()):
            if isinstance(call, dict):
                self._take_call(position, call)
        text = text_of(delta.get("content"))
        if text:
            self.texts.append(text)
        return text

    def answer(self) -> Answer:
        """Return what has been gathered so far."""
        text = "".join(self.texts)
        message: Message = {"role": "assistant", "content": text}
        if self._calls:
            message["tool_calls"] = [self._calls[index] for index in sorted(self._calls)]
            message["content"] = text or None
        return Answer(
            to=self.to,
            text=text,
            message=message,
            finish=self._finish or ("tool_calls" if self._calls else "stop"),
            model=self.headers.get("x-meseta-model") or self._model,
            usage=self._usage,
            request_id=self.headers.get("x-meseta-request-id"),
        )

    def _take_call(self, position: int, piece: Mapping[str, Any]) -> None:
        index = piece.get("index", position)
        if not isinstance(index, int) or (index not in self._calls and len(self._calls) >= MOST_TOOL_CALLS):
            return
        call = self._calls.setdefault(index, {"type": "function", "function": {"name": "", "arguments": ""}})
        if isinstance(piece.get("id"), str):
            call["id"] = piece["id"]
        function = piece.get("function")
        for name in ("name", "arguments"):
            value = function.get(name) if isinstance(function, dict) else None
            if isinstance(value, dict):
                value = json.dumps(value)
            if isinstance(value, str):
                call["function"][name] += value


def _text_or_none(value: object) -> str | None:
    return value if isinstance(value, str) and value else None
