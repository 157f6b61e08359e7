"""A value in a few lines: the head of a frame, the shape of an array, the variables and plots of a cell.

Plain data, never markup, so that the panel, the static forms and the shell show it as text. Types of optional packages
are looked up in `sys.modules`, which holds them whenever there is a value of theirs.
"""

from __future__ import annotations

import base64
import binascii
import re
import reprlib
import sys
from dataclasses import dataclass, field
from typing import Any

from awaitly_nb.codec import UndecodableError, unpack
from awaitly_nb.result import Err, Ok

__all__ = ["Preview", "preview", "shown_text"]

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
    image
        A picture as a `data:` address, or empty.
    parts
        Of a cell: each variable it left, by name, and then what it showed.
    """

    facts: tuple[str, ...]
    text: str = ""
    columns: tuple[str, ...] = ()
    rows: tuple[tuple[str, ...], ...] = ()
    image: str = ""
    parts: tuple[tuple[str, Preview], ...] = field(default=())


def preview(value: object) -> Preview:
    """Return `value` in a few lines; never raises, and never draws the whole of a large value.

    Examples
    --------
    >>> preview([1, 2]).facts, preview([1, 2]).text
    (('list', '2 items'), '[1, 2]')
    """
    if isinstance(value, Ok):
        return preview(value.value)
    if (cell := _cell_details(value)) is not None:
        return cell
    if isinstance(value, Err):
        return Preview(("failure", type(value.error).__name__), text=_repr(value.error))
    try:
        return _frame(value) or _array(value) or _plain(value)
    except Exception as exc:  # noqa: BLE001 - user code may raise anything: any method of the value
        return Preview((type(value).__name__,), text=f"<cannot be shown: {type(exc).__name__}: {exc}>")


_CELL_FACTS = ""
"""Under this name, which no variable can have, a cell's payload has what belongs to it beside its variables."""


def _cell_details(value: object) -> Preview | None:
    """Return the preview of a cell's payload: its variables and its outputs, and nothing of how they are stored."""
    if type(value) is not dict or not isinstance(facts := value.get(_CELL_FACTS), dict):
        return None
    parts = _variables(value, facts)
    variables = len(parts)
    outputs = facts.get("outputs") or ()
    parts += [shown for output in outputs if isinstance(output, dict) and (shown := _output(output)) is not None]
    plots = sum(bool(part.image) for _, part in parts)
    told = [f"{variables:,} variable{'' if variables == 1 else 's'}"]
    if plots:
        told.append(f"{plots:,} plot{'' if plots == 1 else 's'}")
    return Preview(("cell", *told), parts=tuple(parts))


def _variables(payload: dict[str, Any], facts: dict[str, Any]) -> list[tuple[str, Preview]]:  # Any: a stored cell
    """Return the variables of a cell, by name, in the order in which it bound them, modules last."""
    try:
        content = unpack(payload["stream"], payload["buffers"], payload["shapes"], _Live)
        values: dict[str, Any] = content["values"]
    except (KeyError, TypeError, UndecodableError):
        values = {}  # of what the session defines: without it only the names are known
    modules, missing = facts.get("modules") or {}, facts.get("missing") or {}
    parts = []
    for name in sorted(facts.get("names") or values, key=lambda name: name in modules):
        if name in values:
            parts.append((name, preview(values[name])))
        elif name in modules:
            parts.append((name, Preview(("module",), text=str(modules[name]))))
        elif name in missing:
            kind, why = missing[name]
            parts.append((name, Preview((str(kind), "not stored"), text=str(why))))
        else:
            parts.append((name, Preview(("can be shown where its cell runs",))))
    return parts


class _Live:
    """Stands for an object that lives in the session of the cell, and is not stored with it."""

    def __init__(self, number: int) -> None:
        self._number = number

    def __repr__(self) -> str:
        return "(an object of the session)"


def _output(output: dict[str, Any]) -> tuple[str, Preview] | None:  # Any: a recorded output, as plain data
    if output.get("kind") == "stream":
        text = _ANSI.sub("", str(output.get("text", "")))
        name = "printed" if output.get("name") == "stdout" else "printed (stderr)"
        return name, Preview((), text=text[:_TEXT] + ("…" if len(text) > _TEXT else ""))
    data = output.get("data")
    if not isinstance(data, dict):
        return None
    for kind in ("image/png", "image/jpeg", "image/svg+xml"):
        if kind in data and (picture := _picture(kind, data[kind])) is not None:
            return "plot", picture
    text = data.get("text/plain", "")
    return ("shown", Preview((), text=str(text)[:_TEXT])) if text else None


_ANSI = re.compile(r"\x1b\[[0-9;]*[A-Za-z]")
_MOST_PICTURE = 2_000_000


def _picture(kind: str, content: Any) -> Preview | None:  # Any: as it was published
    """Return a picture as it was shown; one that is too large to be sent as a mere preview is only told of."""
    raw = content.encode() if kind == "image/svg+xml" and isinstance(content, str) else content
    if isinstance(raw, str):
        try:
            raw = base64.b64decode(raw, validate=False)
        except (binascii.Error, ValueError):
            return None
    if not isinstance(raw, bytes | bytearray):
        return None
    facts = [kind.partition("/")[2].partition("+")[0], f"{len(raw) / 1000:,.0f} kB"]
    if kind == "image/png" and raw[:8] == b"\x89PNG\r\n\x1a\n" and len(raw) >= _PNG_HEAD:
        facts.insert(1, f"{int.from_bytes(raw[16:20])} by {int.from_bytes(raw[20:24])}")
    if len(raw) > _MOST_PICTURE:
        return Preview((*facts, "too large to preview"))
    return Preview(tuple(facts), image=f"data:{kind};base64,{base64.b64encode(raw).decode('ascii')}")


_PNG_HEAD = 24


def shown_text(seen: Preview) -> str:
    """Return a preview as lines of text, for a terminal."""
    if seen.parts:
        return "\n".join(_part_lines(name, part) for name, part in seen.parts)
    if seen.rows:
        return _lines_of_table(seen)
    return seen.text


def _part_lines(name: str, part: Preview) -> str:
    facts = ", ".join(part.facts)
    body = _lines_of_table(part) if part.rows else part.text.rstrip("\n")
    head = f"{name}: {facts}" if facts else f"{name}:"
    if not body:
        return head
    return f"{head} {body}" if "\n" not in body and len(head) + len(body) < _LINE else f"{head}\n{_indented(body)}"


_LINE = 78


def _indented(text: str) -> str:
    return "\n".join(f"  {line}" for line in text.split("\n"))


def _lines_of_table(seen: Preview) -> str:
    lines = [seen.columns, *seen.rows]
    widths = [max(len(line[place]) for line in lines) for place in range(len(seen.columns))]
    return "\n".join("  ".join(text.rjust(width) for text, width in zip(line, widths, strict=True)) for line in lines)


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
