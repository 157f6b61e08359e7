"""The steps of one run, each checked once at its call; what they share, and whether the run is being left."""

from __future__ import annotations

import time
from contextvars import ContextVar
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any, Literal, NamedTuple, TypeAlias

from awaitly_nb.cache import look_up_of
from awaitly_nb.engine.calls import Retry
from awaitly_nb.engine.listeners import Emitter, StepNote, Summariser, error_line
from awaitly_nb.errors import (
    AwaitlyWarning,
    CacheUnusableWarning,
    InvalidOptionError,
    MisuseError,
    SharedKeyWarning,
    UnkeyableError,
    warn,
)
from awaitly_nb.events import StepCacheMiss, StepComplete, StepFailed, StepStart, StepSuccess
from awaitly_nb.executors import resolve
from awaitly_nb.keys import code_mark, fingerprint, step_parts
from awaitly_nb.units import parse_duration

if TYPE_CHECKING:
    from collections.abc import Callable, Hashable, Mapping
    from contextlib import AbstractContextManager
    from datetime import timedelta
    from types import TracebackType

    from awaitly_nb.cache import StepCache
    from awaitly_nb.events import Event
    from awaitly_nb.keys import FileTracker, Parts
    from awaitly_nb.result import Err, Result
    from awaitly_nb.states import ResumeState, Session

__all__ = [
    "CacheErrors",
    "Course",
    "KeyWatch",
    "Leave",
    "Run",
    "StepSpec",
    "check_step",
    "identity_of",
    "parse_cache_errors",
]

_BRIEF_S = 0.05  # whoever waits for such a step need not read for whom

CacheErrors: TypeAlias = Literal["returned", "all", "none"]


# Written out, because every hit makes one: a frozen record would take five times as long to make.
class StepSpec:
    """One call of a step, checked; nobody changes it.

    Attributes
    ----------
    step_id, fn, args, kwargs
        What to call.
    key
        Under which key; None runs every time and stores nothing.
    parts
        The named parts when the key is automatic, else None.
    ttl_s, timeout_s
        Seconds; None means for ever.
    retry
        None means one attempt.
    error
        What a raised exception becomes; None means `UnexpectedError`.
    cache_errors
        The policy for this step.
    executor
        Where the function runs.
    force
        Compute even if a result is cached, and replace it.
    read_only
        Never compute.
    known_files
        Stamps of files the key already names (see `keys.files`).
    lazy
        Return a handle (`Stored`) in place of the value.
    call
        What to call in another process in place of `fn`, where that is prepared for many steps at once.
    quiet
        Do not warn where the result cannot be stored: who made the step tells of it, from the `Outcome`.
    reread
        Makes the parts of the key once more, from what the arguments and globals are after the step.
    key_s
        Seconds that making the key took, for the `Outcome`.
    made
        Tells what the step left, as plain data, once it has run (see `Mark.made`).
    worth
        Tells, from the seconds that running took, whether the result is to be stored; None stores it.
    accept
        Is given a cached value before it is served, and says why that cannot be; None where it can.
    """

    __slots__ = (
        "accept",
        "args",
        "cache_errors",
        "call",
        "error",
        "executor",
        "fn",
        "force",
        "key",
        "key_s",
        "known_files",
        "kwargs",
        "lazy",
        "made",
        "parts",
        "quiet",
        "read_only",
        "reread",
        "retry",
        "step_id",
        "timeout_s",
        "ttl_s",
        "worth",
    )

    # The first are those that every call of `ctx.step` gives: by position, which takes half the time of names.
    def __init__(  # noqa: PLR0917
        self,
        step_id: str,
        fn: Callable[..., Any],
        args: tuple[Any, ...],
        kwargs: Mapping[str, Any],
        key: str | None = None,
        ttl_s: float | None = None,
        timeout_s: float | None = None,
        retry: Retry | None = None,
        error: object = None,
        cache_errors: CacheErrors = "returned",
        executor: object = "inline",
        lazy: bool = False,  # noqa: FBT001, FBT002
        parts: Parts | None = None,
        force: bool = False,  # noqa: FBT001, FBT002
        read_only: bool = False,  # noqa: FBT001, FBT002
        known_files: tuple[Any, ...] = (),
        call: Callable[..., Any] | None = None,
        quiet: bool = False,  # noqa: FBT001, FBT002
        reread: Callable[[], Parts] | None = None,
        key_s: float = 0.0,
        made: Callable[[], Mapping[str, Any] | None] | None = None,
        worth: Callable[[float], bool] | None = None,
        accept: Callable[[Any], str | None] | None = None,
    ) -> None:
        self.step_id = step_id
        self.fn = fn
        self.args = args
        self.kwargs = kwargs
        self.key = key
        self.ttl_s = ttl_s
        self.timeout_s = timeout_s
        self.retry = retry
        self.error = error
        self.cache_errors = cache_errors
        self.executor = executor
        self.lazy = lazy
        self.parts = parts
        self.force = force
        self.read_only = read_only
        self.known_files = known_files
        self.call = call
        self.quiet = quiet
        self.reread = reread
        self.key_s = key_s
        self.made = made
        self.worth = worth
        self.accept = accept

    def but(self, **changes: Any) -> StepSpec:  # Any: each field has its own type
        """Return a spec like this one with some fields changed."""
        for name in self.__slots__:
            changes.setdefault(name, getattr(self, name))
        return StepSpec(**changes)


