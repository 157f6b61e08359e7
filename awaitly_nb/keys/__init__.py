"""What a result depends on, as a key: values, code, files, and the named parts they make.

One road in: `step_parts` for a call, `cell_parts` for a cell, `code_mark` for the code behind an explicit key,
`track_files` and `changed_files` for what was read. Knows no cache and no workflow.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from awaitly_nb.doors import door

if TYPE_CHECKING:
    from awaitly_nb.keys.cells import (
        cell_reads as cell_reads,
    )
    from awaitly_nb.keys.code import (
        tree_digest as tree_digest,
    )
    from awaitly_nb.keys.files import (
        FileTracker as FileTracker,
    )
    from awaitly_nb.keys.files import (
        changed_files as changed_files,
    )
    from awaitly_nb.keys.files import (
        joined as joined,
    )
    from awaitly_nb.keys.files import (
        literal_files as literal_files,
    )
    from awaitly_nb.keys.files import (
        note_files as note_files,
    )
    from awaitly_nb.keys.files import (
        track_files as track_files,
    )
    from awaitly_nb.keys.files import (
        tracked_from as tracked_from,
    )
    from awaitly_nb.keys.generators import (
        GENERATORS as GENERATORS,
    )
    from awaitly_nb.keys.generators import (
        GlobalGenerator as GlobalGenerator,
    )
    from awaitly_nb.keys.generators import (
        generator_states as generator_states,
    )
    from awaitly_nb.keys.graph import (
        class_digest as class_digest,
    )
    from awaitly_nb.keys.graph import (
        code_mark as code_mark,
    )
    from awaitly_nb.keys.graph import (
        function_digest as function_digest,
    )
    from awaitly_nb.keys.imports import (
        after_imports as after_imports,
    )
    from awaitly_nb.keys.origin import (
        import_label as import_label,
    )
    from awaitly_nb.keys.origin import (
        is_user_class as is_user_class,
    )
    from awaitly_nb.keys.origin import (
        is_user_function as is_user_function,
    )
    from awaitly_nb.keys.origin import (
        is_user_module as is_user_module,
    )
    from awaitly_nb.keys.origin import (
        package_version as package_version,
    )
    from awaitly_nb.keys.parts import (
        CellRead as CellRead,
    )
    from awaitly_nb.keys.parts import (
        Part as Part,
    )
    from awaitly_nb.keys.parts import (
        Parts as Parts,
    )
    from awaitly_nb.keys.parts import (
        cell_parts as cell_parts,
    )
    from awaitly_nb.keys.parts import (
        part_digest as part_digest,
    )
    from awaitly_nb.keys.parts import (
        read_cell as read_cell,
    )
    from awaitly_nb.keys.parts import (
        read_names as read_names,
    )
    from awaitly_nb.keys.parts import (
        step_parts as step_parts,
    )
    from awaitly_nb.keys.settings import (
        LIBRARY_SETTINGS as LIBRARY_SETTINGS,
    )
    from awaitly_nb.keys.settings import (
        LibrarySettings as LibrarySettings,
    )
    from awaitly_nb.keys.traces import (
        Tracer as Tracer,
    )
    from awaitly_nb.keys.traces import (
        apply_traces as apply_traces,
    )
    from awaitly_nb.keys.traces import (
        begin_traces as begin_traces,
    )
    from awaitly_nb.keys.traces import (
        changed_traces as changed_traces,
    )
    from awaitly_nb.keys.traces import (
        end_traces as end_traces,
    )
    from awaitly_nb.keys.traces import (
        register_tracer as register_tracer,
    )
    from awaitly_nb.keys.values import (
        fingerprint as fingerprint,
    )
    from awaitly_nb.keys.values import (
        unstable_type as unstable_type,
    )
    from awaitly_nb.keys.values_objects import (
        File as File,
    )
    from awaitly_nb.keys.values_objects import (
        file as file,
    )
    from awaitly_nb.keys.values_objects import (
        register_key as register_key,
    )
    from awaitly_nb.keys.why import (
        Change as Change,
    )
    from awaitly_nb.keys.why import (
        call_text as call_text,
    )
    from awaitly_nb.keys.why import (
        diff as diff,
    )
    from awaitly_nb.keys.why import (
        nearest as nearest,
    )
    from awaitly_nb.keys.why import (
        outline as outline,
    )
    from awaitly_nb.keys.why import (
        outline_diff as outline_diff,
    )
else:
    __getattr__ = door(
        __name__,
        {
            "generator_states": "generators",
            "import_label": "origin",
            "CellRead": "parts",
            "GENERATORS": "generators",
            "LIBRARY_SETTINGS": "settings",
            "LibrarySettings": "settings",
            "GlobalGenerator": "generators",
            "Change": "why",
            "File": "values_objects",
            "FileTracker": "files",
            "Part": "parts",
            "Parts": "parts",
            "Tracer": "traces",
            "apply_traces": "traces",
            "begin_traces": "traces",
            "after_imports": "imports",
            "call_text": "why",
            "cell_parts": "parts",
            "cell_reads": "cells",
            "changed_files": "files",
            "changed_traces": "traces",
            "class_digest": "graph",
            "code_mark": "graph",
            "diff": "why",
            "end_traces": "traces",
            "file": "values_objects",
            "fingerprint": "values",
            "function_digest": "graph",
            "is_user_class": "origin",
            "is_user_function": "origin",
            "is_user_module": "origin",
            "joined": "files",
            "literal_files": "files",
            "nearest": "why",
            "note_files": "files",
            "outline": "why",
            "outline_diff": "why",
            "package_version": "origin",
            "part_digest": "parts",
            "read_cell": "parts",
            "read_names": "parts",
            "register_key": "values_objects",
            "register_tracer": "traces",
            "step_parts": "parts",
            "track_files": "files",
            "tracked_from": "files",
            "unstable_type": "values",
            "tree_digest": "code",
        },
    )
