"""`Stored`: a stored result without its value. It loads where it is used, in this process or in a worker's.

A handle knows its cache. Sent to a worker it carries along how the worker opens that cache itself; stored on disk, as a
part of another result, it does not, because the address of a server may hold a password.
"""

from __future__ import annotations

import os
import threading
from contextlib import suppress
from functools import partial
from json import dumps
from typing import TYPE_CHECKING, Any, Final

from awaitly_nb.cache.entry import Missed, entry_of
from awaitly_nb.errors import NotCachedError, StoreError
from awaitly_nb.frozen import Frozen, replace
from awaitly_nb.result import Err, Mark, Ok, mark_of
from awaitly_nb.stores import ABSENT
from awaitly_nb.units import show_size

if TYPE_CHECKING:
    from collections.abc import Callable

    from awaitly_nb.cache.entry import StepCache
    from awaitly_nb.result import Result

__all__ = [
    "Recipe",
    "Stored",
    "glance",
    "handle_of",
    "holds_handles",
    "loaded",
    "look_up_in",
    "look_up_of",
    "recipe_of",
]

_NOTHING: Final = object()


class Stored(Frozen):
    """A result that is in the cache, to be loaded when it is needed. What a step with `lazy=True` returns.

    Given to another step it arrives there as the value, loaded where that step runs; in its automatic key it counts as
    the stored result, without being loaded.

    Attributes
    ----------
    key
        The key that it is stored under.
    size_bytes
        Size of the stored value; None where the cache does not tell.
    digest
        Tells it from another result under the same key.
    cache
        Where it lies.

    Examples
    --------
    >>> import awaitly_nb as aw
    >>> workflow = aw.create_workflow("big", cache={})
    >>> def body(ctx):
    ...     table = ctx.step("table", lambda: list(range(1000)), key="table", lazy=True)
    ...     return table, ctx.step("sum", sum, table, key="sum")
    >>> table, total = workflow.run_sync(body).unwrap()
    >>> table, total, len(table.load())
    (<stored 'table'>, 499500, 1000)
    """

    key: str
    size_bytes: int | None = None
    digest: str = ""
    cache: Any = None  # Any: whichever cache
    _value: Any = _NOTHING  # Any: a value that no cache has

    def _compared(self) -> tuple[Any, ...]:
        return self.key, self.size_bytes, self.digest

    def __eq__(self, other: object) -> bool:
        return self._compared() == other._compared() if type(other) is Stored else NotImplemented

    def __hash__(self) -> int:
        return hash(self._compared())

    def load(self) -> Any:  # Any: the user's value
        """Return the value, a fresh one each time.

        Raises
        ------
        NotCachedError
            It is no longer there as it was, or cannot be read; running its step again helps.
        """
        if self._value is not _NOTHING:
            return self._value
        again = f"; run the step of {self.key!r} again"
        if self.cache is None:
            raise NotCachedError(f"this handle was stored without the address of its cache{again}")
        found = look_up_in(self.cache, self.key)
        if isinstance(found, Ok) and (not self.digest or _digest_of(self.cache, self.key, found) == self.digest):
            return found.value
        if isinstance(found, Ok):
            raise NotCachedError(f"{self.key!r} was replaced since by another result{again}")
        if isinstance(found, Missed) and found.reason != "absent":
            _unreadable.add((self.key, self.digest))
        why = found.detail or found.reason if isinstance(found, Missed) else "it is a failure now"
        raise NotCachedError(f"{self.key!r} was stored and cannot be loaded ({why}){again}")

    def is_there(self) -> bool:
        """Tell whether there is something to load, without loading it."""
        return self._value is not _NOTHING or (self.cache is not None and self.cache.has(self.key))

    def __awaitly_key__(self) -> object:
        return (self.key, self.digest) if self._value is _NOTHING else self._value

    def __reduce__(self) -> tuple[Any, ...]:
        from awaitly_nb.codec import is_travelling

        value = () if self._value is _NOTHING else (self._value,)
        recipe = None if value else recipe_of(self.cache, travelling=is_travelling())
        if is_travelling() and not value and recipe is None:
            value = (self.load(),)  # nobody else can open this cache, so the value itself travels
        return _arrived, (self.key, self.size_bytes, self.digest, recipe, *value)

    def __deepcopy__(self, memo: object) -> Stored:
        return self  # by way of `__reduce__` it would lose its cache

    def __repr__(self) -> str:
        size = "" if self.size_bytes is None else f", {show_size(self.size_bytes)}"
        return f"<stored {self.key!r}{size}>"

    def _repr_html_(self) -> str:
        import html

        size = "" if self.size_bytes is None else f", {show_size(self.size_bytes)}"
        return f"Stored result <code>{html.escape(self.key)}</code>{size}: <code>.load()</code> returns the value"