def check_step(  # noqa: PLR0917 - as of `StepSpec`
    step_id: object,
    fn: object,
    args: tuple[Any, ...],
    kwargs: Mapping[str, Any],
    key: object,
    ttl: float | timedelta | str | None,
    retry: int | Retry | None,
    timeout: float | timedelta | str | None,
    error: object,
    cache_errors: object,
    executor: object,
    lazy: bool = False,  # noqa: FBT001, FBT002 - as of `StepSpec`
) -> StepSpec:
    """Return the call as a `StepSpec`.

    Raises
    ------
    MisuseError
        The id, the key or the callable cannot be what was meant; a coroutine given by mistake is closed.
    InvalidOptionError
        A TTL, time-out or retry out of range, or an executor that is none.
    """
    if not isinstance(step_id, str) or not step_id:
        _close(fn)
        raise MisuseError(
            f"the step id is {_shown(step_id)}, not a non-empty string: "
            'write ctx.step("fetch_user", fetch_user, "1", key="user:1")'
        )
    if not callable(fn):
        raise MisuseError(_not_callable(step_id, fn))
    if key is not None and (not isinstance(key, str) or not key):
        raise MisuseError(
            f"step {step_id!r}: the key is {_shown(key)}, not a non-empty string: "
            'write key=f"user:{user_id}", or leave key out to run every time'
        )
    if executor != "inline":
        resolve(executor)
    return StepSpec(
        step_id,
        fn,
        args,
        kwargs,
        key,
        None if ttl is None else parse_duration(ttl, name="ttl"),
        None if timeout is None else parse_duration(timeout, name="timeout"),
        retry if retry is None or isinstance(retry, Retry) else Retry(retry),
        error,
        parse_cache_errors(cache_errors),
        executor,
        lazy,
    )


def parse_cache_errors(value: object) -> CacheErrors:
    """Return `value` as a policy for failures.

    Raises
    ------
    InvalidOptionError
        It is none of "returned", "all", "none".
    """
    if type(value) is str and value in ("returned", "all", "none"):
        return value  # type: ignore[return-value]  # one of the three
    raise InvalidOptionError(f'cache_errors={value!r} is unknown; use "returned", "all" or "none"')


def _not_callable(step_id: str, fn: object) -> str:
    fix = f'pass the function itself: ctx.step("{step_id}", fetch, arg), or ctx.step("{step_id}", lambda: fetch(arg))'
    if _close(fn):
        return f"step {step_id!r} was given a coroutine, which is a call already made; {fix}"
    return f"step {step_id!r} was given {_shown(fn)}, a value already computed; {fix}"


