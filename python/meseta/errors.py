"""What Meseta raises. The native module raises these very classes: they are documented and typed here."""

from __future__ import annotations

__all__ = [
    "BindError",
    "ControlError",
    "LogError",
    "MesetaError",
    "NativeMissingError",
    "NotRunningError",
    "SnapshotError",
    "StoreError",
]


class MesetaError(Exception):
    """What every exception of this package is; `str()` is a sentence that says what to do."""

    code = "meseta.error"
    """A stable, dotted name of the kind of failure."""


class NativeMissingError(MesetaError):
    """The native module `meseta._core` is not built for this interpreter."""

    code = "native.missing"


class SnapshotError(MesetaError):
    """A plane refused the resolved configuration."""

    code = "snapshot.refused"


class BindError(MesetaError):
    """A listener or the simulated provider could not open its address."""

    code = "listener.cannot_open"


class LogError(MesetaError):
    """The log could not be opened, or a query of it failed."""

    code = "log.unusable"


class StoreError(MesetaError):
    """The store of Responses conversations could not be opened."""

    code = "store.unusable"


class ControlError(MesetaError):
    """A plane's control socket could not be opened, or what was asked over it was not done."""

    code = "control.refused"


class NotRunningError(ControlError):
    """No plane answers at the control socket of a home."""

    code = "control.not_running"