def _arrived(key: str, size_bytes: int | None, digest: str, recipe: Recipe | None, value: object = _NOTHING) -> Stored:
    return Stored(key, size_bytes, digest, None if recipe is None else recipe.cache(), value)


_unreadable: set[tuple[str, str]] = set()
"""What turned out damaged when it was loaded: its head looked well, and so it would be a hit for ever."""


def look_up_in(cache: StepCache, key: str) -> Result[Any, Any] | Missed:
    """Ask any cache; one that cannot say why it has nothing says "absent"."""
    return look_up_of(cache)(key)


def look_up_of(cache: StepCache) -> Callable[[str], Result[Any, Any] | Missed]:
    """Return what asks a cache, as `look_up_in` does."""
    found: Callable[[str], Result[Any, Any] | Missed] | None = getattr(cache, "lookup", None)
    return found or partial(_got, cache)


def _got(cache: StepCache, key: str) -> Result[Any, Any] | Missed:
    result = cache.get(key)
    return result if isinstance(result, Ok | Err) else Missed()


def _head_of(cache: Any, key: str) -> dict[str, Any] | None:  # Any: whichever cache
    head_of = getattr(cache, "head_of", None)
    return None if head_of is None else head_of(key)


def _digest_of(cache: Any, key: str, found: Result[Any, Any]) -> str:  # Any: whichever cache
    if (head := _head_of(cache, key)) is not None:
        return str(head.get("signature", ""))
    mark = mark_of(found)
    return "" if mark is None or mark.at is None else mark.at.isoformat()


def glance(cache: StepCache, key: str) -> Ok[Stored] | None:
    """Return a cached success as a handle, from its head alone; None where only a whole look-up can say."""
    head = _head_of(cache, key)
    # Which files it depends on is told in the body; and what it used of the process must not be taken from a head that
    # nobody has verified.
    if head is None or head.get("ok", True) is not True or head.get("files") or head.get("traces"):
        return None
    known = entry_of(key, head)  # not verified before it is loaded, so anybody may have written it
    stored = Stored(key, known.size_bytes, str(head.get("signature", "")), cache)
    if (key, stored.digest) in _unreadable:
        return None
    code = head.get("code")
    mark = Mark(
        step_id=known.step_id,
        workflow=known.workflow,
        at=known.created_at,
        duration_s=known.duration_s,
        code=code if isinstance(code, str) else None,
        origin="throw" if head.get("origin") == "throw" else "returned",
        size_bytes=known.size_bytes,
    )
    return Ok(stored, _mark=mark)


def handle_of(cache: StepCache | None, key: str, result: Ok[Any], *, in_cache: bool) -> Ok[Stored]:
    """Return a success with a handle in place of its value; a handle that holds the value where no cache has it."""
    mark = mark_of(result)
    if isinstance(result.value, Stored):
        stored = result.value
        if stored.cache is None and in_cache:  # from a resume state
            stored = replace(stored, cache=cache)
    elif not in_cache or cache is None:
        stored = Stored(key, _value=result.value)
    else:
        head = _head_of(cache, key) or {}
        size = head.get("size_bytes", None if mark is None else mark.size_bytes)
        stored = Stored(key, size, _digest_of(cache, key, result), cache)
    return Ok(stored, _mark=mark)


# Handles as arguments