def _close(value: object) -> bool:
    """Close `value` if it is a coroutine, so that Python does not warn that it was never awaited."""
    close = getattr(value, "close", None)
    if hasattr(value, "cr_frame") and callable(close):
        close()
        return True
    return False


def _shown(value: object) -> str:
    kind = type(value).__name__
    if isinstance(value, str | int | float | bool | None):
        return repr(value)
    return f"a {kind}"


class Leave(BaseException):
    """Carries control out of a body whose step failed.

    No `Exception`, so that `except Exception` in a body cannot swallow it; and the run remembers the failure, so that
    swallowing it with a bare `except` does not help either.
    """


class Course:
    """The computing of one step, which takes notice, as a context manager, that its run is left somewhere inside it.

    Attributes
    ----------
    run
        The run.
    left
        Whether it was left.
    tracker
        What took notice of the files that the step read, if anything did.
    """

    __slots__ = ("_token", "_tracking", "left", "run", "tracker")

    def __init__(self, run: Run, tracking: AbstractContextManager[FileTracker] | None) -> None:
        self.run = run
        self.left = False
        self.tracker: FileTracker | None = None
        self._tracking = tracking

    def __enter__(self) -> Course:
        self._token = _courses.set((*_courses.get(), self))
        if self._tracking is not None:
            try:
                self.tracker = self._tracking.__enter__()
            except BaseException:
                _courses.reset(self._token)
                raise
        return self

    def end(self) -> None:
        """Raise `Leave` where the run was left inside: what the step returned all the same is no answer of its own."""
        if self.left:
            raise Leave

    def __exit__(
        self, kind: type[BaseException] | None, exc: BaseException | None, traceback: TracebackType | None
    ) -> None:
        try:  # noqa: SIM105 - each miss comes by here
            _courses.reset(self._token)
        except ValueError:
            pass  # left in another context, as when a task is closed by the loop
        if self._tracking is not None:
            self._tracking.__exit__(kind, exc, traceback)


_courses: ContextVar[tuple[Course, ...]] = ContextVar("awaitly_nb_courses", default=())


