"""`meseta sim`: the simulated provider as a server of its own."""

from __future__ import annotations

import json
import signal
import threading
from pathlib import Path
from typing import TYPE_CHECKING

from meseta.cli.terminal import CONFIGURATION, DONE, Terminal
from meseta.native import core

if TYPE_CHECKING:
    import argparse

    from meseta.settings import Settings

DEFAULT_PORT = 12099


def arguments(parser: argparse.ArgumentParser) -> None:
    """--address, --port, --script, --json."""
    parser.add_argument("--address", default="127.0.0.1", help="IP address to listen on (default 127.0.0.1)")
    parser.add_argument(
        "--port", type=int, default=DEFAULT_PORT, help="port, 0 for any (default %(default)s)"
    )
    parser.add_argument("--script", metavar="FILE", help="what to answer, as YAML or JSON")
    parser.add_argument("--json", action="store_true", help="print where it listens as JSON")


def run(given: argparse.Namespace, terminal: Terminal, settings: Settings) -> int:  # noqa: ARG001 (one shape for all)
    """Serve until SIGINT or SIGTERM."""
    script = None
    if given.script:
        from meseta.config.document import read_document

        try:
            content = Path(given.script).read_bytes()
        except OSError as error:
            terminal.fail(f"The script {given.script} cannot be read: {error.strerror}.")
            return CONFIGURATION
        document = read_document(content, given.script)
        if document.problems:
            terminal.problems(document.problems)
            return CONFIGURATION
        script = json.dumps(document.value)
    stopped = threading.Event()
    for number in (signal.SIGINT, signal.SIGTERM):
        signal.signal(number, lambda *_: stopped.set())
    simulator = core().Simulator(address=given.address, port=given.port, script=script)
    if given.json:
        terminal.json({"url": simulator.url})
    terminal.say(f"The simulated provider listens on {simulator.url}")
    terminal.say(
        f"Try: curl {simulator.url}/chat/completions -H 'content-type: application/json' "
        """-d '{"model": "echo", "messages": [{"role": "user", "content": "Hello"}]}'"""
    )
    stopped.wait()
    simulator.stop()
    return DONE
