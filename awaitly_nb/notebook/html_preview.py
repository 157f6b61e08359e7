"""A value in a few lines: the head of a frame, the shape of an array, the first lines of a repr.

Plain data, never markup, so that the panel and the static forms show it as text. Types of optional packages are looked
up in `sys.modules`, which holds them whenever there is a value of theirs.
"""

from __future__ import annotations

import reprlib
import sys
from dataclasses import dataclass, field
from typing import Any

from awaitly_nb.result import Err, Ok

__all__ = ["Preview", "preview"]

_ROWS = 8
_COLUMNS = 14
_CELL = 60
_TEXT = 4_000


@dataclass(frozen=True, slots=True)
class Preview:
    """A value in a few lines.

    Attributes
    ----------
    facts
        Type, shape and the like, one short text each.
    text
        The value as text, or empty where there is a table.
    columns, rows
        The head of a table, or empty.
    """

    facts: tuple[str, ...]
    text: str = ""
    columns: tuple[str, ...] = ()
    rows: tuple[tuple[str, ...], ...] = field(default=())


def preview(value: object) -> Preview:
    """Return `value` in a few lines; never raises, and never draws the whole of a large value.

    Examples
    --------
    >>> preview([1, 2]).facts, preview([1, 2]).text
    (('list', '2 items'), '[1, 2]')
    """
    if isinstance(value, Ok):
        return preview(value.value)
    if isinstance(value, Err):
        return Preview(("failure", type(value.error).__name__), text=_repr(value.error))
    try:
        return _frame(value) or _array(value) or _plain(value)
    except Exception as exc:  # noqa: BLE001 - the stranger is the value: any of its methods may raise
        return Preview((type(value).__name__,), text=f"<cannot be shown: {type(exc).__name__}: {exc}>")


def _is(value: object, module: str, *names: str) -> bool:
    types = tuple(kind for name in names if (kind := getattr(sys.modules.get(module), name, None)) is not None)
    return isinstance(value, types)


def _frame(value: Any) -> Preview | None:  # Any: a pandas or polars object, imported by nobody here
    if _is(value, "pandas", "Series"):
        facts = ("Series", str(value.dtype), f"{len(value):,} rows")
        value = value.head(_ROWS).to_frame(name="" if value.name is None else value.name)
        return _pandas(value, facts)
    if _is(value, "pandas", "DataFrame"):
        return _pandas(value, ("DataFrame", f"{len(value):,} rows", f"{value.shape[1]:,} columns"))
    if _is(value, "polars", "DataFrame"):
        head = value.head(_ROWS)
        names = head.columns[:_COLUMNS]
        rows = tuple(tuple(_cell(cell) for cell in row[:_COLUMNS]) for row in head.rows())
        facts = ("polars DataFrame", f"{value.height:,} rows", f"{value.width:,} columns")
        return Preview(facts, columns=tuple(names), rows=rows)
    return None


def _pandas(frame: Any, facts: tuple[str, ...]) -> Preview:  # Any: a pandas frame
    head = frame.iloc[:_ROWS, :_COLUMNS]
    columns = ("", *(_cell(name) for name in head.columns))
    rows = tuple((_cell(row[0]), *(_cell(cell) for cell in row[1:])) for row in head.itertuples(name=None))
    if frame.shape[1] > _COLUMNS:
        columns, rows = (*columns, "…"), tuple((*row, "…") for row in rows)
    return Preview(facts, columns=columns, rows=rows)


def _array(value: Any) -> Preview | None:  # Any: a numpy array or a torch tensor
    if _is(value, "numpy", "ndarray") or _is(value, "torch", "Tensor"):
        shape = f"shape {tuple(value.shape)}" if value.shape else "scalar"
        flat = value.reshape(-1)
        shown = ", ".join(_cell(item) for item in flat[:24].tolist())
        return Preview((type(value).__name__, shape, str(value.dtype)), text=shown + (", …" if len(flat) > 24 else ""))  # noqa: PLR2004
    return None


def _plain(value: object) -> Preview:
    kind = type(value).__name__
    if isinstance(value, str):
        return Preview((kind, f"{len(value):,} characters"), text=value[:_TEXT] + ("…" if len(value) > _TEXT else ""))
    if isinstance(value, bytes | bytearray):
        return Preview((kind, f"{len(value):,} bytes"), text=_repr(bytes(value[:200])))
    if isinstance(value, dict | list | tuple | set | frozenset):
        return Preview((kind, f"{len(value):,} item{'' if len(value) == 1 else 's'}"), text=_repr(value))
    return Preview((kind,), text=_repr(value))


def _cell(value: object) -> str:
    shown = f"{value:.6g}" if isinstance(value, float) else str(value)
    return shown if len(shown) <= _CELL else shown[: _CELL - 1] + "…"


class _Short(reprlib.Repr):
    """Stops early in deep and long containers, so that a large value costs no more than a small one."""

    def __init__(self) -> None:
        super().__init__()
        self.maxlevel = 5
        self.maxdict = self.maxlist = self.maxtuple = self.maxset = self.maxfrozenset = self.maxdeque = 40
        self.maxstring = self.maxlong = 400
        self.maxother = _TEXT


def _repr(value: object) -> str:
    return _Short().repr(value)[:_TEXT]
