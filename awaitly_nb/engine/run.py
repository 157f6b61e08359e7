"""The state of one run: what its steps came to, whether it is on its way out, and where its events are emitted."""

from __future__ import annotations

import logging
import time
from contextlib import suppress
from contextvars import ContextVar
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING, Any

from awaitly_nb.cache import Missed, Stored, glance, handle_of, look_up_in
from awaitly_nb.codec import copied, copied_if_light
from awaitly_nb.engine.decide import Compute, Serve, decide
from awaitly_nb.errors import (
    AwaitlyWarning,
    CacheUnusableWarning,
    CodeChangedWarning,
    MisuseError,
    NotCachedError,
    SharedKeyWarning,
    UnverifiedEntryError,
    warn,
)
from awaitly_nb.events import StepCacheHit
from awaitly_nb.keys import changed_files, code_mark, note_files
from awaitly_nb.result import Err, Mark, Ok, mark_of
from awaitly_nb.units import show_age

if TYPE_CHECKING:
    from collections.abc import Callable, Hashable, Mapping, Sequence

    from awaitly_nb.cache import StepCache
    from awaitly_nb.engine.options import StepSpec
    from awaitly_nb.engine.unstable import KeyWatch
    from awaitly_nb.events import Emitter, Event
    from awaitly_nb.result import Result
    from awaitly_nb.states import ResumeState, Session

__all__ = ["Course", "Leave", "Run", "as_wanted", "identity_of", "look_up"]

_log = logging.getLogger(__name__)


_NO_MARK = Mark()


class Leave(BaseException):
    """Carries control out of a body whose step failed.

    No `Exception`, so that `except Exception` in a body cannot swallow it; and the run remembers the failure, so that
    swallowing it with a bare `except` does not help either.
    """


class Course:
    """The computing of one step, which takes notice, as a context manager, that its run is left somewhere inside it."""

    __slots__ = ("_token", "left", "run")

    def __init__(self, run: Run) -> None:
        self.run = run
        self.left = False

    def __enter__(self) -> Course:
        self._token = _courses.set((*_courses.get(), self))
        return self

    def end(self) -> None:
        """Raise `Leave` where the run was left inside: what the step came to all the same is no answer of its own."""
        if self.left:
            raise Leave

    def __exit__(self, *_: object) -> None:
        with suppress(ValueError):  # left in another context, as when a task is closed by the loop
            _courses.reset(self._token)


_courses: ContextVar[tuple[Course, ...]] = ContextVar("awaitly_nb_courses", default=())


class Run:
    """One run of a workflow, or the standing run of a decorated function or cell.

    Parameters
    ----------
    workflow, run_id
        Names of the workflow and of this run.
    cache, resumed, session
        Where kept results come from and go to; each may be None.
    emitter
        Delivers the events.
    deps
        The workflow's dependencies, by name; their code counts for steps that name them.
    remember
        False for a standing run: its results are kept by the cache alone.
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
        self.stored: set[str] = set()
        self.failure: Err[Any] | None = None
        self.interrupt: BaseException | None = None
        self.last_step_key: str | None = None
        self.over = False
        self.tasks: set[Any] = set()  # Any: asyncio tasks, which only the awaiting driver knows
        self._ids: dict[str, str] = {}
        self._bypassed = False
        self._told: set[tuple[str, str]] = set()
        self._emitter = emitter
        self._clock = clock

    @property
    def scope(self) -> Hashable:
        """Whose flights are shared: those of one cache, or of this run where there is none."""
        return id(self) if self.cache is None else identity_of(self.cache)

    def now(self) -> datetime:
        """Return the time, aware UTC."""
        return datetime.fromtimestamp(self._clock(), UTC)

    def emit(self, kind: type[Event], **fields: Any) -> None:  # Any: the fields of the event
        """Make an event of this run and deliver it."""
        if not self._emitter.idle:
            self._emitter.emit(kind(run_id=self.run_id, workflow=self.workflow, at=self.now(), **fields))

    def raise_if_leaving(self) -> None:
        """Raise `Leave` when the run has failed or was interrupted, so that no further step starts."""
        if self.failure is not None or self.interrupt is not None:
            raise self._leave()

    def fail(self, result: Err[Any]) -> Leave:
        """Remember the run's first failure; return what carries it out of the body."""
        if self.failure is None:
            self.failure = result
        return self._leave()

    def interrupted(self, exc: BaseException) -> Leave:
        """Remember an interrupt, to be raised again from the run itself; return what carries it out of the body."""
        if self.interrupt is None:
            self.interrupt = exc
        return self._leave()

    def _leave(self) -> Leave:
        for course in _courses.get():
            course.left = course.left or course.run is self
        return Leave()

    def note_key(self, spec: StepSpec) -> None:
        """Warn when two step ids use one key."""
        if not self.remember or spec.key is None:
            return
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

    def serve(self, spec: StepSpec, decision: Serve, started: float) -> Result[Any, Any]:
        """Tell of a hit, and return its result."""
        assert spec.key is not None
        result, source = decision.result, decision.source
        mark = mark_of(result) or _NO_MARK
        if mark.files:
            note_files(mark.files)  # a step around this one depends on what the kept result was made of
        if source != "run" and self.remember:
            self.results[spec.key] = result
            if source == "cache":
                self.stored.add(spec.key)
            elif not spec.lazy:
                result = copied(result)
            if self.watch is not None:
                self.watch.hit(spec.step_id)
        if result.ok:
            self.last_step_key = spec.key
            if decision.stale_code:
                made = f"by {mark.workflow}/{mark.step_id}" if mark.step_id else "earlier"
                when = f", {show_age(mark.at, self.now())}" if mark.at else ""
                warn(
                    f"step {spec.step_id!r}: the code has changed since {spec.key!r} was computed ({made}{when}); "
                    "the kept value is served, because an explicit key is your word for what it is. "
                    f"To compute it again: %awaitly rm {spec.key}",
                    CodeChangedWarning,
                )
        elif source != "run":
            _log.warning(
                "step %r was not run: it failed %s with %r, which %s. To run it again: %%awaitly retry %s",
                spec.step_id,
                show_age(mark.at, self.now()) if mark.at else "earlier",
                result.error,
                "its resume state holds" if source == "resumed" else "is kept",
                spec.key if spec.parts is None else spec.key[:-20],  # enough of the digits for `retry`
            )
        if not self._emitter.idle:  # as `emit`, without handing the fields on twice: a hit is made of little else
            self._emitter.emit(
                StepCacheHit(
                    run_id=self.run_id,
                    workflow=self.workflow,
                    at=self.now(),
                    step_id=spec.step_id,
                    step_key=spec.key,
                    result=result,
                    source=source,
                    computed_at=mark.at,
                    computed_s=mark.duration_s,
                    size_bytes=mark.size_bytes,
                    stale_code=decision.stale_code,
                    duration_s=time.perf_counter() - started,
                )
            )
        return result

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


