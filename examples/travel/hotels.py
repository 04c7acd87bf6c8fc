"""The hotels agent."""

from collections.abc import AsyncIterator

from desk import NOWHERE, Messages, Trip, hotels, say

import meseta


@meseta.agent(name="hotels")
def find_hotels(messages: Messages) -> AsyncIterator[str]:
    """Find hotels at the traveller's destination."""
    trip = Trip.of(messages)
    return say(messages, hotels(trip.to) if trip.to else NOWHERE)


if __name__ == "__main__":
    meseta.serve(find_hotels)
