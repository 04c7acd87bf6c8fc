"""What the vendors' SDKs send again by themselves has the key of the first try; a new call has a new one."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING, Any

import pytest
from tests.python.sdk.conftest import Told

import meseta

if TYPE_CHECKING:
    from tests.python.sdk.conftest import Gateway

MESSAGES: Any = [{"role": "user", "content": "Hello"}]
FAILURE = Told(
    500, (("content-type", "application/json"), ("retry-after-ms", "1")), b'{"error": {"message": "No."}}'
)


def ask(vendor: str, connection: meseta.Connection, *, asynchronously: bool, times: int) -> None:
    package = pytest.importorskip(vendor)
    kwargs = connection.openai_kwargs() if vendor == "openai" else connection.anthropic_kwargs()

    def create(client: Any) -> Any:
        if vendor == "openai":
            return client.chat.completions.create(model="m", messages=MESSAGES)
        return client.messages.create(model="m", max_tokens=10, messages=MESSAGES)

    async def work() -> None:
        name = "AsyncOpenAI" if vendor == "openai" else "AsyncAnthropic"
        async with getattr(package, name)(**kwargs, max_retries=2) as client:
            for _ in range(times):
                with pytest.raises(package.InternalServerError):
                    await create(client)

    if asynchronously:
        asyncio.run(work())
        return
    with getattr(package, "OpenAI" if vendor == "openai" else "Anthropic")(**kwargs, max_retries=2) as client:
        for _ in range(times):
            with pytest.raises(package.InternalServerError):
                create(client)


@pytest.mark.parametrize("asynchronously", [False, True], ids=["sync", "async"])
@pytest.mark.parametrize("vendor", ["openai", "anthropic"])
def test_retries(gateway: Gateway, vendor: str, asynchronously: bool) -> None:
    gateway.reply = lambda asked: FAILURE
    with meseta.connect(gateway.url, "k") as connection, meseta.run():
        ask(vendor, connection, asynchronously=asynchronously, times=2)
    assert [asked.headers["x-stainless-retry-count"] for asked in gateway.asked] == list("012012")
    keys = [asked.headers["idempotency-key"] for asked in gateway.asked]
    first, second = keys[0], keys[3]
    assert keys == [first] * 3 + [second] * 3
    assert first != second
    assert len({asked.headers["traceparent"] for asked in gateway.asked}) == 1