class Run:
    """One run of a workflow, or the standing run of a decorated function or cell.

    Parameters
    ----------
    workflow, run_id
        Names of the workflow and of this run.
    cache, resumed, session
        Where cached results come from and go to; each may be None.
    emitter
        Delivers the events to whoever listens.
    log
        Summarises the run from what the engine tells, without events; None where nobody asks.
    deps
        The workflow's dependencies, by name; their code counts for steps that name them.
    remember
        False for a standing run: only the cache has its results.
    watch
        Notices keys that are new in every run; None where nobody looks.
    raise_persist_errors
        True when a checkpoint that cannot be saved ends the run.
    track_files
        False when files that a step read do not count.
    clock
        Seconds since the epoch.
    """

    def __init__(
        self,
        *,
        workflow: str,
        run_id: str,
        cache: StepCache | None,
        emitter: Emitter,
        log: Summariser | None = None,
        resumed: ResumeState | None = None,
        session: Session | None = None,
        deps: Mapping[str, Callable[..., Any]] | None = None,  # Any: the user's functions
        remember: bool = True,
        watch: KeyWatch | None = None,
        raise_persist_errors: bool = False,
        track_files: bool = True,
        clock: Callable[[], float] = time.time,
    ) -> None:
        self.workflow = workflow
        self.run_id = run_id
        self.cache = cache
        self.look_up = look_up_of(cache) if cache is not None else None
        """Asks the cache, and is told why it has nothing."""
        self.resumed = resumed
        self.session = session
        self.deps = deps or {}
        self.remember = remember
        self.watch = watch
        self.cancelled = False
        self.main_task: Any = None  # Any: an asyncio task
        self.track_files = track_files
        self.raise_persist_errors = raise_persist_errors
        self.results: dict[str, Result[Any, Any]] = {}
        """What this run computed, or took from its resume state, by key."""
        self.stored: set[str] = set()
        """The keys whose results the cache had, or was given, in this run."""
        self.brief: set[str] = set()
        """Ids of the steps whose last call took no time that anybody would wait for."""
        self.failure: Err[Any] | None = None
        self.interrupt: BaseException | None = None
        self.last_step_key: str | None = None
        self.over = False
        self.tasks: set[Any] = set()  # Any: asyncio tasks, which only the awaiting driver knows
        self._ids: dict[str, str] = {}
        self._bypassed = False
        self._told: set[tuple[str, str]] = set()
        self.scope: Hashable = id(self) if cache is None else identity_of(cache)
        """Whose flights are shared: those of one cache, or of this run where there is none."""
        self.log = log
        self._emitter = emitter
        self.clock = clock

    def now(self) -> datetime:
        """Return the time, aware UTC."""
        return datetime.fromtimestamp(self.clock(), UTC)

    def emit(self, kind: type[Event], **fields: Any) -> None:  # Any: the fields of the event
        """Make an event of this run, take note of it and deliver it."""
        now = self.now()
        if self.log is not None and not self.over:
            self.log.note(kind, self.run_id, self.workflow, now, fields)
        if not self._emitter.idle:
            self._emitter.emit(kind(run_id=self.run_id, workflow=self.workflow, at=now, **fields))

    def deliver(
        self, kind: type[Event], at: datetime | None = None, **fields: Any
    ) -> None:  # Any: the fields of the event
        """Make an event of this run and give it to whoever listens; what it tells was noted, for the same moment."""
        if not self._emitter.idle:
            self._emitter.emit(kind(run_id=self.run_id, workflow=self.workflow, at=at or self.now(), **fields))

    def begin_step(self, spec: StepSpec, at: datetime, reason: object) -> StepNote:
        """Tell that a step is computed from now on, and why: a text, or what gives one; None where nobody looked."""
        missed = reason is not None and self.cache is not None
        note = StepNote("running", at, reason if missed else "" if spec.key else "no key")
        if self.log is not None and not self.over:
            self.log.begin(self.run_id, self.workflow, spec.step_id, spec.key, note)
        if not self._emitter.idle:
            if missed and self._emitter.wants(StepCacheMiss):  # to find the reason takes longer than to run small steps
                self.deliver(StepCacheMiss, at, step_id=spec.step_id, step_key=spec.key, reason=str(reason))
            self.deliver(StepStart, at, step_id=spec.step_id, step_key=spec.key)
        return note

    def end_step(self, note: StepNote, spec: StepSpec, result: Result[Any, Any], duration_s: float) -> None:
        """Tell how a step ended."""
        if duration_s < _BRIEF_S:
            self.brief.add(spec.step_id)
        else:
            self.brief.discard(spec.step_id)
        if not self.over:
            ok = result.ok
            note.end(duration_s, "" if ok else error_line(result.error), ok=ok)  # type: ignore[union-attr]
        if not self._emitter.idle:
            kind = StepSuccess if result.ok else StepFailed
            self.deliver(kind, step_id=spec.step_id, step_key=spec.key, result=result, duration_s=duration_s)

    def complete_step(
        self, note: StepNote, spec: StepSpec, result: Result[Any, Any], *, stored: bool, size_bytes: int | None
    ) -> None:
        """Tell whether the cache has the result of a step that has ended."""
        note.stored, note.size_bytes = stored, size_bytes
        if not self._emitter.idle:
            self.deliver(
                StepComplete,
                step_id=spec.step_id,
                step_key=spec.key,
                result=result,
                duration_s=note.duration_s or 0.0,
                stored=stored,
                size_bytes=size_bytes,
            )

    @property
    def listened(self) -> bool:
        """Whether anybody listens to its events."""
        return not self._emitter.idle

    @property
    def observed(self) -> bool:
        """Whether somebody watches every run of the process, as a notebook does."""
        return self._emitter.observed

    def fail(self, result: Err[Any]) -> Leave:
        """Remember the run's first failure; return what carries it out of the body."""
        if self.failure is None:
            self.failure = result
        return self.left()

    def interrupted(self, exc: BaseException) -> Leave:
        """Remember an interrupt, to be raised again from the run itself; return what carries it out of the body."""
        if self.interrupt is None:
            self.interrupt = exc
        return self.left()

    def left(self) -> Leave:
        """Return what carries control out of the body, now that the run has failed or was interrupted."""
        for course in _courses.get():
            course.left = course.left or course.run is self
        return Leave()

    def note_key(self, spec: StepSpec) -> None:
        """Warn when two step ids use one key."""
        assert spec.key is not None
        first = self._ids.setdefault(spec.key, spec.step_id)
        if first != spec.step_id and (spec.key, spec.step_id) not in self._told:
            self._told.add((spec.key, spec.step_id))
            warn(
                f"steps {first!r} and {spec.step_id!r} both use the key {spec.key!r}, so {spec.step_id!r} is given the "
                f"value of {first!r}; give it a key of its own",
                SharedKeyWarning,
            )

    def code_of(self, spec: StepSpec) -> str | None:
        """Return the code mark to compare with; None under an automatic key, which holds the code itself."""
        return None if spec.parts is not None else code_mark(spec.fn, self.deps)

    def warn_once(self, message: str, category: type[AwaitlyWarning]) -> None:
        """Warn, once in a run."""
        if (message, "") not in self._told:
            self._told.add((message, ""))
            warn(message, category)

    def warn_unusable(self, exc: Exception) -> None:
        """Warn, once in a run, that the cache fails and steps are computed without it."""
        if not self._bypassed:
            self._bypassed = True
            warn(
                f"the cache {self.cache!r} failed, so steps are computed: {type(exc).__name__}: {exc}",
                CacheUnusableWarning,
            )

    def close(self) -> None:
        """End the run: nothing is emitted from here on."""
        self.over = True
        self._emitter.close()


