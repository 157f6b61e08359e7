"""The canonical typed fingerprint of a value: equal content of equal type, equal key, in every process.

What counts, and what does not:

==========================================  ==================================================================
counts                                      does not count
==========================================  ==================================================================
the exact type (`1`, `1.0`, `True`)         identity, memory addresses, aliasing between parts (see below)
order of a dict and of columns              order of a set, order in which attributes were set
`-0.0` against `0.0`                        which NaN a scalar is
dtype, byte order, shape, raw bits          memory layout, strides, chunks, padding, being memory-mapped
the mask of a masked array and its data     bytes under a null of pandas, Arrow or polars
column names, index, categories, time zone  how a frame lays out its blocks
levels, frequency, `attrs`, metadata        what pandas and scipy remember of how a value was used
attributes of an object                     those that a `cached_property` of its class has filled
code of user-defined classes and functions  their comments, docstrings and layout
name of a path; content of an `aw.file`     where an `aw.file` lies, and its name but for the suffix
name and version of installed classes       versions of numpy, pandas, polars or Arrow, for their own values
==========================================  ==================================================================

Of objects that lead back to themselves (a tree whose nodes know their parent) each has a number, in the order in which
they are met, and the second meeting is the distance to the first. There, and only there, it counts which parts are one.

Every encoder returns a *self-delimiting* code, so that codes can be joined without becoming ambiguous: a scalar is its
tag, length and payload; anything larger is a node, `#` and the 16-byte digest of its kind and its parts. Here are the
walk, scalars and the built-in containers. Encoders of a library are in the other `values_*` modules, looked up by the
top-level package of a type, and only then is the module that reads them imported: a process that never made an array
never loads `values_arrays`, and nothing here imports numpy or pandas.
"""

from __future__ import annotations

import gc
import marshal
import re
import sys
from array import array
from collections.abc import Callable
from functools import lru_cache
from hashlib import blake2b
from importlib import import_module
from itertools import islice, repeat
from math import isnan
from struct import Struct
from types import MappingProxyType
from typing import TYPE_CHECKING, Any, NamedTuple, TypeAlias
from weakref import WeakKeyDictionary

import xxhash

from awaitly_nb.errors import UnkeyableError
from awaitly_nb.keys.origin import is_named_after_maker

if TYPE_CHECKING:
    from collections.abc import Collection, Iterable, Mapping, Sequence

__all__ = [
    "COLUMN_FROM",
    "SCALARS",
    "WAY_OUT",
    "Encoder",
    "Refusal",
    "Walk",
    "add_items",
    "add_mapping",
    "add_set",
    "encode_bytes",
    "encode_int",
    "encode_text",
    "encoders",
    "fingerprint",
    "node",
    "packed_types",
    "seal",
    "show_key",
    "unstable_type",
]

