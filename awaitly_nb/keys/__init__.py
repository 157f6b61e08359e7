"""What a result depends on, as a key: values, code, files, and the named parts they make.

One road in: `step_parts` for a call, `cell_parts` for a cell, `code_mark` for the code behind an explicit key,
`track_files` and `changed_files` for what was read. Knows no cache and no workflow.
"""

from __future__ import annotations

from awaitly_nb.keys.code import class_digest, code_mark, function_digest
from awaitly_nb.keys.files import (
    FileTracker,
    changed_files,
    joined,
    literal_files,
    note_files,
    track_files,
    tracked_from,
)
from awaitly_nb.keys.parts import Change, Part, Parts, diff, nearest
from awaitly_nb.keys.recipe import cell_parts, step_parts
from awaitly_nb.keys.registry import File, file, register_key
from awaitly_nb.keys.values import fingerprint, outline, outline_diff

__all__ = [
    "Change",
    "File",
    "FileTracker",
    "Part",
    "Parts",
    "cell_parts",
    "changed_files",
    "class_digest",
    "code_mark",
    "diff",
    "file",
    "fingerprint",
    "function_digest",
    "joined",
    "literal_files",
    "nearest",
    "note_files",
    "outline",
    "outline_diff",
    "register_key",
    "step_parts",
    "track_files",
    "tracked_from",
]