def identity_of(cache: StepCache) -> Hashable:
    """Return what two handles of one cache have in common: their folder, their mapping, else the handle itself."""
    return getattr(cache, "identity", None) or id(getattr(cache, "mapping", cache))


_RUNS_IN_A_ROW = 3


class _Seen(NamedTuple):
    run_id: str
    key: str
    misses: int
    fingerprint: str | None


class KeyWatch:
    """Remembers, per step id of one workflow, in how many runs in a row only the key was new."""

    def __init__(self) -> None:
        self._seen: dict[str, _Seen] = {}

    def hit(self, step_id: str) -> None:
        """Drop a step: its key was found again."""
        if self._seen:
            self._seen.pop(step_id, None)

    def missed(self, run_id: str, spec: StepSpec) -> bool:
        """Take in a miss under a key never seen before; True when the key looks unstable, once per step."""
        assert spec.key is not None
        where = spec.step_id
        before = self._seen.get(where)
        if before is None or before.key == spec.key:
            self._seen[where] = _Seen(run_id, spec.key, 1, None)
            return False
        if before.run_id == run_id:
            # One id with a key per item, as in a loop: different keys are the point there.
            del self._seen[where]
            return False
        # Fingerprinting arguments may cost; only a step that already looks odd pays for it.
        seen = _fingerprint(spec)
        same = seen is not None and before.fingerprint in (None, seen)
        misses = before.misses + 1 if same else 1
        self._seen[where] = _Seen(run_id, spec.key, misses, seen)
        return misses == _RUNS_IN_A_ROW


def _fingerprint(spec: StepSpec) -> str | None:
    """Return what stays the same while code and arguments do; those of a thunk are the values that it closes over."""
    try:
        if spec.args or spec.kwargs:
            return code_mark(spec.fn) + fingerprint((spec.args, dict(spec.kwargs)), path=spec.step_id)
        return step_parts(spec.fn, (), {}, name=spec.step_id).key
    except UnkeyableError:
        return None
