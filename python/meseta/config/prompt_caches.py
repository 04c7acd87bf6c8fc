"""What providers keep of a prompt: how long after its last use, from which length on, how it is asked for.

Where nothing is known the window is 0, and nothing is kept warm for its sake; `prompt_cache` of an entry says
better.

Standard library only: the start without a file uses this too.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import Literal, TypedDict

from meseta.config.dialects import CHAT, CONVERSE, MESSAGES, Dialect
from meseta.config.providers import BEDROCK, COMPATIBLE, Provider

MINUTE_MS = 60_000
HOUR_MS = 60 * MINUTE_MS

Marks = Literal["none", "messages", "chat_parts", "converse"]


class PromptCache(TypedDict):
    """The same in the snapshot."""

    window_ms: int
    minimum_tokens: int
    marks: Marks


@dataclass(frozen=True)
class Kept:
    """What one provider keeps."""

    window_ms: int
    """How long after its last use."""
    minimum_tokens: int = 1_024
    source: str = ""
    """The provider's page about it."""
    larger: tuple[tuple[str, int], ...] = ()
    """Patterns of models whose minimum is another one; the first that matches counts."""

    def minimum(self, model: str) -> int:
        """Return the minimum of a model, or of the provider for `*`."""
        for pattern, tokens in self.larger:
            if re.search(pattern, model, re.ASCII):
                return tokens
        return self.minimum_tokens


_CLAUDE = (
    (r"opus-4[-.][56]|haiku-4[-.]5", 4_096),
    (r"opus-4[-.]7|3[-.]5-haiku|haiku-3|3-haiku", 2_048),
    (r"opus-5|fable-5|mythos-5", 512),
)
"""https://platform.claude.com/docs/en/build-with-claude/prompt-caching"""

NOTHING = Kept(0)

_OPENAI = "https://platform.openai.com/docs/guides/prompt-caching"
_ANTHROPIC = "https://docs.anthropic.com/en/docs/build-with-claude/prompt-caching"

# OpenAI: in memory for 5 to 10 minutes and at most an hour, or up to 24 hours with extended retention, which
# is the default unless an organisation has zero data retention. An hour is between the two.
# Azure: in memory unless a request says otherwise.
# Gemini and Vertex AI: no time is stated; Google's people say "a few minutes".
# DeepSeek: on disk, "a few hours to a few days"; blocks of 64 tokens.
# xAI and Moonshot: automatic, no time is stated, so that none is assumed.
KEPT: dict[str, Kept] = {
    "openai": Kept(HOUR_MS, source=_OPENAI),
    "azure_openai": Kept(
        10 * MINUTE_MS, source="https://learn.microsoft.com/azure/ai-services/openai/how-to/prompt-caching"
    ),
    "anthropic": Kept(5 * MINUTE_MS, source=_ANTHROPIC, larger=_CLAUDE),
    "amazon_bedrock": Kept(
        5 * MINUTE_MS,
        source="https://docs.aws.amazon.com/bedrock/latest/userguide/prompt-caching.html",
        larger=((r"amazon\.nova", 1_000), *_CLAUDE),
    ),
    "gemini": Kept(
        5 * MINUTE_MS, source="https://ai.google.dev/gemini-api/docs/caching", larger=((r"-pro", 4_096),)
    ),
    "vertex_ai": Kept(
        5 * MINUTE_MS,
        source="https://cloud.google.com/vertex-ai/generative-ai/docs/context-cache/context-cache-overview",
        larger=((r"-pro", 4_096),),
    ),
    "deepseek": Kept(2 * HOUR_MS, 64, source="https://api-docs.deepseek.com/guides/kv_cache"),
    "groq": Kept(2 * HOUR_MS, source="https://console.groq.com/docs/prompt-caching"),
    "openrouter": Kept(
        5 * MINUTE_MS,
        source="https://openrouter.ai/docs/guides/best-practices/prompt-caching",
        larger=_CLAUDE,
    ),
    "vercel": Kept(
        5 * MINUTE_MS,
        source="https://vercel.com/docs/ai-gateway/models-and-providers/automatic-caching",
        larger=_CLAUDE,
    ),
}
"""By the name of the provider. Those that sell other vendors' models have the shortest window among these."""

_IS_CLAUDE = re.compile(r"claude", re.ASCII | re.IGNORECASE)
_MARKED_AT_BEDROCK = re.compile(r"(^|[./])(anthropic\.claude|amazon\.nova)", re.ASCII)


def kept(row: Provider) -> Kept:
    """Return what the provider of this row keeps; a server that is merely compatible keeps nothing."""
    return NOTHING if is_compatible(row) else KEPT.get(row.name, NOTHING)


def is_compatible(row: Provider) -> bool:
    """Whether this is any server that speaks OpenAI's API, and not one that the table knows."""
    return row.name == COMPATIBLE.name and row.base_url is None


def prompt_cache(row: Provider, model: str, dialect: Dialect) -> PromptCache:
    """Return what is kept of a prompt for `model` (`*` for any), which is asked for in `dialect`."""
    known = kept(row)
    return {
        "window_ms": known.window_ms,
        "minimum_tokens": known.minimum(model),
        "marks": marks(row, model, dialect),
    }


def marks(row: Provider, model: str, dialect: Dialect) -> Marks:
    """Return where what is worth keeping is marked.

    Where that depends on the model, a wildcard marks nothing: a mark that a model does not know is an error.
    """
    if dialect == MESSAGES and kept(row).window_ms:
        return "messages"
    if dialect == CHAT and row.quirks.cache_control and _IS_CLAUDE.search(model):
        return "chat_parts"
    if dialect == CONVERSE and row.name == BEDROCK and _MARKED_AT_BEDROCK.search(model):
        return "converse"
    return "none"
