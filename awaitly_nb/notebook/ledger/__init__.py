"""The state of the process that a cell leaves beside its variables: noticed on a miss, applied on a hit.

`Ledger` is what a cell uses, `register_state` is how others add a watched state. Watchers import no library: what is
not loaded has no state, and what the cell itself loads is compared with what it was right after its import.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from awaitly_nb.doors import door

if TYPE_CHECKING:
    from awaitly_nb.notebook.ledger.book import (
        Before as Before,
        Changes as Changes,
        Ledger as Ledger,
        Watcher as Watcher,
        register_state as register_state,
    )
    from awaitly_nb.notebook.ledger.process import running_beside as running_beside
else:
    __getattr__ = door(__name__, {"book": "Before Changes Ledger Watcher register_state", "process": "running_beside"})
