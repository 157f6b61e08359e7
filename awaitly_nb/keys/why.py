"""Why a key is another one: the difference between two keys, part by part, and between two values of one part.

Of a value a small plain-JSON *outline* is stored beside its fingerprint, so that a later run can say what changed: of a
frame its columns, dtypes, shape and index, of an array dtype and shape, of a scalar a short repr, of a container its
first items. An outline never fails and never copies bulk data.
"""

from __future__ import annotations

import sys
from hashlib import blake2b
from typing import TYPE_CHECKING, Any, Final, NamedTuple

from awaitly_nb.keys.parts import is_secret_name
from awaitly_nb.keys.values_objects import is_derived

if TYPE_CHECKING:
    from collections.abc import Iterable

    from awaitly_nb.keys.parts import Part, Parts

__all__ = ["Change", "call_text", "diff", "nearest", "outline", "outline_diff"]

# Any, throughout: values of any kind, and plain JSON data.

_CODE_KINDS: Final = frozenset({"code", "helper", "class"})


class Change(NamedTuple):
    """One part that differs between two keys.

    Attributes
    ----------
    part
        Its kind and name, as in `argument raw`.
    line
        The difference in one line.
    detail
        A unified diff of the source for code, else "".
    """

    part: str
    line: str
    detail: str = ""


def diff(old: Parts, new: Parts) -> tuple[Change, ...]:
    """Return what differs between two keys of one step, code first.

    Where code changed, parts that only came or went with it are not told: the code says so itself.
    """
    before = {(part.kind, part.name): part for part in old.parts}
    after = {(part.kind, part.name): part for part in new.parts}
    changes: list[Change] = []
    edited = False
    for place, part in after.items():
        was = before.get(place)
        if was is not None and was.digest != part.digest:
            changes.append(_changed(was, part))
            edited = edited or part.kind in _CODE_KINDS
    if not edited:
        changes.extend(_lone(part, "new") for place, part in after.items() if place not in before)
        changes.extend(_lone(part, "gone") for place, part in before.items() if place not in after)
    return tuple(changes)


def _changed(old: Part, new: Part) -> Change:
    label = f"{new.kind} {new.name}"
    if new.kind in _CODE_KINDS:
        return Change(label, f"{_named(new)} edited", _source_diff(old, new))
    if new.kind == "package":
        return Change(label, f"{new.name} {old.shown} -> {new.shown}")
    if isinstance(old.shown, str) and isinstance(new.shown, str):
        return Change(label, f"{label}: {old.shown} -> {new.shown}")
    if isinstance(old.shown, str) or isinstance(new.shown, str):  # one of them is "absent"
        return Change(label, f"{label}: {_word(old)} -> {_word(new)}")
    told = outline_diff(old.shown, new.shown)
    if told.startswith("."):  # of a field, which reads best as code
        return Change(label, f"{new.name}{told.replace(' content changed', ' changed')}")
    return Change(label, f"{label}: {told}")


def _named(part: Part) -> str:
    return f"code of {part.name}" if part.kind == "code" else f"{part.kind} {part.name}"


def _word(part: Part) -> str:
    return part.shown if isinstance(part.shown, str) else str(part.shown.get("repr", part.shown.get("is", "a value")))


def _lone(part: Part, word: str) -> Change:
    label = f"{part.kind} {part.name}"
    return Change(label, f"{label} is {word}")


def _source_diff(old: Part, new: Part) -> str:
    import difflib

    lines = difflib.unified_diff(
        str(old.shown).splitlines(keepends=True), str(new.shown).splitlines(keepends=True), "before", "now"
    )
    return "".join(lines)


def nearest(new: Parts, others: Iterable[Parts]) -> Parts | None:
    """Return the one of `others` that differs from `new` in the fewest parts, the later of equals, or None."""
    mine = {(part.kind, part.name, part.digest) for part in new.parts}
    best: Parts | None = None
    fewest = -1
    for other in others:
        distance = len(mine ^ {(part.kind, part.name, part.digest) for part in other.parts})
        if best is None or distance <= fewest:
            best, fewest = other, distance
    return best


# -- outlines ---------------------------------------------------------------------------------------------------------

_TEXT = 80
_ITEMS = 12
_COLUMNS = 200
_DEPTH = 3
_REPR_TYPES = (type(None), bool, int, float, complex, type(...))
_SAFE_REPR = frozenset({"datetime", "decimal", "fractions", "pathlib", "uuid", "zoneinfo", "re", "ipaddress"})


