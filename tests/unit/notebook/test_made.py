"""An entry says what its cell left, by fingerprint, so that a plan can go on from there."""

import json

import pytest

from awaitly_nb.plans import plan

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
