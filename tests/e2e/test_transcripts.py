"""Play tests/transcripts/*.txt through the installed package; the format is described there."""

from __future__ import annotations

import copy
import gc
import http.client
import json
import queue
import re
import socket
import struct
import threading
import time
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest

from meseta import _core

FOLDER = Path(__file__).parent.parent / "transcripts"
TRANSCRIPTS = sorted(FOLDER.glob("*.txt"))
PATIENCE = 120.0


@dataclass
class Message:
    """A first line, headers, and a body as the transcript writes it."""

    start: str = ""
    headers: list[tuple[str, str]] = field(default_factory=list)
    body: str = ""

    @classmethod
    def parse(cls, content: str) -> Message:
        head, _, body = content.partition("\n\n")
        start, *lines = head.strip("\n").split("\n")
        pairs = [line.partition(":") for line in lines]
        return cls(start, [(name.strip(), value.strip()) for name, _, value in pairs], body)

    def header(self, name: str) -> str | None:
        return next((value for key, value in self.headers if key == name), None)


@dataclass
class Seen:
    """What one end saw."""

    start: str
    headers: dict[str, str]
    body: bytes
    broken: bool = False


def sections(text: str) -> list[tuple[str, str]]:
    parts = re.split(r"^=== (.*)\n", text, flags=re.MULTILINE)[1:]
    return [(name, content.removesuffix("\n")) for name, content in zip(parts[::2], parts[1::2], strict=True)]


def merge(into: Any, patch: Any) -> Any:
    """Apply a JSON merge patch (RFC 7396)."""
    if not isinstance(patch, dict):
        return patch
    merged = dict(into) if isinstance(into, dict) else {}
    for key, value in patch.items():
        if value is None:
            merged.pop(key, None)
        else:
            merged[key] = merge(merged.get(key), value)
    return merged


def packets(body: str) -> list[bytes | str]:
    """Split a body into packets, and endings such as `~fin`."""
    steps: list[bytes | str] = []
    packet = ""
    lines = body.split("\n")
    for number, line in enumerate(lines):
        if line in ("~", "~fin", "~rst", "~hang"):
            if packet:
                steps.append(packet.encode())
            packet = ""
            if line != "~":
                steps.append(line)
        elif line.endswith("\\"):
            packet += line[:-1]
        else:
            packet += line + ("\n" if number + 1 < len(lines) else "")
    if packet:
        steps.append(packet.encode())
    return steps


class Upstream:
    """A provider that answers each request with the next answer that it is given."""

    def __init__(self) -> None:
        self.listener = socket.create_server(("127.0.0.1", 0))
        self.address = f"127.0.0.1:{self.listener.getsockname()[1]}"
        self.answers: queue.Queue[Message | None] = queue.Queue()
        self.seen: queue.Queue[Seen] = queue.Queue()
        self.thread = threading.Thread(target=self._serve, daemon=True)
        self.thread.start()

    def close(self) -> None:
        self.answers.put(None)
        self.thread.join(PATIENCE)
        self.listener.close()

    def _serve(self) -> None:
        connection: socket.socket | None = None
        kept: list[socket.socket] = []
        while (answer := self.answers.get()) is not None:
            while True:
                if connection is None:
                    connection = self.listener.accept()[0]
                    connection.settimeout(PATIENCE)
                request = self._read(connection)
                if request is not None:
                    break
                connection.close()
                connection = None
            self.seen.put(request)
            if not self._perform(connection, answer, kept):
                connection = None
        for left in [*kept, *([connection] if connection else [])]:
            left.close()

    def _read(self, connection: socket.socket) -> Seen | None:
        data = b""
        while b"\r\n\r\n" not in data:
            more = connection.recv(65536)
            if not more:
                return None
            data += more
        head, _, body = data.partition(b"\r\n\r\n")
        first, *lines = head.decode().split("\r\n")
        headers = {name.lower(): value.strip() for name, _, value in (line.partition(":") for line in lines)}
        while len(body) < int(headers.get("content-length", "0")):
            body += connection.recv(65536)
        return Seen(" ".join(first.split(" ")[:2]), headers, body)

    def _perform(self, connection: socket.socket, answer: Message, kept: list[socket.socket]) -> bool:
        scripted = answer.start if answer.start.startswith("~") else answer.body
        steps = packets(scripted)
        chunked = (answer.header("content-type") or "").startswith("text/event-stream")
        if scripted is answer.body:
            head = f"HTTP/1.1 {answer.start} \r\n" + "".join(f"{n}: {v}\r\n" for n, v in answer.headers)
            cut = any(isinstance(step, str) for step in steps)
            size = sum(len(step) for step in steps if isinstance(step, bytes)) + cut
            head += "transfer-encoding: chunked\r\n\r\n" if chunked else f"content-length: {size}\r\n\r\n"
            connection.sendall(head.encode())
        for step in steps:
            if step == "~hang":
                kept.append(connection)
                return False
            if step == "~rst":
                connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
            if isinstance(step, str):
                connection.close()
                return False
            connection.sendall(b"%x\r\n%s\r\n" % (len(step), step) if chunked else step)
        if chunked:
            connection.sendall(b"0\r\n\r\n")
        return True


