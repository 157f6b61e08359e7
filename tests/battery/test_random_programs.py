"""Random notebooks, edited between two runs, end as a plain run; AWAITLY_NB_PROGRAMS says how many."""

import os

import pytest

from tests.battery.random_programs import check_programs

pytestmark = [pytest.mark.slow, pytest.mark.timeout(7200)]
COUNT = int(os.environ.get("AWAITLY_NB_PROGRAMS", "12"))


def test_random_notebooks_end_as_a_plain_run():
    endings = check_programs(range(COUNT))
    assert {ending.seed: ending.differs for ending in endings if ending.differs} == {}
    assert sum(ending.hits for ending in endings) >= 0.5 * sum(ending.cached for ending in endings)
