"""One entry of LiteLLM's `model_list` as an entry of `model_providers`."""

from __future__ import annotations

import re
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from meseta.config.imported import mapping, names_credential, plain
from meseta.config.providers import AZURE, BEDROCK, BY_NAME, VERTEX, is_project, is_region
from meseta.config.units import format_duration

if TYPE_CHECKING:
    from meseta.config.document import Path as KeyPath
    from meseta.config.imported import Importer

PREFIXES = {
    "azure": AZURE,
    "bedrock": BEDROCK,
    "bedrock_converse": BEDROCK,
    "dashscope": "qwen",
    "gradient_ai": "digitalocean",
    "moonshot": "moonshotai",
    "ollama_chat": "ollama",
    "text-completion-openai": "openai",
    "vercel_ai_gateway": "vercel",
    "zai": "zhipu",
}
"""LiteLLM's names of providers that Meseta knows by another one."""

SERVERS = frozenset(
    {
        "custom_openai",
        "hosted_vllm",
        "litellm_proxy",
        "llamafile",
        "lm_studio",
        "openai_like",
        "vllm",
        "xinference",
    }
)
"""LiteLLM's names for servers that are compatible with OpenAI, wherever they are."""

COMPATIBLE = {
    "cerebras": ("https://api.cerebras.ai/v1", "CEREBRAS_API_KEY"),
    "cohere": ("https://api.cohere.ai/compatibility/v1", "COHERE_API_KEY"),
    "cohere_chat": ("https://api.cohere.ai/compatibility/v1", "COHERE_API_KEY"),
    "deepinfra": ("https://api.deepinfra.com/v1/openai", "DEEPINFRA_API_KEY"),
    "fireworks_ai": ("https://api.fireworks.ai/inference/v1", "FIREWORKS_API_KEY"),
    "huggingface": ("https://router.huggingface.co/v1", "HF_TOKEN"),
    "hyperbolic": ("https://api.hyperbolic.xyz/v1", "HYPERBOLIC_API_KEY"),
    "novita": ("https://api.novita.ai/v3/openai", "NOVITA_API_KEY"),
    "nvidia_nim": ("https://integrate.api.nvidia.com/v1", "NVIDIA_NIM_API_KEY"),
    "sambanova": ("https://api.sambanova.ai/v1", "SAMBANOVA_API_KEY"),
}
"""Providers without a row in the table of providers: address that is compatible with OpenAI, and key."""

KEYS = {"azure": "AZURE_API_KEY", "together_ai": "TOGETHERAI_API_KEY", "zai": "ZAI_API_KEY"}
KEYS["vercel_ai_gateway"] = "VERCEL_AI_GATEWAY_API_KEY"
"""Where LiteLLM looks for a key that is not written, if it is not where Meseta does."""

BARE = (
    (re.compile(r"gpt-|chatgpt-|o[134](-|$)|text-embedding-|ft:gpt-"), "openai"),
    (re.compile(r"claude-"), "anthropic"),
    (re.compile(r"gemini-"), VERTEX),
    (re.compile(r"deepseek-"), "deepseek"),
)
"""What LiteLLM takes a model without a provider for."""

DEFAULT_REGION = "us-west-2"
"""LiteLLM's, for Bedrock."""

SPOKEN_ELSEWHERE = {
    "rpm": "Requests per minute are not limited; they count as the weight in a pool.",
    "tpm": "Tokens per minute are not limited; they count as the weight in a pool.",
    "drop_params": "What a provider does not know is left out without being asked.",
    "tags": "Tags of deployments are not routed by.",
    "azure_ad_token": "Tokens of Microsoft Entra are not fetched or kept; use a key.",
    "vertex_credentials": "Name the JSON of a service account as `google: {credentials: file:/path}`.",
    "aws_web_identity_token": "Name the file of the token as `aws: {web_identity_token_file: /path}`.",
}
_REGION_PART = re.compile(r"[a-z]{2}(-[a-z]+)+-[0-9]")
_API_VERSION = re.compile(r"20[0-9]{2}-[0-9]{2}-[0-9]{2}(-preview)?")
_ENDING = re.compile(r"/(chat/completions|completions|embeddings|responses|messages)/?$")


