"""Listeners as written to listeners as served."""

from __future__ import annotations

import hashlib
import ipaddress
import ssl
from typing import TYPE_CHECKING, Any, Literal

from meseta.config import snapshot
from meseta.config.model import DEFAULT_PORT, AgentListener, ClientKey, KeyAuth, Listener, Tls
from meseta.config.plano import PlanoListener
from meseta.config.secrets import SecretError
from meseta.config.targets import is_usable_name

if TYPE_CHECKING:
    from collections.abc import Mapping

    from meseta.config.document import Path as KeyPath
    from meseta.config.load import Loaded
    from meseta.config.plano import PlanoTraffic
    from meseta.config.problems import Problem
    from meseta.config.secrets import SecretReference

LARGEST_PEM = 1_048_576
"""Bytes; a longer certificate chain or key is cut and then refused."""

TENANT_DIGITS = 12
"""Of the SHA-256 of a key: they name the tenant of a key that has no other name."""


class ListenerBuilder:
    """Turns listeners into their resolved form and collects what is wrong with them."""

    def __init__(self, loaded: Loaded, environment: Mapping[str, str]) -> None:
        self.loaded = loaded
        self.environment = environment
        self.problems: list[Problem] = []
        self.listeners: list[snapshot.Listener] = []
        self.paths: list[KeyPath] = []
        self._concurrency: dict[str, int] = {}
        """What the keys of each tenant say that it may have under way."""

    def add(self, written: Listener | AgentListener, path: KeyPath) -> None:
        """Add a listener of a `version: 1` file."""
        served = self._begin(written.name, written.address, written.port, written.auth, path)
        served["type"] = written.type
        served["tls"] = self._tls(written.tls, path)
        limits, timeouts = written.limits, written.timeouts
        served["limits"] = {
            "body_bytes": limits.body,
            "head_bytes": limits.head,
            "head_count": limits.head_count,
            "connections": limits.connections,
            "streams_per_connection": limits.streams_per_connection,
        }
        served["timeouts"] = {"head_ms": timeouts.head, "body_ms": timeouts.body}
        self._keep(served, path)

    def add_plano(self, written: PlanoListener | PlanoTraffic, name: str, path: KeyPath) -> None:
        """Add a listener of a Plano file, which would listen to everybody and ask for no key."""
        address = written.address or "0.0.0.0"  # noqa: S104 (Plano's default, which the next lines replace)
        if written.auth is None and (written.address is None or _is_open(address)):
            address = "127.0.0.1"
            message = f"The listener {name!r} listens on 127.0.0.1, where Plano would listen on 0.0.0.0."
            hint = "To serve other machines, write `address: 0.0.0.0` and `auth`."
            if written.address is not None:
                message = (
                    f"The listener {name!r} asks for no key, so that it listens on 127.0.0.1 and not at "
                    f"{written.address}."
                )
                hint = "Add `auth: {keys: [$NAME]}`, or `auth: none` if something else guards it."
                path = (*path, "address")
            self.problems.append(self.loaded.warning("config.changed_default", path, message, hint))
            path = path[:-1] if written.address is not None else path
        port = DEFAULT_PORT if written.port is None else written.port
        served = self._begin(name, address, port, written.auth, path)
        if isinstance(written, PlanoListener) and written.type == "agent":
            served["type"] = "agent"
        self._keep(served, path)

    def add_implied(self, name: str, path: KeyPath) -> None:
        """Add the model listener that Plano has whether or not the file says so, unless its port is taken."""
        if any(served["port"] == DEFAULT_PORT for served in self.listeners):
            return
        message = f"As in Plano, models can be called at port {DEFAULT_PORT} too; here that is 127.0.0.1."
        hint = "Write a listener of type `model` to have it elsewhere."
        self.problems.append(self.loaded.warning("config.changed_default", path, message, hint, key=True))
        self._keep(self._begin(name, "127.0.0.1", DEFAULT_PORT, None, path), path)

    def _begin(
        self, name: str, address: str, port: int, auth: KeyAuth | Literal["none"] | None, path: KeyPath
    ) -> snapshot.Listener:
        if not is_usable_name(name):
            self._error(
                "config.invalid_value", (*path, "name"), "`name` must be ASCII without control characters."
            )
        served = snapshot.listener(name, address, port)
        try:
            number = ipaddress.ip_address("127.0.0.1" if address == "localhost" else address)
        except ValueError:
            message = "`address` must be an IP address such as 127.0.0.1, 0.0.0.0 or ::1."
            self._error("config.invalid_value", (*path, "address"), message)
            return served
        served["address"] = str(number)
        if auth is None and not number.is_loopback:
            message = f"The listener {name!r} is open to other machines at {address} and asks for no key."
            hint = "Add `auth: {keys: [$NAME]}`, or `auth: none` if something else guards it."
            self._error("config.unsafe_listener", (*path, "address"), message, hint)
        if isinstance(auth, KeyAuth):
            served["auth"] = {"type": "keys", "keys": self._keys(auth, (*path, "auth", "keys"))}
        return served

    def _keys(self, auth: KeyAuth, path: KeyPath) -> list[dict[str, Any]]:
        keys: dict[str, dict[str, Any]] = {}
        for number, written in enumerate(auth.keys):
            here = (*path, number)
            settings = written if isinstance(written, ClientKey) else ClientKey.model_construct(key=written)
            digest = self._digest(settings.key, (*here, "key") if settings is written else here)
            if settings.tenant is not None and not is_usable_name(settings.tenant):
                message = "`tenant` must be ASCII without control characters or outer spaces, and not empty."
                self._error("config.invalid_value", (*here, "tenant"), message)
            if digest is None:
                continue
            key = {
                "sha256": digest,
                "tenant": settings.tenant or digest[:TENANT_DIGITS],
                "priority": settings.priority,
                "concurrency": self._limit(settings, here),
            }
            if keys.setdefault(digest, key) != key:
                message = "This key stands here twice, and not with the same settings."
                self._error("config.duplicate", here, message, "Remove one of them.")
        return list(keys.values())

    def _limit(self, key: ClientKey, path: KeyPath) -> int:
        """Return what the tenant of a key may have under way, which all of its keys must agree on."""
        if key.concurrency is None or key.tenant is None:
            return key.concurrency or 0
        if self._concurrency.setdefault(key.tenant, key.concurrency) != key.concurrency:
            message = f"Another key says that the tenant {key.tenant!r} may have another number under way."
            hint = "Write the same `concurrency` for both, or for one of them only."
            self._error("config.conflict", (*path, "concurrency"), message, hint)
        return key.concurrency

    def agree(self) -> None:
        """Give every key the limit of its tenant, which may stand at another one."""
        for served in self.listeners:
            for key in served["auth"].get("keys", ()):
                key["concurrency"] = self._concurrency.get(key["tenant"], key["concurrency"])

    def _digest(self, reference: SecretReference, path: KeyPath) -> str | None:
        """Return the SHA-256 of a key; None when there is none, which is then a problem."""
        if reference.kind == "none":
            message = "A key cannot be `none`."
            self._error("config.invalid_value", path, message, "Write `auth: none` to ask for no key.")
            return None
        if reference.kind == "literal":
            message = "The key stands in the file in clear text."
            hint = "Write a reference: $NAME or file:/path."
            self.problems.append(self.loaded.warning("config.literal_secret", path, message, hint))
        if reference.kind == "file":
            self.loaded.reads(self.loaded.folder / reference.name)
        try:
            secret = reference.resolve(self.environment, self.loaded.folder)
        except SecretError as error:
            self._error("config.unresolved_secret", path, str(error))
            return None
        return hashlib.sha256(secret.reveal().encode()).hexdigest() if secret is not None else None

    def _tls(self, tls: Tls | None, path: KeyPath) -> dict[str, str] | None:
        if tls is None:
            return None
        texts: dict[str, str] = {}
        paths: dict[str, str] = {}
        for key, written in (("certificate", tls.certificate), ("private_key", tls.private_key)):
            full = self.loaded.folder / written
            paths[key] = str(full)
            self.loaded.reads(full)
            try:
                with full.open("rb") as stream:
                    texts[f"{key}_pem"] = stream.read(LARGEST_PEM).decode("ascii", "replace")
            except (OSError, ValueError) as error:
                reason = getattr(error, "strerror", None) or "the path cannot be"
                self._error("config.not_found", (*path, "tls", key), f"`{key}` cannot be read: {reason}.")
        if len(texts) == len(paths):
            self._check_pair(paths, (*path, "tls"))
        return texts

    def _check_pair(self, files: dict[str, str], path: KeyPath) -> None:
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        try:
            # The empty password keeps OpenSSL from asking for one on the terminal.
            context.load_cert_chain(files["certificate"], files["private_key"], password=lambda: "")
        except (ssl.SSLError, OSError, ValueError):
            message = "The certificate and the private key are not a pair in PEM form without a passphrase."
            self._error("config.invalid_value", path, message)

    def _keep(self, served: snapshot.Listener, path: KeyPath) -> None:
        for other in self.listeners:
            if other["name"] == served["name"]:
                message = f"The listener name {served['name']!r} is written twice."
                self._error("config.duplicate", (*path, "name"), message)
            if (
                served["port"]
                and other["port"] == served["port"]
                and _overlap(other["address"], served["address"])
            ):
                message = f"The listener {other['name']!r} has port {served['port']} already."
                self._error("config.conflict", (*path, "port"), message, "Give one of them another port.")
                break
        self.listeners.append(served)
        self.paths.append(path)

    def _error(self, code: str, path: KeyPath, message: str, hint: str = "") -> None:
        self.problems.append(self.loaded.problem(code, path, message, hint))


def _is_open(address: str) -> bool:
    """Whether others than this machine can reach an address. What is none is said elsewhere."""
    try:
        return not ipaddress.ip_address("127.0.0.1" if address == "localhost" else address).is_loopback
    except ValueError:
        return False


def _overlap(one: str, other: str) -> bool:
    everywhere = {"0.0.0.0", "::"}  # noqa: S104 (compared, not bound)
    return one == other or one in everywhere or other in everywhere
