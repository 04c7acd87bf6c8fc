"""The flights agent."""

from collections.abc import AsyncIterator

from desk import NOWHERE, Messages, Trip, flights, say

import meseta


@meseta.agent(name="flights")
def find_flights(messages: Messages) -> AsyncIterator[str]:
    """Find flights to the traveller's destination."""
    trip = Trip.of(messages)
    if trip.to is None:
        return say(messages, NOWHERE)
    return say(messages, flights(trip.origin or "Berlin", trip.to, trip.day))


if __name__ == "__main__":
    meseta.serve(find_flights)
