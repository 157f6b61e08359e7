"""The first resume hits: a cell stores a value of a library, the next one reads it, and both hit in a new process."""

import inspect
import warnings

import pytest

from tests.battery.runner import Parent
from tests.unit.keys.test_stable_fingerprints import fitted

pytestmark = [pytest.mark.slow, pytest.mark.timeout(1200)]

VALUES = {
    **{f"load_{name}": "sklearn.datasets" for name in ("iris", "wine", "digits", "diabetes", "breast_cancer")},
    "Figure": "plotly.graph_objects",
    "norm": "scipy.stats",
    "delayed": "dask",
}
MAKES = {
    "Figure": "Figure(data=[{'type': 'bar', 'x': [1, 2], 'y': [3, 4]}], layout={'title': {'text': 'sales'}})",
    "norm": "norm(loc=1, scale=2)",
    "delayed": "delayed(sum)([1, 2])",
}
FIRST = f"""import numpy as np, warnings
warnings.simplefilter("ignore")
X = np.random.RandomState(0).rand(24, 4)
CLASSES = np.arange(24) % 3
TARGET = X[:, 0] * 2
{inspect.getsource(fitted)}"""


def estimators():
    """Yield an estimator that can be fitted of each module of scikit-learn, with the module."""
    from sklearn.utils import all_estimators

    done = set()
    for name, cls in all_estimators():
        module = ".".join(cls.__module__.split(".")[:2])
        if module not in done and fitted(cls) is not None:
            done.add(module)
            yield name, module


def test_cells_that_make_and_read_values_of_libraries_hit_in_the_next_process(tmp_path):
    for library in ("sklearn", "plotly", "scipy", "dask"):
        pytest.importorskip(library)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        models = dict(estimators())
    assert len(models) >= 25
    cells = [FIRST]
    for name, module in VALUES.items():
        cells += [
            f"from {module} import {name}\nv_{name} = {MAKES.get(name, f'{name}()')}",
            f"t_{name} = repr(v_{name})[:50]",
        ]
    for name, module in models.items():
        cells += [
            f"from {module} import {name}\nm_{name} = fitted({name})",
            f"p_{name} = sorted(m_{name}.get_params())",
        ]
    cells.append("OUT = 1")
    work = {"cells": cells, "cached": True, "first": "%%awaitly c{}", "env": {}}
    work |= {"cache": str(tmp_path / "cache"), "folder": str(tmp_path)}
    with Parent(1) as one, Parent(2) as other:
        assert one.run(**work)[0] == "1"
        end, _, badges = other.run(**work)
    assert end == "1"
    missed = {cell: badge for cell, badge in zip(cells, badges, strict=False) if not badge.startswith("from cache")}
    assert missed == {}
    assert len(badges) == len(cells) - 1