@dataclass
class Section:
    """A mapping of the file that remembers what was read of it, so that the rest can be named."""

    importer: Importer
    path: KeyPath
    values: dict[str, Any]
    read: set[str] = field(default_factory=set)

    def take(self, key: str) -> Any:
        """Return the value of a key, or None."""
        self.read.add(key)
        return self.values.get(key)

    def text(self, key: str) -> str | None:
        """Return the value of a key as text, or None when there is none."""
        value = self.take(key)
        return str(value) if isinstance(value, (str, int, float)) and not isinstance(value, bool) else None

    def number(self, key: str) -> float | None:
        """Return a number that is not negative; any other value is named."""
        value = self.take(key)
        if value is None:
            return None
        try:
            number = float(value) if isinstance(value, (int, float, str)) else -1.0
        except ValueError:
            number = -1.0
        if not 0 <= number < 1e12:
            self.importer.note("dropped", (*self.path, key), f"`{key}` is no number that can be used.")
            return None
        return number

    def duration(self, key: str) -> str | None:
        """Return seconds as a duration; None when there are none."""
        seconds = self.number(key)
        return format_duration(min(round(seconds * 1000) or 1, 315_360_000_000)) if seconds else None

    def rest(self, reasons: dict[str, str]) -> None:
        """Name what was not read."""
        for key in self.values:
            if key not in self.read:
                reason = reasons.get(key, f"`{key}` has no counterpart in Meseta.")
                self.importer.note("dropped", (*self.path, key), reason)


@dataclass
class Deployment:
    """One entry of `model_list`."""

    group: str
    """What clients call it."""
    entry: dict[str, Any]
    """Of `model_providers`, without its `name`."""
    weight: float | None
    order: int
    retries: float | None
    path: KeyPath


