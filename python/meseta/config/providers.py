"""The providers that Meseta knows by name: where they are, what they speak, and how they want to be asked.

`source` names the provider's own page to check a row against. Meseta's tests call none of them.
"""

from __future__ import annotations

import re
from dataclasses import dataclass, field, replace
from urllib.parse import urlsplit

from meseta.config.dialects import CHAT, CONVERSE, DIALECTS, GEMINI, MESSAGES, RESPONSES, Dialect, Quirks

ANTHROPIC_VERSION = {"anthropic-version": "2023-06-01"}
"""Anthropic refuses a request without it; a client's own value wins."""

OPENAI = Quirks(max_tokens_field="max_completion_tokens", developer_role=True)


@dataclass(frozen=True)
class Provider:
    """A row of the table."""

    name: str
    """What stands before the slash in `model`."""
    base_url: str | None
    """Where requests go unless the file says otherwise; None when only the user can know."""
    path: str
    """The path that is added to a `base_url` that has none."""
    variables: tuple[str, ...]
    """Environment variables that usually hold the key; the first one found is used when there is no file."""
    dialects: tuple[Dialect, ...] = (CHAT,)
    """What is spoken natively, in order of preference; other client APIs are translated to the first."""
    selectable: tuple[Dialect, ...] = ()
    """What an entry may choose with `dialects` beyond those, because it is newer, partial or stateless."""
    offers: tuple[str, ...] = ()
    """Operations that not every server of the dialect has."""
    quirks: Quirks = field(default_factory=Quirks)
    """How it differs from OpenAI's own server."""
    header: str = "authorization"
    """The header that carries the key: `authorization` (as a bearer token) or a header of its own."""
    needs_key: bool = True
    """False where calls without a credential are normal."""
    compatible: str = ""
    """Ending of a `base_url` below which this provider answers like OpenAI instead of natively."""
    example: str = ""
    """A `base_url` to show when one is required."""
    models: tuple[str, ...] = ()
    """Models that always exist, listed even behind a wildcard."""
    source: str = ""
    """The provider's page about it."""

    def credential(self, key: str) -> tuple[str, str]:
        """Return the header name and value that carry `key`."""
        return self.header, f"Bearer {key}" if self.header == "authorization" else key

    def known_dialects(self) -> tuple[Dialect, ...]:
        """Return every dialect whose paths are known here."""
        return tuple(dialect for dialect in DIALECTS if dialect in (*self.dialects, *self.selectable))

    def at(self, base_url: str) -> Provider:
        """Return the row that is right for this address, which may be a compatible server elsewhere."""
        parts = urlsplit(base_url)
        if self.compatible and parts.path.endswith(self.compatible):
            return replace(COMPATIBLE, name=self.name, selectable=(), needs_key=self.needs_key)
        if self.name == COMPATIBLE.name and not f".{parts.hostname}".endswith(".api.openai.com"):
            return COMPATIBLE
        return self


