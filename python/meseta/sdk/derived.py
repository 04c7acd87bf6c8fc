"""What a function shows of itself that is made of a method of the asynchronous client.

Every call is written once, in `meseta.sdk.aio.Client`. The functions beside it and the synchronous forms are
made of that, and `help`, `inspect.signature`, type checkers and `pickle` shall not see a difference.
"""

from __future__ import annotations

from functools import update_wrapper
from inspect import signature
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Callable


def show_as_method(made: Callable[..., Any], method: Callable[..., Any]) -> None:
    """Give `made`, a method of a class of the same name, the name, words and parameters of `method`."""
    update_wrapper(made, method, assigned=("__name__", "__qualname__", "__doc__", "__annotations__"))


def show_as_function(made: Callable[..., Any], source: Callable[..., Any]) -> None:
    """Give `made`, a function, the name, the words and the parameters of `source`, without its `self`."""
    update_wrapper(made, source, assigned=("__name__", "__doc__", "__annotations__"))
    made.__qualname__ = made.__name__
    shown = signature(source)
    parameters = [parameter for name, parameter in shown.parameters.items() if name != "self"]
    made.__dict__["__signature__"] = shown.replace(parameters=parameters)
