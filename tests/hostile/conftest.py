"""
Hypothesis for these tests: in `make test` the same few examples each time, with HYPOTHESIS_PROFILE=long thousands more.

Nothing is remembered from one run to the next: what was found is a plain test, named after what it would break.
"""

import os

from hypothesis import HealthCheck, settings

settings.register_profile(
    "gate",
    max_examples=40,
    derandomize=True,
    database=None,
    deadline=None,
    suppress_health_check=[HealthCheck.too_slow, HealthCheck.function_scoped_fixture],
)
settings.register_profile("long", settings.get_profile("gate"), max_examples=2000, derandomize=False)
settings.load_profile(os.environ.get("HYPOTHESIS_PROFILE", "gate"))
