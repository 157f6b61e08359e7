"""Everybody who waits for a library is told of its import, once, and nobody after closing."""

from __future__ import annotations

import importlib
import sys

import pytest

from awaitly_nb.keys import ImportWatch


@pytest.fixture
def library(tmp_path, monkeypatch):
    (tmp_path / "waited_for.py").write_text("value = 1")
    monkeypatch.syspath_prepend(tmp_path)
    yield "waited_for"
    sys.modules.pop("waited_for", None)


def test_all_who_wait_for_a_library_are_called_in_order_once_it_is_there(library):
    told = []
    watches = [
        ImportWatch([library], lambda name, who=who: told.append((who, sys.modules[name].value))) for who in "abc"
    ]
    watches[1].close()
    module = importlib.import_module(library)
    assert told == [("a", 1), ("c", 1)]
    assert type(module.__spec__.loader).__module__ == "_frozen_importlib_external"
    for watch in watches:
        watch.close()
    importlib.reload(module)
    assert len(told) == 2
