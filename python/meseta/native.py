"""The one place that imports `meseta._core`, late and with a helpful error."""

from __future__ import annotations

import importlib
import os
import warnings
from typing import TYPE_CHECKING

from meseta.errors import NativeMissingError

if TYPE_CHECKING:
    import types

_warned = False


class DebugBuildWarning(UserWarning):
    """The native module was built without optimisation and is many times slower than a release build."""


def core() -> types.ModuleType:
    """Return `meseta._core`; raise NativeMissingError when it is not built.

    A debug build warns once per process, unless MESETA_ALLOW_DEBUG is 1.
    """
    global _warned
    try:
        module = importlib.import_module("meseta._core")
    except ModuleNotFoundError as error:
        if error.name != "meseta._core":
            raise
        raise NativeMissingError(
            "The native module meseta._core is not built for this Python. "
            "In a source tree run `make build`; otherwise reinstall the package."
        ) from None
    if not _warned and module.build_info().get("profile") == "debug":
        _warned = True
        if os.environ.get("MESETA_ALLOW_DEBUG") != "1":
            warnings.warn(
                "meseta is a debug build, many times slower than a release build. "
                "Build with `make release`, or set MESETA_ALLOW_DEBUG=1 to silence this.",
                DebugBuildWarning,
                stacklevel=2,
            )
    return module
