"""What users set on the frames and indexes of pandas as attributes: `df.note = "raw"`.

Hides which attributes are pandas' own. Its pickles leave the others out, and so would keys. Imports no pandas.
"""

from __future__ import annotations

from typing import Any

__all__ = ["set_on_pandas"]

_OF_FRAMES = frozenset({"_attrs", "_flags", "_is_copy", "_item_cache", "_cacher", "_typ"})
_OF_INDEXES = frozenset(
    {
        *("_data", "_name", "_cache", "_id", "_references", "_range", "_levels", "_codes", "_names", "sortorder"),
        *("_freq", "_tz", "_engine", "_view", "_no_setting_name", "_index_data", "_cached_int64index", "_cached_data"),
    }
)


_known: dict[type, frozenset[str] | None] = {}


def set_on_pandas(value: Any) -> dict[str, Any]:  # Any: any object; of what is no frame and no index it is nothing
    """Return the attributes of a frame, series or index that neither pandas nor a subclass declares, by name."""
    cls = type(value)
    if cls not in _known:
        _known[cls] = _declared(cls)
    known = _known[cls]
    return {} if known is None else {name: part for name, part in vars(value).items() if name not in known}


def _declared(cls: Any) -> frozenset[str] | None:  # Any: a class, by pandas' own protocol if it is one of pandas
    """Return the attributes that are pandas' own, or declared, or an accessor that it made when asked."""
    bases = {base.__name__ for base in cls.__mro__ if base.__module__.partition(".")[0] == "pandas"}
    accessors: set[str] = getattr(cls, "_accessors", set())
    if "NDFrame" in bases:
        names: set[str] = cls._internal_names_set | set(cls._metadata)
        return _OF_FRAMES | names | accessors
    return _OF_INDEXES | accessors if "Index" in bases else None
