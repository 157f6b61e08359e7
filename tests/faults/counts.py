"""How much of a campaign a run makes: a sample, or with `AWAITLY_NB_TESTS_WHOLE=1` all of what the attack made."""

from __future__ import annotations

import os

# Read here, at import: the tests' own environment leaves this project's variables out.
_WHOLE = os.environ.get("AWAITLY_NB_TESTS_WHOLE") == "1"


def count(*, sample: int, whole: int) -> int:
    """Return how many times something is tried."""
    return whole if _WHOLE else sample
