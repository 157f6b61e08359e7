"""Which files are installed code: everything under the standard library or a `site-packages` folder, and this package.

Hides where packages are installed. Everything else is the user's, editable installs included.
"""

from __future__ import annotations

import os
import sys
from functools import lru_cache

__all__ = []

_OWN_ROOT = os.path.dirname(os.path.abspath(__file__))  # noqa: PTH100, PTH120 - pathlib costs more here
_MARKERS = (f"{os.sep}site-packages{os.sep}", f"{os.sep}dist-packages{os.sep}")


@lru_cache(maxsize=1)
def _installed_roots() -> tuple[str, ...]:
    import site

    # What `sysconfig` says as well, but that reads how Python was built, which takes longer than a first hit.
    name = f"python{sys.version_info.major}.{sys.version_info.minor}"
    built = os.path.join(sys.base_exec_prefix, sys.platlibdir, name)  # noqa: PTH118
    roots = {os.path.dirname(os.__file__), built, *site.getsitepackages()}  # noqa: PTH120
    roots |= {os.path.realpath(root) for root in roots}
    return (*sorted(root.rstrip(os.sep) + os.sep for root in roots), _OWN_ROOT + os.sep)


@lru_cache(maxsize=4096)
def is_installed_path(filename: str) -> bool:
    """Tell whether a file belongs to the standard library, an installed package or this one."""
    if filename.startswith("<frozen"):
        return True
    return any(marker in filename for marker in _MARKERS) or filename.startswith(_installed_roots())


@lru_cache(maxsize=4096)
def is_standard_path(filename: str) -> bool:
    """Tell whether a file belongs to the standard library."""
    return is_installed_path(filename) and not is_own_path(filename) and not any(m in filename for m in _MARKERS)


def is_own_path(filename: str) -> bool:
    """Tell whether a file belongs to this package."""
    return filename.startswith(_OWN_ROOT + os.sep)
