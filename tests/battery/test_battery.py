"""The battery: small notebooks end in the same state whether their cells run or hit, also after each cell is edited."""

import pytest

from tests.battery.notebooks import notebooks
from tests.battery.runner import check_all

pytestmark = [pytest.mark.slow, pytest.mark.timeout(900)]
NOTEBOOKS = notebooks()
# Cells that run although nothing was edited: two whose output another cell has overwritten, and one that changes what
# cannot be changed in place.
MAY_RUN = 0.1


def test_the_battery_is_as_large_as_it_says():
    assert len(NOTEBOOKS) >= 120
    assert all(cells[-1].find("OUT") >= 0 and len(cells) >= 2 for cells in NOTEBOOKS.values())


@pytest.mark.parametrize("share", range(4))
def test_notebooks_end_as_if_every_cell_had_run(share):
    results = check_all(dict(list(NOTEBOOKS.items())[share::4]))
    assert {result.name: result.silent for result in results if result.silent} == {}
    cells, hits = sum(result.cells for result in results), sum(result.hits for result in results)
    assert cells - hits <= MAY_RUN * cells, [(result.name, result.ran) for result in results if result.ran]


def test_notebooks_end_as_a_plain_run_where_nobody_wrote_a_magic():
    results = check_all(NOTEBOOKS, auto=True)
    assert {result.name: result.silent for result in results if result.silent} == {}
    cells, hits = sum(result.cells for result in results), sum(result.hits for result in results)
    assert hits >= 0.8 * cells