_SCHEME = b"awaitly value 2"
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
    >>> fingerprint({"a": [(n for n in ())]}, path="cfg")
    Traceback (most recent call last):
        ...
    awaitly_nb.errors.UnkeyableError: cannot key cfg['a'][0] (generator): ...
    """
    try:
        code = Walk().encode(value)
    except Refusal as refusal:
        _let_go(refusal)
        raise refusal.to_error(path, read=read) from refusal.__cause__
    except RecursionError:
        # Raised where the stack had no room left to say where it was.
        raise UnkeyableError(
            f"cannot key {path}: it is nested too deeply to be read; pass key= to the step", path=path
        ) from None
    return blake2b(code, digest_size=16, person=_SCHEME).hexdigest()


def unstable_type(value: object, load: Callable[[], object]) -> str | None:
    """Return the name of a type in `value` whose key is another one once it is stored and loaded, or None.

    A type that was found to be stable, or not, is remembered, so that few values are loaded for this.

    Parameters
    ----------
    value
        What is stored.
    load
        Returns it as it comes back; only called when `value` contains a type that was not looked at before.

    Examples
    --------
    >>> import pickle, fractions
    >>> value = [fractions.Fraction(1, 3)]
    >>> unstable_type(value, lambda: pickle.loads(pickle.dumps(value)))
    """
    walk = Walk()
    try:
        code = walk.encode(value)
    except (Refusal, RecursionError):
        return None  # without a key, none can change
    new = [cls for cls in walk.by_state if cls not in _is_stable]
    if new:
        try:
            same = Walk().encode(load()) == code
        except (Refusal, RecursionError):
            same = False
        # The outermost is named and remembered: what is inside may well be stable.
        for cls in new if same else new[:1]:
            _is_stable[cls] = same
    return next((type_name(cls) for cls in walk.by_state if not _is_stable.get(cls, True)), None)


_is_stable: WeakKeyDictionary[type, bool] = WeakKeyDictionary()


# -- the walk ----------------------------------------------------------------------------------------------------------

_IGNORE = "leave it out with ignore="
_IGNORE_READ = "make it an argument that @aw.step(ignore=...) leaves out"
WAY_OUT = f"pass key= to the step, {_IGNORE}, or teach it with aw.register_key(type, fn)"

_MEMO_LIMIT = 10_000
"""Codes remembered at once: bounds memory on huge lists of small objects, yet shared parts are not read 2**n times."""
_MOST_BEGUN = 1000

_FAMILIES = {
    "numpy": ("values_arrays", "numpy_encoder"),
    "pandas": ("values_tables", "pandas_encoder"),
    "polars": ("values_tables", "polars_encoder"),
    "pyarrow": ("values_tables", "arrow_encoder"),
    "scipy": ("values_arrays", "scipy_encoder"),
}
"""Where the encoders of a library are, by the top-level package of a type."""


class Refusal(Exception):  # noqa: N818 - it is a message on its way up, and never leaves this package
    """A part of a value cannot be keyed; collects the path to it on the way up."""

    def __init__(self, why: str, way_out: str = WAY_OUT) -> None:
        super().__init__(why)
        self.why = why
        self.way_out = way_out
        self.culprit: str | None = None
        self.segments: list[str] = []

    def to_error(self, root: str, *, read: bool = False) -> UnkeyableError:
        """Return the error for a reader who knows the value as `root`, and whose code reads it or who passes it."""
        path = root + "".join(reversed(self.segments))
        shown = path if len(path) <= 300 else f"{path[:150]} ... {path[-100:]}"  # noqa: PLR2004
        way_out = f"; {self.way_out}" if self.way_out else ""
        if read:  # only what is passed can be ignored
            way_out = way_out.replace(_IGNORE, _IGNORE_READ)
        return UnkeyableError(f"cannot key {shown} ({self.culprit}): {self.why}{way_out}", path=path)


def _let_go(error: BaseException | None) -> None:
    """Empty the frames behind an error: they hold the value, which may be referred to weakly, until a collection."""
    from traceback import clear_frames

    while error is not None:
        clear_frames(error.__traceback__)
        error = error.__cause__ or error.__context__


class Walk:
    """Reads one value from its root. Used once and by one thread."""

    __slots__ = (
        "_apart",
        "_begun",
        "_classes",
        "_encoders",
        "_lowest",
        "_memo",
        "_met",
        "_next",
        "by_state",
        "scalars",
    )

    def __init__(self) -> None:
        self._classes: dict[tuple[type, str], bytes] = {}
        self._encoders: dict[type, Encoder] = {}
        self._begun: dict[tuple[type, int], tuple[object, blake2b]] = {}
        # The value itself stands beside its code: an id is only good for as long as its object lives.
        self._memo: dict[int, tuple[object, bytes]] = {}
        # What is being read, and what was read inside it and leads back to it: its number, and the value again.
        self._met: dict[int, tuple[int, object]] = {}
        self.by_state: dict[type, None] = {}
        """Types that were read by class and state, of which nothing nearer is known."""
        self.scalars: Mapping[type, ScalarEncoder] = SCALARS
        """What is read without a note of where it stands."""
        self._next = 0
        self._lowest = 0
        self._apart = 0

    def encode(self, value: object) -> bytes:
        """Return the self-delimiting code of `value`."""
        scalar = self.scalars.get(type(value))
        if scalar is not None:
            return scalar(value)
        me = id(value)
        if (seen := self._memo.get(me)) is not None:
            return seen[1]
        if (met := self._met.get(me)) is not None:
            self._lowest = min(self._lowest, met[0])
            return b"^%d:" % (self._next - met[0])
        number, around, before = self._next, self._lowest, len(self._met)
        self._met[me] = (number, value)
        self._next, self._lowest = number + 1, number
        cls = type(value)
        try:
            encoder = self._encoders.get(cls)
            if encoder is None:
                encoder = self._encoders[cls] = _encoder_of(cls)
            code = encoder(self, value)
        except Refusal as refusal:
            refusal.culprit = refusal.culprit or type_name(cls)
            raise
        except BaseException as exc:
            # User code, which may raise anything. A Rust panic (polars) is no Exception, yet no request to stop.
            if not isinstance(exc, Exception) and type(exc).__name__ != "PanicException":
                raise
            raise _refusal_from(exc, cls) from exc
        if self._lowest >= number:
            # Nothing inside leads further back than here, so this code is good anywhere, and takes up no number.
            self._drop(before, number)
            if len(self._memo) >= _MEMO_LIMIT:
                self._memo.clear()
            self._memo[me] = (value, code)
            self._lowest = around
        else:
            self._lowest = min(around, self._lowest)
        return code

    def encode_apart(self, value: object) -> bytes:
        """Return the code of a member of a set, which must not depend on the members that were read before it."""
        before, number = len(self._met), self._next
        code = self.encode(value)
        if len(self._met) > before:
            self._drop(before, number)
            self._apart += 1
            if self._apart > _MEMO_LIMIT:  # each member is read anew, through all that it leads to
                raise Refusal("too many objects lead back to each other through sets")
        return code

    def _drop(self, before: int, number: int) -> None:
        while len(self._met) > before:
            self._met.popitem()
        self._next = number

    def part(self, value: object, segment: str) -> bytes:
        """Return the code of a part of a value; `segment` says where it sits, as in `.name` or `[0]`."""
        try:
            return self.encode(value)
        except Refusal as refusal:
            refusal.segments.append(segment)
            raise

    def begun(self, kind: str, cls: type, make: object, segment: str) -> blake2b:
        """Begin the node of an object with its class and with what makes it, which are the same for thousands."""
        found = self._begun.get((cls, id(make)))
        if found is not None:
            return found[1].copy()
        parts = node(kind)
        parts.update(self.class_code(cls))
        parts.update(self.part(make, segment))
        # Only what is remembered leads nowhere else, so that its code is the same anywhere in the value.
        if id(make) in self._memo and len(self._begun) < _MOST_BEGUN:
            self._begun[cls, id(make)] = make, parts.copy()
        return parts

    def class_code(self, cls: type, *, known: str = "") -> bytes:
        """Return the code of a class: by name in the standard library and here, else by code or package version.

        With `known`, the classes of that package go by bare name too: what is read of their values depends on no
        version of it.
        """
        found = self._classes.get((cls, known))
        if found is None:
            found = self._classes[cls, known] = _class_code(cls, known)
        return found


Encoder: TypeAlias = Callable[[Walk, Any], bytes]  # Any: each encoder knows its own type


def node(kind: str) -> blake2b:
    """Begin a node; `update` it with self-delimiting codes and `seal` it."""
    return _bare_node(kind).copy()


@lru_cache(256)  # to copy one takes a tenth of making one
def _bare_node(kind: str) -> blake2b:
    return blake2b(b"%d:" % len(kind) + kind.encode(), digest_size=16)


def seal(parts: blake2b) -> bytes:
    """Return the code of a node."""
    return b"#" + parts.digest()


def type_name(cls: type) -> str:
    """Return the name of `cls` as a reader knows it."""
    module = getattr(cls, "__module__", None)
    name = getattr(cls, "__qualname__", None) or repr(cls)
    return name if module in ("builtins", "__main__", None) else f"{module}.{name}"


def _class_code(cls: type, known: str) -> bytes:
    module = cls.__module__
    top = module.partition(".")[0] if isinstance(module, str) else ""
    if top == known:
        return encode_text(f"{top}:{cls.__qualname__}")
    if top in _NAMED and not is_named_after_maker(cls):
        return encode_text(f"{module}.{cls.__qualname__}")
    from awaitly_nb.keys.graph import class_digest

    return encode_text(class_digest(cls))


_NAMED = frozenset({*sys.stdlib_module_names, "awaitly_nb"} - {"__main__"})
"""Packages whose classes and functions are known by name alone, so that keys agree across Python versions."""

encoders: WeakKeyDictionary[type, Encoder] = WeakKeyDictionary()
"""Which encoder reads which type, as far as it was asked; cleared when a type is registered."""


def _encoder_of(cls: type) -> Encoder:
    try:
        return encoders[cls]
    except KeyError:
        found = encoders[cls] = _find_encoder(cls)
        return found


def _find_encoder(cls: type) -> Encoder:
    from awaitly_nb.keys import values_objects

    if (stand_in := values_objects.stand_in_of(cls)) is not None:
        return values_objects.by_stand_in(stand_in)
    for base in cls.__mro__:
        module = getattr(base, "__module__", None)
        family = _FAMILIES.get(module.partition(".")[0]) if isinstance(module, str) else None
        if family is not None:
            home, name = family
            encoder: Encoder | None = getattr(import_module(f"awaitly_nb.keys.{home}"), name)(base, cls)
            if encoder is not None:
                return encoder
    return _CONTAINERS.get(cls) or values_objects.encoder_for(cls)


def _refusal_from(exc: BaseException, cls: type) -> Refusal:
    if isinstance(
        exc, UnkeyableError
    ):  # from the code of a function or class, or from a fingerprint taken by user code
        refusal = Refusal(str(exc), way_out="")  # it names its own
    elif isinstance(exc, RecursionError):
        refusal = Refusal("it is nested too deeply to be read")
    else:
        refusal = Refusal(f"reading it raised {type(exc).__name__}: {exc}")
    refusal.culprit = type_name(cls)
    return refusal


# -- scalars -----------------------------------------------------------------------------------------------------------

ScalarEncoder: TypeAlias = Callable[[Any], bytes]  # Any: each knows its own type

_INLINE = 4096
_SLICE = 1 << 20
_DOUBLE = Struct("<d").pack
_NAN = _DOUBLE(float("nan"))


def encode_int(value: int) -> bytes:
    """Return the code of an int of any size."""
    size = (value.bit_length() + 8) // 8
    return b"i%d:" % size + value.to_bytes(size, "little", signed=True)


def encode_float(value: float) -> bytes:
    """Return the code of a float: by bits, but all NaNs alike."""
    return b"f" + (_DOUBLE(value) if value == value else _NAN)  # noqa: PLR0124 - only a NaN differs from itself


def encode_text(value: str) -> bytes:
    """Return the code of a str; lone surrogates are text like any other."""
    if len(value) <= _INLINE:
        data = value.encode("utf-8", "surrogatepass")
        return b"s%d:" % len(data) + data
    bulk = xxhash.xxh3_128()
    for start in range(0, len(value), _SLICE):
        bulk.update(value[start : start + _SLICE].encode("utf-8", "surrogatepass"))
    return b"S%d:" % len(value) + bulk.digest()


def encode_bytes(value: bytes | bytearray | memoryview) -> bytes:
    """Return the code of contiguous bytes."""
    if len(value) <= _INLINE:
        return b"b%d:" % len(value) + bytes(value)
    return b"B%d:" % len(value) + xxhash.xxh3_128_digest(value)


def _complex(value: complex) -> bytes:
    return b"c" + encode_float(value.real) + encode_float(value.imag)


SCALARS: dict[type, ScalarEncoder] = {
    int: encode_int,
    str: encode_text,
    float: encode_float,
    bool: lambda value: b"T" if value else b"F",
    type(None): lambda _: b"N",
    bytes: encode_bytes,
    complex: _complex,
    type(...): lambda _: b"E",
    type(NotImplemented): lambda _: b"I",
}


# -- built-in containers -----------------------------------------------------------------------------------------------

_CHUNK = 1024
COLUMN_FROM = 8
_TEXT_LIMIT = 1 << 20
_CANONICAL_NAN = float("nan")
_NONE = type(None)


def add_items(walk: Walk, parts: blake2b, items: Iterable[object], segment: Callable[[int], str] | None = None) -> None:
    """Add the codes of `items`, in order, to a node; `segment(i)` says where item `i` sits, `[i]` by default.

    Items are read in chunks. A chunk whose items are all `str`, or all `int`, and so on, is encoded as one column, and
    one of plain containers and scalars is packed: a million of them then cost a few passes of compiled code per chunk
    instead of a call each. Which form a chunk takes depends on its content alone.
    """
    if type(items) is tuple and len(items) < COLUMN_FROM and packed_types.isdisjoint(map(type, items)):
        # Too short for a column, and nothing in it to pack: the arguments of an object, mostly.
        if items:
            parts.update(_listed(walk, items, 0, segment))
        return
    reader = iter(items)
    base = 0
    while chunk := list(islice(reader, _CHUNK)):
        kinds = set(map(type, chunk))
        code = _column(chunk, kinds) or _packed(chunk, kinds)
        parts.update(_listed(walk, chunk, base, segment) if code is None else code)
        base += len(chunk)


def _listed(walk: Walk, items: Sequence[object], base: int, segment: Callable[[int], str] | None) -> bytes:
    codes: list[bytes] = []
    encode = walk.encode
    try:
        for item in items:
            codes.append(encode(item))  # noqa: PERF401 - its length tells where a refusal happened
    except Refusal as refusal:
        at = base + len(codes)
        refusal.segments.append(f"[{at}]" if segment is None else segment(at))
        raise
    return b"*%d:" % len(items) + b"".join(codes)


def show_key(key: object) -> str:
    """Return `[key]` for a path, whatever the key's own repr does."""
    try:
        text = repr(key)
    except Exception as exc:  # noqa: BLE001 - a key's own __repr__ may raise anything
        text = f"<{type(key).__name__} whose repr raised {type(exc).__name__}>"
    return f"[{text if len(text) <= 60 else text[:57] + '...'}]"  # noqa: PLR2004