def outline(value: object, *, digests: bool = False) -> Any:
    """Return a small plain-JSON outline of `value`.

    Parameters
    ----------
    value
        Anything; never raises.
    digests
        Add the first digits of the fingerprint of each column and of each bulky item, so that `outline_diff` can name
        the one whose content changed. Costs a second reading of `value`.

    Examples
    --------
    >>> outline(3)
    {'is': 'int', 'repr': '3'}
    >>> outline_diff(outline({"a": 1}), outline({"a": 2}))
    "['a'] 1 -> 2"
    """
    try:
        return _outline(value, _DEPTH, digests=digests)
    except Exception as exc:  # noqa: BLE001 - a value's own attributes may raise anything
        return {"is": type(value).__name__, "unreadable": type(exc).__name__}


def outline_diff(old: Any, new: Any) -> str:
    """Return in one line what differs between two outlines, the first few differences joined by commas.

    Examples
    --------
    >>> before = {"is": "DataFrame", "rows": 2, "columns": [["price", "int64"]]}
    >>> outline_diff(before, {"is": "DataFrame", "rows": 2, "columns": [["price", "float64"]]})
    'column "price" int64 -> float64'
    >>> outline_diff(before, before)
    'content changed'
    """
    found = list(_differences(old, new, ""))
    shown = ", ".join(found[:3])
    if len(found) > 3:  # noqa: PLR2004 - a line, not a list
        shown += f" and {len(found) - 3} more"
    return shown or "content changed"


def _outline(value: Any, depth: int, *, digests: bool) -> Any:
    cls = type(value)
    if cls in _REPR_TYPES or str(cls.__module__).partition(".")[0] in _SAFE_REPR:
        return {"is": cls.__name__, "repr": _short(repr(value))} if not _is_huge(value) else {"is": "int"}
    if cls in (str, bytes, bytearray):
        short = {"is": cls.__name__, "repr": _short(repr(value[:_TEXT])), "len": len(value)}
        return short if len(value) <= _TEXT else _digested(short, value, digests=digests)
    if (table := _table(value, digests=digests)) is not None:
        return table
    if isinstance(value, dict):
        items = {_short(_repr(key)): value[key] for key in list(value)[:_ITEMS]} if cls is dict else {}
        return _container(value, {"keys": items}, depth, digests=digests)
    if isinstance(value, (list, tuple)):
        names = getattr(cls, "_fields", None)
        if isinstance(names, tuple):
            return _container(value, {"fields": dict(zip(names, value, strict=False))}, depth, digests=digests)
        return _container(
            value, {"items": {str(i): item for i, item in enumerate(value[:_ITEMS])}}, depth, digests=digests
        )
    if isinstance(value, (set, frozenset)):
        shown = sorted(_repr(item) for item in value) if len(value) <= _ITEMS else []
        return {"is": cls.__name__, "len": len(value), "repr": _short(", ".join(shown))}
    if callable(value) or cls.__name__ == "module":
        return {
            "is": cls.__name__,
            "repr": _short(str(getattr(value, "__qualname__", getattr(value, "__name__", "")))),
        }
    return _object(value, depth, digests=digests)


def _is_huge(value: Any) -> bool:
    return type(value) is int and value.bit_length() > 1000  # noqa: PLR2004 - slow to print, and refused from 4300 digits


def _container(value: Any, groups: dict[str, dict[str, Any]], depth: int, *, digests: bool) -> Any:
    shown: dict[str, Any] = {"is": type(value).__name__}
    if "fields" not in groups:
        shown["len"] = len(value)
    if depth == 0:
        return _digested(shown, value, digests=digests)
    for name, group in groups.items():
        shown[name] = {key: _outline(item, depth - 1, digests=digests) for key, item in group.items()}
    return shown


def _object(value: Any, depth: int, *, digests: bool) -> Any:
    import enum

    if isinstance(value, enum.Enum):
        return {"is": type(value).__name__, "repr": str(value.name)}
    state = getattr(value, "__dict__", None)
    fields = {k: v for k, v in state.items() if not is_derived(type(value), k)} if isinstance(state, dict) else {}
    for cls in type(value).__mro__:
        slots = cls.__dict__.get("__slots__", ())
        for name in (slots,) if isinstance(slots, str) else slots:
            if not name.startswith("__") and hasattr(value, name):
                fields[name] = getattr(value, name)
    shown = {"is": f"{type(value).__module__}.{type(value).__qualname__}".removeprefix("__main__.")}
    if depth == 0 or not fields:
        return _digested(shown, value, digests=digests)
    first = dict(list(fields.items())[: 2 * _ITEMS])
    return {**shown, "fields": {str(k): _outline(v, depth - 1, digests=digests) for k, v in first.items()}}


