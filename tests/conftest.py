"""What holds for every test.

Property tests draw the same examples in every run, and none of them fails because a machine is slow: a change
lands or does not for what it is. `pytest --hypothesis-profile=default` draws others.
"""

from __future__ import annotations

from hypothesis import HealthCheck, settings

settings.register_profile(
    "same", derandomize=True, deadline=None, suppress_health_check=[HealthCheck.too_slow]
)
settings.load_profile("same")
