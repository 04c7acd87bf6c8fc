"""One event loop on a thread of its own, on which synchronous code runs what is written asynchronously."""

from __future__ import annotations

import asyncio
import contextvars
import os
import threading
from concurrent.futures import Future
from typing import TYPE_CHECKING, Any, TypeVar

if TYPE_CHECKING:
    from collections.abc import Coroutine

Result = TypeVar("Result")

_lock = threading.Lock()
_loop: asyncio.AbstractEventLoop | None = None
_thread: threading.Thread | None = None
_process = 0


def run(work: Coroutine[Any, Any, Result]) -> Result:
    """Run `work` to its end, in the context of the caller, and return its result.

    When the caller is interrupted while it waits, the work is cancelled. Many threads may wait at once.
    """
    loop = _started()
    if threading.current_thread() is _thread:
        work.close()
        raise RuntimeError("This thread runs the event loop that would have to answer; use meseta.aio here.")
    future: Future[Result] = Future()
    begun: list[asyncio.Task[Result]] = []

    def begin() -> None:
        task = loop.create_task(work)
        begun.append(task)
        task.add_done_callback(lambda done: _hand_over(done, future))

    # The task copies the context that it is made in: this one.
    loop.call_soon_threadsafe(begin, context=contextvars.copy_context())
    try:
        return future.result()
    except BaseException:
        if not future.done():
            loop.call_soon_threadsafe(lambda: [task.cancel() for task in begun])
        raise


def _hand_over(done: asyncio.Task[Result], future: Future[Result]) -> None:
    if done.cancelled():
        future.cancel()
    elif (error := done.exception()) is not None:
        future.set_exception(error)
    else:
        future.set_result(done.result())


def _started() -> asyncio.AbstractEventLoop:
    global _loop, _thread, _process
    with _lock:
        # A child of a fork has the loop's memory but not its thread.
        if _loop is None or _process != os.getpid():
            _loop, _process = asyncio.new_event_loop(), os.getpid()
            _thread = threading.Thread(target=_loop.run_forever, name="meseta-sdk", daemon=True)
            _thread.start()
        return _loop
