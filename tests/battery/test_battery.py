"""The battery: small notebooks end in the same state whether their cells run or hit, also after each cell is edited.

Of those by kind of state a part is run here, and a quarter of the others with each cell edited; with
`AWAITLY_NB_BATTERY=all` all are, which takes half an hour.
"""

import os
import random

import pytest

from tests.battery.kinds import GROUPS
from tests.battery.notebooks import notebooks
from tests.battery.runner import check_all
from tests.battery.sharing import SHARING
from tests.battery.situations import GROUPS_OF_SITUATIONS

pytestmark = [pytest.mark.slow, pytest.mark.timeout(3600)]
ALL = notebooks()
KINDS = {*GROUPS, *SHARING, *GROUPS_OF_SITUATIONS, "state"}
BY_KIND = {name: one for name, one in ALL.items() if name.partition(": ")[0] in KINDS}
NOTEBOOKS = {name: one for name, one in ALL.items() if name not in BY_KIND}
SAMPLE = 24
# Cells that run although nothing was edited: two whose output another cell has overwritten, and one that changes what
# cannot be changed in place.
MAY_RUN = 0.1


def test_the_battery_is_as_large_as_it_says():
    assert len(NOTEBOOKS) >= 120
    assert len(BY_KIND) >= 700
    assert all(one.cells[-1].find("OUT") >= 0 and len(one.cells) >= 2 for one in ALL.values())


@pytest.mark.parametrize("share", range(4))
def test_notebooks_end_as_if_every_cell_had_run(share):
    # With an edit of each cell in turn it takes four times as long.
    every = share == 0 or os.environ.get("AWAITLY_NB_BATTERY") == "all"
    results = check_all(dict(list(NOTEBOOKS.items())[share::4]), every=every)
    assert {result.name: result.silent for result in results if result.silent} == {}
    cells, hits = sum(result.cells for result in results), sum(result.hits for result in results)
    assert cells - hits <= MAY_RUN * cells, [(result.name, result.ran) for result in results if result.ran]


def test_notebooks_by_kind_of_state_end_as_if_every_cell_had_run():
    names = list(BY_KIND)
    if os.environ.get("AWAITLY_NB_BATTERY") != "all":
        names = random.Random(13).sample(names, SAMPLE)
    results = check_all({name: BY_KIND[name] for name in names}, every=False)
    assert {result.name: result.silent for result in results if result.silent} == {}
    assert [(result.name, why) for result in results for why in result.ran if why.endswith("are wanted")] == []


def test_notebooks_end_as_a_plain_run_where_nobody_wrote_a_magic():
    results = check_all(NOTEBOOKS, auto=True)
    assert {result.name: result.silent for result in results if result.silent} == {}
    cells, hits = sum(result.cells for result in results), sum(result.hits for result in results)
    assert hits >= 0.8 * cells
