"""What holds of every cache folder, whatever happened to it."""

from __future__ import annotations

import contextlib
import os
import sqlite3
import warnings

import diskcache

from awaitly_nb.cache.folder import forget_folders


def assert_sound(folder):
    """End with the store's own invariants: diskcache finds nothing wrong, and no file is without a row."""
    forget_folders()
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", diskcache.UnknownFileWarning)
        with diskcache.Cache(os.fspath(folder)) as peer:
            found = [str(w.message) for w in peer.check() if not isinstance(w.message, diskcache.UnknownFileWarning)]
    assert found == []
    files = {os.path.relpath(path, folder) for path in folder.glob("??/*.val")}
    with contextlib.closing(sqlite3.connect(folder / "cache.db")) as connection, connection:
        assert files == {name for (name,) in connection.execute("SELECT filename FROM Cache WHERE filename NOT NULL")}
    connection.close()
