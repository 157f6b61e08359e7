"""Connections end with the store that made them, and with the process; a forked child leaves its parent's alone."""

from __future__ import annotations

import os
import weakref
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Callable

__all__ = ["close_with"]


def close_with(owner: object, close: Callable[[], object]) -> None:
    """Call `close` when `owner` is collected or the interpreter ends, whichever comes first.

    Parameters
    ----------
    owner
        The store's connection holder.
    close
        Must not refer to `owner`; harmless twice.
    """
    weakref.finalize(owner, _close, close, os.getpid())


def _close(close: Callable[[], object], pid: int) -> None:
    if os.getpid() == pid:
        close()
