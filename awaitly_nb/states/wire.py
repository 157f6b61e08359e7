"""The JSON form of a resume state: its schema, the steps from older schemas to this one, and what is refused.

    {"schema_version": 1,
     "steps": [{"key": "user:1", "step_id": "fetch_user", "at": "2026-...", "duration_s": 0.2,
                "ok": true, "value": ...},
               {"key": "posts:1", ..., "ok": false, "failure": {...}}],
     ...}

Steps are a list, because a database or a tool that sorts the keys of an object must not change their order. Fields that
are not known here are written again. Values and failures are the codec's business.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any, cast

from awaitly_nb.errors import AwaitlyError, StateError, StateRecoveredWarning, StateVersionError, warn
from awaitly_nb.result import Err, Mark, Ok, Result, mark_of, with_mark
from awaitly_nb.states.resume_state import Log, ResumeState, StepEntry, content_of, fold, state_of

if TYPE_CHECKING:
    from typing import TypeAlias

    from awaitly_nb.codec import Keyring, Secret

    Body: TypeAlias = "bytes | bytearray | memoryview"

__all__ = [
    "SCHEMA_VERSION",
    "as_resume_state",
    "entry_from_data",
    "entry_to_data",
    "holds_pickle",
    "state_from_data",
    "state_to_data",
]

SCHEMA_VERSION = 1

Json: TypeAlias = Any  # Any: plain JSON data
Data: TypeAlias = "dict[str, Json]"
_Step: TypeAlias = "tuple[str, StepEntry]"

_ENTRY_FIELDS = frozenset({"key", "step_id", "at", "duration_s", "ok", "value", "failure", "mark"})
_STATE_FIELDS = frozenset({"schema_version", "steps"})


class _StateKeyring:
    """The user's keyring, whose signatures hold for one step of one stored state: a pickle cannot be moved to another.

    Parameters
    ----------
    name
        Name of the state's log; empty for a state as text.
    key
        Key of the step.
    """

    def __init__(self, name: str, key: str) -> None:
        self._place = (name, key)

    @property
    def own(self) -> _StateSecret:
        """The secret that signs."""
        from awaitly_nb.codec import default_keyring

        return _StateSecret(default_keyring().own, self._place)

    def find(self, secret_id: str) -> _StateSecret | None:
        """Return the secret of that id if it is trusted."""
        from awaitly_nb.codec import default_keyring

        secret = default_keyring().find(secret_id)
        return None if secret is None else _StateSecret(secret, self._place)


class _StateSecret:
    """A secret that signs for one place."""

    def __init__(self, secret: Secret, place: tuple[str, str]) -> None:
        self.id = secret.id
        self._secret = secret
        self._place = (b"awaitly_nb state 1", *(part.encode(errors="surrogatepass") for part in place))

    def sign(self, *parts: Body) -> str:
        """Return the signature of `parts` in this place."""
        return self._secret.sign(*self._place, *parts)

    def verify(self, signature: str, *parts: Body) -> bool:
        """Tell whether `signature` is that of `parts` in this place."""
        return self._secret.verify(signature, *self._place, *parts)


def _keyring_of(name: str, key: str) -> Keyring:
    return cast("Keyring", _StateKeyring(name, key))


def holds_pickle(data: Json) -> bool:
    """Tell whether decoding this written form of a value would unpickle something."""
    if isinstance(data, list):
        return any(map(holds_pickle, data))
    return isinstance(data, dict) and (data.get("$awaitly") == "pickle" or any(map(holds_pickle, data.values())))


def entry_to_data(key: str, entry: StepEntry, *, name: str = "") -> Data:
    """Return one step of the log called `name`, or of a state as text, as plain JSON data."""
    from awaitly_nb import codec

    data: Data = {
        "key": key,
        "step_id": entry.step_id,
        "at": None if entry.at is None else entry.at.isoformat(),
        "duration_s": entry.duration_s,
        "ok": entry.result.ok,
    }
    try:
        if isinstance(entry.result, Ok):
            data["value"] = codec.to_json(entry.result.value, keyring=_keyring_of(name, key))
        else:
            data["failure"] = codec.failure_to_data(entry.result, keyring=_keyring_of(name, key))
    except (AwaitlyError, TypeError, ValueError, RecursionError) as exc:
        raise StateError(f"the result of step {key!r} cannot be written down: {exc}") from exc
    if (mark := _mark_to_data(mark_of(entry.result))) is not None:
        data["mark"] = mark
    return {**data, **(entry.extra or {})}


def entry_from_data(data: Mapping[str, Json], *, name: str = "") -> _Step:
    """Return the key and the entry that `entry_to_data` wrote."""
    from awaitly_nb import codec

    key = data.get("key") if isinstance(data, Mapping) else None
    if not isinstance(key, str) or not key:
        raise StateError(f"a step of a resume state has no key: {_shown(data)}")
    keyring = _keyring_of(name, key)
    try:
        result: Result[Any, Any] = (
            Ok(codec.from_json(data["value"], keyring=keyring))
            if data["ok"]
            else codec.failure_from_data(data["failure"], keyring=keyring)
        )
        at = None if data["at"] is None else datetime.fromisoformat(data["at"])
        mark = _mark_from_data(data, at)
    except StateError:
        raise
    except Exception as exc:  # user code may raise anything: here, the constructors of the user's own types
        raise StateError(f"step {key!r} of the resume state cannot be read: {type(exc).__name__}: {exc}") from exc
    extra = {name: value for name, value in data.items() if name not in _ENTRY_FIELDS}
    entry = StepEntry(with_mark(result, mark), data.get("step_id"), at, data.get("duration_s"), extra=extra or None)
    return key, entry


def _mark_to_data(mark: Mark | None) -> Data | None:
    # What the engine needs to decide whether the result still answers. Named parts stay out: they repeat the source of
    # the step's function, and the key of a resumed step is already the answer to "is it the same".
    if mark is None:
        return None
    data: Data = {}
    for name in ("workflow", "code", "ttl_s"):
        if (value := getattr(mark, name)) is not None:
            data[name] = value
    if mark.origin != "returned":
        data["origin"] = mark.origin
    if mark.files:
        data["files"] = list(mark.files)
    if mark.traces:
        data["traces"] = dict(mark.traces)
    return data or None


def _mark_from_data(data: Mapping[str, Json], at: datetime | None) -> Mark:
    mark = dict(data.get("mark") or {})
    return Mark(
        step_id=data.get("step_id"),
        at=at,
        duration_s=data.get("duration_s"),
        workflow=mark.get("workflow"),
        code=mark.get("code"),
        ttl_s=mark.get("ttl_s"),
        origin=mark.get("origin", "returned"),
        files=tuple(mark.get("files", ())),
        traces=mark.get("traces"),
    )


def state_to_data(state: ResumeState) -> Data:
    """Return the whole state as plain JSON data."""
    steps = [entry_to_data(key, entry) for key, entry in state.steps.items()]
    return {"schema_version": SCHEMA_VERSION, "steps": steps, **content_of(state).extra}


def state_from_data(data: Mapping[str, Json]) -> ResumeState:
    """Return the state that `state_to_data` or an older version wrote; `data` is left as it is."""
    if not isinstance(data, Mapping):
        raise StateError(f"{_shown(data)} is no resume state; give what `to_dict` returned")
    version = data.get("schema_version", 0)
    if isinstance(version, bool) or not isinstance(version, int) or version < 0:
        raise StateError(f"schema_version {_shown(version)} of a resume state is no version")
    if version > SCHEMA_VERSION:
        raise StateVersionError(
            f"this resume state has schema version {version}, and this awaitly_nb knows versions up to "
            f"{SCHEMA_VERSION}; run: pip install --upgrade awaitly-nb"
        )
    current: Mapping[str, Json] = data
    while version < SCHEMA_VERSION:
        current = _MIGRATIONS[version](current)
        version += 1
    steps = current.get("steps")
    if not isinstance(steps, list):
        raise StateError(f"the steps of a resume state are a list, not {_shown(steps)}")
    extra = {name: value for name, value in current.items() if name not in _STATE_FIELDS}
    # A loose form may hold live entries, which are taken as they are.
    outcomes = (step if isinstance(step, tuple) else entry_from_data(step) for step in steps)
    log = Log(fold(outcomes).items())
    return state_of(log, extra=extra)


def as_resume_state(obj: object) -> ResumeState | None:
    """Return what the user gave as a resume state, as one.

    None stays None. A mapping is read as `ResumeState.from_dict` reads it, or as keys with results or entries.

    Raises
    ------
    StateError
        It is no resume state.
    """
    if obj is None or isinstance(obj, ResumeState):
        return obj
    if isinstance(obj, Mapping):
        return state_from_data(obj)
    hint = "ResumeState.from_json(text)" if isinstance(obj, str | bytes) else "what a store's load() returned, or None"
    raise StateError(f"{_shown(obj)} is no resume state; give {hint}")


def dump_json(data: Data) -> str:
    """Return `data` as JSON text, without a newline at its end."""
    return json.dumps(data, allow_nan=False, separators=(",", ":"))


def load_json(text: str | bytes) -> Data:
    """Return the object that `text` holds."""
    try:
        data = json.loads(text)
    except (ValueError, TypeError) as exc:
        raise StateError(f"a resume state must be JSON text: {exc}") from exc
    if not isinstance(data, dict):
        raise StateError(f"{_shown(data)} is no resume state; its JSON text is an object")
    return data


def _from_loose(data: Mapping[str, Json]) -> Data:
    """Read a state without a version: the mapping that other languages and plain code write.

    The steps are a mapping, or a list of pairs; each is an entry, `{"result": ...}`, a result, or `{"ok": ...}`.
    """
    steps = data.get("steps", data)
    extra = {k: v for k, v in data.items() if k not in _STATE_FIELDS} if "steps" in data else {}
    if isinstance(steps, Mapping):
        pairs = list(steps.items())
    elif isinstance(steps, list | tuple) and all(isinstance(p, list | tuple) and len(p) == 2 for p in steps):  # noqa: PLR2004
        pairs = [(p[0], p[1]) for p in steps]
    else:
        raise StateError(f"{_shown(steps)} are no steps of a resume state")
    entries = [_loose_entry(key, entry) for key, entry in pairs]
    warn(
        f"a resume state of {len(entries)} steps came without a schema version and was read all the same; "
        "save what `to_dict` or `to_json` returns instead",
        StateRecoveredWarning,
    )
    return {"schema_version": 1, "steps": entries, **extra}


def _loose_entry(key: object, given: object) -> _Step:
    if not isinstance(key, str) or not key:
        raise StateError(f"step key {_shown(key)} of a resume state is no non-empty str")
    if isinstance(given, StepEntry):
        return key, given
    if isinstance(given, Ok | Err):
        mark = mark_of(given) or Mark()
        return key, StepEntry(given, mark.step_id, mark.at, mark.duration_s)
    if not isinstance(given, Mapping):
        raise StateError(f"step {key!r} of a resume state is no result: {_shown(given)}; use with_value(key, value)")
    result = given.get("result", given)
    if isinstance(result, Mapping) and isinstance(result.get("ok"), bool):
        result = Ok(result.get("value")) if result["ok"] else Err(result.get("error"), result.get("cause"))
    if not isinstance(result, Ok | Err):
        raise StateError(f"step {key!r} of a resume state has no result: {_shown(given)}; use with_value(key, value)")
    return key, StepEntry(result, given.get("step_id"), _loose_at(key, given.get("at")), given.get("duration_s"))


def _loose_at(key: str, at: object) -> datetime | None:
    try:
        at = datetime.fromisoformat(at) if isinstance(at, str) else at
    except ValueError as exc:
        raise StateError(f"step {key!r} of the resume state finished at {_shown(at)}, which is no time") from exc
    if not isinstance(at, datetime):
        return None
    return at if at.tzinfo is not None else at.replace(tzinfo=UTC)


_MIGRATIONS: dict[int, Callable[[Mapping[str, Json]], Data]] = {0: _from_loose}
"""From each schema version to the next."""


def _shown(obj: object) -> str:
    """Return the type of `obj` and the beginning of its repr: enough to find it, too little to leak it."""
    text = repr(obj)
    return f"{text[:60]}{'...' if len(text) > 60 else ''} ({type(obj).__name__})"  # noqa: PLR2004
