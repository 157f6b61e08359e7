"""Values, failures and JSON to bytes and back; signed, so that nothing is unpickled that a stranger wrote.

Pickle is imported in this package only, in `pickling`. `envelope` is the layout of an entry: a readable head that is
signed, and a body of one pickle stream and its buffers. `secrets` holds the per-user key of the signatures. Modules are
loaded when something of theirs is asked for: a first hit in a fresh process needs few of them.
"""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from awaitly_nb.codec.failures import failure_from_data, failure_to_data
    from awaitly_nb.codec.functions import from_bytes, to_bytes
    from awaitly_nb.codec.pickling import Encoded, UndecodableError, decode, encode
    from awaitly_nb.codec.plain import from_json, to_json
    from awaitly_nb.codec.secrets import Keyring, Secret, default_keyring

__all__ = [
    "Encoded",
    "Keyring",
    "Secret",
    "UndecodableError",
    "decode",
    "default_keyring",
    "encode",
    "failure_from_data",
    "failure_to_data",
    "from_bytes",
    "from_json",
    "to_bytes",
    "to_json",
]

_HOMES = {
    "Encoded": "pickling",
    "Keyring": "secrets",
    "Secret": "secrets",
    "UndecodableError": "pickling",
    "decode": "pickling",
    "default_keyring": "secrets",
    "encode": "pickling",
    "failure_from_data": "failures",
    "failure_to_data": "failures",
    "from_bytes": "functions",
    "from_json": "plain",
    "to_bytes": "functions",
    "to_json": "plain",
}


def __getattr__(name: str) -> Any:  # Any: a class or a function
    if name not in _HOMES:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    found = globals()[name] = getattr(import_module(f"{__name__}.{_HOMES[name]}"), name)
    return found
