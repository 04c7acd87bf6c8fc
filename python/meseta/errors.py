"""What Meseta raises. The native module raises these very classes: they are documented and typed here."""

from __future__ import annotations

__all__ = ["BindError", "LogError", "MesetaError", "NativeMissingError", "SnapshotError", "StoreError"]


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