def _table(value: Any, *, digests: bool) -> Any:
    package = str(type(value).__module__).partition(".")[0]
    name = type(value).__name__
    if package == "numpy" or _is_a(value, "numpy", "ndarray"):
        if not hasattr(value, "dtype") or not hasattr(value, "shape"):
            return None
        shown: dict[str, Any] = {"is": name, "dtype": str(value.dtype), "shape": list(value.shape)}
        if value.ndim == 0 and value.dtype.kind in "biufcmM":
            return {**shown, "repr": _short(str(value))}
        return _digested(shown, value, digests=digests)
    if _is_a(value, "pandas", "DataFrame"):
        columns = [(label, value.iloc[:, i]) for i, label in enumerate(value.columns[:_COLUMNS])]
        return {
            **_columns(name, len(value), columns, digests=digests),
            "index": _index(value.index, digests=digests),
            "width": value.shape[1],
        }
    if _is_a(value, "pandas", "Series"):
        rows = len(value)
        shown = {"is": name, "name": _short(str(value.name)), "dtype": str(value.dtype), "rows": rows}
        return {**_digested(shown, value.array, digests=digests), "index": _index(value.index, digests=digests)}
    if _is_a(value, "pandas", "Index"):
        return _index(value, digests=digests)
    if _is_a(value, "polars", "DataFrame"):
        return _columns(name, value.height, list(zip(value.columns, value.get_columns(), strict=True)), digests=digests)
    if _is_a(value, "pyarrow", "Table") or _is_a(value, "pyarrow", "RecordBatch"):
        columns = list(zip(value.schema.names, value.columns, strict=True))
        return _columns(name, value.num_rows, columns, digests=digests)
    if package in ("polars", "pyarrow", "scipy") and hasattr(value, "dtype"):
        shown = {"is": name, "dtype": str(value.dtype), "shape": [int(n) for n in getattr(value, "shape", ())]}
        return _digested(shown, value, digests=digests)
    if package == "pandas" and name in ("Timestamp", "Timedelta", "Period", "Interval", "NaTType", "NAType"):
        return {"is": name, "repr": _short(str(value))}
    return None


def _columns(name: str, rows: int, columns: list[tuple[Any, Any]], *, digests: bool) -> dict[str, Any]:
    shown = []
    for label, column in columns[:_COLUMNS]:
        dtype = getattr(column, "dtype", None) or getattr(column, "type", "")
        shown.append([_short(str(label)), _short(str(dtype))])
        if digests:
            shown[-1].append(_digest(getattr(column, "array", column)))
    return {"is": name, "rows": rows, "columns": shown}


def _index(index: Any, *, digests: bool) -> Any:
    names = ", ".join(map(str, index.names))
    shown: dict[str, Any] = {
        "is": type(index).__name__,
        "names": _short(names),
        "dtype": str(index.dtype),
        "rows": len(index),
    }
    if type(index).__name__ == "RangeIndex":
        return {**shown, "span": f"{index.start}:{index.stop}:{index.step}"}
    return _digested(shown, index, digests=digests)


def _is_a(value: Any, package: str, name: str) -> bool:
    cls = getattr(sys.modules.get(package), name, None)
    return isinstance(cls, type) and isinstance(value, cls)


def _digested(shown: dict[str, Any], value: Any, *, digests: bool) -> dict[str, Any]:
    return {**shown, "digest": _digest(value)} if digests else shown


def _digest(value: Any) -> str:
    from awaitly_nb.keys.values import fingerprint

    try:
        return fingerprint(value)[:8]
    except TypeError:  # it has no fingerprint
        return ""


def _repr(value: Any) -> str:
    return repr(value) if type(value).__module__ in ("builtins", "datetime") else f"<{type(value).__name__}>"


def _short(text: str) -> str:
    return text if len(text) <= _TEXT else text[: _TEXT - 3] + "..."


def _differences(old: Any, new: Any, path: str) -> Any:
    if repr(old) == repr(new):  # by text, because the order of keys counts
        return
    if not isinstance(old, dict) or not isinstance(new, dict):
        yield f"{path} {old} -> {new}".strip()
        return
    before, after = _label(old), _label(new)
    if before != after and (old.get("is") != new.get("is") or "repr" in old):
        yield f"{path} {before} -> {after}".strip()
        return
    grown = old.get("rows") != new.get("rows")
    yield from _column_differences(old.get("columns"), new.get("columns"), path, contents=not grown)
    for name, shown in _FACTS:
        if old.get(name) != new.get(name):
            yield f"{path} {shown}{_plain(old.get(name))} -> {_plain(new.get(name))}".strip()
    if isinstance(old.get("index"), dict) and isinstance(new.get("index"), dict):
        yield from _differences(old["index"], new["index"], f"{path} index".strip())
    for group, wrap in _GROUPS:
        yield from _member_differences(old.get(group) or {}, new.get(group) or {}, path, wrap)
    if old.get("digest") != new.get("digest") and all(old.get(n) == new.get(n) for n, _ in _FACTS):
        yield f"{path} content changed".strip()


