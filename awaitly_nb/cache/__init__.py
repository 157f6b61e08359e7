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
        create_disk_cache as create_disk_cache,
        create_memory_cache as create_memory_cache,
        create_shared_cache as create_shared_cache,
        doctor as doctor,
        folder_delete as folder_delete,
        folder_entries as folder_entries,
        open_default as open_default,
        open_remote as open_remote,
        recorded as recorded,
    )
    from awaitly_nb.cache.entry import (
        SEPARATOR as SEPARATOR,
        Entry as Entry,
        Missed as Missed,
        StepCache as StepCache,
        entries_for as entries_for,
        entry_of as entry_of,
        key_begun_by as key_begun_by,
    )
    from awaitly_nb.cache.exchange import (
        Announced as Announced,
        Exported as Exported,
        Intake as Intake,
        announce_entries as announce_entries,
        check_entry as check_entry,
        export_entries as export_entries,
        made_here as made_here,
        staged as staged,
    )
    from awaitly_nb.cache.folder import Folder as Folder, open_folder as open_folder
    from awaitly_nb.cache.handle import (
        Recipe as Recipe,
        Stored as Stored,
        glance as glance,
        handle_of as handle_of,
        holds_handles as holds_handles,
        loaded as loaded,
        look_up_in as look_up_in,
        look_up_of as look_up_of,
        recipe_of as recipe_of,
    )
    from awaitly_nb.cache.listing import Listing as Listing, folder_listing as folder_listing
    from awaitly_nb.cache.published import Offer as Offer, Published as Published, Signers as Signers
    from awaitly_nb.cache.resigning import (
        Foreign as Foreign,
        Resigned as Resigned,
        foreign as foreign,
        objections as objections,
        resign as resign,
    )
    from awaitly_nb.cache.sealed import open_sealed as open_sealed
else:
    __getattr__ = door(
        __name__,
        {
            "create": (
                "as_step_cache create_disk_cache create_memory_cache create_shared_cache doctor folder_delete "
                "folder_entries open_default open_remote recorded"
            ),
            "entry": "Entry Missed SEPARATOR StepCache entries_for entry_of key_begun_by",
            "exchange": "Announced Exported Intake announce_entries check_entry export_entries made_here staged",
            "folder": "Folder open_folder",
            "handle": "Recipe Stored glance handle_of holds_handles loaded look_up_in look_up_of recipe_of",
            "listing": "Listing folder_listing",
            "published": "Offer Published Signers",
            "resigning": "Foreign Resigned foreign objections resign",
            "sealed": "open_sealed",
        },
    )
