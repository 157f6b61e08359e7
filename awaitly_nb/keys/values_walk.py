"""One walk over a value: memo, cycles, and which encoder reads which type.

Every encoder returns a *self-delimiting* code, so that codes can be joined without becoming ambiguous: a scalar is its
tag, length and payload; anything larger is a node, `#` and the 16-byte digest of its kind and its parts.

Encoders of a library are looked up by the top-level package of a type, and only then is the module that reads them
imported: a process that never made an array never loads `values_numpy`.
"""

from __future__ import annotations

import sys
from collections.abc import Callable
from hashlib import blake2b
from importlib import import_module
from typing import Any, TypeAlias
from weakref import WeakKeyDictionary

from awaitly_nb.errors import UnkeyableError
from awaitly_nb.keys import registry
from awaitly_nb.keys.code_origin import is_named_after_maker
from awaitly_nb.keys.values_scalars import SCALARS, encode_text

__all__ = ["WAY_OUT", "Encoder", "Refusal", "Walk", "node", "seal", "type_name"]

_IGNORE = "leave it out with ignore="
_IGNORE_READ = "make it an argument that @aw.step(ignore=...) leaves out"
WAY_OUT = f"pass key= to the step, {_IGNORE}, or teach it with aw.register_key(type, fn)"

_MEMO_LIMIT = 10_000
"""Codes remembered at once: bounds memory on huge lists of small objects, yet shared parts are not read 2**n times."""

_FAMILIES = {
    "matplotlib": "objects",
    "numpy": "numpy",
    "pandas": "pandas",
    "polars": "polars",
    "pyarrow": "arrow",
    "scipy": "scipy",
}


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


class Walk:
    """Reads one value from its root. Used once and by one thread."""

    __slots__ = ("_active", "_classes", "_memo")

    def __init__(self) -> None:
        self._active: set[int] = set()
        self._classes: dict[tuple[type, str], bytes] = {}
        # The value itself is kept beside its code: an id is only good for as long as its object lives.
        self._memo: dict[int, tuple[object, bytes]] = {}

    def encode(self, value: object) -> bytes:
        """Return the self-delimiting code of `value`."""
        scalar = SCALARS.get(type(value))
        if scalar is not None:
            return scalar(value)
        me = id(value)
        if (seen := self._memo.get(me)) is not None:
            return seen[1]
        cls = type(value)
        if me in self._active:
            refusal = Refusal("it contains itself")
            refusal.culprit = type_name(cls)
            raise refusal
        self._active.add(me)
        try:
            code = _encoder_of(cls)(self, value)
        except Refusal as refusal:
            refusal.culprit = refusal.culprit or type_name(cls)
            raise
        except BaseException as exc:
            # The strangers are the value's own methods. A Rust panic (polars) is no Exception, yet no request to stop.
            if not isinstance(exc, Exception) and type(exc).__name__ != "PanicException":
                raise
            raise _refusal_from(exc, cls) from exc
        finally:
            self._active.discard(me)
        if len(self._memo) >= _MEMO_LIMIT:
            self._memo.clear()
        self._memo[me] = (value, code)
        return code

    def part(self, value: object, segment: str) -> bytes:
        """Return the code of a part of a value; `segment` says where it sits, as in `.name` or `[0]`."""
        try:
            return self.encode(value)
        except Refusal as refusal:
            refusal.segments.append(segment)
            raise

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
    from awaitly_nb.keys.code import class_digest

    return encode_text(class_digest(cls))


_NAMED = frozenset({*sys.stdlib_module_names, "awaitly_nb"} - {"__main__"})
"""Packages whose classes and functions are known by name alone, so that keys agree across Python versions."""

_encoders: WeakKeyDictionary[type, Encoder] = WeakKeyDictionary()
_encoders_as_of = -1


def _encoder_of(cls: type) -> Encoder:
    global _encoders_as_of  # noqa: PLW0603 - a memo with its stamp
    if _encoders_as_of != registry.generation():
        _encoders.clear()
        _encoders_as_of = registry.generation()
    try:
        return _encoders[cls]
    except KeyError:
        found = _encoders[cls] = _find_encoder(cls)
        return found


def _find_encoder(cls: type) -> Encoder:
    from awaitly_nb.keys import values_containers, values_objects

    if (stand_in := registry.stand_in_of(cls)) is not None:
        return values_objects.by_stand_in(stand_in)
    for base in cls.__mro__:
        module = getattr(base, "__module__", None)
        family = _FAMILIES.get(module.partition(".")[0]) if isinstance(module, str) else None
        if family is not None:
            encoder: Encoder | None = import_module(f"awaitly_nb.keys.values_{family}").encoder_for(base, cls)
            if encoder is not None:
                return encoder
    return values_containers.ENCODERS.get(cls) or values_objects.encoder_for(cls)


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