_FACTS = (
    ("name", "name "),
    ("dtype", "dtype "),
    ("shape", "shape "),
    ("rows", "rows "),
    ("names", "names "),
    ("span", "span "),
    ("len", "length "),
)
_GROUPS = (("keys", "[{}]"), ("items", "[{}]"), ("fields", ".{}"))


def _label(shown: dict[str, Any]) -> str:
    return str(shown["repr"] if "repr" in shown else shown.get("is"))


def _plain(fact: Any) -> str:
    return f"({', '.join(map(str, fact))})" if isinstance(fact, list) else str(fact)


def _member_differences(old: dict[str, Any], new: dict[str, Any], path: str, wrap: str) -> Any:
    for key in old:
        if key not in new:
            yield f"{path}{wrap.format(key)} removed"
    for key, item in new.items():
        if key not in old:
            yield f"{path}{wrap.format(key)} added"
        else:
            yield from _differences(old[key], item, path + wrap.format(key))
    if old == new and list(old) != list(new):
        yield f"{path} order of keys changed".strip()


def _column_differences(old: Any, new: Any, path: str, *, contents: bool) -> Any:
    if old is None or new is None or old == new:
        return
    before, after = [column[0] for column in old], [column[0] for column in new]
    prefix = f"{path} " if path else ""
    if len(before) == len(after) and len(gone := [i for i, n in enumerate(before) if n != after[i]]) == 1:
        i = gone[0]
        if before[i] not in after and after[i] not in before:
            yield f'{prefix}column "{before[i]}" renamed to "{after[i]}"'
            before = [*before[:i], after[i], *before[i + 1 :]]
    for name in before:
        if name not in after:
            yield f'{prefix}column "{name}" removed'
    for name in after:
        if name not in before:
            yield f'{prefix}column "{name}" added'
    if before != after and sorted(before) == sorted(after):
        yield f"{prefix}order of columns changed"
    yield from _dtype_differences(dict(zip(before, old, strict=True)), new, prefix, contents=contents)


def _dtype_differences(columns: dict[str, Any], new: Any, prefix: str, *, contents: bool) -> Any:
    for name, *facts in new:
        known = columns.get(name)
        if known is None or known[1:] == facts:
            continue
        if known[1] != facts[0]:
            yield f'{prefix}column "{name}" {known[1]} -> {facts[0]}'
        elif contents and len(known) == len(facts) + 1 and known[2:] != facts[1:]:
            yield f'{prefix}column "{name}" content changed'


_CALL: Final = 100
_ARGUMENT: Final = 24


def call_text(parts: Parts) -> str | None:
    """Return a call as people read it, with a digest of its arguments; None where there are none, as for a cell.

    The text is short and plain: ASCII without quotation marks or backslashes that JSON would escape, because it stands
    in the head of every entry, and heads are read by the hundred thousand.

    Examples
    --------
    >>> from awaitly_nb.keys.parts import Part, Parts
    >>> call_text(Parts("jobs.score", [Part("argument", "fold", "int 3", {"is": "int", "repr": "3"})]))
    'score(fold=3) #363fc2f5'
    """
    arguments = [part for part in parts.parts if part.kind == "argument"]
    if not arguments:
        return None
    given = [part for part in arguments if not (part.name.startswith("*") and part.shown.get("len") == 0)]
    told = ", ".join(f"{part.name}={_value_text(part.name, part.shown)}" for part in given)
    name = parts.name.rpartition(".")[2]
    text = f"{name}({told if len(told) <= _CALL else told[: _CALL - 3] + '...'})"
    digest = blake2b("\x1e".join(f"{part.name}\x1f{part.digest}" for part in arguments).encode(), digest_size=4)
    return f"{_plain_text(text)} #{digest.hexdigest()}"


def _value_text(name: str, shown: Any) -> str:
    if is_secret_name(name):
        return "***"
    if not isinstance(shown, dict):
        return _cut(str(shown))
    kind = str(shown.get("is", "?")).rpartition(".")[2]
    if kind in _BRACKETS:
        brackets = _BRACKETS[kind]
        return f"{brackets[0]}{'...' if shown.get('len') else ''}{brackets[1]}"
    if "repr" in shown:
        return _cut(str(shown["repr"]))
    if "rows" in shown:
        return f"{kind}({shown['rows']} rows)"
    if "shape" in shown:
        return f"{kind}({', '.join(map(str, shown['shape']))})"
    return f"{kind}(...)"


_BRACKETS: Final = {"dict": "{}", "list": "[]", "tuple": "()", "set": "{}", "frozenset": "{}"}


def _cut(text: str) -> str:
    return text if len(text) <= _ARGUMENT else f"{text[: _ARGUMENT - 3]}..."


def _plain_text(text: str) -> str:
    if text.isascii() and text.isprintable() and '"' not in text and "\\" not in text:
        return text
    return "".join(char if " " <= char <= "~" and char not in '"\\' else "?" for char in text)
