"""Queries over the log. The data plane writes it; this package only reads, through the native reader."""