class ModelReader:
    """Translates entries of `model_list`."""

    def __init__(self, importer: Importer, credentials: dict[str, dict[str, Any]]) -> None:
        self.importer = importer
        self.credentials = credentials

    def read(self, value: Any, path: KeyPath) -> Deployment | None:
        """Return the entry, or None when Meseta cannot call such a model, which is then a note."""
        if not isinstance(value, dict) or not isinstance(value.get("litellm_params"), dict):
            self.importer.note("dropped", path, "The entry has no `litellm_params`.")
            return None
        outer = Section(self.importer, path, value)
        parameters = dict(value["litellm_params"])
        credential = parameters.pop("litellm_credential_name", None)
        if credential is not None:
            if str(credential) not in self.credentials:
                self.importer.note("dropped", (*path, "litellm_params"), "There is no such credential.")
            parameters = {**self.credentials.get(str(credential), {}), **parameters}
        params = Section(self.importer, (*path, "litellm_params"), parameters)
        group, model = outer.text("model_name"), params.text("model")
        outer.take("litellm_params")
        if not group or not model:
            self.importer.note("dropped", path, "The entry has no `model_name`, or no `model`.")
            return None
        found = self._place(model, params)
        if found is None:
            message = f"Meseta knows no way to call {model[:80]!r}."
            self.importer.note("dropped", (*path, "litellm_params", "model"), message)
            return None
        provider, entry = found
        self._settings(provider, entry, params)
        info = outer.take("model_info")
        info = Section(self.importer, (*path, "model_info"), info if isinstance(info, dict) else {})
        self._price(entry, params, info)
        weight = params.number("weight") or params.number("rpm") or params.number("tpm")
        params.read -= {"rpm", "tpm"}  # named, because they limit nothing
        order = int(min(params.number("order") or 0, 1000))
        retries = params.number("num_retries")
        retries = params.number("max_retries") if retries is None else retries
        params.rest(SPOKEN_ELSEWHERE)
        self._informational(info)
        outer.rest({})
        return Deployment(group, entry, weight, order, retries, path)

    def _place(self, model: str, params: Section) -> tuple[str, dict[str, Any]] | None:
        """Return LiteLLM's name of the provider, and how the entry begins: what is called, and where."""
        given = params.text("custom_llm_provider")
        head, slash, rest = model.partition("/")
        known = head in PREFIXES or head in BY_NAME or head in SERVERS or head in COMPATIBLE
        if given is None and slash and known and head != "sim":
            prefix, name = head, rest
        else:
            bare = next((provider for pattern, provider in BARE if pattern.match(model)), None)
            prefix, name = given or bare or "", model.removeprefix(f"{given}/")
        base = params.text("api_base") or params.text("base_url")
        provider = PREFIXES.get(prefix, prefix)
        where: str | None = None
        if base is not None:
            where = _ENDING.sub("", self.importer.address(base, (*params.path, "api_base"))).rstrip("/")
        if prefix in COMPATIBLE:
            usual = COMPATIBLE[prefix][0]
            return prefix, mapping(
                model=f"{prefix}/{name}", provider_interface="openai", base_url=where or usual
            )
        if prefix in SERVERS or (provider not in BY_NAME and where is not None):
            return ("openai", {"model": f"openai/{name}", "base_url": where}) if where is not None else None
        if provider not in BY_NAME or (
            provider == VERTEX and name.split("/")[-1].partition("-")[0] != "gemini"
        ):
            return None
        if provider == AZURE:
            name = name.rpartition("/")[2]
            where = where or self.importer.address("$AZURE_API_BASE", params.path)
        elif provider == BEDROCK:
            name, region = _bedrock(name)
            if region is not None:
                params.values.setdefault("aws_region_name", region)
        elif provider == "anthropic" and where is not None and not where.endswith("/v1"):
            where += "/v1"
        return prefix, mapping(model=f"{provider}/{name}", base_url=where)

    def _settings(self, prefix: str, entry: dict[str, Any], params: Section) -> None:
        provider = entry["model"].partition("/")[0]
        self._credential(prefix, provider, entry, params)
        version = params.text("api_version")
        if version is not None and provider == AZURE and _API_VERSION.fullmatch(version):
            if not entry["base_url"].endswith("/openai/v1"):
                entry["api_version"] = version
        elif version is not None and version not in {"preview", "latest", "v1"}:
            self.importer.note(
                "dropped", (*params.path, "api_version"), "`api_version` is for Azure, and a date."
            )
        headers = params.take("extra_headers") or params.take("headers")
        organization = params.take("organization")
        kept = self._headers(headers if isinstance(headers, dict) else {}, (*params.path, "extra_headers"))
        if isinstance(organization, str) and not organization.startswith("$"):
            kept["openai-organization"] = organization
        elif organization is not None:
            self.importer.note(
                "dropped", (*params.path, "organization"), "Write the id as header openai-organization."
            )
        if kept:
            entry["headers"] = kept
        timeouts = mapping(total=params.duration("timeout"), first_token=params.duration("stream_timeout"))
        if timeouts:
            entry["timeouts"] = timeouts
        concurrency = params.number("max_parallel_requests")
        if concurrency:
            entry["limits"] = {"concurrency": int(min(concurrency, 1_000_000))}

    def _credential(self, prefix: str, provider: str, entry: dict[str, Any], params: Section) -> None:
        row = BY_NAME.get(provider)
        usual = KEYS.get(prefix) or (COMPATIBLE[prefix][1] if prefix in COMPATIBLE else None)
        usual = usual or (
            row.variables[0] if row is not None and row.variables else f"{provider.upper()}_API_KEY"
        )
        key = params.text("api_key")
        if provider == BEDROCK and key is None:
            entry["aws"] = self._aws(params)
        elif provider == VERTEX and key is None:
            entry["google"] = self._google(params)
        elif key is not None:
            entry["access_key"] = self.importer.secret(key, usual, (*params.path, "api_key"))
        elif provider == "openai" and "base_url" in entry:
            # LiteLLM would send the key of OpenAI to whoever answers there.
            entry["access_key"] = "none"
            self.importer.note(
                "changed", params.path, "The server gets no key; write `access_key` if it wants one."
            )
        elif row is None or row.needs_key:
            entry["access_key"] = f"${usual}"

    def _aws(self, params: Section) -> dict[str, Any]:
        region = params.text("aws_region_name") or params.text("region_name")
        if region is not None and region.startswith("$"):
            region = self.importer.environment.get(region.strip("${}"))
        if region is None or not is_region(region):
            region = DEFAULT_REGION
            self.importer.note(
                "changed", params.path, f"The region is {region}, as LiteLLM's default is; check it."
            )
        secrets = {}
        for key in ("access_key_id", "secret_access_key", "session_token"):
            value = params.text(f"aws_{key}")
            if value is not None:
                secrets[key] = self.importer.secret(value, f"AWS_{key.upper()}", (*params.path, f"aws_{key}"))
        endpoint = params.text("aws_bedrock_runtime_endpoint")
        if endpoint is not None:
            params.read.discard("aws_bedrock_runtime_endpoint")  # named: write it as `base_url`
        return mapping(
            region=region,
            profile=params.text("aws_profile_name"),
            **secrets,
            role_arn=params.text("aws_role_name"),
            session_name=params.text("aws_session_name"),
        )

    def _google(self, params: Section) -> dict[str, Any]:
        project, location = params.text("vertex_project"), params.text("vertex_location")
        values = [
            self.importer.environment.get(value.strip("${}")) if value and value.startswith("$") else value
            for value in (project, location)
        ]
        if values[0] is None or not is_project(values[0]):
            values[0] = "write-your-project-here"
            self.importer.note(
                "to do", params.path, "Write the id of the project as `google: {project: ID}`."
            )
        file = params.values.get("vertex_credentials")
        # A path; the JSON itself would be a secret in clear text.
        path = file if isinstance(file, str) and not file.lstrip().startswith(("{", "$")) else None
        if path is not None:
            params.take("vertex_credentials")
        return mapping(
            project=values[0],
            location=values[1] if values[1] is not None and is_region(values[1]) else None,
            credentials=f"file:{path}" if path is not None else None,
        )

    def _headers(self, headers: dict[str, Any], path: KeyPath) -> dict[str, str]:
        kept = {}
        for name, value in headers.items():
            if names_credential(name) or not isinstance(value, str) or value.startswith("$"):
                message = f"The header {name[:60]!r} is not copied: headers hold no secrets or references."
                self.importer.note("to do", (*path, name), message)
            else:
                kept[name] = value
        return kept

    def _price(self, entry: dict[str, Any], params: Section, info: Section) -> None:
        names = {
            "input": "input_cost_per_token",
            "output": "output_cost_per_token",
            "cached_input": "cache_read_input_token_cost",
            "cache_write": "cache_creation_input_token_cost",
        }
        found = {}
        for key, name in names.items():
            # Both are looked at, so that both count as read.
            prices = [section.number(name) for section in (params, info)]
            price = next((price for price in prices if price is not None), None)
            if price is not None and price <= 1:
                found[key] = plain(price * 1_000_000)
        if "input" in found and "output" in found:
            entry["price"] = found
        elif found:
            self.importer.note(
                "dropped", info.path, "A price needs both `input_cost_per_token` and that of output."
            )

    def _informational(self, info: Section) -> None:
        mode = info.text("mode")
        if mode not in {None, "chat", "completion", "embedding", "responses"}:
            self.importer.note(
                "dropped", (*info.path, "mode"), f"Meseta serves chat and embeddings, not {mode!r}."
            )
        rest = [key for key in info.values if key not in info.read]
        if rest:
            self.importer.note(
                "dropped", info.path, f"`model_info` has no counterpart: {', '.join(rest)[:200]}."
            )


def _bedrock(name: str) -> tuple[str, str | None]:
    """Return the model id and the region that stands before it."""
    region = None
    parts = name.split("/")
    while len(parts) > 1 and (
        parts[0] in {"converse", "converse_like", "invoke"} or _REGION_PART.fullmatch(parts[0])
    ):
        region = parts[0] if _REGION_PART.fullmatch(parts[0]) else region
        parts.pop(0)
    return "/".join(parts), region
