"""What is remembered of cells beside their entries: how long they took, and what those not stored read and left.

A text file of one JSON object a line beside the cache. Lines are appended in one write each, so several kernels can
share the file; a line that cannot be read is skipped, and the file is written anew when it has grown.
"""

from __future__ import annotations

import os
import statistics
from contextlib import suppress
from datetime import UTC, datetime
from json import dumps, loads
from typing import TYPE_CHECKING, Any

from awaitly_nb.plans.history import AUTO, CellRecord

if TYPE_CHECKING:
    from collections.abc import Collection, Iterable, Iterator, Mapping
    from pathlib import Path

__all__ = ["Notes"]

_MOST_BYTES = 4 << 20
_RECENT = 5
_LOAD, _STORE, _LIVE = "load:", "store:", "live:"
_ALIKE = 1.3


class Notes:
    """The notes of one cache folder.

    Parameters
    ----------
    path
        The file; it need not be there, and its folder neither.
    """

    def __init__(self, path: Path) -> None:
        self._path = path
        self._seconds: dict[str, list[float]] = {}
        self._slower: set[str] = set()
        self._told_here: set[str] = set()
        self._pending: list[dict[str, Any]] = []
        self._read_to = 0
        self._stamp = (0, 0)
        self._begins = b""

    def expected_s(self, code: str) -> float | None:
        """Return the median of the latest runs of a cell's code in seconds; None for code that nobody timed."""
        self._catch_up()
        found = self._seconds.get(code)
        return statistics.median(found[-_RECENT:]) if found else None

    def load_s(self, key: str) -> float | None:
        """Return the seconds that a hit on this key is expected to take: as hits took, else as storing took."""
        found = self.expected_s(_LOAD + key)
        return self.expected_s(_STORE + key) if found is None else found

    def live_s(self, code: str) -> float | None:
        """Return the seconds that a cell which always runs is expected to take; None for one that was always quick."""
        return self.expected_s(_LIVE + code)

    # A plan tells of *Run All* in a fresh kernel. What a process does a second time finds the modules imported and the
    # files in memory, so only the first time counts.

    def note_load(self, key: str, name: str, seconds: float, at: datetime) -> None:
        """Remember how long a hit took, if it is the first of its process and not known already."""
        if key not in self._told_here:
            self._told_here.add(key)
            self._note_other(_LOAD + key, name, seconds, at)

    def note_store(self, key: str, name: str, seconds: float, at: datetime) -> None:
        """Remember how long it took to store a result, which is what is expected of the first hit."""
        if key not in self._told_here:
            self._told_here.add(key)
            self.add(code=_STORE + key, name=name, seconds=seconds, at=at)

    def note_live(self, code: str, seconds: float, at: datetime) -> None:
        """Remember how long a cell took that always runs, as `note_load` does of a hit.

        Where nothing is cached, no folder is made for that: it is written with the first other note.
        """
        if _LIVE + code in self._told_here:
            return
        self._told_here.add(_LIVE + code)
        if self._path.parent.exists():
            self._note_other(_LIVE + code, "", seconds, at)
        else:
            self._pending.append({"code": _LIVE + code, "name": "", "s": round(seconds, 6), "at": at.timestamp()})

    def _note_other(self, code: str, name: str, seconds: float, at: datetime) -> None:
        known = self.expected_s(code)
        if known is None or not known / _ALIKE < seconds < known * _ALIKE:
            self.add(code=code, name=name, seconds=seconds, at=at)

    def is_slower_cached(self, code: str) -> bool:
        """Tell whether loading this code's result was found to take longer than running it."""
        self._catch_up()
        return code in self._slower

    def add(
        self,
        *,
        code: str,
        name: str,
        seconds: float,
        at: datetime,
        parts: Mapping[str, Any] | None = None,  # Any: plain JSON data
        made: Mapping[str, Any] | None = None,  # Any: as above
        slower: bool = False,
    ) -> None:
        """Remember one run. A note that cannot be written is no loss: the cell is looked up once more."""
        note: dict[str, Any] = {"code": code, "name": name, "s": round(seconds, 6), "at": at.timestamp()}
        if parts is not None:
            note["parts"] = [row[:3] if row[0] not in ("helper", "class") else row for row in parts["parts"]]
        if made is not None:
            note["made"] = dict(made)
        if slower:
            note["slower"] = True
        self._append([note])

    def of_codes(self, codes: Collection[str]) -> list[dict[str, Any]]:  # Any: plain JSON data
        """Return the notes of cells of these codes, the latest of each code and inputs, as they may travel."""
        latest = {
            dumps([note["code"], [row[:3] for row in note.get("parts", ())]]): note
            for note in _lines(self._path, 0)
            if note["code"] in codes
        }
        return list(latest.values())

    def take(self, notes: Iterable[Any], codes: Collection[str]) -> int:  # Any: as anybody may have written
        """Remember what somebody else's notes tell of cells of these codes; return how many notes were taken.

        What is no note is left out, and so is what is known here already.
        """
        known = {dumps(note, sort_keys=True) for note in _lines(self._path, 0)}
        new = [
            note
            for note in notes
            if is_note(note) and note["code"] in codes and dumps(note, sort_keys=True) not in known
        ]
        self._append(new)
        return len(new)

    def _append(self, notes: Iterable[Mapping[str, Any]]) -> None:
        notes, self._pending = [*self._pending, *notes], []
        lines = [dumps(note, ensure_ascii=False, separators=(",", ":")) + "\n" for note in notes]
        with suppress(OSError):
            descriptor = self._opened()
            try:
                written = sum(os.write(descriptor, line.encode("utf-8", "surrogatepass")) for line in lines)
                found = os.fstat(descriptor)
            finally:
                os.close(descriptor)
            if found.st_size > _MOST_BYTES:
                self._rewrite()
            elif self._begins and found.st_size == self._read_to + written:  # nobody else has written meanwhile
                self._take_in(notes)
                self._stamp, self._read_to = (found.st_size, found.st_mtime_ns), found.st_size

    def _opened(self) -> int:
        flags = os.O_WRONLY | os.O_CREAT | os.O_APPEND
        try:
            return os.open(self._path, flags, 0o600)
        except FileNotFoundError:
            self._path.parent.mkdir(parents=True, exist_ok=True)
            return os.open(self._path, flags, 0o600)

    def records(self) -> Iterator[CellRecord]:
        """Yield what the notes tell as records of runs that were not stored, the latest of each code and inputs."""
        latest: dict[str, dict[str, Any]] = {}
        for note in _lines(self._path, 0):
            if note.get("parts") and note.get("made") is not None:
                latest[dumps([row[:3] for row in note["parts"]])] = note
        for note in latest.values():
            made = note["made"]
            yield CellRecord(
                name=note["name"],
                key="",
                namespace=AUTO,
                parts=tuple((*row, "")[:4] for row in note["parts"]),
                made=made.get("vars", {}),
                unknown=tuple(made.get("unknown", ())),
                deleted=tuple(made.get("deleted", ())),
                changed=tuple(made.get("changed", ())),
                generators=made.get("generators", {}),
                seconds=note["s"],
                at=datetime.fromtimestamp(note["at"], UTC),
                stored=False,
            )

    def _catch_up(self) -> None:
        try:
            found = self._path.stat()
        except OSError:
            return
        if (stamp := (found.st_size, found.st_mtime_ns)) == self._stamp:
            return
        begins = _beginning(self._path)
        if found.st_size < self._read_to or begins[: len(self._begins)] != self._begins or not self._begins:
            # Another file in its place. An inode may be used again, so it would not tell.
            self._seconds, self._slower, self._read_to = {}, set(), 0
        self._stamp, self._begins = stamp, begins
        self._take_in(_lines(self._path, self._read_to))
        self._read_to = found.st_size

    def _take_in(self, notes: Iterable[Mapping[str, Any]]) -> None:
        for note in notes:
            self._seconds.setdefault(note["code"], []).append(note["s"])
            if note.get("slower"):
                self._slower.add(note["code"])
            else:
                self._slower.discard(note["code"])

    def _rewrite(self) -> None:
        by_code: dict[str, list[dict[str, Any]]] = {}
        for note in _lines(self._path, 0):
            by_code.setdefault(note["code"], []).append(note)
        latest = sorted((note for notes in by_code.values() for note in notes[-_RECENT:]), key=lambda note: note["at"])
        text, size = [], 0
        for note in reversed(latest):
            line = dumps(note, ensure_ascii=False, separators=(",", ":")) + "\n"
            size += len(line)
            if size > _MOST_BYTES // 2:
                break
            text.append(line)
        temporary = self._path.with_name(f"{self._path.name}.{os.getpid()}.new")
        temporary.write_text("".join(reversed(text)), encoding="utf-8")
        temporary.replace(self._path)