def _column(chunk: list[Any], kinds: set[type]) -> bytes | None:
    if len(chunk) < COLUMN_FROM or len(kinds) > 2:  # noqa: PLR2004 - one type, and None where a value is missing
        return None
    gaps = b""
    kinds = set(kinds)
    if len(kinds) > 1 and _NONE in kinds:
        kinds.remove(_NONE)
        gaps = bytes([item is None for item in chunk])
        chunk = [item for item in chunk if item is not None]
    kind = kinds.pop()
    make = _COLUMNS.get(kind)
    data = make(chunk) if make is not None and not kinds else None
    if data is None:
        return None
    head = b"|%s%d:%d:%d:" % (kind.__name__.encode(), len(chunk), len(data), len(gaps))
    return head + gaps + xxhash.xxh3_128_digest(data)


def _little(column: array[Any]) -> bytes:
    if sys.byteorder == "big":
        column.byteswap()
    return column.tobytes()


def _ints(chunk: list[int]) -> bytes | None:
    try:
        return _little(array("q", chunk))
    except OverflowError:
        return None


def _floats(chunk: list[float]) -> bytes:
    if isnan(sum(chunk)):  # a sum that is no NaN proves that no item is one, at a fifth of the cost of looking
        chunk = [x if x == x else _CANONICAL_NAN for x in chunk]  # noqa: PLR0124 - only a NaN differs from itself
    return _little(array("d", chunk))


