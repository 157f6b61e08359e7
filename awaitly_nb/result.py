"""`Ok` and `Err`: the result of a step or a run, as a value.

Both are frozen and can be matched (`case aw.Ok(v)`). A private `Mark` rides along outside equality and repr: where and
when the result was computed. Caches and states store it beside the value, so one object carries all that the engine
needs to decide whether a cached result still answers. Imports nothing but `errors` and `frozen`, until Jupyter asks to
draw one.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, ClassVar, Generic, Literal, NoReturn, TypeAlias, TypeVar

from awaitly_nb.drawing import html_of
from awaitly_nb.errors import UnwrapError
from awaitly_nb.frozen import Frozen

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping
    from datetime import datetime

__all__ = ["Err", "Mark", "Ok", "Result", "err", "fresh_ok", "mark_of", "ok", "with_mark"]

T = TypeVar("T")
T_co = TypeVar("T_co", covariant=True)
E = TypeVar("E")
E_co = TypeVar("E_co", covariant=True)
D = TypeVar("D")

_set = object.__setattr__


class Mark(Frozen, kw_only=True):
    """Where a result came from: all that is known of it beside its value.

    Attributes
    ----------
    step_id, workflow
        The step and the workflow (or decorated function, or cell) that computed it.
    at
        When it was computed, aware UTC.
    duration_s
        Seconds that computing it took.
    ttl_s
        Seconds after `at` for which it may be served; None means for ever.
    code
        The code mark of the step's function (see `keys.code`).
    origin
        `"returned"` for a value, a returned `Err` or an error that `error=` declared, `"throw"` for an exception.
    parts
        Named parts of an automatic key, as plain data (see `keys.parts`).
    files
        Files that were read while it was computed, as plain data (see `keys.files`).
    size_bytes
        Size of the stored value; None where the result was never encoded.
    traces
        What it used of the process while it was computed, by tracer, as plain data (see `keys.traces`); None: nothing.
    made
        What it left, by fingerprint and without values, as plain data, so that a plan can go on from there; None where
        nobody told.
    call
        The call as people read it, with a digest of its arguments, as in "score(fold=3) #1a2b3c4d"; None for a cell,
        and under an explicit key.
    """

    step_id: str | None = None
    workflow: str | None = None
    at: datetime | None = None
    duration_s: float | None = None
    ttl_s: float | None = None
    code: str | None = None
    origin: Literal["returned", "throw"] = "returned"
    parts: Mapping[str, Any] | None = None  # Any: plain JSON data
    files: tuple[Any, ...] = ()  # Any: plain JSON data
    size_bytes: int | None = None
    traces: Mapping[str, Any] | None = None  # Any: plain JSON data
    made: Mapping[str, Any] | None = None  # Any: plain JSON data
    call: str | None = None

    fill: ClassVar[Callable[..., None]]
    """Sets the fields, of a mark that was read with its entry, that no hit asks for; given by the cache."""
    __slots__ = ("_head", "_home", "_notes")
    _head: ClassVar[str]  # slots, and no fields: what they are set from
    _home: ClassVar[object]
    _notes: ClassVar[bytes | bytearray | memoryview]

    # Written out, because every step makes some: a record's own constructor takes four times as long.
    def __init__(
        self,
        *,
        step_id: str | None = None,
        workflow: str | None = None,
        at: datetime | None = None,
        duration_s: float | None = None,
        ttl_s: float | None = None,
        code: str | None = None,
        origin: Literal["returned", "throw"] = "returned",
        parts: Mapping[str, Any] | None = None,
        files: tuple[Any, ...] = (),
        size_bytes: int | None = None,
        traces: Mapping[str, Any] | None = None,
        made: Mapping[str, Any] | None = None,
        call: str | None = None,
    ) -> None:
        _set_step_id(self, step_id)
        _set_workflow(self, workflow)
        _set_at(self, at)
        _set_duration_s(self, duration_s)
        _set_ttl_s(self, ttl_s)
        _set_code(self, code)
        _set_origin(self, origin)
        _set_parts(self, parts)
        _set_files(self, files)
        _set_size_bytes(self, size_bytes)
        _set_traces(self, traces)
        _set_made(self, made)
        _set_call(self, call)

    def __getattr__(self, name: str) -> Any:  # Any: each field has its own type
        if name not in Mark._fields:
            raise AttributeError(f"a Mark has no {name!r}")
        Mark.fill(self, self._head, self._notes, self._home)
        return getattr(self, name)


(
    _set_step_id, _set_workflow, _set_at, _set_duration_s, _set_ttl_s, _set_code, _set_origin, _set_parts, _set_files,
    _set_size_bytes, _set_traces, _set_made, _set_call,
) = [Mark.__dict__[name].__set__ for name in Mark._fields]  # fmt: skip


class _Slots:
    """What `Ok` and `Err` share. Not records: every hit makes one, and these are made in a third of the time."""

    __slots__: tuple[str, ...] = ()

    def __setattr__(self, name: str, value: object) -> None:
        raise AttributeError(f"cannot assign to field {name!r}: a result is frozen; make another one")

    def __delattr__(self, name: str) -> None:
        raise AttributeError(f"cannot delete field {name!r}: a result is frozen")

    def __getstate__(self) -> list[Any]:  # Any: the fields
        return [getattr(self, name) for name in self.__slots__]

    def __setstate__(self, state: list[Any]) -> None:
        for name, value in zip(self.__slots__, state, strict=True):
            _set(self, name, value)


class Ok(_Slots, Generic[T_co]):
    """A success.

    Examples
    --------
    >>> import awaitly_nb as aw
    >>> aw.Ok(3).unwrap()
    3
    """

    __slots__ = ("value", "_mark")  # noqa: RUF023 - in the order of the stored state
    __match_args__ = ("value",)

    value: T_co
    _mark: Mark | None

    def __init__(self, value: T_co, *, _mark: Mark | None = None) -> None:
        _set(self, "value", value)
        _set(self, "_mark", _mark)

    def __eq__(self, other: object) -> bool:
        if type(other) is not Ok:
            return NotImplemented
        mine, theirs = self.value, other.value
        return mine is theirs or bool(mine == theirs)

    def __hash__(self) -> int:
        return hash((self.value,))

    def __repr__(self) -> str:
        return f"Ok(value={self.value!r})"

    @property
    def ok(self) -> Literal[True]:
        """True: this is a success."""
        return True

    @property
    def cause(self) -> None:
        """None: a success has no cause."""
        return

    def _repr_html_(self) -> str | None:
        return html_of(self)

    def unwrap(self) -> T_co:
        """Return the value."""
        return self.value

    def unwrap_or(self, default: object) -> T_co:  # noqa: ARG002 - the same signature as Err.unwrap_or
        """Return the value."""
        return self.value


_new_ok, _set_value, _set_mark = Ok.__new__, Ok.__dict__["value"].__set__, Ok.__dict__["_mark"].__set__


def fresh_ok(value: object, mark: Mark | None) -> Ok[Any]:  # Any: the user's value
    """Return `Ok(value)` with its mark: the class takes as long as decoding a small value."""
    result = _new_ok(Ok)
    _set_value(result, value)
    _set_mark(result, mark)
    return result


class Err(_Slots, Generic[E_co]):
    """A failure.

    Two failures are equal when their errors are: the cause is evidence, not identity, and an exception never equals
    the one restored from disk.

    Examples
    --------
    >>> import awaitly_nb as aw
    >>> match aw.err("NOT_FOUND"):
    ...     case aw.Err("NOT_FOUND"):
    ...         print("no such user")
    no such user
    >>> aw.err("NOT_FOUND").unwrap_or(0)
    0
    """

    __slots__ = ("error", "cause", "_mark")  # noqa: RUF023 - in the order of the stored state
    __match_args__ = ("error", "cause")

    error: E_co
    cause: object
    _mark: Mark | None

    def __init__(self, error: E_co, cause: object = None, *, _mark: Mark | None = None) -> None:
        _set(self, "error", error)
        _set(self, "cause", cause)
        _set(self, "_mark", _mark)

    def __eq__(self, other: object) -> bool:
        if type(other) is not Err:
            return NotImplemented
        mine, theirs = self.error, other.error
        return mine is theirs or bool(mine == theirs)

    def __hash__(self) -> int:
        return hash((self.error,))

    def __repr__(self) -> str:
        return f"Err(error={self.error!r}, cause={self.cause!r})"

    @property
    def ok(self) -> Literal[False]:
        """False: this is a failure."""
        return False

    def _repr_html_(self) -> str | None:
        return html_of(self)

    def unwrap(self) -> NoReturn:
        """Raise the cause when it is an exception, else `UnwrapError`."""
        __tracebackhide__ = True
        if isinstance(self.cause, BaseException):
            raise self.cause
        raised_by = self.error if isinstance(self.error, BaseException) else None
        message = f"unwrap() of Err({self.error!r}); look at .ok first, or use unwrap_or"
        raise UnwrapError(message, error=self.error) from raised_by

    def unwrap_or(self, default: D) -> D:
        """Return `default`."""
        return default


Result: TypeAlias = Ok[T] | Err[E]


def ok(value: T) -> Ok[T]:
    """Return `Ok(value)`."""
    return Ok(value)


def err(error: E, cause: object = None) -> Err[E]:
    """Return `Err(error, cause)`."""
    return Err(error, cause)


def mark_of(result: Result[Any, Any]) -> Mark | None:
    """Return where `result` came from, or None where nobody wrote it down."""
    return result._mark  # noqa: SLF001 - the one reader of the field


def with_mark(result: Result[T, E], mark: Mark | None) -> Result[T, E]:
    """Return `result` with `mark` in place of its own."""
    if isinstance(result, Ok):
        return fresh_ok(result.value, mark)
    return Err(result.error, result.cause, _mark=mark)