def holds_handles(*groups: Any) -> bool:  # Any: the arguments of a call
    """Tell whether `loaded` would change one of these."""
    for group in groups:
        for value in group:
            if type(value) in _MAY_HOLD and _holds(value):
                return True
    return False


_MAY_HOLD: Final = frozenset({Stored, list, tuple, dict})


def _holds(value: object) -> bool:
    kind = type(value)
    if kind is list or kind is tuple:
        return any(type(element) is Stored for element in value)  # type: ignore[attr-defined]
    return kind is Stored or (kind is dict and any(type(element) is Stored for element in value.values()))  # type: ignore[attr-defined]


def loaded(value: Any) -> Any:  # Any: an argument of a step
    """Return an argument with the handles in it loaded: itself, or those directly in a list, a tuple or a dict."""
    if type(value) is Stored:
        return value.load()
    if not _holds(value):
        return value
    if type(value) is dict:
        return {name: loaded(element) if type(element) is Stored else element for name, element in value.items()}
    return type(value)(loaded(element) if type(element) is Stored else element for element in value)


# The same cache in another process


class Recipe(Frozen):
    """How another process opens a cache: a folder by its path, a store by the call that opened it."""

    store: Any  # Any: text, or `stores.adapters.Reopen`
    namespace: str
    ttl_s: float | None
    verify: Any  # Any: one of three words
    place: str = ""

    def cache(self) -> Any:  # Any: a shared cache
        """Return the cache, opened once in a process.

        Raises
        ------
        StoreError
            The same address leads to another place here, as that of a file on another machine does.
        """
        from awaitly_nb.cache.create import create_disk_cache, create_shared_cache

        options: dict[str, Any] = {"namespace": self.namespace, "ttl": self.ttl_s, "verify": self.verify}
        if isinstance(self.store, str):
            return create_disk_cache(self.store, **options)
        with _opening:
            for recipe, cache in _opened:
                if recipe == self:
                    return cache
            made = create_shared_cache(store := self.store(), **options)
            if _place_of(store) != self.place:
                raise StoreError(
                    f"{store!r} is another place here than in the notebook; a cache that workers share lies on a "
                    "server, or in a file that all of them see"
                )
            _opened.append((self, made))
            return made


_opening = threading.Lock()
_opened: list[tuple[Recipe, Any]] = []


def _after_fork() -> None:
    global _opening  # noqa: PLW0603 - another thread of the parent may have held it
    _opening = threading.Lock()


if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_after_fork)


def recipe_of(cache: object, *, travelling: bool = True) -> Recipe | None:
    """Return how another process opens `cache`, or None where it could not, or must not be told.

    Parameters
    ----------
    travelling
        True for a worker, maybe on another machine, which has the same servers and other folders. False for what is
        stored, where a folder is found again, and a server's address, maybe with a password, is not to be written down.
    """
    from awaitly_nb.cache.stepcache import StoredCache

    if not isinstance(cache, StoredCache):
        return None
    options = cache.namespace, cache.ttl_s, cache.verify
    if cache.identity is not None:
        return None if travelling else Recipe(cache.identity[0], *options)
    store = getattr(cache.store, "store", None)
    if not travelling or (again := getattr(store, "reopen", None)) is None:
        return None
    try:
        return Recipe(again, *options, _place_of(store))
    except StoreError:
        return None  # it is away; whoever reads or writes tells


_PLACE: Final = "\x1eplace"


def _place_of(store: Any) -> str:  # Any: a store that can be opened again
    """Return the name that a store was given when it was first asked for, and has for everybody who opens it."""
    if getattr(store, "place", None) is None:
        if (record := store.read(_PLACE)) is None:
            with suppress(StoreError):  # not every storage can tell who was first
                store.swap(_PLACE, dumps(os.urandom(16).hex()), [], expect=ABSENT)
            record = store.read(_PLACE)
        if record is None:
            store.swap(_PLACE, dumps(os.urandom(16).hex()), [])
            record = store.read(_PLACE)
        store.place = "" if record is None else record.head
    return str(store.place)