def _texts(chunk: list[str]) -> bytes | None:
    lengths = array("q", map(len, chunk))
    if sum(lengths) > _TEXT_LIMIT:
        return None
    return _little(lengths) + "".join(chunk).encode("utf-8", "surrogatepass")


def _byte_strings(chunk: list[bytes]) -> bytes | None:
    lengths = array("q", map(len, chunk))
    if sum(lengths) > _TEXT_LIMIT:
        return None
    return _little(lengths) + b"".join(chunk)


_COLUMNS: dict[type, Callable[[list[Any]], bytes | None]] = {
    int: _ints,
    float: _floats,
    str: _texts,
    bytes: _byte_strings,
    bool: bytes,
    _NONE: lambda _: b"",
}


packed_types: set[type] = {list, tuple, dict, set, frozenset}
"""Containers that are packed; one that is registered is left out."""

_CONTAINER_TYPES = frozenset(packed_types)
_PLAIN = _CONTAINER_TYPES | {int, str, float, bool, _NONE, bytes}
_DEEPEST = 16
_MOST_NODES = 1 << 20
_MOST_TEXT = 1 << 24
_ODD_NAN = re.compile(rb"g(?!\0{6}[\xf0\xf8]\x7f|\0{6}\xf0\xff).{6}[\xf0-\xff][\x7f\xff]", re.DOTALL)
"""A float of marshal's that may be a NaN of other bits than `_CANONICAL_NAN`: it may also be text or a number."""


