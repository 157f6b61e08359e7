"""Tells in a tenth of a microsecond whether anybody has committed; SQLite takes three to say so.

In write-ahead mode every commit changes the first 96 bytes of the file `cache.db-shm`: two copies of a header with a
counter, salts and a checksum (https://www.sqlite.org/walformat.html, section 2.1). SQLite maps that file and compares
them at the start of every transaction; this maps the same page, to be read only, so that equal bytes need no question.

Nothing is opened here, and so nothing is closed: closing any descriptor of that file would take away the locks that
SQLite holds on it (https://www.sqlite.org/howtocorrupt.html, section 2.2). The page is mapped through the descriptor
that SQLite has open already.
"""

from __future__ import annotations

import os
import sys
import weakref
from typing import Any, Final

__all__ = ["NOTHING", "map_header"]

_HEADER_BYTES: Final = 96
_FORMAT: Final = 3007000  # the only version of the file's format that there has been
_DESCRIPTORS: Final = "/dev/fd"


class _Nothing:
    """Stands for the header where it cannot be mapped; its bytes never count as known."""

    __slots__ = ()
    raw: Final = b""


NOTHING: Final[Any] = _Nothing()


def map_header(database: str) -> Any:  # Any: an array of ctypes
    """Return an object whose `raw` is the header as it stands at that moment; `NOTHING` where that cannot be had.

    Parameters
    ----------
    database
        Path of a database to which this process has a connection that has read from it.
    """
    try:
        header = _map(_descriptor_of(f"{database}-shm"))
    except (ImportError, OSError, AttributeError):  # Windows; no write-ahead mode; a folder that can only be read
        return NOTHING
    return header if int.from_bytes(header.raw[:4], sys.byteorder) == _FORMAT and header.raw[12] == 1 else NOTHING


def _descriptor_of(path: str) -> int:
    """Return the descriptor of this file that is open in this process; raises OSError."""
    wanted = os.stat(path)  # noqa: PTH116 - with fstat below
    for name in os.listdir(_DESCRIPTORS):  # noqa: PTH208 - names, not paths
        try:
            if os.path.samestat(os.fstat(int(name)), wanted):
                return int(name)
        except OSError:
            continue  # closed meanwhile
    raise FileNotFoundError(path)


def _map(descriptor: int) -> Any:  # Any: an array of ctypes
    """Return the header in shared memory, unmapped when nobody holds it any more; raises OSError."""
    # By `ctypes`, because `mmap.mmap` makes and closes a descriptor of its own.
    import ctypes
    import mmap

    library = ctypes.CDLL(None, use_errno=True)
    library.mmap.restype = ctypes.c_void_p
    library.mmap.argtypes = (ctypes.c_void_p, ctypes.c_size_t, *[ctypes.c_int] * 3, ctypes.c_long)
    library.munmap.argtypes = (ctypes.c_void_p, ctypes.c_size_t)
    address = library.mmap(None, _HEADER_BYTES, mmap.PROT_READ, mmap.MAP_SHARED, descriptor, 0)
    if address in (None, ctypes.c_void_p(-1).value):
        raise OSError(ctypes.get_errno(), "mmap")
    header = (ctypes.c_char * _HEADER_BYTES).from_address(address)
    weakref.finalize(header, library.munmap, address, _HEADER_BYTES).atexit = False
    return header
