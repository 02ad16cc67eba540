"""Repeats the tests of this directory with new examples until their time is over.

FUZZ_SECONDS (default: 600) is the time of all campaigns together. A failure prints the smallest example. It
then becomes an explicit example (`@example`) of the test.
"""

import functools
import os
import time
from collections.abc import Callable
from typing import ParamSpec

from hypothesis import HealthCheck, Phase, settings

CAMPAIGNS = 9
_SECONDS = float(os.environ.get("FUZZ_SECONDS", "600")) / CAMPAIGNS
_ROUND_EXAMPLES = 100

P = ParamSpec("P")

round_settings = settings(
    max_examples=_ROUND_EXAMPLES,
    deadline=None,
    database=None,
    derandomize=False,
    print_blob=True,
    suppress_health_check=list(HealthCheck),
    phases=(Phase.explicit, Phase.generate, Phase.shrink),
)


def campaign(test: Callable[P, None]) -> Callable[P, None]:
    """Repeat a test that Hypothesis runs, at least once."""

    run = round_settings(test)

    @functools.wraps(test)
    def repeat(*args: P.args, **kwargs: P.kwargs) -> None:
        end, rounds = time.monotonic() + _SECONDS, 0
        while rounds == 0 or time.monotonic() < end:
            run(*args, **kwargs)
            rounds += 1
        print(f"\n{test.__name__}: {rounds * _ROUND_EXAMPLES} examples", flush=True)

    return repeat
