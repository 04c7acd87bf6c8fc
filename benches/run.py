#!/usr/bin/env python3
"""Measure every gateway on this machine in one go and write a dated table. `README.md` gives the method."""

from __future__ import annotations

import argparse
import contextlib
import datetime
import fcntl
import json
import resource
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import table
from contender import (
    BENCHES,
    CHAT,
    MESSAGES,
    MODEL,
    REPOSITORY,
    WORK,
    AbsentError,
    Contender,
    Setting,
)
from contenders import ALL
from measure import GATEWAY_CORE, GENERATOR_CORE, FailedError, Generator, Running, answers, free_port
from plane import MesetaBefore

# The runs without a gateway, one for each API that clients speak.
DIRECT = {CHAT: "direct", MESSAGES: "direct-messages"}
GENERATOR = REPOSITORY / "target/release/generator"
TOKENS = 32
WARMUP = "0.5"


@dataclass(frozen=True)
class Cell:
    """One kind of run. A paired cell is preceded each time by the same run without a gateway."""

    options: tuple[str, ...]
    paired: bool = False
    memory: bool = False


STREAM = ("--stream", "--tokens", str(TOKENS))
CELLS = {
    "whole": Cell(("--connections", "64"), memory=True),
    "streamed": Cell(("--connections", "64", *STREAM), memory=True),
    "cpu": Cell(("--connections", "8")),
    "token_cpu": Cell(("--connections", "64", "--pace-us", "5000", *STREAM), memory=True),
    "latency": Cell(("--connections", "1"), paired=True),
    "first_token": Cell(("--connections", "1", *STREAM), paired=True),
    "token": Cell(("--connections", "1", "--pace-us", "2000", *STREAM), paired=True),
}


@dataclass
class Entrant:
    """A contender that takes part, or the reason why it does not."""

    name: str
    version: str = ""
    absent: str = ""
    start_ms: float = 0.0
    idle: dict[str, float] = field(default_factory=dict)
    cells: dict[str, list[dict[str, Any]]] = field(default_factory=dict)
    failures: list[str] = field(default_factory=list)
    streams: dict[str, Any] = field(default_factory=dict)


def main() -> int:
    """Run what the command line asks for."""
    options = read_options()
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(143))
    if shutil.which("taskset") is None:
        say("benches: taskset is missing; install util-linux")
        return 1
    WORK.mkdir(exist_ok=True)
    lock = (WORK / "lock").open("w")
    try:
        fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        say("benches: another run is under way; two would disturb each other")
        return 1
    raise_file_limit()
    if not options.no_build:
        build()
    if not GENERATOR.exists():
        say("benches: no generator; run cargo build --release -p generator")
        return 1
    facts = table.machine_facts()
    entrants = {DIRECT[CHAT]: Entrant("direct (no hop)", "the mock itself")}
    if any(contender.api == MESSAGES for contender in options.contenders.values()):
        entrants[DIRECT[MESSAGES]] = Entrant("direct, Messages (no hop)", "the mock itself")
    for key, contender in options.contenders.items():
        entrants[key] = prepare(contender)
    if not options.streams_only:
        measure_cells(entrants, options)
    if options.streams:
        measure_streams(entrants, options)
    facts["load average at the end"] = Path("/proc/loadavg").read_text().rsplit(" ", 2)[0]
    results = {
        "facts": facts,
        "settings": {"rounds": options.rounds, "seconds": options.seconds, "streams": options.streams},
        "entrants": {key: vars(entrant) for key, entrant in entrants.items()},
    }
    text = table.markdown(results)
    options.output.parent.mkdir(parents=True, exist_ok=True)
    options.output.write_text(text)
    options.output.with_suffix(".json").write_text(json.dumps(results, indent=1) + "\n")
    print(text)
    say(f"wrote {options.output} and its .json")
    return 0


