"""A failure as plain data and back. Exceptions are never pickled: their pickles run code and break with versions.

An exception comes back as the same type where that is safe: a builtin or a class that is imported already, that
makes an equal message from the stored arguments. Else it is a `RemoteError` whose `str` is the original message.
"""

from __future__ import annotations

import sys
from typing import TYPE_CHECKING, Any, Final

from awaitly_nb.codec.plain import from_json, to_json
from awaitly_nb.errors import AwaitlyError, EncodeError, RemoteError
from awaitly_nb.result import Err

if TYPE_CHECKING:
    from awaitly_nb.codec.secrets import Keyring

__all__ = ["failure_from_data", "failure_to_data"]

_LINKS: Final = 20
"""Longest chain of causes that is stored."""

_WRITTEN: Final = "__awaitly_traceback__"
"""Attribute of a restored exception: its formatted traceback, because a real one cannot be restored."""

_PLAIN_ARGUMENTS = (str, int, float, bool, bytes, type(None))


def failure_to_data(err: Err[Any], *, keyring: Keyring | None = None) -> dict[str, Any]:
    """Return `err` without its mark as JSON data.

    Raises
    ------
    EncodeError
        The error is a value that cannot be stored.

    Examples
    --------
    >>> failure_from_data(failure_to_data(Err("NOT_FOUND", cause=KeyError("user:1"))))
    Err(error='NOT_FOUND', cause=KeyError('user:1'))
    """
    data: dict[str, Any] = {"error": _to_data(err.error, keyring)}
    if err.cause is not None:
        try:
            data["cause"] = _to_data(err.cause, keyring)
        except EncodeError:
            # The cause is evidence: its text is worth more than no record at all.
            data["cause"] = {"value": repr(err.cause)}
    return data


def failure_from_data(data: dict[str, Any], *, keyring: Keyring | None = None) -> Err[Any]:
    """Return the failure that `failure_to_data` wrote."""
    cause = _from_data(data["cause"], keyring) if "cause" in data else None
    return Err(_from_data(data["error"], keyring), cause)


def _to_data(value: object, keyring: Keyring | None) -> dict[str, Any]:
    if isinstance(value, BaseException):
        return {"exception": _exception_to_data(value, keyring, _LINKS)}
    return {"value": to_json(value, keyring=keyring)}


def _from_data(data: dict[str, Any], keyring: Keyring | None) -> Any:  # Any: the user's error
    if "exception" in data:
        return _exception_from_data(data["exception"], keyring)
    return from_json(data["value"], keyring=keyring)


def _exception_to_data(exc: BaseException, keyring: Keyring | None, links: int) -> dict[str, Any]:
    import traceback

    kind = type(exc)
    data: dict[str, Any] = {"module": kind.__module__, "type": kind.__qualname__, "message": _text(exc)}
    args = exc.args
    if isinstance(exc, OSError) and exc.filename is not None:
        # Its constructor takes the names of files, and leaves them out of `args`.
        args = (*args[:2], exc.filename, None, exc.filename2)
    if all(type(arg) in _PLAIN_ARGUMENTS for arg in args):
        data["args"] = to_json(list(args), keyring=keyring)
    if isinstance(exc, AwaitlyError) and exc.fields:
        data["fields"] = {name: to_json(getattr(exc, name), keyring=keyring) for name in exc.fields}
    if notes := getattr(exc, "__notes__", None):
        data["notes"] = [str(note) for note in notes]
    if isinstance(exc, RemoteError):
        return data
    # One that was itself restored keeps the traceback of where it was raised, through any number of rounds.
    written = None if exc.__traceback__ is not None else getattr(exc, _WRITTEN, None)
    data["traceback"] = written or "".join(traceback.format_exception(kind, exc, exc.__traceback__, chain=False))
    if links and exc.__cause__ is not None:
        data["cause"] = _exception_to_data(exc.__cause__, keyring, links - 1)
    elif links and exc.__context__ is not None and not exc.__suppress_context__:
        data["context"] = _exception_to_data(exc.__context__, keyring, links - 1)
    if isinstance(exc, BaseExceptionGroup):
        data["group"] = [_exception_to_data(part, keyring, links - 1) for part in exc.exceptions] if links else []
    return data


def _exception_from_data(data: dict[str, Any], keyring: Keyring | None) -> BaseException:
    exc = _rebuild(data, keyring)
    for note in data.get("notes", ()):
        exc.add_note(note)
    if "cause" in data:
        exc.__cause__ = _exception_from_data(data["cause"], keyring)
    elif "context" in data:
        exc.__context__ = _exception_from_data(data["context"], keyring)
    return exc


def _rebuild(data: dict[str, Any], keyring: Keyring | None) -> BaseException:
    message = data["message"]
    kind = _find_type(data["module"], data["type"])
    if kind is not None:
        try:
            exc = _construct(kind, data, keyring)
        except Exception:  # noqa: BLE001 - the constructor of the user's exception may raise anything
            exc = None
        if exc is not None and type(exc) is kind and _text(exc) == message:
            setattr(exc, _WRITTEN, data.get("traceback"))
            return exc
    return RemoteError(message, type_name=f"{data['module']}.{data['type']}", traceback_text=data.get("traceback", ""))


def _construct(kind: type[BaseException], data: dict[str, Any], keyring: Keyring | None) -> BaseException:
    if issubclass(kind, AwaitlyError):
        # Our own errors say themselves which fields they carry beside the message.
        error = kind.__new__(kind)
        error.args = tuple(from_json(data.get("args", [data["message"]]), keyring=keyring))
        for name in kind.fields:
            setattr(error, name, from_json(data["fields"][name], keyring=keyring))
        return error
    if issubclass(kind, BaseExceptionGroup):
        title = data["args"][0] if data.get("args") else data["message"].rpartition(" (")[0]
        return kind(title, [_exception_from_data(part, keyring) for part in data["group"]])
    return kind(*(from_json(data["args"], keyring=keyring) if "args" in data else [data["message"]]))


def _find_type(module: str, qualname: str) -> type[Exception] | None:
    """Return the exception class of that name, if its module is loaded: a cache must not import what it is told to."""
    found: Any = sys.modules.get(module)  # Any: a module, then its attributes
    for part in qualname.split("."):
        found = getattr(found, part, None)
    # What is no `Exception` would end the process, or pass through the user's handlers, as no failure of a step may.
    return found if isinstance(found, type) and issubclass(found, Exception) else None


def _text(exc: BaseException) -> str:
    try:
        return str(exc)
    except Exception:  # noqa: BLE001 - the user's __str__ may raise anything
        return ""
