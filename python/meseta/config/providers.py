"""The providers that Meseta knows by name: where they are and how they want to be asked.

Every one of them is called through its OpenAI-compatible endpoint. Sources are the providers' own pages on
OpenAI compatibility.
"""

from __future__ import annotations

from dataclasses import dataclass


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
    header: str = "authorization"
    """The header that carries the key: `authorization` (as a bearer token) or a header of its own."""
    needs_key: bool = True
    """False where calls without a credential are normal."""
    example: str = ""
    """A `base_url` to show when one is required."""
    models: tuple[str, ...] = ()
    """Models that always exist, listed even behind a wildcard."""

    def credential(self, key: str) -> tuple[str, str]:
        """Return the header name and value that carry `key`."""
        return self.header, f"Bearer {key}" if self.header == "authorization" else key


PROVIDERS = (
    Provider("openai", "https://api.openai.com/v1", "/v1", ("OPENAI_API_KEY",)),
    Provider("anthropic", "https://api.anthropic.com/v1", "/v1", ("ANTHROPIC_API_KEY",)),
    Provider(
        "gemini",
        "https://generativelanguage.googleapis.com/v1beta/openai",
        "/v1beta/openai",
        ("GEMINI_API_KEY", "GOOGLE_API_KEY"),
    ),
    Provider("mistral", "https://api.mistral.ai/v1", "/v1", ("MISTRAL_API_KEY",)),
    Provider("groq", "https://api.groq.com/openai/v1", "/openai/v1", ("GROQ_API_KEY",)),
    Provider("deepseek", "https://api.deepseek.com/v1", "/v1", ("DEEPSEEK_API_KEY",)),
    Provider("xai", "https://api.x.ai/v1", "/v1", ("XAI_API_KEY",)),
    Provider("together_ai", "https://api.together.ai/v1", "/v1", ("TOGETHER_API_KEY", "TOGETHERAI_API_KEY")),
    Provider("openrouter", "https://openrouter.ai/api/v1", "/api/v1", ("OPENROUTER_API_KEY",)),
    Provider("vercel", "https://ai-gateway.vercel.sh/v1", "/v1", ("AI_GATEWAY_API_KEY",)),
    Provider("moonshotai", "https://api.moonshot.ai/v1", "/v1", ("MOONSHOT_API_KEY",)),
    Provider(
        "zhipu", "https://open.bigmodel.cn/api/paas/v4", "/api/paas/v4", ("ZHIPUAI_API_KEY", "ZHIPU_API_KEY")
    ),
    Provider(
        "qwen",
        "https://dashscope-intl.aliyuncs.com/compatible-mode/v1",
        "/compatible-mode/v1",
        ("DASHSCOPE_API_KEY",),
    ),
    Provider("ollama", "http://127.0.0.1:11434/v1", "/v1", (), needs_key=False),
    Provider(
        "azure_openai",
        None,
        "/openai/v1",
        ("AZURE_OPENAI_API_KEY",),
        header="api-key",
        example="https://RESOURCE.openai.azure.com/openai/v1",
    ),
    Provider(
        "amazon_bedrock",
        None,
        "/openai/v1",
        ("AWS_BEARER_TOKEN_BEDROCK",),
        example="https://bedrock-runtime.REGION.amazonaws.com/openai/v1",
    ),
    Provider("digitalocean", "https://inference.do-ai.run/v1", "/v1", ("GRADIENT_MODEL_ACCESS_KEY",)),
    Provider("sim", None, "/v1", (), needs_key=False, models=("echo",)),
)
"""Every known provider, in the order in which they are listed and shown."""

BY_NAME = {provider.name: provider for provider in PROVIDERS}

SIMULATOR = "sim"
"""The built-in simulated provider; without a `base_url` its address is assigned when the plane starts."""

INTERFACES = ("openai",)
"""Values of `provider_interface` that are served for a provider that is not in the table."""
