"""Run it: `PYTHONPATH=benches python -m chaos`. Exit code 0 if all held, 1 if not."""

from __future__ import annotations

import argparse
import asyncio
import json
import random
import sys
import tempfile
from collections import Counter
from pathlib import Path

from table import machine_facts

from chaos import verdict as judging
from chaos.client import APIS, Ask, Clients, Outcome
from chaos.disturb import Scene
from chaos.page import write
from chaos.plan import Layout, draw
from chaos.verdict import Verdict
from chaos.world import Gateway, Target, Watchdog

WORDS = ["plain", "ridge", "gorge", "scree", "mesa", "basalt", "river", "cliff", "grass", "stone", "wind"]
LENGTH = 30
SHOWN = 20
"""Unanswered requests that are told of one by one."""


def arguments() -> argparse.Namespace:
    """Read the command line."""
    parser = argparse.ArgumentParser(prog="chaos", description=__doc__)
    parser.add_argument("--rate", type=float, default=200.0, help="requests a second (default %(default)s)")
    parser.add_argument("--duration", type=float, default=180.0, help="seconds (default %(default)s)")
    parser.add_argument("--targets", type=int, default=4, help="simulated providers (default %(default)s)")
    parser.add_argument("--seed", type=int, default=1, help="draws the requests and what goes wrong")
    parser.add_argument(
        "--single", action="store_true", help="one target and no pool, to see what that costs"
    )
    parser.add_argument("--calm", action="store_true", help="nothing goes wrong")
    parser.add_argument("--plan", action="store_true", help="print what would go wrong, and end")
    parser.add_argument("--json", metavar="FILE", type=Path, help="write all counts there")
    parser.add_argument("--page", metavar="FILE", type=Path, help="write a dated page there")
    parser.add_argument("--keep", metavar="FOLDER", type=Path, help="keep the processes' files there")
    return parser.parse_args()


async def send(given: argparse.Namespace, clients: Clients) -> list[Outcome]:
    """Send requests at their times, whatever becomes of those before them."""
    dice = random.Random(given.seed)
    loop = asyncio.get_running_loop()
    begun, due = loop.time(), 0.0
    tasks: list[asyncio.Task[Outcome]] = []
    while due < given.duration:
        number = len(tasks)
        words = " ".join(dice.choices(WORDS, k=LENGTH))
        api, stream = dice.choice(APIS), dice.random() < 0.5
        ask = Ask(number, api, stream, f"chaos{number:07d} {words}.")
        await asyncio.sleep(max(begun + due - loop.time(), 0))
        tasks.append(loop.create_task(clients.ask(ask)))
        due += dice.uniform(0.5, 1.5) / given.rate
    return list(await asyncio.gather(*tasks))


async def watch(gateway: Gateway, samples: list[int]) -> None:
    """Look at the plane's memory once a second."""
    while True:
        samples.append(gateway.memory())
        await asyncio.sleep(1)


async def run(given: argparse.Namespace, folder: Path) -> tuple[Verdict, Counter[str]]:
    """Start everything, run, stop everything, and judge."""
    command = [sys.executable, "-m", "meseta"]
    watchdog = Watchdog()
    targets = [Target(number, command, folder, watchdog) for number in range(given.targets)]
    gateway = Gateway(command, folder, targets, single=given.single)
    events = [] if given.calm else draw(given.seed, given.duration, given.targets)
    samples: list[int] = []
    scene = Scene(targets, gateway)
    verdict = Verdict()
    try:
        await asyncio.gather(*(target.start() for target in targets))
        gateway.write(Layout(tuple(range(given.targets)), (1,) * given.targets))
        await gateway.start(watchdog)
        clients = Clients(gateway.port)
        watching = asyncio.create_task(watch(gateway, samples))
        outcomes, _ = await asyncio.gather(send(given, clients), scene.play(events))
        watching.cancel()
        clients.close()
        await asyncio.gather(*(target.collect() for target in targets))
        code = await gateway.stop()
    finally:
        watchdog.close()
    verdict.reloads, verdict.reloads_refused = len(gateway.reload_seconds), gateway.refused()
    verdict.slowest_reload_seconds = max(gateway.reload_seconds, default=0.0)
    if code:
        verdict.problems.append(f"meseta up ended with {code}")
    if verdict.reloads_refused:
        verdict.problems.append(f"{verdict.reloads_refused} reloads were refused")
    judging.of_clients(verdict, outcomes)
    well = judging.of_log(verdict, gateway.store, outcomes)
    verdict.unanswered = judging.unanswered(gateway.store, outcomes)
    judging.of_providers(verdict, [record for target in targets for record in target.records], well)
    judging.of_memory(verdict, samples)
    return verdict, scene.counts


def main() -> int:
    """Run and report."""
    given = arguments()
    if given.plan:
        for event in draw(given.seed, given.duration, given.targets):
            print(event)
        return 0
    facts = machine_facts()
    with tempfile.TemporaryDirectory(prefix="meseta-chaos-") as temporary:
        folder = given.keep or Path(temporary)
        folder.mkdir(parents=True, exist_ok=True)
        verdict, counts = asyncio.run(run(given, folder))
    run_of = (
        f"seed {given.seed}, {given.rate:g} requests/s for {given.duration:g} s, {given.targets} targets"
        f"{', no pool' if given.single else ''}"
    )
    happened = ", ".join(f"{count} x {kind}" for kind, count in sorted(counts.items())) or "nothing"
    print(f"{run_of}; {happened}")
    print(judging.table(verdict))
    for line in verdict.unanswered[:SHOWN]:
        print(line, file=sys.stderr)
    for problem in verdict.problems:
        print(f"FAILED: {problem}", file=sys.stderr)
    if given.json:
        document = {**verdict.as_json(), "run": run_of, "disturbances": dict(counts), "facts": facts}
        given.json.write_text(json.dumps(document, indent=2) + "\n")
    if given.page:
        write(given.page, facts, f"{run_of}. What happened: {happened}.", verdict)
    return 1 if verdict.problems else 0


if __name__ == "__main__":
    sys.exit(main())
