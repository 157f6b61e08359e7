"""Every exception and warning of the package, as one tree.

    AwaitlyError
    |-- MisuseError (TypeError)             a call that cannot mean anything; the message shows the fix
    |-- InvalidOptionError (ValueError)     an option out of its range: a TTL of zero, an unknown policy
    |-- UnwrapError                         the value of an `Err` was asked for
    |-- UnexpectedError                     stands in an `Err` for an exception that nobody declared
    |-- StepTimeoutError (TimeoutError)     a step took longer than its `timeout`
    |-- RemoteError                         stands for an exception that cannot be rebuilt here
    |-- UnkeyableError (TypeError)          a value has no fingerprint
    |-- MissingExtraError (ImportError)     an optional package is not installed
    |-- NotCachedError (LookupError)        a load without leave to compute found nothing
    |-- EncodeError (TypeError)             a value cannot be turned into bytes
    |-- ChangedInputError                   a step changed an argument or a global that its key is made of
    |-- CacheError                          a cache cannot do what it was asked
    |   `-- UnverifiedEntryError            an entry failed verification under `verify="strict"`
    |-- StateError (ValueError)             something is no resume state
    |   |-- StateVersionError               a state of a newer schema
    |   `-- StateTooLargeError              a state over the store's limit
    `-- StoreError                          a store could not read or write a record
        `-- LeaseHeldError                  somebody else is running this id

    AwaitlyWarning (UserWarning)
    |-- UncachedWarning                     a value was returned but not stored
    |-- DamagedEntryWarning                 an entry was unreadable, and counts as absent
    |-- ForeignSecretWarning                entries were signed by somebody else
    |-- CacheUnusableWarning                the cache folder was set aside or bypassed
    |-- EvictedWarning                      a bound the user set removed entries
    |-- CodeChangedWarning                  an explicit key was served although the code changed
    |-- SharedKeyWarning                    two step ids used one key
    |-- UnstableKeyWarning                  a step's key is new in every run
    |-- ListenerWarning                     a listener raised, and was left out from then on
    |-- StateRecoveredWarning               a state had an older or looser form and was read all the same
    `-- PersistWarning                      a checkpoint could not be saved

Each exception survives pickling, because it may cross a process on its way to the reader.
"""

from __future__ import annotations

import sys
import warnings
from typing import Any, ClassVar

__all__ = [
    "AwaitlyError",
    "AwaitlyWarning",
    "CacheError",
    "CacheUnusableWarning",
    "ChangedInputError",
    "CodeChangedWarning",
    "DamagedEntryWarning",
    "EncodeError",
    "EvictedWarning",
    "ForeignSecretWarning",
    "InvalidOptionError",
    "LeaseHeldError",
    "ListenerWarning",
    "MissingExtraError",
    "MisuseError",
    "NotCachedError",
    "PersistWarning",
    "RemoteError",
    "SharedKeyWarning",
    "StateError",
    "StateRecoveredWarning",
    "StateTooLargeError",
    "StateVersionError",
    "StepTimeoutError",
    "StoreError",
    "UncachedWarning",
    "UnexpectedError",
    "UnkeyableError",
    "UnstableKeyWarning",
    "UnverifiedEntryError",
    "UnwrapError",
]


class AwaitlyError(Exception):
    """Base of every exception that this package raises."""

    fields: ClassVar[tuple[str, ...]] = ()
    """Names of the attributes that `__init__` takes by keyword, beside the message."""

    def __reduce__(self) -> tuple[Any, ...]:
        # Exception's own pickling calls `cls(*args)`, which loses or refuses keyword arguments.
        # The attributes, notes included, travel beside them.
        return _rebuild, (type(self), self.args, dict(self.__dict__))


def _rebuild(cls: type[AwaitlyError], args: tuple[Any, ...], attributes: dict[str, Any]) -> AwaitlyError:
    error = cls.__new__(cls, *args)
    error.args = args
    error.__dict__.update(attributes)
    return error


