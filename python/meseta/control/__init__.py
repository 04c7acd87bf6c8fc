"""Seeing and steering a running plane: its control socket, what it answers, and what a new file would change.

Standard library only: all but the client lives in the process that serves.
"""