def look_up(run: Run, spec: StepSpec) -> Serve | Compute:
    """Look for a kept result: in this run, in its resume state, in the cache; and decide whether it may be served."""
    key, policy, automatic = spec.key, spec.cache_errors, spec.parts is not None
    assert key is not None
    resumed = None if run.resumed is None else run.resumed.steps.get(key)
    if run.remember and (kept := run.results.get(key)) is not None:
        # A fresh copy where there is one, so that what the body did to the first one does not show.
        if key in run.stored:
            again = _find(run, spec)
            kept = kept if isinstance(again, Missed) else again
        elif not isinstance(kept, Ok) or type(kept.value) is not Stored:
            kept = copied_if_light(kept) if run.cache is None else copied(kept)
        return decide(as_wanted(run, spec, kept), source="run", policy=policy, code=None, automatic=automatic)
    if resumed is not None:
        code = run.code_of(spec)
        kept_there = _in_time(run, spec, as_wanted(run, spec, resumed.result))
        changed = _changed_files(run, kept_there) if automatic else ()
        decision = decide(
            kept_there, source="resumed", policy=policy, code=code, automatic=automatic, changed_files=changed
        )
        if isinstance(decision, Serve):
            return decision
    if run.cache is None:
        return Compute("no cache")
    found = _find(run, spec) if spec.ttl_s is None else _in_time(run, spec, _find(run, spec))
    if type(found) is Missed:
        return decide(found, source="cache", policy=policy, code=None, automatic=automatic)
    changed = _changed_files(run, found) if automatic else ()
    code = None if automatic else run.code_of(spec)
    return decide(found, source="cache", policy=policy, code=code, automatic=automatic, changed_files=changed)


def _in_time(run: Run, spec: StepSpec, found: Result[Any, Any] | Missed) -> Result[Any, Any] | Missed:
    """Return a kept result unless it is older than the step lets it become, whatever TTL it was kept with."""
    if spec.ttl_s is None or isinstance(found, Missed):
        return found
    mark = mark_of(found) or _NO_MARK
    if mark.at is None:
        return found
    now, ended_at = run.now(), mark.at + timedelta(seconds=mark.duration_s or 0.0)
    late_s = (now - ended_at).total_seconds() - spec.ttl_s
    if late_s <= 0:
        return found
    return Missed("expired", f"expired {show_age(now - timedelta(seconds=late_s), now)}", mark)


def _changed_files(run: Run, found: Result[Any, Any] | Missed) -> Sequence[str]:
    mark = mark_of(found) if run.track_files and not isinstance(found, Missed) else None
    return changed_files(mark.files) if mark is not None and mark.files else ()


def as_wanted(run: Run, spec: StepSpec, kept: Result[Any, Any]) -> Result[Any, Any] | Missed:
    """Return a result of this run, or of a resume state, as the step wants it: with its value, or with a handle."""
    assert spec.key is not None
    if not isinstance(kept, Ok) or (type(kept.value) is not Stored and not spec.lazy):
        return kept
    handle = handle_of(run.cache, spec.key, kept, kept=type(kept.value) is Stored or spec.key in run.stored)
    try:
        return handle if spec.lazy and handle.value.is_there() else Ok(handle.value.load(), _mark=mark_of(kept))
    except NotCachedError as exc:
        return Missed("absent", str(exc))


def _find(run: Run, spec: StepSpec) -> Result[Any, Any] | Missed:
    """Ask any cache; one that cannot say why it has nothing says "absent", and one that fails is bypassed."""
    cache, key = run.cache, spec.key
    assert cache is not None
    assert key is not None
    try:
        if spec.lazy:
            return _find_handle(cache, key)
        return look_up_in(cache, key)
    except (UnverifiedEntryError, MisuseError):
        raise  # verify="strict" asks for the one; the other is the caller's
    except Exception as exc:  # noqa: BLE001 - the stranger is any adapter's disk or server
        run.warn_unusable(exc)
        return Missed("unusable", f"the cache could not be read ({type(exc).__name__}: {exc})")


def _find_handle(cache: StepCache, key: str) -> Result[Any, Any] | Missed:
    if (seen := glance(cache, key)) is not None:
        return seen
    found = look_up_in(cache, key)
    return handle_of(cache, key, found, kept=True) if isinstance(found, Ok) else found
