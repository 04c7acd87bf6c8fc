"""The contenders that are Meseta: the plane alone on a resolved snapshot, and the installed package."""

from __future__ import annotations

import hashlib
import json
import shutil
from pathlib import Path
from typing import Any

from contender import (
    CHAT,
    MESSAGES,
    MODEL,
    REPOSITORY,
    AbsentError,
    Contender,
    Launch,
    Setting,
    first_match,
    output,
)

TARGET = f"openai/{MODEL}"
# What a target that speaks one of the generator's APIs has in its snapshot: its dialect, its operations and
# its own headers.
SPOKEN: dict[str, dict[str, object]] = {
    CHAT: {
        "dialects": ["openai_chat"],
        "paths": {"chat_completions": "/chat/completions"},
        "default_headers": {},
    },
    MESSAGES: {
        "dialects": ["anthropic_messages"],
        "paths": {"messages": "/messages"},
        "default_headers": {"anthropic-version": "2023-06-01"},
    },
}
HEDGE = {"after_ms": 0, "minimum_ms": 50, "spend_percent": 5.0}
ADMISSION = {"concurrency": 4096, "tenant_concurrency": 4096, "queue": 1024, "queue_ms": 1000}
TITLES = {CHAT: "chat", MESSAGES: "Messages"}


class Meseta(Contender):
    """The data plane alone: `crates/meseta-core/examples/standalone.rs` on a resolved snapshot."""

    binary = REPOSITORY / "target/release/examples/standalone"
    # What the target speaks.
    target = CHAT

    def __init__(self, *, log: bool, key: str | None = None) -> None:
        self.log = log
        self.name = f"Meseta, log {'on' if log else 'off'}{', key' if key else ''}"
        self.headers = (f"authorization:Bearer {key}",) if key else ()
        digest = hashlib.sha256((key or "").encode()).hexdigest()
        named = {"sha256": digest, "tenant": "bench", "priority": "normal", "concurrency": 0}
        self.auth: dict[str, object] = {"type": "keys", "keys": [named]} if key else {"type": "none"}

    def prepare(self) -> str:
        """Install what is missing and return the version."""
        if not self.binary.exists():
            raise AbsentError("not built: cargo build --release -p meseta-core --example standalone")
        manifest = (REPOSITORY / "Cargo.toml").read_text()
        return first_match(r'(?m)^version = "([^"]+)"', manifest)

    def launch(self, setting: Setting) -> Launch:
        """Write the configuration and return the command."""
        snapshot = setting.write("snapshot.json", json.dumps(self.snapshot(setting), indent=2))
        return Launch([str(self.binary), snapshot, "--workers", str(setting.workers)])

    def snapshot(self, setting: Setting) -> dict[str, Any]:
        """Resolve the whole document: one listener, one target at the mock."""
        log = {
            "path": str(setting.folder / "log.db"),
            "queue_records": 65536,
            "commit_ms": 20,
            "keep_hours": 168,
            "max_bytes": 2 << 30,
        }
        return {
            "format": 4,
            "listeners": [self._listener(setting)],
            "targets": [self._target(setting)],
            "pools": [],
            "names": {TARGET: TARGET, MODEL: TARGET},
            "wildcards": {},
            "default": None,
            "catalog": [{"id": TARGET, "owned_by": "openai"}, {"id": MODEL, "owned_by": "openai"}],
            "log": log if self.log else None,
            "responses": None,
            "retry_budget": {"percent": 20.0, "minimum_per_second": 10},
            "admission": None,
            "sessions": {
                "implicit": False,
                "max_entries": 10000,
                "idle_ms": None,
                "tenant_header": None,
                "budget": None,
                "cache_marks": False,
                "minimum_prefix_tokens": 1024,
            },
            "shared": None,
            "agents": [],
            "preferences": [],
            "chooser": {"rules": [], "embedded": None, "model": None, "user_turns_only": False},
            "histories": None,
            "context_key": None,
            "latencies": {},
        }

    def _listener(self, setting: Setting) -> dict[str, object]:
        return {
            "name": "models",
            "type": "model",
            "address": "127.0.0.1",
            "port": setting.port,
            "auth": self.auth,
            "tls": None,
            "limits": {
                "body_bytes": 32 << 20,
                "head_bytes": 65536,
                "head_count": 128,
                "connections": 4096,
                "streams_per_connection": 128,
            },
            "timeouts": {"head_ms": 60000, "body_ms": 60000},
            "orchestration": None,
        }

    def _target(self, setting: Setting) -> dict[str, object]:
        return {
            "name": TARGET,
            "provider": "openai",
            "model": MODEL,
            **SPOKEN[self.target],
            "base_url": f"http://127.0.0.1:{setting.mock}/v1",
            "query": "",
            "credentials": [{"type": "none"}],
            "headers": {},
            "forward_headers": [],
            "http_version": "auto",
            "ask_stream_usage": True,
            "max_output_tokens": 8192,
            "quirks": {
                "max_tokens_field": "max_completion_tokens",
                "developer_role": True,
                "cache_control": False,
                "reasoning": "reasoning_effort",
                "json_schema": True,
                "drop": [],
            },
            "timeouts": {
                "connect_ms": 5000,
                "first_token_ms": 300000,
                "idle_ms": 120000,
                "total_ms": 1800000,
            },
            "limits": {"concurrency": 0, "queue": 0, "queue_ms": 0},
            "health": {
                "failures": 5,
                "error_percent": 50,
                "minimum_requests": 20,
                "window_ms": 30000,
                "rest_ms": 10000,
                "rest_max_ms": 300000,
                "ramp_ms": 15000,
            },
            "probe": None,
            "price": None,
            "prompt_cache": {"window_ms": 300000, "minimum_tokens": 1024, "marks": "none"},
        }


