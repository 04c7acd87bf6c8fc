"""The life of the agents whose processes Meseta runs: start, probe, restart, scale, drain, stop.

Read `fleet.py` for the whole, `crew.py` for one agent, `instance.py` for one process. `plan.py`, `scale.py`,
`backoff.py` and `placement.py` decide and touch nothing; `process.py`, `output.py` and `probe.py` touch the
machine.
"""