def _packed(chunk: list[Any], kinds: set[type]) -> bytes | None:
    """Return one code for items that are plain all the way down, or None.

    Marshal in version 2 has tags that tell the types apart, lengths, sorted sets and no references, so that it says all
    of a plain value and nothing else. But it takes whatever offers its bytes for bytes; hence the census first.
    """
    if len(chunk) < COLUMN_FROM and kinds.isdisjoint(packed_types):
        return None
    census = _census(chunk, kinds, _MOST_NODES, _MOST_TEXT)
    if census is None:
        return None
    data = marshal.dumps(chunk, 2)
    if census.floats and _ODD_NAN.search(data) is not None:
        data = marshal.dumps(_with_one_nan(chunk), 2)
    return b"%%%d:%d:" % (len(chunk), len(data)) + xxhash.xxh3_128_digest(data)


class _Census(NamedTuple):
    """What there is among items that are plain all the way down."""

    floats: bool
    nodes: int
    text: int


def _census(level: list[Any], kinds: set[type], most_nodes: int, most_text: int) -> _Census | None:
    """Return what there is among items that are plain all the way down; None where they are not, or too many.

    The collector's own list of what refers to what is a walk at the speed of C. It neither ends on what contains itself
    nor sees that a part is shared, so depth and number are bounded; both are properties of the content.
    """
    floats = False
    nodes = text = 0
    for _ in range(_DEEPEST):
        if not kinds <= _PLAIN or not packed_types.issuperset(kinds & _CONTAINER_TYPES):
            return None
        nodes += len(level)
        if str in kinds or bytes in kinds:
            text += sum([len(item) for item in level if type(item) is str or type(item) is bytes])
        if nodes > most_nodes or text > most_text:  # what is packed is a copy
            return None
        floats = floats or float in kinds
        if kinds.isdisjoint(packed_types):
            return _Census(floats, nodes, text)
        if not kinds <= packed_types:
            level = [item for item in level if type(item) in packed_types]
        level = gc.get_referents(*level)
        kinds = set(map(type, level))
    return None


