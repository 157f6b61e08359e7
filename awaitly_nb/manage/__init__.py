"""What people do with a cache, once for every surface: find, show, remove, undo, retry, status, why, doctor.

Functions from plain data to plain data; how it is shown belongs to the surfaces. Imports neither IPython nor click.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from awaitly_nb.doors import door

if TYPE_CHECKING:
    from awaitly_nb.manage.entries import TRASH as TRASH
    from awaitly_nb.manage.entries import EntryDetails as EntryDetails
    from awaitly_nb.manage.entries import Removal as Removal
    from awaitly_nb.manage.entries import Trash as Trash
    from awaitly_nb.manage.entries import entry_data as entry_data
    from awaitly_nb.manage.entries import find as find
    from awaitly_nb.manage.entries import folder_stamp as folder_stamp
    from awaitly_nb.manage.entries import listed as listed
    from awaitly_nb.manage.entries import names as names
    from awaitly_nb.manage.entries import remove as remove
    from awaitly_nb.manage.entries import remove_one as remove_one
    from awaitly_nb.manage.entries import retry as retry
    from awaitly_nb.manage.entries import show as show
    from awaitly_nb.manage.entries import shown_key as shown_key
    from awaitly_nb.manage.entries import undo as undo
    from awaitly_nb.manage.health import Finding as Finding
    from awaitly_nb.manage.health import config as config
    from awaitly_nb.manage.health import doctor as doctor
    from awaitly_nb.manage.previews import Preview as Preview
    from awaitly_nb.manage.previews import preview as preview
    from awaitly_nb.manage.previews import shown_text as shown_text
    from awaitly_nb.manage.steps import Explanation as Explanation
    from awaitly_nb.manage.steps import NameStatus as NameStatus
    from awaitly_nb.manage.steps import expected_s as expected_s
    from awaitly_nb.manage.steps import notebook_names as notebook_names
    from awaitly_nb.manage.steps import status as status
    from awaitly_nb.manage.steps import why as why
    from awaitly_nb.manage.terms import STATES as STATES
    from awaitly_nb.manage.terms import WORDS as WORDS
    from awaitly_nb.manage.terms import counted as counted
    from awaitly_nb.manage.terms import fit_width as fit_width
    from awaitly_nb.manage.terms import middle_cut as middle_cut
    from awaitly_nb.manage.terms import short_key as short_key
    from awaitly_nb.manage.terms import show_computed as show_computed
    from awaitly_nb.manage.terms import show_took as show_took
    from awaitly_nb.manage.terms import show_when as show_when
    from awaitly_nb.manage.vouching import Trusted as Trusted
    from awaitly_nb.manage.vouching import Vouched as Vouched
    from awaitly_nb.manage.vouching import distrust as distrust
    from awaitly_nb.manage.vouching import export_secret as export_secret
    from awaitly_nb.manage.vouching import trust_secret as trust_secret
    from awaitly_nb.manage.vouching import trusted as trusted
    from awaitly_nb.manage.vouching import untrusted as untrusted
    from awaitly_nb.manage.vouching import vouch as vouch
else:
    __getattr__ = door(
        __name__,
        {
            "EntryDetails": "entries",
            "Explanation": "steps",
            "Finding": "health",
            "NameStatus": "steps",
            "Preview": "previews",
            "Removal": "entries",
            "STATES": "terms",
            "TRASH": "entries",
            "Trash": "entries",
            "Trusted": "vouching",
            "Vouched": "vouching",
            "WORDS": "terms",
            "config": "health",
            "counted": "terms",
            "distrust": "vouching",
            "doctor": "health",
            "entry_data": "entries",
            "expected_s": "steps",
            "export_secret": "vouching",
            "find": "entries",
            "fit_width": "terms",
            "folder_stamp": "entries",
            "listed": "entries",
            "middle_cut": "terms",
            "names": "entries",
            "notebook_names": "steps",
            "preview": "previews",
            "remove": "entries",
            "remove_one": "entries",
            "retry": "entries",
            "short_key": "terms",
            "show": "entries",
            "show_computed": "terms",
            "show_took": "terms",
            "show_when": "terms",
            "shown_key": "entries",
            "shown_text": "previews",
            "status": "steps",
            "trust_secret": "vouching",
            "trusted": "vouching",
            "undo": "entries",
            "untrusted": "vouching",
            "vouch": "vouching",
            "why": "steps",
        },
    )