def read_options() -> argparse.Namespace:
    """Parse the command line and fill in what follows from it."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--contenders", help=f"comma-separated, of {', '.join(ALL)} (default: all)")
    parser.add_argument(
        "--before",
        type=Path,
        metavar="BINARY",
        help="also measure this older build of the standalone plane, which reads snapshots of format 3",
    )
    parser.add_argument("--rounds", type=int, help="interleaved rounds (default 5)")
    parser.add_argument("--seconds", type=float, help="seconds of each run (default 3)")
    parser.add_argument(
        "--cells",
        help=f"comma-separated, of {', '.join(CELLS)} (default: all); the others stay empty on the page",
    )
    parser.add_argument("--quick", action="store_true", help="one round of one second; not for publication")
    parser.add_argument(
        "--streams", type=int, default=0, help="also hold this many paced streams, on all cores"
    )
    parser.add_argument("--streams-only", action="store_true", help="skip the table's other cells")
    parser.add_argument("--streams-seconds", type=float, default=20, help="how long (default 20)")
    parser.add_argument(
        "--streams-pace-us", type=int, default=50_000, help="between two tokens (default 50000)"
    )
    parser.add_argument("--no-build", action="store_true", help="use the binaries that are there")
    parser.add_argument(
        "--output", type=Path, help="default benches/results/DATE.md; with --quick the work folder"
    )
    options = parser.parse_args()
    options.cells = options.cells.split(",") if options.cells else list(CELLS)
    if unknown := set(options.cells) - set(CELLS):
        parser.error(f"no such cell: {', '.join(sorted(unknown))}; there are {', '.join(CELLS)}")
    names = options.contenders.split(",") if options.contenders else list(ALL)
    if unknown := set(names) - set(ALL):
        parser.error(f"no such contender: {', '.join(sorted(unknown))}; there are {', '.join(ALL)}")
    options.contenders = {name: ALL[name] for name in names}
    if options.before:
        if "meseta-on" not in options.contenders:
            parser.error("--before is compared with meseta-on, which --contenders leaves out")
        options.contenders["meseta-before"] = MesetaBefore(options.before.resolve())
    if options.streams_only and not options.streams:
        parser.error("--streams-only needs --streams N")
    options.rounds = options.rounds or (1 if options.quick else 5)
    options.seconds = options.seconds or (1.0 if options.quick else 3.0)
    name = "quick" if options.quick else datetime.date.today().isoformat()
    options.output = options.output or (WORK if options.quick else BENCHES / "results") / f"{name}.md"
    return options


def build() -> None:
    """Build the generator and, once its source is there, the standalone plane."""
    targets = [["-p", "generator"]]
    if (REPOSITORY / "crates/meseta-core/examples/standalone.rs").exists():
        targets.append(["-p", "meseta-core", "--example", "standalone"])
    for target in targets:
        done = subprocess.run(["cargo", "build", "--release", *target], cwd=REPOSITORY, check=False)
        if done.returncode:
            say(f"cargo build {' '.join(target)} failed; going on with what is there")


def prepare(contender: Contender) -> Entrant:
    """Install a contender or note why it is absent."""
    say(f"preparing {contender.name}")
    try:
        return Entrant(contender.name, contender.prepare())
    except AbsentError as reason:
        say(f"  absent: {reason}")
        return Entrant(contender.name, absent=str(reason))


@contextlib.contextmanager
def the_mock(core: int | None, *options: str) -> Iterator[Running]:
    """Run the mock on a free port."""
    port, log = free_port(), WORK / "run/mock.log"
    log.parent.mkdir(parents=True, exist_ok=True)
    command = [str(GENERATOR), "mock", "--port", str(port), "--tokens", *options]
    with Running(command, port=port, core=core, log=log, environment={}) as mock:
        mock.wait_until(lambda: answers(port, MODEL, [], CHAT), seconds=10)
        yield mock


@contextlib.contextmanager
def the_gateway(
    key: str, contender: Contender, mock: Running, core: int | None, workers: int, entrant: Entrant
) -> Iterator[Running]:
    """Run a contender on a free port; note its time to the first answer and its idle memory."""
    folder = WORK / "run" / key
    shutil.rmtree(folder, ignore_errors=True)
    folder.mkdir(parents=True)
    port = free_port()
    launch = contender.launch(Setting(folder, mock.port, port, workers))
    log = folder / "output.log"
    with Running(launch.command, port=port, core=core, log=log, environment=launch.environment) as gateway:
        headers = contender.request_headers(mock.port)
        entrant.start_ms = gateway.wait_until(
            lambda: answers(port, MODEL, headers, contender.api), seconds=120
        )
        time.sleep(1)
        entrant.idle = gateway.memory()
        yield gateway


def measure_cells(entrants: dict[str, Entrant], options: argparse.Namespace) -> None:
    """Every cell of the table, round after round, each cell for all contenders before the next."""
    generator = Generator(GENERATOR, MODEL, GENERATOR_CORE)
    with contextlib.ExitStack() as stack:
        mock = stack.enter_context(the_mock(GENERATOR_CORE, str(TOKENS)))
        gateways = start_all(entrants, options.contenders, mock, stack)
        for number in range(options.rounds):
            for name in options.cells:
                cell = CELLS[name]
                say(f"round {number + 1} of {options.rounds}: {name}")
                flags = [*cell.options, "--seconds", str(options.seconds), "--warmup", WARMUP]
                if not cell.paired:
                    for api, key in DIRECT.items():
                        if key in entrants:
                            direct = generator.run(mock.port, flags, api=api, gateway=None, mock=mock)
                            entrants[key].cells.setdefault(name, []).append(direct)
                # Every other round backwards: what a contender gains or loses by its place evens out.
                for key, gateway in list(gateways.items())[:: -1 if number % 2 else 1]:
                    api = options.contenders[key].api
                    wanted = [*flags, *header_flags(options.contenders[key], mock)]
                    if cell.paired:
                        direct = generator.run(mock.port, wanted, api=api, gateway=None, mock=mock)
                        entrants[DIRECT[api]].cells.setdefault(name, []).append(direct)
                    gateway.signal(signal.SIGCONT)
                    try:
                        report = generator.run(
                            gateway.port,
                            wanted,
                            api=api,
                            gateway=gateway,
                            mock=mock,
                            with_memory=cell.memory,
                        )
                    except FailedError as reason:
                        entrants[key].failures.append(f"{name}: {reason}")
                        continue
                    finally:
                        gateway.signal(signal.SIGSTOP)
                    if cell.paired:
                        report["direct"] = direct
                    entrants[key].cells.setdefault(name, []).append(report)


def start_all(
    entrants: dict[str, Entrant],
    contenders: dict[str, Contender],
    mock: Running,
    stack: contextlib.ExitStack,
) -> dict[str, Running]:
    """Start each contender and suspend it: only the one that is measured runs, so none disturbs another."""
    gateways = {}
    for key, contender in contenders.items():
        entrant = entrants[key]
        if entrant.absent:
            continue
        say(f"starting {entrant.name} {entrant.version}")
        try:
            gateway = stack.enter_context(the_gateway(key, contender, mock, GATEWAY_CORE, 1, entrant))
        except (FailedError, OSError) as reason:
            entrant.absent = f"did not start: {reason}"
            say(f"  absent: {entrant.absent}; its last words are in {WORK / 'run' / key / 'output.log'}")
            continue
        gateway.signal(signal.SIGSTOP)
        gateways[key] = gateway
    return gateways


def measure_streams(entrants: dict[str, Entrant], options: argparse.Namespace) -> None:
    """Many paced streams at once, on all cores, unpinned: one contender at a time, started afresh."""
    generator = Generator(GENERATOR, MODEL, None)
    flags = ["--connections", str(options.streams), "--stream", "--warmup", "3"]
    flags += ["--seconds", str(options.streams_seconds)]
    with the_mock(None, "200", "--pace-us", str(options.streams_pace_us)) as mock:
        for key, entrant in entrants.items():
            if entrant.absent:
                continue
            say(f"{options.streams} paced streams: {entrant.name}")
            try:
                contender = options.contenders.get(key)
                if contender is None:
                    api = next(api for api, direct in DIRECT.items() if direct == key)
                    entrant.streams = generator.run(mock.port, flags, api=api, gateway=None, mock=mock)
                    continue
                # A copy, so that the start with more workers does not overwrite what the table says of one.
                with the_gateway(key, contender, mock, None, 2, Entrant(entrant.name)) as gateway:
                    wanted = [*flags, *header_flags(contender, mock)]
                    entrant.streams = generator.run(
                        gateway.port,
                        wanted,
                        api=contender.api,
                        gateway=gateway,
                        mock=mock,
                        with_memory=True,
                    )
            except (FailedError, OSError) as reason:
                entrant.failures.append(f"streams: {reason}")


def header_flags(contender: Contender, mock: Running) -> list[str]:
    """Turn the request headers of one contender into flags of the generator."""
    return [word for header in contender.request_headers(mock.port) for word in ("--header", header)]


def raise_file_limit() -> None:
    """Thousands of streams need two descriptors each in the gateway; children inherit the limit."""
    _, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (hard, hard))
    if hard != resource.RLIM_INFINITY and hard < 16384:
        say(f"open files are limited to {hard}: many streams may fail for that alone (ulimit -n)")


def say(words: str) -> None:
    """Talk on standard error; the table goes to standard output."""
    print(words, file=sys.stderr, flush=True)


if __name__ == "__main__":
    sys.exit(main())
