"""Let the plan happen, but for what would leave nobody well: the machine may be slower than the plan."""

from __future__ import annotations

import asyncio
import signal
from collections import Counter
from typing import TYPE_CHECKING

from chaos.plan import RECOVERY_SECONDS

if TYPE_CHECKING:
    from collections.abc import Sequence

    from chaos.plan import Event, Layout
    from chaos.world import Gateway, Target

LEFT_OUT = "left out"
"""Counted where the machine was slower than the plan, and something would have made the last one ill."""


def somebody_well(layouts: Sequence[Layout], unwell: set[int]) -> bool:
    """Tell whether every version of the file that may be in force has a member that is well."""
    return all(set(layout.members) - unwell for layout in layouts)


class Scene:
    """Who is well, and what has happened."""

    def __init__(self, targets: list[Target], gateway: Gateway) -> None:
        self.targets = targets
        self.gateway = gateway
        self.unwell: set[int] = set()
        self.counts: Counter[str] = Counter()

    async def play(self, events: list[Event]) -> None:
        """Let everything happen at its time."""
        loop = asyncio.get_running_loop()
        begun = loop.time()
        async with asyncio.TaskGroup() as group:
            for event in events:
                await asyncio.sleep(max(begun + event.at - loop.time(), 0))
                if not self._may(event):
                    self.counts[LEFT_OUT] += 1
                    continue
                self.counts[event.kind] += 1
                if event.layout:
                    group.create_task(self.gateway.reload(event.layout))
                else:
                    self.unwell.add(event.target)
                    group.create_task(self._disturb(event))

    def _may(self, event: Event) -> bool:
        layouts = self.gateway.possible()
        if event.layout:
            # One at a time: signals that come together are one to a process.
            return len(layouts) == 1 and somebody_well([*layouts, event.layout], self.unwell)
        return event.target not in self.unwell and somebody_well(layouts, self.unwell | {event.target})

    async def _disturb(self, event: Event) -> None:
        target = self.targets[event.target]
        if event.kind == "kill":
            await target.collect()
            target.kill()
            await asyncio.sleep(event.seconds)
            await target.start()
        elif event.kind == "stall":
            target.signal(signal.SIGSTOP)
            await asyncio.sleep(event.seconds)
            target.signal(signal.SIGCONT)
        else:
            await target.order(event.directives, event.share)
            await asyncio.sleep(event.seconds)
            await target.calm()
        await asyncio.sleep(RECOVERY_SECONDS)
        self.unwell.discard(event.target)
