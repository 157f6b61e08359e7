"""The files of the JupyterLab extension, and a link that shows them to JupyterLab where no installation does.

A wheel puts `files/` where JupyterLab looks for extensions, and so does `pip install -e`, which copies them once.
"""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Final

from awaitly_nb.errors import MisuseError

__all__ = ["FILES", "NAME", "link_extension"]

NAME: Final = "awaitly-nb"
FILES: Final = Path(__file__).parent / "files"


def link_extension(folder: Path | None = None) -> Path:
    """Link the extension's files into a folder of JupyterLab's extensions, and return the link.

    Parameters
    ----------
    folder
        Where JupyterLab looks; by default that of this Python environment.

    Raises
    ------
    MisuseError
        The extension lies there already, and is no link: an installation has put it there.

    Examples
    --------
    >>> import tempfile
    >>> from awaitly_nb.labextension import link_extension
    >>> link_extension(Path(tempfile.mkdtemp())).name
    'awaitly-nb'
    """
    folder = folder or Path(sys.prefix) / "share" / "jupyter" / "labextensions"
    link = folder / NAME
    if link.is_symlink():
        link.unlink()
    elif link.exists():
        raise MisuseError(f"{link} is there already, put there by an installation; there is nothing to link")
    folder.mkdir(parents=True, exist_ok=True)
    link.symlink_to(FILES, target_is_directory=True)
    return link