class _ValueError(AwaitlyError):
    """An error that stands as a value in an `Err`, and so compares by type and fields."""

    def __eq__(self, other: object) -> bool:
        if type(other) is not type(self):
            return NotImplemented
        return self._identity() == other._identity()

    def __hash__(self) -> int:
        return hash(self._identity())

    def _identity(self) -> tuple[Any, ...]:
        return (type(self), *(getattr(self, name) for name in self.fields))


class MisuseError(AwaitlyError, TypeError):
    """A call cannot mean anything; the message shows the fix."""


class InvalidOptionError(AwaitlyError, ValueError):
    """An option is out of its range."""


class UnwrapError(AwaitlyError):
    """The value of an `Err` was asked for, and its cause is no exception to raise instead.

    Attributes
    ----------
    error
        What the `Err` holds.
    """

    fields = ("error",)

    def __init__(self, message: str, *, error: object = None) -> None:
        super().__init__(message)
        self.error = error


class UnexpectedError(_ValueError):
    """Stands in an `Err` for an exception that nobody declared; the exception itself is the `Err`'s cause.

    Attributes
    ----------
    cause_type, cause_message
        Name of the exception's type, and its `str`.
    origin
        `"throw"` for an exception raised by a step or by the body.
    step_id, step_key
        The step that raised, or None for the body.
    """

    fields = ("cause_type", "cause_message", "origin", "step_id", "step_key")

    def __init__(
        self,
        message: str = "",
        *,
        cause_type: str = "",
        cause_message: str = "",
        origin: str = "throw",
        step_id: str | None = None,
        step_key: str | None = None,
    ) -> None:
        where = f"step {step_id!r}" if step_id is not None else "the workflow body"
        super().__init__(message or f"{where} raised {cause_type}: {cause_message}")
        self.cause_type = cause_type
        self.cause_message = cause_message
        self.origin = origin
        self.step_id = step_id
        self.step_key = step_key


class StepTimeoutError(_ValueError, TimeoutError):
    """A step took longer than its `timeout`.

    Attributes
    ----------
    step_id, step_key
        The step; the key is None for a step without one.
    seconds
        The limit.
    """

    fields = ("step_id", "step_key", "seconds")

    def __init__(
        self, message: str = "", *, step_id: str = "", step_key: str | None = None, seconds: float = 0.0
    ) -> None:
        super().__init__(message or f"step {step_id!r} took longer than its timeout of {seconds:g} s")
        self.step_id = step_id
        self.step_key = step_key
        self.seconds = seconds


class RemoteError(AwaitlyError):
    """Stands for an exception that cannot be rebuilt here; its `str` is the original message.

    Attributes
    ----------
    type_name
        Qualified name of the original type.
    traceback_text
        The original traceback, formatted.
    """

    fields = ("type_name", "traceback_text")

    def __init__(self, message: str = "", *, type_name: str = "", traceback_text: str = "") -> None:
        super().__init__(message)
        self.type_name = type_name
        self.traceback_text = traceback_text


class UnkeyableError(AwaitlyError, TypeError):
    """A value has no fingerprint, so that no automatic key can be made from it.

    Attributes
    ----------
    path
        Where the value sits, as in `cfg['model'][0]`.
    """

    fields = ("path",)

    def __init__(self, message: str, *, path: str = "") -> None:
        super().__init__(message)
        self.path = path


class MissingExtraError(AwaitlyError, ImportError):
    """An optional package is not installed.

    Parameters
    ----------
    package
        What is missing.
    extra
        Which extra of awaitly-nb brings it.
    """

    fields = ("package", "extra")

    def __init__(self, package: str, extra: str) -> None:
        super().__init__(f"{package} is not installed; run: pip install 'awaitly-nb[{extra}]'")
        self.package = package
        self.extra = extra


class NotCachedError(AwaitlyError, LookupError):
    """Something was to be loaded without computing it, and it is not in the cache."""


