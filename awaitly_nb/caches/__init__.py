"""Step caches: kept results by key, with expiry. Written once, over any store.

Everything a cache keeps beside the value rides in the result's `Mark` (`result.with_mark`), so that one
`set(key, result)` serves the engine, the user and every adapter.
"""

from __future__ import annotations

from awaitly_nb.caches.create import (
    as_step_cache,
    create_disk_cache,
    create_memory_cache,
    create_shared_cache,
    doctor,
    folder_delete,
    folder_entries,
    open_default,
)
from awaitly_nb.caches.entry import Entry, Missed, StepCache
from awaitly_nb.caches.listing import Listing, folder_listing

__all__ = [
    "Entry",
    "Listing",
    "Missed",
    "StepCache",
    "as_step_cache",
    "create_disk_cache",
    "create_memory_cache",
    "create_shared_cache",
    "doctor",
    "folder_delete",
    "folder_entries",
    "folder_listing",
    "open_default",
]
