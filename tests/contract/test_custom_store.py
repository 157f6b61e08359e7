"""The adapter of the manual's notebook passes the suites that it tells its readers to run."""

from pathlib import Path

import nbformat
import pytest

import awaitly_nb as aw
from awaitly_nb.testing.states import StateStoreSuite
from awaitly_nb.testing.stores import StoreSuite

NOTEBOOK = Path(__file__).parents[2] / "notebooks" / "custom_store.ipynb"


def _adapter():
    cells = nbformat.read(NOTEBOOK, as_version=4).cells
    source = next(cell.source for cell in cells if cell.source.startswith("# The adapter"))
    namespace = {}
    exec(compile(source, str(NOTEBOOK), "exec"), namespace)
    return namespace["FolderStore"]


FolderStore = _adapter()


class TestFolderStore(StoreSuite):
    @pytest.fixture
    def open_store(self, tmp_path):
        return lambda: FolderStore(tmp_path)


class TestStatesInFolderStore(StateStoreSuite):
    @pytest.fixture
    def open_store(self, tmp_path):
        return lambda **options: aw.StateStore(FolderStore(tmp_path), **options)