def _beginning(path: Path) -> bytes:
    with suppress(OSError), path.open("rb") as file:
        return file.read(256)
    return b""


def _lines(path: Path, begin: int) -> Iterator[dict[str, Any]]:
    try:
        with path.open("rb") as file:
            file.seek(begin)
            data = file.read()
    except OSError:
        return
    for line in data.splitlines():
        try:
            note = loads(line)
        except (ValueError, RecursionError):
            continue
        if is_note(note):
            yield note


_LATEST_AT = 32_503_680_000.0  # the year 3000


def is_note(note: object) -> bool:
    """Tell whether this is a note as `Notes.add` writes one; anybody may have written it."""
    if not isinstance(note, dict) or not all(isinstance(note.get(name), str) for name in ("code", "name")):
        return False
    times = [note.get("s"), note.get("at")]
    if any(isinstance(time, bool) or not isinstance(time, int | float) for time in times):
        return False
    if not (0 <= note["s"] < _LATEST_AT and 0 <= note["at"] < _LATEST_AT):
        return False
    rows = note.get("parts", [])
    if not isinstance(rows, list) or not all(map(_is_row, rows)):
        return False
    return "made" not in note or _is_made(note["made"])


def _is_row(row: object) -> bool:
    return isinstance(row, list) and 3 <= len(row) <= 4 and all(isinstance(part, str) for part in row[:3])  # noqa: PLR2004


def _is_made(made: object) -> bool:
    if not isinstance(made, dict):
        return False
    tables = all(_is_table(made.get(name, {})) for name in ("vars", "generators"))
    return tables and all(_is_names(made.get(name, [])) for name in ("unknown", "deleted", "changed"))


def _is_table(value: object) -> bool:
    return isinstance(value, dict) and all(isinstance(digest, str) for digest in value.values())


def _is_names(value: object) -> bool:
    return isinstance(value, list) and all(isinstance(name, str) for name in value)
