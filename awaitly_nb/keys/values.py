"""The canonical typed fingerprint of a value: equal content of equal type, equal key, in every process.

What counts, and what does not:

==========================================  ==================================================================
counts                                      does not count
==========================================  ==================================================================
the exact type (`1`, `1.0`, `True`)         identity, memory addresses, aliasing between parts
order of a dict and of columns              order of a set, order in which attributes were set
`-0.0` against `0.0`                        which NaN a scalar is
dtype, byte order, shape, raw bits          memory layout, strides, chunks, padding, being memory-mapped
the mask of a masked array and its data     bytes under a null of pandas, Arrow or polars
column names, index, categories, time zone  how a frame keeps its blocks
levels, frequency, `attrs`, metadata        what pandas and scipy remember of how a value was used
attributes of an object                     those that a `cached_property` of its class has filled
code of user-defined classes and functions  their comments, docstrings and layout
name of a path; content of an `aw.file`     where an `aw.file` lies, and its name but for the suffix
name and version of installed classes       versions of numpy, pandas, polars or Arrow, for their own values
==========================================  ==================================================================

The encoding itself lives in `values_walk` and, family by family, in the other `values_*` modules, which look types up
in `sys.modules`: nothing here imports numpy or pandas.
"""

from __future__ import annotations

from hashlib import blake2b

from awaitly_nb.errors import UnkeyableError
from awaitly_nb.keys.values_outline import outline, outline_diff
from awaitly_nb.keys.values_walk import Refusal, Walk

__all__ = ["fingerprint", "outline", "outline_diff"]

_SCHEME = b"awaitly value 1"
"""Names this encoding. A change to what any value encodes to needs a new name, so that old keys cannot be met."""


def fingerprint(value: object, *, path: str = "value", read: bool = False) -> str:
    """Return the canonical typed fingerprint of `value`, 32 lower-case hexadecimal digits.

    Code that belongs to the value (`__reduce_ex__`, `__awaitly_key__`, a registered function) may run; whatever it
    raises becomes an `UnkeyableError`.

    Parameters
    ----------
    value
        Anything that has content: scalars, containers, arrays, frames, objects, functions, classes.
    path
        What to call `value` in an error.
    read
        The code of a step reads the value and nobody passes it, so that an error must not advise to ignore it.

    Raises
    ------
    UnkeyableError
        If a part of `value` has no content to read; its `path` names the part.

    Examples
    --------
    >>> fingerprint([1, 2]) == fingerprint([1, 2])
    True
    >>> fingerprint(1) == fingerprint(True)
    False
    >>> fingerprint({"a": [iter(())]}, path="cfg")
    Traceback (most recent call last):
        ...
    awaitly_nb.errors.UnkeyableError: cannot key cfg['a'][0] (tuple_iterator): ...
    """
    try:
        code = Walk().encode(value)
    except Refusal as refusal:
        raise refusal.to_error(path, read=read) from refusal.__cause__
    except RecursionError:
        # Raised where the stack had no room left to say where it was.
        raise UnkeyableError(
            f"cannot key {path}: it is nested too deeply to be read; pass key= to the step", path=path
        ) from None
    return blake2b(code, digest_size=16, person=_SCHEME).hexdigest()
