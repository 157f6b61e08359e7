"""What people do with a cache, once for every surface: find, show, remove, undo, retry, status, why, doctor.

Functions from plain data to plain data; how it is shown belongs to the surfaces. Imports neither IPython nor click.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from awaitly_nb.doors import door

if TYPE_CHECKING:
    from awaitly_nb.manage.entries import (
        TRASH as TRASH,
        EntryDetails as EntryDetails,
        Removal as Removal,
        Trash as Trash,
        came_from as came_from,
        entry_data as entry_data,
        find as find,
        folder_stamp as folder_stamp,
        listed as listed,
        names as names,
        remove as remove,
        remove_one as remove_one,
        retry as retry,
        show as show,
        shown_key as shown_key,
        undo as undo,
    )
    from awaitly_nb.manage.health import Finding as Finding, config as config, doctor as doctor
    from awaitly_nb.manage.previews import Preview as Preview, preview as preview, shown_text as shown_text
    from awaitly_nb.manage.steps import (
        Explanation as Explanation,
        NameStatus as NameStatus,
        expected_s as expected_s,
        notebook_names as notebook_names,
        status as status,
        why as why,
    )
    from awaitly_nb.manage.vouching import (
        Trusted as Trusted,
        Vouched as Vouched,
        distrust as distrust,
        export_secret as export_secret,
        trust_secret as trust_secret,
        trusted as trusted,
        untrusted as untrusted,
        vouch as vouch,
    )
else:
    __getattr__ = door(
        __name__,
        {
            "entries": (
                "EntryDetails Removal TRASH Trash came_from entry_data find folder_stamp listed names remove "
                "remove_one retry show shown_key undo"
            ),
            "health": "Finding config doctor",
            "previews": "Preview preview shown_text",
            "steps": "Explanation NameStatus expected_s notebook_names status why",
            "vouching": "Trusted Vouched distrust export_secret trust_secret trusted untrusted vouch",
        },
    )