def _with_one_nan(value: Any) -> Any:
    """Return a plain value in which every NaN has the same bits; each is an object of its own, as keys are apart."""
    cls = type(value)
    if cls is float:
        return value if value == value else float("nan")  # noqa: PLR0124 - only a NaN differs from itself
    if cls is dict:
        return {_with_one_nan(key): _with_one_nan(item) for key, item in value.items()}
    return cls(map(_with_one_nan, value)) if cls in _CONTAINER_TYPES else value


def _sequence(kind: str) -> Encoder:
    def encode(walk: Walk, value: Any) -> bytes:
        parts = node(kind)
        add_items(walk, parts, value)
        return seal(parts)

    return encode


def _dict(walk: Walk, value: dict[Any, Any]) -> bytes:
    parts = node("dict")
    add_mapping(walk, parts, value)
    return seal(parts)


def add_mapping(walk: Walk, parts: blake2b, mapping: Any) -> None:
    """Add the keys and values of a mapping to a node, in its own order."""
    parts.update(encode_int(len(mapping)))
    keys = list(mapping)
    add_items(walk, parts, keys, lambda i: f"<key {i}>")
    add_items(walk, parts, mapping.values(), lambda i: show_key(keys[i]))


def _set(kind: str) -> Encoder:
    def encode(walk: Walk, value: Any) -> bytes:
        parts = node(kind)
        add_set(walk, parts, value)
        return seal(parts)

    return encode


