"""`meseta doctor`: look at this machine and the configuration for what would go wrong."""

from __future__ import annotations

import socket
import ssl
import sys
import tempfile
import time
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Literal
from urllib.parse import urlsplit

from meseta.cli.files import usual_file
from meseta.cli.terminal import DONE, FAILED, Terminal
from meseta.config.environment import gather
from meseta.config.problems import ConfigError
from meseta.config.providers import PROVIDERS
from meseta.config.snapshot import Snapshot, usual_url, without_file
from meseta.errors import NativeMissingError
from meseta.native import core

if TYPE_CHECKING:
    import argparse

    from meseta.settings import Settings

PATIENCE_SECONDS = 5.0
OLDEST_PYTHON = (3, 11)


@dataclass(frozen=True)
class Finding:
    """What one check found."""

    check: str
    state: Literal["ok", "warn", "fail"]
    detail: str
    cure: str = ""


def arguments(parser: argparse.ArgumentParser) -> None:
    """FILE, --online, --json."""
    parser.add_argument(
        "file", nargs="?", metavar="FILE", help="the configuration (default: meseta.yaml, ...)"
    )
    parser.add_argument(
        "--online",
        action="store_true",
        help="also fetch credentials, and connect to every provider without any request",
    )
    parser.add_argument("--json", action="store_true", help="print the findings as JSON")


def run(given: argparse.Namespace, terminal: Terminal, settings: Settings) -> int:
    """Exit code 0 when nothing failed; warnings do not count."""
    findings = [_python(), _native()]
    snapshot, found = _configuration(given.file or usual_file(), settings, online=given.online)
    findings += found
    findings.append(_certificates())
    if snapshot is not None:
        findings += _ports(snapshot)
        findings.append(_log(snapshot))
        findings += _online(snapshot) if given.online else []
    if given.json:
        terminal.json([asdict(finding) for finding in findings])
    else:
        for finding in findings:
            colour = {"ok": "green", "warn": "yellow", "fail": "red"}[finding.state]
            state = terminal.style(finding.state.ljust(4), colour, sys.stdout)
            terminal.data(f"{state}  {finding.check:<13}  {finding.detail}")
            if finding.cure:
                terminal.data(f"{'':<21}{finding.cure}")
    return FAILED if any(finding.state == "fail" for finding in findings) else DONE


def _python() -> Finding:
    version = ".".join(str(part) for part in sys.version_info[:3])
    if sys.version_info[:2] < OLDEST_PYTHON:
        return Finding("python", "fail", f"Python {version} is too old.", "Install Python 3.11 or newer.")
    return Finding("python", "ok", f"Python {version}")


def _native() -> Finding:
    try:
        build = core().build_info()
    except NativeMissingError as error:
        return Finding("native", "fail", "The native module is not built.", str(error).split(". ", 1)[1])
    if build["profile"] == "debug":
        cure = "Build with `make release` before you measure or serve."
        return Finding(
            "native", "warn", f"meseta._core {build['version']} is a debug build, many times slower.", cure
        )
    return Finding("native", "ok", f"meseta._core {build['version']}, {build['profile']} build")


def _configuration(
    file: str | None, settings: Settings, *, online: bool
) -> tuple[Snapshot | None, list[Finding]]:
    if file is None:
        environment = gather(Path.cwd())
        found = [
            f"{provider.name} ({variable})"
            for provider in PROVIDERS
            for variable in provider.variables
            if environment.get(variable, "").strip() and usual_url(provider, environment)
        ]
        listed = ", ".join(found) if found else "none; the simulated provider still answers"
        folder = Path.cwd() / (settings.home or ".meseta")
        return without_file(environment, folder), [
            Finding(
                "configuration", "ok", "No file here; `meseta up` would serve the keys in the environment."
            ),
            Finding("keys", "ok" if found else "warn", f"Keys in the environment: {listed}."),
        ]
    from meseta.config.resolve import resolve_file

    try:
        resolved = resolve_file(file, home=settings.home, online=online)
    except ConfigError as error:
        count = len(error.errors)
        keys = [problem for problem in error.errors if problem.code == "config.unresolved_secret"]
        findings = [
            Finding(
                "configuration",
                "fail",
                f"{file} has {count} error{'s' * (count != 1)}; the first: {error.errors[0].message}",
                f"Run `meseta check {file}`.",
            )
        ]
        findings += [
            Finding("keys", "fail", f"Line {problem.line}: {problem.message}", problem.hint)
            for problem in keys
        ]
        return None, findings
    findings = [Finding("configuration", "ok", f"{file} is valid.")]
    findings += [
        Finding("configuration", "warn", f"Line {warning.line}: {warning.message}", warning.hint)
        for warning in resolved.warnings
    ]
    with_key = sum(
        target["credentials"][0]["type"] in {"header", "sigv4"} for target in resolved.snapshot["targets"]
    )
    findings.append(
        Finding("keys", "ok", f"{with_key} of {len(resolved.snapshot['targets'])} targets have a key.")
    )
    for held in resolved.leases:
        until = time.strftime("%Y-%m-%d %H:%M:%S UTC", time.gmtime(held.expires))
        findings.append(Finding("credentials", "ok", f"Those of {held.targets[0]} last until {until}."))
    return resolved.snapshot, findings


