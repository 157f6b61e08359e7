"""Values as plain JSON, exactly: what JSON cannot hold carries a tag, what no tag fits is a signed pickle in base64.

A tagged value is an object with the member `"$awaitly"`; a user's dict that has such a member is itself tagged. Types
count: a `bool` is no `int`, a tuple no list, and subclasses go through pickle.
"""

from __future__ import annotations

import base64
import math
from datetime import date, datetime, time, timedelta
from decimal import Decimal
from typing import TYPE_CHECKING, Any, Final

from awaitly_nb.codec.pickling import UndecodableError, decode, encode
from awaitly_nb.codec.secrets import default_keyring
from awaitly_nb.errors import UnverifiedEntryError

if TYPE_CHECKING:
    from collections.abc import Callable, Collection, Iterable

    from awaitly_nb.codec.pickling import Shape
    from awaitly_nb.codec.secrets import Keyring, Secret

__all__ = ["from_json", "resign", "to_json"]

TAG: Final = "$awaitly"
_EXACT_INT = 2**53  # beyond it, readers in other languages lose digits
_DOMAIN = b"awaitly_nb json 1"


class _Cyclic(Exception):  # noqa: N818 - a signal, never seen outside
    pass


def to_json(value: object, *, keyring: Keyring | None = None) -> Any:  # Any: JSON data
    """Return `value` as data that `json.dumps` takes and `from_json` turns back into an equal value of the same types.

    Raises
    ------
    EncodeError
        Some part can be stored by no pickler.

    Examples
    --------
    >>> to_json({"point": (1, 2.5), 3: None})
    {'$awaitly': 'dict', 'items': [['point', {'$awaitly': 'tuple', 'items': [1, 2.5]}], [3, None]]}
    >>> from_json(to_json({"point": (1, 2.5), 3: None}))
    {'point': (1, 2.5), 3: None}
    """
    try:
        return _Writer(keyring).write(value)
    except (_Cyclic, RecursionError):
        return _Writer(keyring).pickle(value)


def from_json(data: object, *, keyring: Keyring | None = None) -> Any:  # Any: whatever was written
    """Return the value that `to_json` wrote.

    Raises
    ------
    UnverifiedEntryError
        It holds a pickle that nobody trusted has signed; nothing was unpickled.
    UndecodableError
        The data is damaged, or a class it needs is gone or has changed.
    """
    try:
        return _read(data, keyring)
    except (KeyError, TypeError, ValueError, ArithmeticError) as exc:
        raise UndecodableError(f"damaged JSON form of a value ({type(exc).__name__}: {exc})") from exc


class _Writer:
    def __init__(self, keyring: Keyring | None) -> None:
        self._keyring = keyring
        self._open: set[int] = set()  # containers under way, to see cycles

    def write(self, value: Any) -> Any:
        kind = type(value)
        if value is None or kind is bool or kind is str:
            return value
        if kind is int:
            return value if -_EXACT_INT <= value <= _EXACT_INT else {TAG: "int", "text": hex(value)}
        if kind is float:
            return value if math.isfinite(value) else {TAG: "float", "text": repr(value)}
        if kind in (list, tuple, set, frozenset, dict):
            if id(value) in self._open:
                raise _Cyclic
            self._open.add(id(value))
            try:
                return self._container(value, kind)
            finally:
                self._open.discard(id(value))
        if kind is bytes:
            return {TAG: "bytes", "base64": base64.b64encode(value).decode("ascii")}
        if kind is Decimal:
            return {TAG: "Decimal", "text": str(value)}
        if kind is timedelta:
            return {TAG: "timedelta", "parts": [value.days, value.seconds, value.microseconds]}
        if kind is date or (kind in (datetime, time) and _iso_is_exact(value)):
            return {TAG: kind.__name__, "text": value.isoformat()}
        if kind is complex:
            return {TAG: "complex", "parts": [self.write(value.real), self.write(value.imag)]}
        return self.pickle(value)

    def _container(self, value: Any, kind: type) -> Any:
        if kind is list:
            return [self.write(item) for item in value]
        if kind is dict:
            if TAG not in value and all(type(key) is str for key in value):
                return {key: self.write(item) for key, item in value.items()}
            return {TAG: "dict", "items": [[self.write(key), self.write(item)] for key, item in value.items()]}
        items = [self.write(item) for item in value]
        if kind is not tuple:
            # A set's order differs between processes; the written form must not.
            items.sort(key=repr)
        return {TAG: kind.__name__, "items": items}

    def pickle(self, value: object) -> Any:
        encoded = encode(value)
        secret = (self._keyring or default_keyring()).own
        signed = _signed(encoded.shapes)
        return {
            TAG: "pickle",
            "secret": secret.id,
            "signature": secret.sign(_DOMAIN, signed, encoded.stream, *map(_flat, encoded.buffers)),
            "shapes": [list(shape) for shape in encoded.shapes],
            "stream": base64.b64encode(encoded.stream).decode("ascii"),
            "buffers": [base64.b64encode(buffer).decode("ascii") for buffer in encoded.buffers],
        }


