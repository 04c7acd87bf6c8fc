from _typeshed import SupportsGetItem
from os import PathLike
from typing import SupportsFloat, SupportsIndex, final

__all__ = ["Chooser", "LogReader", "Plane", "Simulator", "build_info", "check_snapshot", "dialects", "error_codes", "features", "stages"]

@final
class Chooser:
    """
    Chooses among described routes by static embeddings. `routes` are names, descriptions and examples.

    `weights` and `tokenizer` are the two files of the embedder; a `ValueError` says why they cannot be used.
    """
    def __new__(cls, /, weights: str | PathLike[str], tokenizer: str | PathLike[str], routes: SupportsGetItem[int, tuple[str, str, SupportsGetItem[int, str]]]) -> Chooser: ...
    def choose(self, /, turn: str, thread: SupportsGetItem[int, str] | None = None) -> list[tuple[str, float]]:
        """
        Every route and the probability that the turn asks for it, the most probable first. `thread` is what the user said
        before, oldest first.
        """
    def choose_many(self, /, turns: SupportsGetItem[int, str]) -> list[list[tuple[str, float]]]:
        """
        `choose` for many turns without threads.
        """
    def decide(self, /, turn: str, thread: SupportsGetItem[int, str] | None = None, threshold: SupportsFloat | SupportsIndex = 0.5, margin: SupportsFloat | SupportsIndex = 0.1) -> list[str]:
        """
        The routes that the turn asks for, in the order in which it mentions them; none if nothing fits well enough.
        """

@final
class LogReader:
    """
    A read-only handle on a log. `query` runs one SELECT and returns its rows as tuples.
    """
    def __new__(cls, /, path: str) -> LogReader: ...
    def query(self, /, sql: str, parameters: "list[object] | tuple[object, ...]" = ...) -> "list[tuple[object, ...]]":
        """
        The rows of one SELECT. A query that takes longer than 30 seconds is stopped with a `LogError`.
        """

@final
class Plane:
    """
    A data plane that serves. It starts when it is made and stops when it is stopped or collected.

    `snapshot` is the resolved document as JSON text; `workers` is the number of worker threads.
    """
    def __new__(cls, /, snapshot: str, *, workers: SupportsIndex) -> Plane: ...
    def agents(self, /) -> "list[dict[str, object]]":
        """
        What is under way for every agent: `id`, `waiting` and `in_flight` requests, and `idle_ms` since one last came
        (none when none has).
        """
    def health(self, /) -> "list[dict[str, object]]":
        """
        The state of every target and of each of its keys. Times are milliseconds; `until_ms` counts from now.
        """
    def reset_health(self, /, target: str | None = None) -> int:
        """
        Forgets the failures and limits of one target, or of all of them; how many had any.
        """
    def stats(self, /) -> "dict[str, object]":
        """
        Counters and the addresses that are open.
        """
    def stop(self, /, *, drain_seconds: SupportsFloat | SupportsIndex) -> bool:
        """
        Stops: no new connections, requests in flight get `drain_seconds` to finish. True if all of them did.
        """
    def swap(self, /, snapshot: str) -> None:
        """
        Exchanges the snapshot, whole or not at all. Requests in flight end on the old one.
        """
    def wanted(self, /, timeout_seconds: SupportsFloat | SupportsIndex) -> list[str]:
        """
        The agents that requests wait for because they have no instance: as soon as somebody begins to wait, or when
        `timeout_seconds` are over.
        """

@final
class Simulator:
    """
    A simulated provider on a thread of its own. It serves from when it is made until it is stopped or collected.

    `port` 0 takes a free one; `script` is the JSON text of scripted answers.
    """
    def __new__(cls, /, *, address: str = "127.0.0.1", port: SupportsIndex = 0, script: str | None = None) -> Simulator: ...
    def stop(self, /) -> None:
        """
        Stops it; its connections end.
        """
    @property
    def url(self, /) -> str:
        """
        Its base URL, such as `http://127.0.0.1:12099/v1`.
        """

def build_info() -> dict[str, str]:
    """
    The version and the build profile (`debug` or `release`) of the native module.
    """

def check_snapshot(snapshot: str) -> str:
    """
    Parses a resolved document and returns it in canonical form; raises `SnapshotError` where a plane would.
    """

def dialects() -> list[tuple[str, str]]:
    """
    The dialects by name and title, in the order of every table of them.
    """

def error_codes() -> list[tuple[str, int, str, str, str, str]]:
    """
    Every error code of the request path: code, status, blame, retry, cause, cure.
    """

def features() -> "list[dict[str, object]]":
    """
    What becomes of every feature in every dialect: `name`, `note`, `fates` by dialect, `paths` by client dialect.
    """

def stages() -> list[str]:
    """
    The stages of a request, in the order in which they happen.
    """
