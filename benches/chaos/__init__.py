"""A pool of providers that die, stall, refuse and change, and clients that must not notice (`make chaos`)."""
