"""The port to whatever runs instances of agents: processes of this machine now."""

from __future__ import annotations

from typing import TYPE_CHECKING, Protocol

LOOPBACK = "127.0.0.1"
"""Where instances of this machine listen, and where they are asked."""

if TYPE_CHECKING:
    import asyncio
    from collections.abc import Mapping

    from meseta.config.fleet import AgentSpec


class CannotStartError(Exception):
    """An instance could not be started; `str()` says why, as part of a sentence."""


class Handle(Protocol):
    """One running instance, used on the loop that it was started on."""

    @property
    def port(self) -> int:
        """Where it is to listen, on the loopback address."""

    @property
    def pid(self) -> int | None:
        """Its process, where it is one of this machine."""

    @property
    def ended(self) -> asyncio.Future[str]:
        """Done when it has ended by itself or otherwise; says how, as part of a sentence."""

    async def stop(self, grace_seconds: float) -> bool:
        """Ask it to end, wait, then end it; nothing of it is left afterwards. False if it had to be ended."""


class Driver(Protocol):
    """Starts instances."""

    def start(self, spec: AgentSpec, number: int, environment: Mapping[str, str]) -> Handle:
        """Start instance `number` of an agent; raise CannotStartError.

        `environment` is what Meseta tells every instance; the driver adds what its own kind needs.
        """

    def check(self) -> None:
        """See now and then that nothing would be left behind; raise OSError when that cannot be."""

    def close(self) -> None:
        """End whatever may be left of any instance."""