PROVIDERS = (
    Provider(
        "openai",
        "https://api.openai.com/v1",
        "/v1",
        ("OPENAI_API_KEY",),
        dialects=(RESPONSES, CHAT),
        offers=("embeddings", "responses_input_tokens"),
        quirks=OPENAI,
        source="https://platform.openai.com/docs/api-reference",
    ),
    Provider(
        "anthropic",
        "https://api.anthropic.com/v1",
        "/v1",
        ("ANTHROPIC_API_KEY",),
        dialects=(MESSAGES,),
        offers=("messages_count_tokens",),
        header="x-api-key",
        source="https://docs.anthropic.com/en/api/messages",
    ),
    Provider(
        "gemini",
        "https://generativelanguage.googleapis.com/v1beta",
        "/v1beta",
        ("GEMINI_API_KEY", "GOOGLE_API_KEY"),
        dialects=(GEMINI,),
        offers=("gemini_count_tokens", "batch_embed_contents"),
        header="x-goog-api-key",
        compatible="/openai",
        source="https://ai.google.dev/api/generate-content",
    ),
    # Embeddings are `:predict` or `:embedContent` there, depending on the model, and so not offered.
    Provider(
        "vertex_ai",
        None,
        "",
        (),
        dialects=(GEMINI,),
        offers=("gemini_count_tokens",),
        header="x-goog-api-key",
        compatible="/endpoints/openapi",
        example="https://europe-west4-aiplatform.googleapis.com",
        source="https://cloud.google.com/vertex-ai/generative-ai/docs/model-reference/inference",
    ),
    # The seed is `random_seed` there, and a field that the page does not list is refused.
    Provider(
        "mistral",
        "https://api.mistral.ai/v1",
        "/v1",
        ("MISTRAL_API_KEY",),
        offers=("embeddings",),
        quirks=Quirks(
            reasoning="none",
            drop=(
                "logit_bias",
                "logprobs",
                "safety_identifier",
                "seed",
                "service_tier",
                "store",
                "top_logprobs",
                "user",
                "verbosity",
            ),
        ),
        source="https://docs.mistral.ai/api/#tag/chat",
    ),
    # The Responses API of Groq keeps no conversation, so that it must be asked for.
    Provider(
        "groq",
        "https://api.groq.com/openai/v1",
        "/openai/v1",
        ("GROQ_API_KEY",),
        selectable=(RESPONSES,),
        quirks=Quirks(
            max_tokens_field="max_completion_tokens", drop=("logit_bias", "logprobs", "top_logprobs")
        ),
        source="https://console.groq.com/docs/openai",
    ),
    Provider(
        "deepseek",
        "https://api.deepseek.com/v1",
        "/v1",
        ("DEEPSEEK_API_KEY",),
        quirks=Quirks(reasoning="thinking", json_schema=False),
        source="https://api-docs.deepseek.com/guides/thinking_mode",
    ),
    # Its page calls Chat Completions deprecated and says that reasoning is lost there between turns.
    Provider(
        "xai",
        "https://api.x.ai/v1",
        "/v1",
        ("XAI_API_KEY",),
        dialects=(RESPONSES, CHAT),
        quirks=Quirks(
            max_tokens_field="max_completion_tokens", drop=("frequency_penalty", "presence_penalty", "stop")
        ),
        source="https://docs.x.ai/developers/model-capabilities/text/comparison",
    ),
    Provider(
        "together_ai",
        "https://api.together.ai/v1",
        "/v1",
        ("TOGETHER_API_KEY", "TOGETHERAI_API_KEY"),
        offers=("embeddings",),
        source="https://docs.together.ai/docs/openai-api-compatibility",
    ),
    # Its Responses API refuses `store: true` and `previous_response_id`, so that it must be asked for.
    Provider(
        "openrouter",
        "https://openrouter.ai/api/v1",
        "/api/v1",
        ("OPENROUTER_API_KEY",),
        selectable=(RESPONSES, MESSAGES),
        offers=("embeddings",),
        quirks=Quirks(cache_control=True, reasoning="openrouter"),
        source="https://openrouter.ai/docs/api_reference",
    ),
    Provider(
        "vercel",
        "https://ai-gateway.vercel.sh/v1",
        "/v1",
        ("AI_GATEWAY_API_KEY",),
        dialects=(CHAT, RESPONSES, MESSAGES),
        offers=("embeddings",),
        quirks=Quirks(reasoning="openrouter"),
        source="https://vercel.com/docs/ai-gateway/sdks-and-apis",
    ),
    Provider(
        "moonshotai",
        "https://api.moonshot.ai/v1",
        "/v1",
        ("MOONSHOT_API_KEY",),
        quirks=Quirks(
            max_tokens_field="max_completion_tokens",
            reasoning="thinking",
            json_schema=False,
        ),
        source="https://platform.moonshot.ai/docs/api/chat",
    ),
    Provider(
        "zhipu",
        "https://open.bigmodel.cn/api/paas/v4",
        "/api/paas/v4",
        ("ZHIPUAI_API_KEY", "ZHIPU_API_KEY"),
        offers=("embeddings",),
        quirks=Quirks(
            reasoning="thinking", json_schema=False, drop=("frequency_penalty", "presence_penalty")
        ),
        source="https://docs.bigmodel.cn/api-reference",
    ),
    # Its Responses API knows no `instructions`, so that it must be asked for.
    Provider(
        "qwen",
        "https://dashscope-intl.aliyuncs.com/compatible-mode/v1",
        "/compatible-mode/v1",
        ("DASHSCOPE_API_KEY",),
        selectable=(RESPONSES,),
        offers=("embeddings",),
        quirks=Quirks(reasoning="none"),
        source="https://www.alibabacloud.com/help/en/model-studio/compatibility-of-openai-with-dashscope",
    ),
    # Responses and Messages are newer than many installations, and keep no conversation.
    Provider(
        "ollama",
        "http://127.0.0.1:11434/v1",
        "/v1",
        (),
        selectable=(RESPONSES, MESSAGES),
        offers=("embeddings",),
        needs_key=False,
        source="https://docs.ollama.com/api/openai-compatibility",
    ),
    Provider(
        "azure_openai",
        None,
        "/openai/v1",
        ("AZURE_OPENAI_API_KEY",),
        dialects=(RESPONSES, CHAT),
        offers=("embeddings",),
        quirks=OPENAI,
        header="api-key",
        example="https://RESOURCE.openai.azure.com/openai/v1",
        source="https://learn.microsoft.com/azure/ai-services/openai/reference",
    ),
    Provider(
        "amazon_bedrock",
        None,
        "",
        ("AWS_BEARER_TOKEN_BEDROCK",),
        dialects=(CONVERSE,),
        offers=("bedrock_count_tokens", "invoke_model"),
        compatible="/openai/v1",
        example="https://bedrock-runtime.us-west-2.amazonaws.com",
        source="https://docs.aws.amazon.com/bedrock/latest/APIReference/",
    ),
    # Responses and Messages reach the models of one vendor each, so that they must be asked for.
    Provider(
        "digitalocean",
        "https://inference.do-ai.run/v1",
        "/v1",
        ("GRADIENT_MODEL_ACCESS_KEY",),
        selectable=(RESPONSES, MESSAGES),
        offers=("embeddings",),
        quirks=Quirks(max_tokens_field="max_completion_tokens"),
        source="https://docs.digitalocean.com/products/inference/how-to/si-endpoints/",
    ),
    # Plano's choosers, which their makers' instructions run behind vLLM or Ollama.
    Provider(
        "plano",
        None,
        "/v1",
        (),
        needs_key=False,
        example="http://127.0.0.1:8000/v1",
        source="https://docs.planoai.dev/guides/llm_router.html",
    ),
    # What a subscription pays for instead of a key; clients bring the credential.
    Provider(
        "chatgpt",
        "https://chatgpt.com/backend-api/codex",
        "/backend-api/codex",
        (),
        dialects=(RESPONSES,),
        quirks=OPENAI,
        source="https://docs.planoai.dev/concepts/llm_providers/supported_providers.html",
    ),
    Provider(
        "sim",
        None,
        "/v1",
        (),
        selectable=(RESPONSES, MESSAGES, GEMINI, CONVERSE),
        offers=(
            "embeddings",
            "responses_input_tokens",
            "messages_count_tokens",
            "gemini_count_tokens",
            "batch_embed_contents",
            "bedrock_count_tokens",
            "invoke_model",
        ),
        quirks=OPENAI,
        needs_key=False,
        models=("echo",),
    ),
)
"""Every known provider, in the order in which they are listed and shown."""

