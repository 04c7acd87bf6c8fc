"""What a call through a gateway raises, and what an agent raises to answer with an error of its own."""

from __future__ import annotations

from meseta.errors import MesetaError


class CallError(MesetaError):
    """A call that brought no answer; `str()` is the gateway's or provider's own sentence.

    `code` is the gateway's stable code (`meseta explain CODE`), or `call.cannot_connect`, `call.timed_out`,
    `call.cut` (the stream ended before the answer did), `call.unreadable` (not what the API answers with).
    """

    def __init__(
        self,
        message: str,
        *,
        to: str,
        code: str,
        status: int | None = None,
        request_id: str | None = None,
        retry_after: float | None = None,
    ) -> None:
        super().__init__(message)
        self.to = to
        """Who was asked."""
        self.code = code
        self.status = status
        """The HTTP status, or None when no answer came."""
        self.request_id = request_id
        """The gateway's id of the request, for `meseta why`."""
        self.retry_after = retry_after
        """Seconds after which it may be tried again, where the gateway said so."""


class FanOutError(MesetaError):
    """Too few of those that were asked at once have answered; `errors` has the failures as asked."""

    code = "call.fan_out"

    def __init__(self, message: str, errors: list[CallError]) -> None:
        super().__init__(message)
        self.errors = errors


class AgentError(MesetaError):
    """Raise this in an agent to answer with `status` and a sentence that the caller may read.

    Any other exception becomes a 500 that says nothing of it, and is logged.
    """

    def __init__(self, message: str, *, status: int = 500, code: str = "agent.failed") -> None:
        if not 400 <= status <= 599:
            raise ValueError("The status of an error is between 400 and 599.")
        super().__init__(message)
        self.status = status
        self.code = code