class MesetaTranslated(Meseta):
    """The same plane between a client and a target that speak different dialects, log on."""

    def __init__(self, *, client: str, target: str) -> None:
        super().__init__(log=True)
        self.api = client
        self.target = target
        self.name = f"Meseta, {TITLES[client]} to {TITLES[target]}"


class MesetaPool(Meseta):
    """The same plane with a pool in the place of the model, log on.

    The pool has four targets with weights, limits, prices, health, a fallback, retries, resuming and
    affinity; all four are the same mock. With `everything` it hedges too, after the 95th percentile, and the
    plane admits by a limit.
    """

    def __init__(self, *, everything: bool) -> None:
        super().__init__(log=True)
        self.everything = everything
        self.name = "Meseta, pool of four" + (", hedging, admission" if everything else "")

    def snapshot(self, setting: Setting) -> dict[str, Any]:
        """Resolve the same document with a pool in the place of the model."""
        document = super().snapshot(setting)
        (first,) = document["targets"]
        first["limits"] = {"concurrency": 1024, "queue": 1024, "queue_ms": 1000}
        first["price"] = {
            "input": 1.0,
            "cached_input": 0.1,
            "cache_write": None,
            "output": 4.0,
            "source": "config",
        }
        names = [f"{TARGET}-{number}" for number in range(1, 5)]
        document["targets"] = [{**first, "name": name} for name in names]
        document["names"] = {TARGET: names[0]}
        document["pools"] = [
            {
                "name": MODEL,
                "select": "weighted",
                "members": [
                    {"target": name, "model": None, "weight": 1.0 + number, "priority": 0}
                    for number, name in enumerate(names)
                ],
                "fallback": [{"name": TARGET, "on": ["rate_limit", "error", "timeout"]}],
                "retry": {
                    "attempts": 3,
                    "base_ms": 100,
                    "max_ms": 5000,
                    "on": ["rate_limit", "error", "timeout"],
                },
                "hedge": HEDGE if self.everything else None,
                "resume": "text",
                "affinity": True,
                "timeouts": None,
            }
        ]
        document["admission"] = ADMISSION if self.everything else None
        return document