def add_set(walk: Walk, parts: blake2b, items: Collection[object]) -> None:
    """Add the items of a set to a node, whatever their order, which differs from process to process."""
    if (code := _jumble(items)) is not None:
        parts.update(code)
        return
    codes = []
    for item in items:
        try:
            codes.append(walk.encode_apart(item))
        except Refusal as refusal:
            refusal.segments.append(f"<member {type(item).__name__}>")
            raise
    codes.sort()
    parts.update(encode_int(len(codes)) + b"".join(codes))


def _jumble(items: Iterable[Any]) -> bytes | None:
    """Return one code for plain members in whatever order: the sum of their digests. Sorting costs three times that."""
    reader = iter(items)
    count = total = 0
    nodes, text = 1 << 26, 1 << 30  # of the whole set, because which members are in a chunk is chance
    while chunk := list(islice(reader, _CHUNK)):
        kinds = set(map(type, chunk))
        census = _census(chunk, kinds, nodes, text)
        if census is None:
            return None
        count += len(chunk)
        nodes, text = nodes - census.nodes, text - census.text
        codes = list(map(marshal.dumps, chunk, repeat(2)))
        if census.floats and _ODD_NAN.search(b"".join(codes)) is not None:
            codes = [marshal.dumps(_with_one_nan(item), 2) for item in chunk]
        total += sum(map(xxhash.xxh3_128_intdigest, codes))
    if count < COLUMN_FROM:
        return None
    return b"&%d:" % count + (total % (1 << 128)).to_bytes(16, "little")


def _bytearray(_walk: Walk, value: bytearray) -> bytes:
    return _labelled("bytearray", encode_bytes(value))


def _memoryview(_walk: Walk, value: memoryview) -> bytes:
    if value.format in ("O", "P") or value.ndim == 0:
        raise Refusal(f"a memoryview of format {value.format!r} has no content of its own")
    flat = value if value.contiguous and value.c_contiguous else memoryview(value.tobytes())
    return _labelled("memoryview", encode_text(f"{value.format} {value.shape}"), encode_bytes(flat.cast("B")))


def _range(_walk: Walk, value: range) -> bytes:
    return _labelled("range", encode_int(value.start), encode_int(value.stop), encode_int(value.step))


def _slice(walk: Walk, value: slice) -> bytes:
    return _labelled(
        "slice", walk.part(value.start, ".start"), walk.part(value.stop, ".stop"), walk.part(value.step, ".step")
    )


def _array(_walk: Walk, value: array[Any]) -> bytes:
    if value.typecode in "uw":  # text
        return _labelled("array", encode_text(value.typecode), encode_text(value.tounicode()))
    if sys.byteorder == "big":
        value = array(value.typecode, value)
        value.byteswap()
    data = memoryview(value).cast("B") if len(value) else b""
    return _labelled("array", encode_text(f"{value.typecode}{value.itemsize}"), encode_bytes(data))


def _proxy(walk: Walk, value: Any) -> bytes:
    parts = node("mappingproxy")
    add_mapping(walk, parts, value)
    return seal(parts)


def _labelled(kind: str, *codes: bytes) -> bytes:
    parts = node(kind)
    parts.update(b"".join(codes))
    return seal(parts)


_CONTAINERS: dict[type, Encoder] = {
    list: _sequence("list"),
    tuple: _sequence("tuple"),
    dict: _dict,
    set: _set("set"),
    frozenset: _set("frozenset"),
    bytearray: _bytearray,
    memoryview: _memoryview,
    range: _range,
    slice: _slice,
    array: _array,
    type({}.keys()): _sequence("dict_keys"),
    type({}.values()): _sequence("dict_values"),
    type({}.items()): _sequence("dict_items"),
    MappingProxyType: _proxy,
}