def _certificates() -> Finding:
    paths = ssl.get_default_verify_paths()
    found = ssl.create_default_context().cert_store_stats()["x509_ca"]
    if found or (paths.capath and any(Path(paths.capath).glob("*.0"))):
        return Finding("certificates", "ok", f"CA certificates in {paths.cafile or paths.capath}")
    cure = "Install the package ca-certificates, or set SSL_CERT_FILE to a bundle."
    return Finding(
        "certificates", "fail", "There are no CA certificates, so no provider can be called over TLS.", cure
    )


def _ports(snapshot: Snapshot) -> list[Finding]:
    findings = []
    for listener in snapshot["listeners"]:
        where = f"{listener['address']} port {listener['port']}"
        family = socket.AF_INET6 if ":" in listener["address"] else socket.AF_INET
        with socket.socket(family, socket.SOCK_STREAM) as probe:
            # As the plane does it: a port in TIME_WAIT is free.
            probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            try:
                probe.bind((listener["address"], listener["port"]))
            except OSError as error:
                cure = "Stop what uses it, or choose another with `port:` or `meseta up --listen-port`."
                findings.append(Finding("ports", "fail", f"{where} cannot be used: {error.strerror}.", cure))
            else:
                findings.append(Finding("ports", "ok", f"{where} is free."))
    return findings


def _log(snapshot: Snapshot) -> Finding:
    if snapshot["log"] is None:
        return Finding("log", "warn", "The log is off, so that nothing is recorded.")
    folder = Path(snapshot["log"]["path"]).parent
    # The plane creates the folder; until then its nearest parent tells whether it can.
    nearest = next((place for place in (folder, *folder.parents) if place.exists()), folder)
    try:
        with tempfile.TemporaryFile(dir=nearest):
            pass
    except OSError as error:
        cure = "Set `store.path` or MESETA_HOME to a directory that this user may write."
        return Finding("log", "fail", f"{nearest} cannot be written: {error.strerror}.", cure)
    return Finding("log", "ok", f"{folder} can be written.")


def _online(snapshot: Snapshot) -> list[Finding]:
    """Connect to each provider's host once; nothing is asked and no key is sent."""
    findings = []
    places = dict.fromkeys(
        target["base_url"] for target in snapshot["targets"] if ":0/" not in target["base_url"]
    )
    for origin in dict.fromkeys(url.split("/", 3)[2] + " " + url.split(":", 1)[0] for url in places):
        host, scheme = origin.split(" ")
        parts = urlsplit(f"{scheme}://{host}")
        port = parts.port or (443 if scheme == "https" else 80)
        try:
            with socket.create_connection(
                (parts.hostname or "", port), timeout=PATIENCE_SECONDS
            ) as connection:
                if scheme == "https":
                    ssl.create_default_context().wrap_socket(
                        connection, server_hostname=parts.hostname
                    ).close()
        except OSError as error:
            cure = "Check the name, the network, and any firewall or proxy between."
            findings.append(Finding("online", "fail", f"{host} cannot be reached: {error}.", cure))
        else:
            findings.append(Finding("online", "ok", f"{host} can be reached."))
    return findings
