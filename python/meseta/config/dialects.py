"""The wire formats that a provider can be asked in, and the path of each of their operations.

A path is appended to the `base_url` of a target. `{model}` stands for the model id, which the data plane
percent-encodes.
"""

from __future__ import annotations

from dataclasses import asdict, dataclass
from typing import TYPE_CHECKING, Any, Literal, get_args

if TYPE_CHECKING:
    from collections.abc import Collection, Sequence

Dialect = Literal[
    "openai_chat", "openai_responses", "anthropic_messages", "gemini_generate_content", "bedrock_converse"
]

CHAT: Dialect = "openai_chat"
RESPONSES: Dialect = "openai_responses"
MESSAGES: Dialect = "anthropic_messages"
GEMINI: Dialect = "gemini_generate_content"
CONVERSE: Dialect = "bedrock_converse"

DIALECTS: tuple[Dialect, ...] = get_args(Dialect)
"""Every dialect, in the order of the reference page."""

MEANINGS: dict[Dialect, str] = {
    CHAT: "OpenAI Chat Completions, and every server that is compatible with it",
    RESPONSES: "OpenAI Responses",
    MESSAGES: "Anthropic Messages",
    GEMINI: "Google Gemini `generateContent`",
    CONVERSE: "Amazon Bedrock `Converse`",
}
"""What each dialect is."""


@dataclass(frozen=True)
class Operation:
    """Something that a provider can be asked for."""

    path: str
    """Where it is below the `base_url`."""
    dialects: tuple[Dialect, ...]
    """The dialects that it belongs to."""
    always: bool = False
    """Whether every server of the dialect has it; any other one must be named in the row of a provider."""


OPERATIONS: dict[str, Operation] = {
    "chat_completions": Operation("/chat/completions", (CHAT,), always=True),
    "responses": Operation("/responses", (RESPONSES,), always=True),
    "responses_input_tokens": Operation("/responses/input_tokens", (RESPONSES,)),
    "messages": Operation("/messages", (MESSAGES,), always=True),
    "messages_count_tokens": Operation("/messages/count_tokens", (MESSAGES,)),
    "generate_content": Operation("/models/{model}:generateContent", (GEMINI,), always=True),
    "stream_generate_content": Operation(
        "/models/{model}:streamGenerateContent?alt=sse", (GEMINI,), always=True
    ),
    "gemini_count_tokens": Operation("/models/{model}:countTokens", (GEMINI,)),
    "batch_embed_contents": Operation("/models/{model}:batchEmbedContents", (GEMINI,)),
    "converse": Operation("/model/{model}/converse", (CONVERSE,), always=True),
    "converse_stream": Operation("/model/{model}/converse-stream", (CONVERSE,), always=True),
    "bedrock_count_tokens": Operation("/model/{model}/count-tokens", (CONVERSE,)),
    "invoke_model": Operation("/model/{model}/invoke", (CONVERSE,)),
    "embeddings": Operation("/embeddings", (CHAT, RESPONSES)),
}
"""Every operation by the name that the snapshot uses.

Gemini paths: https://ai.google.dev/api/generate-content and /api/embeddings. Bedrock paths: the service model
`bedrock-runtime` of botocore.
"""

DEPLOYMENTS = {
    "chat_completions": "/openai/deployments/{model}/chat/completions?api-version=",
    "embeddings": "/openai/deployments/{model}/embeddings?api-version=",
}
"""Azure OpenAI's paths before its v1 API; the version is appended.

https://learn.microsoft.com/azure/ai-services/openai/reference
"""


def paths(dialects: Sequence[Dialect], offers: Collection[str]) -> dict[str, str]:
    """Return operation to path for a server that speaks `dialects` and also `offers` these operations."""
    return {
        name: operation.path
        for name, operation in OPERATIONS.items()
        if (operation.always or name in offers) and not set(operation.dialects).isdisjoint(dialects)
    }


@dataclass(frozen=True)
class Quirks:
    """Where a server differs from OpenAI's own; the data plane heeds it in translated requests only."""

    max_tokens_field: Literal["max_completion_tokens", "max_tokens"] = "max_tokens"
    """The name under which Chat Completions takes the limit of the answer."""
    developer_role: bool = False
    """Whether the role `developer` is known; otherwise such messages are sent as `system`."""
    cache_control: bool = False
    """Whether Chat Completions takes Anthropic's `cache_control` in parts of the content."""
    reasoning: Literal["reasoning_effort", "openrouter", "thinking", "none"] = "reasoning_effort"
    """How thinking is asked for: a level, an object `reasoning`, an object `thinking`, or not at all."""
    json_schema: bool = True
    """Whether `response_format` may hold a JSON Schema; otherwise `json_object` is sent."""
    drop: tuple[str, ...] = ()
    """Top-level fields that the server refuses."""

    def as_dict(self) -> dict[str, Any]:
        """Return the quirks as the snapshot holds them."""
        return {**asdict(self), "drop": list(self.drop)}