def ask(client: http.client.HTTPConnection, message: Message) -> Seen:
    method, path = message.start.split(" ")
    client.putrequest(method, path, skip_accept_encoding=True)
    for name, value in message.headers:
        client.putheader(name, value)
    body = message.body.encode()
    client.putheader("content-length", str(len(body)))
    client.endheaders(body)
    response = client.getresponse()
    headers = {name.lower(): value for name, value in response.getheaders()}
    try:
        return Seen(str(response.status), headers, response.read())
    except http.client.IncompleteRead as error:
        return Seen(str(response.status), headers, error.partial, broken=True)
    finally:
        response.close()


def compare(expected: Message, seen: Seen, replacements: dict[str, str]) -> None:
    def fill(text: str) -> str:
        for name, value in replacements.items():
            text = text.replace(name, value)
        return text

    assert seen.start == expected.start, seen.body.decode()
    for name, value in expected.headers:
        if name.startswith("!"):
            assert name[1:] not in seen.headers
        elif value == "*":
            assert name in seen.headers
        else:
            assert seen.headers.get(name) == fill(value), name
    body = fill(expected.body.removesuffix("~broken"))
    pattern = "[^\n]*?".join(re.escape(piece) for piece in body.split("<any>"))
    if re.fullmatch(pattern, seen.body.decode()) is None:
        assert seen.body.decode() == body
    assert seen.broken == expected.body.endswith("~broken")


def record(plane: _core.Plane, path: Path, columns: list[str], request: str) -> tuple[object, ...]:
    """Read the row of a request, or of the last one before it that left a row."""
    number = int(request.removeprefix("req_"), 16)
    deadline = time.monotonic() + PATIENCE
    stats: Any = plane.stats()
    while stats["log"]["queued"]:
        # Until then the last row that is there may be that of an earlier request.
        assert time.monotonic() < deadline, "the log was not written"
        time.sleep(0.002)
        stats = plane.stats()
    reader = _core.LogReader(str(path))
    while True:
        rows = reader.query(
            f"SELECT {', '.join(columns)} FROM requests WHERE id <= ? ORDER BY id DESC LIMIT 1", [number]
        )
        if rows:
            return rows[0]
        assert time.monotonic() < deadline, "the log was not written"
        time.sleep(0.002)


@pytest.mark.parametrize("path", TRANSCRIPTS, ids=lambda path: path.stem)
def test_transcript(path: Path, tmp_path: Path) -> None:
    """Both ends see what the transcript says, and the log has its row."""
    document = json.loads((FOLDER / "base.json").read_text())
    script = sections(path.read_text())
    patches = {
        name: json.loads(content) for name, content in script if name in ("config", "listener", "target")
    }
    document["listeners"][0] = merge(document["listeners"][0], patches.get("listener", {}))
    document["targets"][0] = merge(document["targets"][0], patches.get("target", {}))
    document = merge(copy.deepcopy(document), patches.get("config", {}))
    upstream = Upstream()
    log = tmp_path / "log.db"
    snapshot = json.dumps(document).replace("<upstream>", upstream.address).replace("<log>", str(log))
    plane = _core.Plane(snapshot, workers=1)
    stats: Any = plane.stats()
    client = http.client.HTTPConnection("127.0.0.1", stats["listeners"][0]["port"], timeout=PATIENCE)
    exchanges: list[dict[str, str]] = []
    for name, content in script:
        if name == "client sends":
            exchanges.append({})
        if exchanges:
            exchanges[-1][name] = content
    assert exchanges
    for exchange in exchanges:
        if "upstream sends" in exchange:
            upstream.answers.put(Message.parse(exchange["upstream sends"]))
        seen = ask(client, Message.parse(exchange["client sends"]))
        request_id = seen.headers["x-meseta-request-id"]
        replacements = {
            "<request_id>": request_id,
            "<upstream>": upstream.address,
            "<snapshot>": stats["snapshot"],
        }
        if "upstream receives" in exchange:
            expected = Message.parse(exchange["upstream receives"])
            compare(expected, upstream.seen.get(timeout=PATIENCE), replacements)
        assert upstream.seen.empty(), "the request reached the provider"
        compare(Message.parse(exchange["client receives"]), seen, replacements)
        if "record" in exchange:
            rows = [line.partition(" ") for line in exchange["record"].splitlines() if " " in line]
            found = record(plane, log, [column for column, _, _ in rows], request_id)
            for (column, _, value), cell in zip(rows, found, strict=True):
                shown = "-" if cell is None else str(cell)
                if column == "stages":
                    shown = " ".join(stage.partition("=")[0] for stage in shown.split(" "))
                assert shown == value, column
    client.close()
    assert plane.stop(drain_seconds=5)
    upstream.close()
    gc.collect()
