"""A folder on disk as a store; `database` is the only file of the package that imports diskcache."""

from __future__ import annotations

from awaitly_nb.stores.disk.database import DamagedDatabaseError
from awaitly_nb.stores.disk.store import DiskStore, Fetched

__all__ = ["DamagedDatabaseError", "DiskStore", "Fetched"]
