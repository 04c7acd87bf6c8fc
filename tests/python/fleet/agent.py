"""An agent of a few lines with vices to choose from; run as a process by the tests."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import threading
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

SLEEPER = [sys.executable, "-I", "-S", "-c", "import time; time.sleep(600)"]


class Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"

    def do_GET(self) -> None:
        if self.path == "/crash":
            os._exit(7)
        self.answer(503 if "--never-ready" in sys.argv or os.path.exists("unwell") else 200, {"active": 0})

    def do_POST(self) -> None:
        length = int(self.headers.get("content-length", 0))
        asked = json.loads(self.rfile.read(length) or b"{}")
        threading.Event().wait(float(os.environ.get("TAKES", "0")))
        message = {"role": "assistant", "content": f"I am {os.getpid()}, {sys.argv[-1]}."}
        choices = [{"index": 0, "message": message, "finish_reason": "stop"}]
        self.answer(
            200, {"object": "chat.completion", "model": asked.get("model", "agent"), "choices": choices}
        )

    def answer(self, status: int, body: object) -> None:
        content = json.dumps(body).encode()
        self.send_response(status)
        self.send_header("content-type", "application/json")
        self.send_header("content-length", str(len(content)))
        self.end_headers()
        self.wfile.write(content)

    def log_message(self, *_: object) -> None:
        pass


class Server(ThreadingHTTPServer):
    daemon_threads = True
    request_queue_size = 128


def pry(process: int) -> None:
    """Print the environment of this process and of those that it comes from, as far as that can be read."""
    while process > 1:
        try:
            with open(f"/proc/{process}/environ") as stream:
                print(f"environment of {process}: {stream.read()}", flush=True)
        except OSError as error:
            print(f"environment of {process}: {error.strerror}", flush=True)
            return
        with open(f"/proc/{process}/stat") as stream:
            process = int(stream.read().rpartition(")")[2].split()[1])


def main() -> None:
    if "--fails" in sys.argv:
        sys.exit("the fuel is \x1b[31mout" if "--why" in sys.argv else 3)
    if "--fails-later" in sys.argv and os.path.exists("broken"):
        sys.exit(3)
    if "--stubborn" in sys.argv:
        signal.signal(signal.SIGTERM, signal.SIG_IGN)
    if "--tells" in sys.argv:
        print(json.dumps(dict(os.environ)), flush=True)
    if "--pries" in sys.argv:
        pry(os.getppid())
    if "--children" in sys.argv:
        child = subprocess.Popen(SLEEPER)
        escaped = subprocess.Popen(SLEEPER, start_new_session=True)
        # As a daemon does it: its parent has ended, and it carries nothing of ours.
        detach = "import os, sys; closed = [(os.POSIX_SPAWN_CLOSE, 1)]; program = sys.argv[1:]; "
        detach += "print(os.posix_spawn(program[0], program, {}, file_actions=closed, setsid=True))"
        daemon = subprocess.run(
            [sys.executable, "-I", "-S", "-c", detach, *SLEEPER],
            env={},
            stdout=subprocess.PIPE,
            text=True,
            check=True,
        )
        print(f"children {child.pid} {escaped.pid} {daemon.stdout.strip()}", flush=True)
    if "--deaf" in sys.argv:
        threading.Event().wait()
    server = Server(("127.0.0.1", int(os.environ["PORT"])), Handler)
    print(f"listening on {server.server_address[1]}", flush=True)
    server.serve_forever()


main()