BY_NAME = {provider.name: provider for provider in PROVIDERS}

COMPATIBLE = Provider(
    "openai",
    None,
    "/v1",
    (),
    selectable=(RESPONSES, MESSAGES),
    offers=("embeddings",),
    source="https://docs.vllm.ai/en/latest/serving/openai_compatible_server.html",
)
"""A server that is compatible with OpenAI but is not OpenAI: vLLM, llama.cpp, LM Studio and many more."""

SIMULATOR = "sim"
"""The built-in simulated provider; without a `base_url` its address is assigned when the plane starts."""

INTERFACES = {provider.name: provider for provider in PROVIDERS if provider.name != SIMULATOR}
"""Values of `provider_interface`: the provider that lends its way of being asked to an unknown one."""

AZURE = "azure_openai"
BEDROCK = "amazon_bedrock"
VERTEX = "vertex_ai"

AWS_REGIONS = ("AWS_REGION", "AWS_DEFAULT_REGION")
"""Variables that hold the region; the first that is set wins."""


_REGION = re.compile(r"[a-z0-9][a-z0-9-]{0,62}", re.ASCII)
_PROJECT = re.compile(r"[a-z0-9][a-z0-9.:-]{0,127}", re.ASCII)


def is_region(text: str) -> bool:
    """Whether a region or location can be part of a host name."""
    return _REGION.fullmatch(text) is not None


def is_project(text: str) -> bool:
    """Whether a Google Cloud project can be part of a path."""
    return _PROJECT.fullmatch(text) is not None


def bedrock_url(region: str) -> str:
    """Return where Amazon Bedrock answers in a region."""
    return f"https://bedrock-runtime.{region}.amazonaws.com"


def vertex_origin(location: str) -> str:
    """Return the host of Vertex AI for a location: `global`, a group of regions, or one region."""
    if location == "global":
        return "https://aiplatform.googleapis.com"
    if location in {"us", "eu"}:
        return f"https://aiplatform.{location}.rep.googleapis.com"
    return f"https://{location}-aiplatform.googleapis.com"


def vertex_path(project: str, location: str) -> str:
    """Return the path of Google's own models on Vertex AI."""
    return f"/v1/projects/{project}/locations/{location}/publishers/google"
