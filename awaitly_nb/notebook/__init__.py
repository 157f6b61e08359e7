"""What the user sees in a notebook: `%%awaitly`, `%awaitly`, the panel, and the static forms of results.

Parses, subscribes and draws; every decision is made below. Importing it loads neither IPython nor ipywidgets: that is
left to `load_ipython_extension`, which IPython itself calls.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from awaitly_nb.notebook.ledger import Watcher
    from awaitly_nb.notebook.shell import Shell

__all__ = ["load_ipython_extension", "register_state", "unload_ipython_extension"]


def load_ipython_extension(shell: Shell) -> None:
    """Register the magics; IPython calls this for `%load_ext awaitly_nb`."""
    from awaitly_nb.notebook.magics import register

    register(shell)


def register_state(name: str, watcher: Watcher) -> None:
    """Watch one more state of the process: a cell's hit then leaves it as running the cell would.

    Parameters
    ----------
    name
        What it is called in messages, and in stored cells: choose one that stays. A later watcher of the same name
        replaces the earlier one.
    watcher
        An object with `snapshot()`, `difference(before)`, which returns picklable data or None, and `apply(data)`.

    Raises
    ------
    MisuseError
        The name is empty or that of a state which is watched anyway, or the watcher lacks a method.

    Examples
    --------
    >>> import awaitly_nb as aw
    >>> settings = {"depth": 1}
    >>> class Depth:
    ...     def snapshot(self):
    ...         return settings["depth"]
    ...     def difference(self, before):
    ...         return None if settings["depth"] == before else settings["depth"]
    ...     def apply(self, data):
    ...         settings["depth"] = data
    >>> aw.register_state("depth", Depth())
    """
    from awaitly_nb.notebook.ledger import register_state as register

    register(name, watcher)


def unload_ipython_extension(shell: Shell) -> None:
    """Take the magics out again; IPython calls this for `%unload_ext awaitly_nb`."""
    from awaitly_nb.notebook.magics import unregister

    unregister(shell)