class EncodeError(AwaitlyError, TypeError):
    """A value cannot be turned into bytes.

    Attributes
    ----------
    name, path
        Where the part is that no pickler takes: the first name on the way to it (a variable of a cell, a key of a
        dict), and the rest of the way, as in `.model[0]`.
    kind
        Its type.
    why
        What its pickling raised.
    """

    fields = ("name", "path", "kind", "why")

    def __init__(self, message: str, *, name: str = "", path: str = "", kind: str = "", why: str = "") -> None:
        super().__init__(message)
        self.name = name
        self.path = path
        self.kind = kind
        self.why = why


class ChangedInputError(AwaitlyError):
    """A step changed an argument or a global that its key is made of, so that a hit would leave another session.

    Attributes
    ----------
    names
        What it changed, as in `argument df`.
    """

    fields = ("names",)

    def __init__(self, message: str, *, names: tuple[str, ...] = ()) -> None:
        super().__init__(message)
        self.names = names


class CacheError(AwaitlyError):
    """A cache cannot do what it was asked."""


class UnverifiedEntryError(CacheError):
    """An entry failed verification, and the cache was opened with `verify="strict"`."""


class StateError(AwaitlyError, ValueError):
    """Something is no resume state; the message names the key at fault."""


class StateVersionError(StateError):
    """A resume state was written by a newer version of this package."""


class StateTooLargeError(StateError):
    """A resume state is larger than the store's limit."""


class StoreError(AwaitlyError):
    """A store could not read or write a record; the record is left as it was."""


class LeaseHeldError(_ValueError, StoreError):
    """Somebody else is running this id.

    Attributes
    ----------
    owner
        Who holds the lease: host, process and kernel.
    since
        When it was taken, as an aware `datetime` in UTC; None where that is not known.
    """

    fields = ("owner", "since")

    def __init__(self, owner: str, since: Any = None) -> None:  # Any: a datetime, imported by nobody else here
        when = "" if since is None else f" since {since}"
        super().__init__(f"held by {owner}{when}; wait for it to finish, or stop it and let the lease run out")
        self.owner = owner
        self.since = since


class AwaitlyWarning(UserWarning):
    """Base of every warning that this package gives."""


class UncachedWarning(AwaitlyWarning):
    """A value was returned to the caller but not stored; the message says why and what to do."""


class DamagedEntryWarning(AwaitlyWarning):
    """An entry could not be verified or decoded, and counts as absent."""


class ForeignSecretWarning(AwaitlyWarning):
    """Entries of a folder were signed with a secret that is not trusted here."""


class CacheUnusableWarning(AwaitlyWarning):
    """A cache folder could not be used; it was set aside or bypassed, and the work goes on."""


class EvictedWarning(AwaitlyWarning):
    """Entries were evicted, because of the bound that the user set."""


class CodeChangedWarning(AwaitlyWarning):
    """A cached success was served under its explicit key although the step's code has changed since."""


class SharedKeyWarning(AwaitlyWarning):
    """Two step ids of one run used the same key, so the second was given the first one's value."""


class UnstableKeyWarning(AwaitlyWarning):
    """A step's key was new three runs in a row, so that it never hits."""


class ListenerWarning(AwaitlyWarning):
    """A listener raised; it is reported once, and the run goes on."""


class StateRecoveredWarning(AwaitlyWarning):
    """A resume state was in an older or looser form, and was read all the same."""


class PersistWarning(AwaitlyWarning):
    """A checkpoint could not be saved; the value stays in memory and is saved with the next step."""


def logger(name: str) -> Any:  # Any: a logging.Logger
    """Return the logger called `name`; logging is loaded when there is something to log."""
    import logging

    return logging.getLogger(name)


def warn(message: str, category: type[AwaitlyWarning]) -> None:
    """Warn, pointing at the first line outside this package: there a reader finds the cause, and can act."""
    # What `skip_file_prefixes` of Python 3.12 does.
    frame, depth = sys._getframe(), 1  # noqa: SLF001 - documented, and the only way
    while frame.f_back is not None and frame.f_globals.get("__name__", "").startswith("awaitly_nb."):
        frame, depth = frame.f_back, depth + 1
    warnings.warn(message, category, stacklevel=depth)
