"""Notebooks of the battery end in real kernels as plain ones do, whatever the hash seed: a sample over all kinds.

`AWAITLY_NB_BATTERY=all` takes ten times as many.
"""

import os

import pytest

from tests.e2e.battery_kernels import compare, draw

pytestmark = [pytest.mark.kernel, pytest.mark.slow, pytest.mark.timeout(3600)]
SEED = 13
NUMBER = 400 if os.environ.get("AWAITLY_NB_BATTERY") == "all" else 40


def test_notebooks_end_in_fresh_kernels_as_a_plain_run():
    names = draw(NUMBER, SEED)
    assert len(set(names)) == NUMBER
    differs, cells, hits = compare(names)
    assert differs == []
    assert hits >= 0.8 * cells