class MesetaAgents(Meseta):
    """The same plane with a listener for agents, log on: a chain of so many, all of them the same mock."""

    def __init__(self, hops: int) -> None:
        super().__init__(log=True)
        self.ids = [f"agent-{number}" for number in range(1, hops + 1)]
        self.name = f"Meseta, {'one agent' if hops == 1 else f'chain of {hops} agents'}"

    def snapshot(self, setting: Setting) -> dict[str, Any]:
        """Resolve the same document with agents in the place of the model."""
        document = super().snapshot(setting)
        (target,) = document["targets"]
        agents = [(identity, f"agent/{identity}/1") for identity in self.ids]
        own = {"provider": "agent", "model": "*", "ask_stream_usage": False}
        document["targets"] = [{**target, "name": name, **own} for _, name in agents]
        document["names"], document["catalog"] = {}, []
        retry = {"attempts": 2, "base_ms": 100, "max_ms": 5000, "on": ["rate_limit", "error", "timeout"]}
        document["agents"] = [
            {
                "id": identity,
                "pool": {
                    "name": f"agent/{identity}",
                    "select": "least_busy",
                    "members": [{"target": name, "model": None, "weight": 1.0, "priority": 0}],
                    "fallback": [],
                    "retry": retry,
                    "hedge": None,
                    "resume": "off",
                    "affinity": False,
                    "timeouts": None,
                },
                "hold": None,
                "token_sha256": None,
                "tenant": "bench",
            }
            for identity, name in agents
        ]
        always: dict[str, object] = {"headers": {}, "tags": [], "tenants": []}
        always |= dict.fromkeys(("text", "min_tokens", "max_tokens", "tools", "images"))
        (listener,) = document["listeners"]
        listener["type"] = "agent"
        listener["orchestration"] = {
            "strategy": "chain",
            "agents": [{"id": identity, "description": identity, "examples": []} for identity in self.ids],
            "default": self.ids[0],
            "most": len(self.ids),
            "rules": [{"name": "all", "priority": 0, "use": self.ids, "when": always}],
            "depth": 4,
            "parallel": {
                "deadline_ms": 30000,
                "quorum": 0,
                "merge": {"type": "template", "text": "{answer}\n"},
            },
            "supervise": {"steps": 6, "ms": 120000, "usd": None, "final": None},
            "history": {"mode": "pass", "messages": 0, "tokens": 0},
        }
        return document


class MesetaBefore(Meseta):
    """An older build of the plane, log on: one that reads documents of format 3, before agents."""

    def __init__(self, binary: Path) -> None:
        super().__init__(log=True)
        self.binary = binary
        self.name = "Meseta, before"

    def prepare(self) -> str:
        """Return what tells the build from another: it cannot say its version itself."""
        try:
            digest = hashlib.sha256(self.binary.read_bytes()).hexdigest()
        except OSError as reason:
            raise AbsentError(f"--before cannot be read ({type(reason).__name__})") from reason
        return f"an older build, SHA-256 {digest[:12]}"

    def snapshot(self, setting: Setting) -> dict[str, Any]:
        """Resolve the same document in format 3."""
        document = super().snapshot(setting)
        document["format"] = 3
        for key in ("agents", "preferences", "chooser", "histories", "context_key", "latencies"):
            del document[key]
        del document["listeners"][0]["orchestration"]
        return document


class MesetaPackage(Contender):
    """What people run: `meseta up` of the installed package, Python included, log on."""

    name = "Meseta, meseta up"

    def prepare(self) -> str:
        """Install what is missing and return the version."""
        if not self._binary():
            raise AbsentError("not installed: no meseta command in .venv or on the path")
        version = first_match(r"(\d\S*)", output([self._binary(), "--version"]))
        # The interpreter beside the command is the one that has the package.
        python = str(Path(self._binary()).parent / "python")
        script = "import meseta._core as core; print(core.build_info()['profile'])"
        profile = output([python, "-c", script]).strip()
        return f"{version}, {profile} build" + ("" if profile == "release" else " (NOT COMPARABLE)")

    def _binary(self) -> str:
        installed = REPOSITORY / ".venv/bin/meseta"
        return str(installed) if installed.exists() else shutil.which("meseta") or ""

    def launch(self, setting: Setting) -> Launch:
        """Write the configuration and return the command."""
        path = setting.write(
            "meseta.yaml",
            f"""\
version: 1
listeners:
  - {{name: models, type: model, port: {setting.port}}}
model_providers:
  - {{model: openai/{MODEL}, base_url: "http://127.0.0.1:{setting.mock}/v1", access_key: none}}
model_aliases:
  {MODEL}: {{target: openai/{MODEL}}}
store: {{path: "{setting.folder}"}}
""",
        )
        workers = {"MESETA_WORKERS": str(setting.workers), "MESETA_HOME": str(setting.folder)}
        return Launch([self._binary(), "up", path], workers)
