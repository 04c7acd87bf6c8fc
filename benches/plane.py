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
        self.auth: dict[str, object] = {"type": "keys", "sha256": [digest]} if key else {"type": "none"}

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
            "format": 2,
            "listeners": [self._listener(setting)],
            "targets": [self._target(setting)],
            "names": {TARGET: TARGET, MODEL: TARGET},
            "wildcards": {},
            "default": None,
            "catalog": [{"id": TARGET, "owned_by": "openai"}, {"id": MODEL, "owned_by": "openai"}],
            "log": log if self.log else None,
            "responses": None,
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
        }

    def _target(self, setting: Setting) -> dict[str, object]:
        return {
            "name": TARGET,
            "provider": "openai",
            "model": MODEL,
            **SPOKEN[self.target],
            "base_url": f"http://127.0.0.1:{setting.mock}/v1",
            "query": "",
            "auth": {"type": "none"},
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
        }


class MesetaTranslated(Meseta):
    """The same plane between a client and a target that speak different dialects, log on."""

    def __init__(self, *, client: str, target: str) -> None:
        super().__init__(log=True)
        self.api = client
        self.target = target
        self.name = f"Meseta, {TITLES[client]} to {TITLES[target]}"


class MesetaBefore(Meseta):
    """An older build of the plane, log on: one that reads documents of format 1, before translation."""

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
        """Resolve the same document in format 1."""
        document = super().snapshot(setting)
        document["format"] = 1
        del document["responses"]
        (target,) = document["targets"]
        (target["dialect"],) = target.pop("dialects")
        for key in ("paths", "default_headers", "max_output_tokens", "quirks"):
            del target[key]
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
