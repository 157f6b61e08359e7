"""Step caches: results by key, with expiry. Written once, over any store.

Everything a cache stores beside the value rides in the result's `Mark` (`result.with_mark`), so that one
`set(key, result)` serves the engine, the user and every adapter.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from awaitly_nb.doors import door

if TYPE_CHECKING:
    from awaitly_nb.cache.create import (
        as_step_cache as as_step_cache,
    )
    from awaitly_nb.cache.create import (
        create_disk_cache as create_disk_cache,
    )
    from awaitly_nb.cache.create import (
        create_memory_cache as create_memory_cache,
    )
    from awaitly_nb.cache.create import (
        create_shared_cache as create_shared_cache,
    )
    from awaitly_nb.cache.create import (
        doctor as doctor,
    )
    from awaitly_nb.cache.create import (
        folder_delete as folder_delete,
    )
    from awaitly_nb.cache.create import (
        folder_entries as folder_entries,
    )
    from awaitly_nb.cache.create import (
        open_default as open_default,
    )
    from awaitly_nb.cache.create import (
        recorded as recorded,
    )
    from awaitly_nb.cache.entry import (
        SEPARATOR as SEPARATOR,
    )
    from awaitly_nb.cache.entry import (
        Entry as Entry,
    )
    from awaitly_nb.cache.entry import (
        Missed as Missed,
    )
    from awaitly_nb.cache.entry import (
        StepCache as StepCache,
    )
    from awaitly_nb.cache.entry import (
        entries_for as entries_for,
    )
    from awaitly_nb.cache.entry import (
        entry_of as entry_of,
    )
    from awaitly_nb.cache.entry import (
        key_begun_by as key_begun_by,
    )
    from awaitly_nb.cache.exchange import (
        Exported as Exported,
    )
    from awaitly_nb.cache.exchange import (
        export_entries as export_entries,
    )
    from awaitly_nb.cache.exchange import (
        import_entry as import_entry,
    )
    from awaitly_nb.cache.exchange import (
        staged as staged,
    )
    from awaitly_nb.cache.folder import (
        Folder as Folder,
    )
    from awaitly_nb.cache.folder import (
        open_folder as open_folder,
    )
    from awaitly_nb.cache.handle import (
        Recipe as Recipe,
    )
    from awaitly_nb.cache.handle import (
        Stored as Stored,
    )
    from awaitly_nb.cache.handle import (
        glance as glance,
    )
    from awaitly_nb.cache.handle import (
        handle_of as handle_of,
    )
    from awaitly_nb.cache.handle import (
        holds_handles as holds_handles,
    )
    from awaitly_nb.cache.handle import (
        loaded as loaded,
    )
    from awaitly_nb.cache.handle import (
        look_up_in as look_up_in,
    )
    from awaitly_nb.cache.handle import (
        recipe_of as recipe_of,
    )
    from awaitly_nb.cache.listing import (
        Listing as Listing,
    )
    from awaitly_nb.cache.listing import (
        folder_listing as folder_listing,
    )
    from awaitly_nb.cache.resigning import (
        Foreign as Foreign,
    )
    from awaitly_nb.cache.resigning import (
        Resigned as Resigned,
    )
    from awaitly_nb.cache.resigning import (
        foreign as foreign,
    )
    from awaitly_nb.cache.resigning import (
        objections as objections,
    )
    from awaitly_nb.cache.resigning import (
        resign as resign,
    )
    from awaitly_nb.cache.sealed import (
        open_sealed as open_sealed,
    )
else:
    __getattr__ = door(
        __name__,
        {
            "recorded": "create",
            "Entry": "entry",
            "Exported": "exchange",
            "Folder": "folder",
            "Foreign": "resigning",
            "Listing": "listing",
            "Missed": "entry",
            "Recipe": "handle",
            "Resigned": "resigning",
            "SEPARATOR": "entry",
            "StepCache": "entry",
            "Stored": "handle",
            "as_step_cache": "create",
            "create_disk_cache": "create",
            "create_memory_cache": "create",
            "create_shared_cache": "create",
            "doctor": "create",
            "entries_for": "entry",
            "entry_of": "entry",
            "export_entries": "exchange",
            "folder_delete": "create",
            "folder_entries": "create",
            "folder_listing": "listing",
            "foreign": "resigning",
            "glance": "handle",
            "handle_of": "handle",
            "holds_handles": "handle",
            "import_entry": "exchange",
            "key_begun_by": "entry",
            "loaded": "handle",
            "look_up_in": "handle",
            "objections": "resigning",
            "open_default": "create",
            "open_folder": "folder",
            "open_sealed": "sealed",
            "recipe_of": "handle",
            "resign": "resigning",
            "staged": "exchange",
        },
    )