def _flat(buffer: memoryview) -> memoryview:
    return buffer.cast("B")


def _iso_is_exact(value: datetime | time) -> bool:
    """Tell whether ISO text keeps `value`: time zones with a name, and the second reading of an hour, it does not."""
    zone = value.tzinfo
    return value.fold == 0 and (zone is None or type(zone).__name__ == "timezone") and _same_zone(value)


def _same_zone(value: datetime | time) -> bool:
    again = type(value).fromisoformat(value.isoformat())
    return again == value and repr(again) == repr(value)


def _read(data: Any, keyring: Keyring | None) -> Any:
    kind = type(data)
    if kind is list:
        return [_read(item, keyring) for item in data]
    if kind is not dict:
        return data
    if TAG not in data:
        return {key: _read(item, keyring) for key, item in data.items()}
    tag = data[TAG]
    if tag == "pickle":
        return _unpickle(data, keyring)
    if tag == "dict":
        return {_read(key, keyring): _read(item, keyring) for key, item in data["items"]}
    if tag == "complex":
        return complex(*(_read(part, keyring) for part in data["parts"]))
    if tag in _COLLECTIONS:
        return _COLLECTIONS[tag](_read(item, keyring) for item in data["items"])
    if tag in _READERS:
        return _READERS[tag](data)
    raise UndecodableError(f"unknown tag {tag!r}: written by a newer awaitly_nb?")


_COLLECTIONS: dict[str, Callable[[Any], Any]] = {"tuple": tuple, "set": set, "frozenset": frozenset}
_READERS: dict[str, Callable[[Any], Any]] = {
    "int": lambda data: int(data["text"], 16),
    "float": lambda data: float(data["text"]),
    "bytes": lambda data: base64.b64decode(data["base64"], validate=True),
    "Decimal": lambda data: Decimal(data["text"]),
    "timedelta": lambda data: timedelta(*data["parts"]),
    "date": lambda data: date.fromisoformat(data["text"]),
    "time": lambda data: time.fromisoformat(data["text"]),
    "datetime": lambda data: datetime.fromisoformat(data["text"]),
}


def resign(data: Any, lost: Collection[str], secret: Secret) -> Any:  # Any: JSON data
    """Return what `to_json` wrote with its pickles signed anew, those of the secrets `lost`; none is unpickled."""
    if isinstance(data, list):
        return [resign(item, lost, secret) for item in data]
    if not isinstance(data, dict):
        return data
    if data.get(TAG) == "pickle" and data.get("secret") in lost:
        shapes, stream, buffers = _pickled(data)
        return {**data, "secret": secret.id, "signature": secret.sign(_DOMAIN, _signed(shapes), stream, *buffers)}
    return {name: resign(item, lost, secret) for name, item in data.items()}


def _pickled(data: dict[str, Any]) -> tuple[list[Shape], bytes, list[bytearray]]:
    stream = base64.b64decode(data["stream"], validate=True)
    buffers = [bytearray(base64.b64decode(buffer, validate=True)) for buffer in data["buffers"]]
    return [(str(module), str(name), str(digest)) for module, name, digest in data["shapes"]], stream, buffers


def _signed(shapes: Iterable[Shape]) -> bytes:
    return repr([list(shape) for shape in shapes]).encode()


def _unpickle(data: dict[str, Any], keyring: Keyring | None) -> Any:
    keyring = keyring or default_keyring()
    secret = keyring.find(str(data["secret"]))
    if secret is None:
        raise UnverifiedEntryError(
            f"a value was signed with secret {data['secret']!r}, which is not trusted here; see `awaitly-nb trust`"
        )
    shapes, stream, buffers = _pickled(data)
    if not secret.verify(str(data["signature"]), _DOMAIN, _signed(shapes), stream, *buffers):
        raise UnverifiedEntryError("a value's signature does not fit its bytes; nothing of it was unpickled")
    return decode(stream, buffers, shapes)
