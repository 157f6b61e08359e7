"""The keys that a panel lists: numbered, so that messages stay small and any text can be a key.

Hides where they lie: in every namespace of the default folder, or in one workflow's own cache. Deleting and previewing
touch that store only, never a running step, and may be called from any thread.
"""

from __future__ import annotations

import threading
from dataclasses import replace
from typing import TYPE_CHECKING, Any, Protocol

from awaitly_nb import caches

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator

    from awaitly_nb.caches import Entry, StepCache
    from awaitly_nb.result import Result

__all__ = ["CacheKeys", "FolderKeys", "KeyList", "KeySource"]


class KeySource(Protocol):
    """Where keys lie."""

    def namespace_of(self, workflow: str) -> str:
        """Return the namespace that the keys of a workflow lie in."""

    def entries(self) -> Iterable[Entry]:
        """Return what is known of every key."""

    def delete(self, namespace: str, key: str) -> bool:
        """Remove one key; return whether it was there."""

    def has(self, namespace: str, key: str) -> bool:
        """Tell whether this key lies here, without decoding it."""

    def get(self, namespace: str, key: str) -> Result[Any, Any] | None:
        """Return what is kept, or None."""


class FolderKeys:
    """The default cache folder: every namespace, or one.

    Parameters
    ----------
    namespace
        The only namespace to list, or None for all.
    """

    def __init__(self, namespace: str | None = None) -> None:
        self._namespace = namespace

    def namespace_of(self, workflow: str) -> str:
        """Return the workflow's name: the rule of the default folder."""
        return workflow

    def entries(self) -> Iterable[Entry]:
        """Return what is known of every key."""
        if self._namespace is not None:
            return caches.open_default(self._namespace).entries()
        return caches.folder_entries("*")

    def delete(self, namespace: str, key: str) -> bool:
        """Remove exactly this key: no glob, a key may hold a star."""
        return caches.open_default(namespace).delete(key)

    def has(self, namespace: str, key: str) -> bool:
        """Tell whether this key lies in the folder."""
        return caches.open_default(namespace).has(key)

    def get(self, namespace: str, key: str) -> Result[Any, Any] | None:
        """Return what is kept, or None."""
        return caches.open_default(namespace).get(key)


class CacheKeys:
    """One cache, whatever its kind.

    Parameters
    ----------
    cache
        The workflow's own cache.
    """

    def __init__(self, cache: StepCache) -> None:
        self._cache = cache

    def namespace_of(self, workflow: str) -> str:  # noqa: ARG002 - a cache is one namespace
        """Return the empty namespace: a cache of its own is not shared with workflows of other names."""
        return ""

    def entries(self) -> Iterable[Entry]:
        """Return what is known of every key of the cache."""
        return [replace(entry, namespace="") for entry in self._cache.entries()]

    def delete(self, namespace: str, key: str) -> bool:  # noqa: ARG002 - a cache is one namespace
        """Remove one key; return whether it was there."""
        return self._cache.delete(key)

    def has(self, namespace: str, key: str) -> bool:  # noqa: ARG002 - a cache is one namespace
        """Tell whether this key lies in the cache."""
        return self._cache.has(key)

    def get(self, namespace: str, key: str) -> Result[Any, Any] | None:  # noqa: ARG002 - a cache is one namespace
        """Return what is kept, or None."""
        return self._cache.get(key)


class KeyList:
    """The keys as they were last read, each with the number that stands for it. Thread-safe.

    Parameters
    ----------
    source
        Where the keys lie.

    Attributes
    ----------
    took
        Seconds that each step took when it was last computed, by workflow and step id.
    """

    def __init__(self, source: KeySource) -> None:
        self._source = source
        self._guard = threading.RLock()
        self._numbers: dict[tuple[str, str], int] = {}
        self._entries: dict[int, Entry] = {}
        self._gone: set[int] = set()
        self.took: dict[tuple[str, str], float] = {}
        self._next = 1

    def read(self) -> None:
        """Read all keys from the source."""
        entries = list(self._source.entries())
        with self._guard:
            self._entries = {self._number(entry): entry for entry in entries}
            self._gone = set(self._numbers.values()) - set(self._entries)

    def namespace_of(self, workflow: str) -> str:
        """Return the namespace that the keys of a workflow lie in."""
        return self._source.namespace_of(workflow)

    def stored(self, namespace: str, key: str) -> bool:
        """Tell whether this key lies in the source now."""
        return self._source.has(namespace, key)

    def put(self, entry: Entry) -> int:
        """Note a key that was just stored, and return its number."""
        with self._guard:
            number = self._number(entry)
            self._entries[number] = entry
            self._gone.discard(number)
            return number

    def _number(self, entry: Entry) -> int:
        name = (entry.namespace, entry.key)
        if (number := self._numbers.get(name)) is None:
            number = self._numbers[name] = self._next
            self._next += 1
        if entry.workflow is not None and entry.step_id is not None and entry.duration_s is not None:
            self.took[entry.workflow, entry.step_id] = entry.duration_s
        return number

    def __len__(self) -> int:
        return len(self._entries)

    def __iter__(self) -> Iterator[tuple[int, Entry]]:
        with self._guard:
            return iter(list(self._entries.items()))

    def number_of(self, namespace: str, key: str) -> int | None:
        """Return the number of a listed key, or None."""
        with self._guard:
            number = self._numbers.get((namespace, key))
            return number if number in self._entries else None

    def dropped(self, namespace: str, key: str) -> bool:
        """Tell whether this key was listed, and is gone."""
        with self._guard:
            return self._numbers.get((namespace, key), 0) in self._gone

    def entry(self, number: int) -> Entry | None:
        """Return what is known of the key with this number, or None where it is gone."""
        return self._entries.get(number)

    def failed(self) -> list[int]:
        """Return the numbers of all kept failures."""
        with self._guard:
            return [number for number, entry in self._entries.items() if not entry.ok]

    def delete(self, numbers: Iterable[int]) -> list[int]:
        """Remove these keys where they lie, and return the numbers that are gone, removed now or by somebody before."""
        gone = []
        for number in numbers:
            if (entry := self._entries.get(number)) is None:
                gone.append(number)
                continue
            self._source.delete(entry.namespace, entry.key)
            with self._guard:
                self._entries.pop(number, None)
                self._gone.add(number)
            gone.append(number)
        return gone

    def get(self, number: int) -> Result[Any, Any] | None:
        """Return what is kept under the key with this number, or None."""
        if (entry := self._entries.get(number)) is None:
            return None
        return self._source.get(entry.namespace, entry.key)
