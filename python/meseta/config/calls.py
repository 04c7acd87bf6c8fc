"""What calls of models and calls of agents have in common: headers, time limits, health, probes and tries."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from meseta.config.headers import check_forwarded, check_header, looks_like_reference

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from meseta.config.document import Path as KeyPath
    from meseta.config.load import Loaded
    from meseta.config.model_agents import AgentProbe, AgentRetry
    from meseta.config.problems import Problem
    from meseta.config.traffic import Health, Probe, Retry, TargetLimits, Timeouts

PROBE_TIMEOUT_MS = 5_000


class CallSettings:
    """Turns them into their resolved form and collects what is wrong with them."""

    def __init__(self, loaded: Loaded, problems: list[Problem]) -> None:
        self.loaded = loaded
        self.problems = problems

    def headers(self, written: Mapping[str, str], path: KeyPath) -> dict[str, str]:
        """Return extra headers by their names in lower case; `path` is that of the mapping."""
        headers: dict[str, str] = {}
        for name, value in written.items():
            here = (*path, name)
            reason = check_header(name, value)
            if reason:
                self._error("config.invalid_value", here, f"The header {name[:60]!r} {reason}", key=True)
            elif name.lower() in headers:
                message = f"The header {name!r} is written twice; upper and lower case do not differ."
                self._error("config.duplicate", here, message, key=True)
            elif looks_like_reference(value):
                message = "The value of this header is sent as it is; nothing is expanded here."
                self.problems.append(self.loaded.warning("config.not_expanded", here, message))
            headers[name.lower()] = value
        return headers

    def forwarded(
        self, written: Sequence[str], path: KeyPath, begun: Sequence[str] = (), hint: str = ""
    ) -> list[str]:
        """Return the names of the client's headers that travel on, after those of `begun`.

        `hint` says what to do instead of letting a credential travel on.
        """
        names = list(begun)
        for number, name in enumerate(written):
            reason = check_forwarded(name)
            if reason:
                message = f"The header {name[:60]!r} {reason}"
                self._error("config.invalid_value", (*path, number), message, hint)
            elif name.lower() not in names:
                names.append(name.lower())
        return names

    def timeouts(self, written: Timeouts, total_ms: int | None = None) -> dict[str, int]:
        """Return the time limits of a call; `total_ms` caps all of them."""
        limits = {
            "connect_ms": written.connect,
            "first_token_ms": written.first_token,
            "idle_ms": written.idle,
            "total_ms": written.total,
        }
        return limits if total_ms is None else {name: min(limit, total_ms) for name, limit in limits.items()}

    def limits(self, written: TargetLimits, path: KeyPath) -> dict[str, int]:
        """Return how many calls there are at once."""
        if written.queue and not written.concurrency:
            message = "`queue` is of no use without `concurrency`: nobody waits where nothing is limited."
            self._error("config.conflict", (*path, "queue"), message, "Write `concurrency`.", key=True)
        return {
            "concurrency": written.concurrency,
            "queue": written.queue,
            "queue_ms": written.queue_timeout if written.queue else 0,
        }

    def health(self, written: Health, path: KeyPath) -> dict[str, int]:
        """Return when something is left alone for a while."""
        if written.rest > written.rest_max:
            message = "`rest` is longer than `rest_max`."
            self._error("config.conflict", path, message, "Make one of them fit.", key=True)
        return {
            "failures": written.failures,
            "error_percent": written.error_rate,
            "minimum_requests": written.minimum_requests,
            "window_ms": written.window,
            "rest_ms": written.rest,
            "rest_max_ms": written.rest_max,
            "ramp_ms": written.ramp,
        }

    def probe(self, written: Probe | AgentProbe | None, path: KeyPath) -> dict[str, Any] | None:
        """Return how it is asked whether somebody is there."""
        if written is None:
            return None
        if written.timeout is not None and written.timeout > written.interval:
            message = "`timeout` is longer than `interval`, so that one probe would run into the next."
            self._error("config.conflict", path, message, "Make one of them fit.", key=True)
        timeout = written.timeout or min(PROBE_TIMEOUT_MS, written.interval)
        return {"kind": written.kind, "interval_ms": written.interval, "timeout_ms": timeout}

    def retry(self, written: Retry | AgentRetry, path: KeyPath, *, check: bool = True) -> dict[str, Any]:
        """Return how often something is tried; `check` its pauses unless that was done."""
        if check and written.backoff > written.backoff_max:
            message = "`backoff` is longer than `backoff_max`."
            self._error("config.conflict", path, message, "Make one of them fit.", key=True)
        return {
            "attempts": written.attempts,
            "base_ms": written.backoff,
            "max_ms": written.backoff_max,
            "on": list(dict.fromkeys(written.on)),
        }

    def _error(self, code: str, path: KeyPath, message: str, hint: str = "", *, key: bool = False) -> None:
        self.problems.append(self.loaded.problem(code, path, message, hint, key=key))
