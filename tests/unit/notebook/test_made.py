"""An entry says what its cell left, by fingerprint, so that a plan can go on from there."""

import json
from decimal import Decimal

import numpy as np
import pytest

from awaitly_nb.notebook.session.live import Live
from awaitly_nb.plans import plan
from tests.unit.counted_calls import calls_of

KINDS = {
    "values": ["%%awaitly a\nx = [1, 2]\ny = 3", "%%awaitly b\nz = sum(x) + y"],
    "a function of a cached cell": ["%%awaitly a\ndef f(v):\n    return v + 1\nx = 1", "%%awaitly b\nz = f(x)"],
    "changed in place": ["%%awaitly a\nx = [1]", "%%awaitly b\nx.append(2)", "%%awaitly c\nn = len(x)"],
    "seen under another name": [
        "%%awaitly a\nx = [1]\nbox = {'in': x}",
        "%%awaitly b\nx.append(2)",
        "%%awaitly c\nn = len(box['in'])",
    ],
    "a view": [
        "import numpy as np",
        "%%awaitly a\nx = np.arange(4)",
        "%%awaitly b\nv = x[:2]",
        "%%awaitly c\nv[0] = 99",
        "%%awaitly d\nt = int(x.sum())",
    ],
    "deleted": ["%%awaitly a\nx = 1\ny = 2", "%%awaitly b\ndel y", "%%awaitly c\nz = x"],
    "draws from a seeded generator": [
        "import numpy as np",
        "%%awaitly seed\nnp.random.seed(1); d = 1",
        "%%awaitly a\nx = np.random.rand(3)",
        "%%awaitly b\ny = np.random.rand(3)",
    ],
    "a frame": [
        "import pandas as pd",
        "%%awaitly a\ndf = pd.DataFrame({'k': [1, 2]})",
        "%%awaitly b\ndf['new'] = df.k * 2",
        "%%awaitly c\ntotal = int(df.new.sum())",
    ],
}


@pytest.fixture
def path(tmp_path, monkeypatch):
    monkeypatch.setenv("AWAITLY_NB_CACHE_DIR", str(tmp_path / "cache"))
    return tmp_path / "n.ipynb"


@pytest.mark.parametrize("cells", KINDS.values(), ids=KINDS)
def test_after_a_run_the_plan_is_all_hits(shell, path, cells):
    for source in cells:
        shell.run(source)
    path.write_text(json.dumps({"cells": [{"cell_type": "code", "source": source} for source in cells]}))
    told = plan(path)
    assert [cell.state for cell in told.cells if cell.state != "live"] == ["hit"] * sum("%%" in c for c in cells), told
    shell.forget()
    for source in cells:  # and so it is
        shell.run(source)
        assert "%%" not in source or "from cache" in shell.badge


def test_another_seed_is_followed_through_the_cells_that_draw(shell, path):
    cells = KINDS["draws from a seeded generator"]
    for source in cells:
        shell.run(source)
    path.write_text(
        json.dumps({"cells": [{"cell_type": "code", "source": s.replace("seed(1)", "seed(2)")} for s in cells]})
    )
    assert [cell.state for cell in plan(path).cells] == ["live", "run", "depends", "depends"]


def test_whether_plain_containers_lead_to_an_object_is_told_without_a_walk():
    inside, other = [1], [1]
    plain = {"rates": [(1, Decimal(1), {2.0, None}), inside], "": float("nan")}
    assert Live.plain_meets(plain, [inside]) is True
    assert Live.plain_meets(plain, [other]) is False
    assert Live.plain_meets(inside, [inside]) is True
    assert Live.plain_meets(3, [inside]) is False
    assert Live.plain_meets({"a": [lambda: inside]}, [inside]) is None  # it may lead there past the containers
    assert Live.plain_meets({"a": [np.array([inside], dtype=object)]}, [inside]) is None
    inside.append(inside)
    assert Live.plain_meets(inside, [other]) is None


def test_a_change_in_place_does_not_walk_through_thousands_of_others(shell):
    def calls(many):
        shell.forget()
        shell.run(f"from decimal import Decimal\nplans = {{i: (i, Decimal(i)) for i in range({many})}}\nx = [{many}]")
        return calls_of(lambda: shell.run("%%awaitly c\nx.append(2)"))

    calls(10)
    assert calls(3000) - calls(1000) < 2000 * 4
