"""What the user sees in a notebook: `%%awaitly`, `%awaitly`, the panel, and the static forms of results.

Parses, subscribes and draws; every decision is made below. Importing it loads neither IPython nor ipywidgets: that is
left to `load_ipython_extension`, which IPython itself calls.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from awaitly_nb.notebook.shell import Shell

__all__ = ["load_ipython_extension", "unload_ipython_extension"]


def load_ipython_extension(shell: Shell) -> None:
    """Register the magics; IPython calls this for `%load_ext awaitly_nb`."""
    from awaitly_nb.notebook.magics import register

    register(shell)


def unload_ipython_extension(shell: Shell) -> None:
    """Take the magics out again; IPython calls this for `%unload_ext awaitly_nb`."""
    from awaitly_nb.notebook.magics import unregister

    unregister(shell)
