"""A notebook as a file: its code cells in order, read without a kernel and without nbformat."""

from __future__ import annotations

import json
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from awaitly_nb.errors import MisuseError

if TYPE_CHECKING:
    import os
    from collections.abc import Mapping

__all__ = ["CodeCell", "code_cells", "read_notebook"]


@dataclass(frozen=True, slots=True)
class CodeCell:
    """One code cell of a notebook.

    Attributes
    ----------
    index
        Its place among all cells of the notebook, from 0.
    source
        Its text as the user typed it, the first line included.
    cell_id
        The id that the front end gave it; "" in notebooks from before nbformat 4.5.
    heading
        The last Markdown heading above it, without the number signs; "" where there is none.
    """

    index: int
    source: str
    cell_id: str = ""
    heading: str = ""


def read_notebook(path: str | os.PathLike[str]) -> list[CodeCell]:
    """Return the code cells of a notebook file.

    Raises
    ------
    MisuseError
        The file is not there, or is no notebook of format 4.
    """
    file = Path(path)
    try:
        content = json.loads(file.read_text(encoding="utf-8"))
    except FileNotFoundError:
        raise MisuseError(f"there is no notebook {str(file)!r}; check the path") from None
    except (OSError, UnicodeDecodeError, ValueError) as exc:
        raise MisuseError(f"{str(file)!r} cannot be read as a notebook: {exc}") from None
    if not isinstance(content, dict) or not isinstance(content.get("cells"), list):
        raise MisuseError(f"{str(file)!r} is no notebook of format 4: open it in JupyterLab once and save it")
    return code_cells(content)


def code_cells(content: Mapping[str, Any]) -> list[CodeCell]:  # Any: the JSON of a notebook
    """Return the code cells of a notebook's JSON, as `read_notebook` does of a file."""
    found: list[CodeCell] = []
    heading = ""
    for index, cell in enumerate(content["cells"]):
        source = cell.get("source", "")
        text = "".join(source) if isinstance(source, list) else str(source)
        if cell.get("cell_type") == "code":
            found.append(CodeCell(index, text, str(cell.get("id", "")), heading))
        elif cell.get("cell_type") == "markdown":
            heading = next(
                (line.lstrip("#").strip() for line in reversed(text.splitlines()) if line.startswith("#")), heading
            )
    return found
