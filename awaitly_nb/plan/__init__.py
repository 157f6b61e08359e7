"""A plan before running: what will hit, what will run, why, and what it costs, without a kernel.

Reads the notebook's text (`notebook_file`, `cell_text`, `statics`) and the heads of entries (`records`), and walks the
cells from fingerprint to fingerprint (`walk`). Unpickles nothing and runs no code of the user's.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from awaitly_nb.doors import door

if TYPE_CHECKING:
    from awaitly_nb.plan.result import Plan as Plan
else:
    __getattr__ = door(__name__, {"Plan": "result"})
