"""What a result depends on, as a key: values, code, files, and the named parts they make.

One road in: `step_parts` for a call, `cell_parts` for a cell, `code_mark` for the code behind an explicit key,
`track_files` and `changed_files` for what was read. Knows no cache and no workflow.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from awaitly_nb.doors import door

if TYPE_CHECKING:
    from awaitly_nb.keys.cells import cell_reads as cell_reads
    from awaitly_nb.keys.code import (
        function_text as function_text,
        import_again as import_again,
        tree_digest as tree_digest,
    )
    from awaitly_nb.keys.files import (
        FileTracker as FileTracker,
        children_started as children_started,
        joined as joined,
        literal_files as literal_files,
        note_files as note_files,
        track_files as track_files,
        tracked_from as tracked_from,
    )
    from awaitly_nb.keys.generators import (
        GENERATORS as GENERATORS,
        GlobalGenerator as GlobalGenerator,
        generator_states as generator_states,
        seeded_as as seeded_as,
    )
    from awaitly_nb.keys.graph import (
        class_digest as class_digest,
        code_mark as code_mark,
        function_digest as function_digest,
    )
    from awaitly_nb.keys.imports import ImportWatch as ImportWatch
    from awaitly_nb.keys.origin import (
        distributions_of as distributions_of,
        import_label as import_label,
        is_user_class as is_user_class,
        is_user_function as is_user_function,
        is_user_module as is_user_module,
        package_version as package_version,
    )
    from awaitly_nb.keys.parts import (
        CellRead as CellRead,
        Part as Part,
        Parts as Parts,
        cell_parts as cell_parts,
        part_digest as part_digest,
        part_outline as part_outline,
        read_cell as read_cell,
        read_names as read_names,
        step_parts as step_parts,
    )
    from awaitly_nb.keys.settings import LIBRARY_SETTINGS as LIBRARY_SETTINGS, LibrarySettings as LibrarySettings
    from awaitly_nb.keys.stamps import changed_files as changed_files
    from awaitly_nb.keys.traces import (
        Tracer as Tracer,
        apply_traces as apply_traces,
        begin_traces as begin_traces,
        changed_traces as changed_traces,
        end_traces as end_traces,
        environment_set as environment_set,
        names_set_here as names_set_here,
        register_tracer as register_tracer,
        remember_environment as remember_environment,
    )
    from awaitly_nb.keys.untouched import noted_digests as noted_digests, remember_digest as remember_digest
    from awaitly_nb.keys.values import fingerprint as fingerprint, unstable_type as unstable_type
    from awaitly_nb.keys.values_objects import (
        File as File,
        count_place as count_place,
        file as file,
        register_key as register_key,
    )
    from awaitly_nb.keys.why import (
        Change as Change,
        call_text as call_text,
        diff as diff,
        nearest as nearest,
        outline as outline,
        outline_diff as outline_diff,
    )
    from awaitly_nb.keys.written import Rewriting as Rewriting, rewriting as rewriting
else:
    __getattr__ = door(
        __name__,
        {
            "cells": "cell_reads",
            "code": "function_text import_again tree_digest",
            "files": ("FileTracker children_started joined literal_files note_files track_files tracked_from"),
            "generators": "GENERATORS GlobalGenerator generator_states seeded_as",
            "graph": "class_digest code_mark function_digest",
            "imports": "ImportWatch",
            "origin": "distributions_of import_label is_user_class is_user_function is_user_module package_version",
            "parts": "CellRead Part Parts cell_parts part_digest part_outline read_cell read_names step_parts",
            "settings": "LIBRARY_SETTINGS LibrarySettings",
            "stamps": "changed_files",
            "traces": "Tracer apply_traces begin_traces changed_traces end_traces environment_set names_set_here "
            "register_tracer remember_environment",
            "untouched": "noted_digests remember_digest",
            "values": "fingerprint unstable_type",
            "values_objects": "File count_place file register_key",
            "written": "Rewriting rewriting",
            "why": "Change call_text diff nearest outline outline_diff",
        },
    )
