"""`aw.panel()`: each step's state while it runs, every cached key, and a button to invalidate any one of them.

Life of a panel: it listens to the events of the process, a background thread tells the page what changed, and messages
of the page (delete, retry, preview) touch the store and nothing else, on whatever thread the kernel delivers them. When
no run is under way the display holds HTML only, so that a notebook saved at any moment after a run reads well without a
kernel; in JupyterLab the page code draws the living panel in the place of that HTML.
"""

from __future__ import annotations

import logging
import sys
import threading
import time
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any, Protocol, TypeVar, cast

from awaitly_nb import events
from awaitly_nb.cache import Entry, as_step_cache
from awaitly_nb.engine import RECENT, Summariser, observe, seen_parts
from awaitly_nb.errors import AwaitlyError
from awaitly_nb.keys import Parts, diff
from awaitly_nb.manage import Preview, notebook_names, preview, shown_key
from awaitly_nb.notebook.html import PANEL_ENTRIES, panel_html
from awaitly_nb.notebook.panel_display import Displays, kernel_shell, panel_text
from awaitly_nb.notebook.panel_keys import CacheKeys, FolderKeys, KeyList, key_columns
from awaitly_nb.notebook.panel_rows import changes, invalidated, key_row, sections
from awaitly_nb.result import mark_of
from awaitly_nb.units import counted, show_computed, show_size

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, MutableMapping, Sequence

    from awaitly_nb.cache import StepCache
    from awaitly_nb.engine import RunSummary
    from awaitly_nb.notebook.panel_keys import KeySource
    from awaitly_nb.notebook.panel_rows import Row
    from awaitly_nb.result import Mark, Result

__all__ = ["FolderWatcher", "Pace", "Page", "Panel", "covers", "panel", "preview_row", "why_changes"]

_log = logging.getLogger(__name__)

_PAST = frozenset({"hit", "computed", "failed", "replayed"})

_panels: dict[tuple[str | None, int], Panel] = {}

P = TypeVar("P", bound="Page")


def panel(
    workflow: Any = None,  # Any: a name, or an object of a layer below
    *,
    cache: StepCache | MutableMapping[str, Any] | None = None,
) -> None:
    """Show the panel: the state of each step, the cached keys, and a button to invalidate any one of them.

    Outside of a notebook the same is written to standard output as text.

    Parameters
    ----------
    workflow
        Show this workflow only, given itself or by name; None shows every run of this process, and every key of the
        default folder.
    cache
        Where the workflow's keys lie, when that is not the default folder.
    """
    if workflow is not None and not isinstance(workflow, str):
        workflow.panel()
        return
    # One panel for the life of the kernel, however often its cell is run: an old one would go on listening.
    name = (workflow, 0 if cache is None else id(cache))
    if (shown := _panels.get(name)) is None:
        source: KeySource = FolderKeys(workflow) if cache is None else CacheKeys(as_step_cache(cache))
        shown = _panels[name] = Panel(source, workflow=workflow)
    shown.show()


def covers(workflow: str) -> bool:
    """Tell whether a panel that was shown tells of this workflow."""
    return any(name in (None, workflow) for name, _ in _panels)


class Page(Protocol):
    """Where a panel is drawn: a widget, or the sidebar of JupyterLab."""

    @property
    def token(self) -> str:
        """The name under which the page code finds the HTML that it may bring to life."""

    def tell(self, message: dict[str, Any], buffers: Sequence[bytes] = ()) -> None:  # Any: plain JSON data
        """Send it one message."""

    def close(self) -> None:
        """End it."""


class Panel:
    """One panel, shown in as many places as the user likes. Every method is thread-safe.

    Parameters
    ----------
    source
        Where its keys lie.
    workflow
        The only workflow to show, or None for all.
    """

    def __init__(self, source: KeySource, *, workflow: str | None = None) -> None:
        self.workflow = workflow
        self.keys = KeyList(source)
        self._keys_read = False
        self._summariser = Summariser()
        self._drawn: list[Row] = []
        self._fresh: dict[tuple[str, str], events.StepComplete] = {}
        self._pace = Pace(self._draw)
        self._guard = threading.RLock()
        self._page: Page | None = None
        self._displays = Displays()
        self._seq = 0
        self._mine: list[str] | None = None
        self._watcher = FolderWatcher(self._look)
        self._stop = observe(self._listen)

    # -- what happens in the kernel ---------------------------------------------------------------------------------

    def _listen(self, event: Any) -> None:  # Any: one of the events
        """Note an event, on the thread and on the time of the run: so no drawing here."""
        self._summariser.handle_event(event)
        ours = self.workflow is None or event.workflow == self.workflow
        if ours and events.is_step_complete(event) and event.stored and event.step_key is not None:
            self._fresh[event.workflow, event.step_key] = event
        if ours and events.is_step_cache_hit(event) and event.source == "cache" and event.step_key is not None:
            self.keys.note_hit(event.workflow, event.step_key)
        if events.is_step_cache_hit(event) or events.is_step_cache_miss(event):
            return self._pace.poke()
        self._displays.outdated = True
        return self._pace.poke()

    def runs(self) -> list[RunSummary]:
        """Return the runs of this process, those from before the panel was made included, oldest first."""
        known = {run.run_id: run for run in RECENT.runs()}
        known.update({run.run_id: run for run in self._summariser.runs()})
        return sorted(known.values(), key=lambda run: run.started_at)

    def sections(self) -> list[Row]:
        """Return what is to be drawn now, with the number of each step's key where it is in the list."""
        drawn = sections(self.runs(), workflow=self.workflow, took=self.keys.took)
        for section in drawn:
            for place, row in enumerate(section["steps"]):
                if (key := row.get("key")) is None:
                    continue
                namespace = self.keys.namespace_of(row["workflow"])
                row["keyid"] = number = self.keys.number_of(namespace, key)
                if number is None and row["state"] in _PAST and self.keys.dropped(namespace, key, since=_end(row)):
                    section["steps"][place] = invalidated(row)
                entry = None if number is None else self.keys.entry(number)
                if entry is not None and row.get("size") is None:
                    row["size"] = entry.size_bytes
                if entry is not None and entry.created_at is not None:
                    row["at"] = int(entry.created_at.timestamp())
                if entry is not None and entry.call is not None:
                    row["call"] = shown_key(entry)
        return drawn

    # -- drawing ----------------------------------------------------------------------------------------------------

    def show(self) -> None:
        """Show the panel in the output of the running cell."""
        if kernel_shell() is None:
            self.read_keys()
            sys.stdout.write(panel_text(self.sections()))
            return
        from awaitly_nb.notebook.panel_widget import PanelWidget

        with self._guard:
            widget = self.open(lambda boot: PanelWidget(boot=boot, receive=self.receive))
            self._displays.after_cell(self._settle)
            self._displays.show(widget)
            self._displays.outdated = True

    def open(self, make: Callable[[Row], P]) -> P:
        """Return the page that this panel is drawn in; `make` makes it, from the message to begin with."""
        with self._guard:
            if self._page is None:
                self._drawn = self.sections()
                self._page = make({**changes([], self._drawn), "now": time.time()})
            page = cast("P", self._page)
        self._keys_read = False
        self._watcher.start()
        self._pace.poke()
        return page

    def _look(self) -> float:
        """Read the keys again where another process changed them; return how long to wait until the next look."""
        if self._watcher.changed(self.keys.stamp()):
            self._keys_read = False
            self._pace.poke()
        return _LOOK_S if len(self.keys) < _MANY_KEYS else 10 * _LOOK_S

    def read_keys(self) -> None:
        """Read all keys again, and tell the page."""
        self._watcher.changed(self.keys.stamp())  # first: what is stored while it reads is looked for once more
        with self._guard:  # no key is put into the list between the reading and the telling of it
            listing, numbers, deleted = self.keys.read()
            self._keys_read = True
            if self._page is not None:
                self._tell({"kind": "keys"}, *key_columns(listing, numbers))
                if deleted:
                    self._tell({"removed": deleted})

    def _draw(self) -> None:
        """Tell the page what changed since it was last told; the work of the background thread."""
        with self._guard:
            if not self._keys_read:
                self.read_keys()
            self._tell_mine()
            added = self._take_fresh()
            drawn = self.sections()
            change = changes(self._drawn, drawn)
            if change["sections"] or len(drawn) != len(self._drawn):
                self._drawn = drawn
                self._tell({**change, "added": added, "now": time.time()})
            elif added:
                self._tell({"added": added})
            if not self._busy() and (hits := self.keys.take_hits()):
                self._tell({"hits": hits})
            if self._displays.outdated and not self._busy() and not self._displays.in_cell:
                self._freeze()

    def _tell_mine(self) -> None:
        """Tell the page which keys are this notebook's: those of names that ran here, or stand in its file."""
        if self.workflow is not None or not isinstance(self.keys.source, FolderKeys):
            return
        mine = sorted({run.workflow for run in self.runs()} | notebook_names())
        if mine != self._mine:
            self._mine = mine
            self._tell({"mine": mine})

    def _take_fresh(self) -> list[Row]:
        added = []
        while self._fresh:
            (workflow, key), event = self._fresh.popitem()
            namespace = self.keys.namespace_of(workflow)
            if not self.keys.stored(namespace, key):
                continue  # it lies in another cache: a dict, or one of the workflow's own
            entry = Entry(
                key=key,
                namespace=namespace,
                step_id=event.step_id,
                workflow=workflow,
                ok=event.result.ok,
                size_bytes=event.size_bytes,
                created_at=event.at,
                duration_s=event.duration_s,
                call=self.keys.call(namespace, key),
            )
            added.append(key_row(self.keys.put(entry), entry))
        return added

    def _tell(self, message: dict[str, Any], *buffers: bytes) -> None:  # Any: plain JSON data
        if self._page is not None:
            self._seq += 1
            self._page.tell({**message, "seq": self._seq}, buffers)

    def _busy(self) -> bool:
        return any(section["status"] == "running" for section in self._drawn)

    def _settle(self) -> None:
        """Bring page and HTML up to date at the end of a cell, before a headless runner stops listening."""
        self._draw()
        with self._guard:
            if self._displays.outdated and not self._busy():
                self._freeze()

    def _freeze(self) -> None:
        self._displays.outdated = False
        self._displays.freeze(self._html)

    def _html(self) -> str:
        token = "" if self._page is None else self._page.token
        newest, total = self.keys.newest(PANEL_ENTRIES), (len(self.keys), self.keys.size_bytes)
        return panel_html(self._drawn, newest, total=total, token=token)

    # -- what a person clicks ---------------------------------------------------------------------------------------

    def receive(self, message: dict[str, Any]) -> None:  # Any: plain JSON data
        """Do what a page asks for. Touches the store, never a running step."""
        try:
            match message:
                case {"op": "hello", "mounts": bool(mounts)}:
                    self._greet(mounts=mounts)
                case {"op": "again"}:
                    self._tell_all()
                case {"op": "delete", "ids": [*ids]}:
                    self._delete([number for number in ids if type(number) is int])
                case {"op": "retry"}:
                    failed = self.keys.failed()
                    self._delete(failed, _runs_again(len(failed), "failure removed", "failures removed"))
                case {"op": "undo"}:
                    self.undo()
                case {"op": "preview", "id": int(number)} if number is not True:
                    self._tell({"preview": preview_row(number, self.keys.entry(number), self.keys.get(number))})
                case {"op": "why", "row": str(row), "of": [str(workflow), str(step_id), str(key), str(reason)]}:
                    self._tell({"why": {"row": row, "changes": self._why(workflow, step_id, key, reason)}})
                case {"op": "refresh"}:
                    self.read_keys()
        except (AwaitlyError, OSError) as exc:
            ids = message.get("ids", [])
            self._tell({"note": f"That did not work: {exc}", "settled": ids})

    def _greet(self, *, mounts: bool) -> None:
        """Answer a page that was just made: it sees by the number whether it missed anything, and asks again if so."""
        with self._guard:
            if self._page is None:
                return
            self._page.tell({"upto": self._seq})
            if not mounts:
                self._displays.revive()

    def _tell_all(self) -> None:
        with self._guard:
            self._tell({**changes([], self._drawn), "now": time.time()})
            self.read_keys()
            self._mine = None
            self._tell_mine()

    def _delete(self, numbers: list[int], note: str = "") -> None:
        gone = self.keys.delete(numbers)
        note = note or _runs_again(len(gone), "invalidated", "invalidated")
        self._tell({"removed": gone, "note": note, "undo": self.keys.trash.holds})
        self._displays.outdated = True
        self._pace.poke()

    def undo(self) -> int:
        """Bring back what was removed here last, if that can be undone; return how many keys that were."""
        added = [key_row(number, entry) for number, entry in self.keys.undo()]
        note = f"{counted(len(added), 'key')} restored." if added else "There is nothing to restore any more."
        self._tell({"added": added, "note": note, "undo": False})
        self._displays.outdated = True
        self._pace.poke()
        return len(added)

    def _why(self, workflow: str, step_id: str, key: str, reason: str) -> list[Row]:
        return why_changes(step_id, key, reason, self.keys.marks(workflow, step_id))

    def close(self) -> None:
        """Stop listening, and leave the page with the HTML."""
        self._stop()
        self._watcher.close()
        self._pace.close()
        self.keys.trash.clear()
        with self._guard:
            self._freeze()
            if self._page is not None:
                self._page.close()
                self._page = None
        self._displays.close()


def _end(row: Row) -> float:
    return float(row["since"]) + (row["took"] or 0.0)


def _runs_again(count: int, one: str, many: str) -> str:
    return (
        f"{count:,} {one}; it runs again next time." if count == 1 else f"{count:,} {many}; they run again next time."
    )


# -- answers to a page ------------------------------------------------------------------------------------------------


def preview_row(number: int, entry: Entry | None, result: Result[Any, Any] | None) -> Row:  # Any: the user's
    """Return what to show of the key with this number, whose value is `result` if it is still there."""
    if entry is None or result is None:
        return {"id": number, "key": "" if entry is None else entry.key, "text": "This key is gone."}
    seen, mark = preview(result), mark_of(result)
    facts = [*seen.facts]
    if entry.size_bytes is not None:
        facts.append(show_size(entry.size_bytes))
    if mark is not None and mark.at is not None:
        facts.append(show_computed(mark.at, mark.duration_s, datetime.now(UTC)))
    return {"id": number, "key": entry.key, **_preview_data(seen), "facts": facts}


def _preview_data(seen: Preview) -> Row:
    """Return a preview as plain JSON data: text, a table, a picture, or the parts of a cell."""
    shown: Row = {"facts": list(seen.facts), "text": seen.text}
    if seen.rows:
        shown["table"] = {"columns": list(seen.columns), "rows": [list(row) for row in seen.rows]}
    if seen.image:
        shown["image"] = seen.image
    if seen.parts:
        shown["parts"] = [{"name": name, **_preview_data(part)} for name, part in seen.parts]
    return shown


def why_changes(step_id: str, key: str, reason: str, marks: Iterable[Mark]) -> list[Row]:
    """Return the changes that `reason` tells in one line, as plain JSON data; none where they are not known any more.

    Parameters
    ----------
    step_id, key
        The step.
    reason
        What its row says.
    marks
        Of the entries of the step; looked at only where this process has not seen enough.
    """
    seen = seen_parts(step_id)
    if found := _told(seen, key, reason):
        return found
    stored = [Parts.from_data(dict(mark.parts)) for mark in marks if mark.parts is not None]
    return _told([*seen, *stored], key, reason)


def _told(known: list[Parts], key: str, reason: str) -> list[Row]:
    mine = next((parts for parts in known if parts.key == key), None)
    if mine is None:
        return []
    for parts in known:
        changes = diff(parts, mine)
        # Another difference than the one in the row would be one that did not decide anything.
        if changes and "; ".join(change.line for change in changes) == reason:
            return [{"line": change.line, "diff": change.detail} for change in changes]
    return []


# -- when to draw -----------------------------------------------------------------------------------------------------

INTERVAL_S = 0.1


class Pace:
    """Calls `draw` on a thread of its own, at most once per `interval_s`, after `poke` was called. Thread-safe.

    Parameters
    ----------
    draw
        Called without arguments. What it raises is logged; it is tried again after the next `poke`.
    interval_s
        The shortest time between two calls.
    """

    def __init__(self, draw: Callable[[], None], *, interval_s: float = INTERVAL_S) -> None:
        self._draw = draw
        self._interval_s = interval_s
        self._wanted = threading.Event()
        self._guard = threading.Lock()
        self._thread: threading.Thread | None = None
        self._closed = threading.Event()

    def poke(self) -> None:
        """Ask for a drawing; returns at once."""
        self._wanted.set()
        if self._thread is None and not self._closed.is_set():
            with self._guard:
                if self._thread is None:
                    # A daemon: an interpreter that ends does not wait for a drawing.
                    self._thread = threading.Thread(target=self._work, name="awaitly-panel", daemon=True)
                    self._thread.start()

    def close(self) -> None:
        """Draw no more."""
        self._closed.set()
        self._wanted.set()

    def _work(self) -> None:
        # The thread outlives a pause of a few intervals, so that a run of many short steps starts it once.
        while self._wanted.wait(timeout=20 * self._interval_s) and not self._closed.is_set():
            self._wanted.clear()
            began = time.perf_counter()
            try:
                self._draw()
            except Exception:  # noqa: BLE001 - user code may raise anything: the widget's transport, the user's cache
                _log.exception("the panel could not be drawn")
            # A drawing that takes long is done less often: a tenth of the time at most, whatever there is to draw.
            self._closed.wait(max(self._interval_s, 9 * (time.perf_counter() - began)))
        with self._guard:
            self._thread = None
        if self._wanted.is_set():  # poked between the last wait and the line above
            self.poke()


_LOOK_S = 2.0
_MANY_KEYS = 20_000


class FolderWatcher:
    """Asks from time to time, on a thread of its own, whether another process changed the keys.

    Parameters
    ----------
    look
        Called without arguments; returns the seconds until it is to be called again.
    """

    def __init__(self, look: Callable[[], float]) -> None:
        self._look = look
        self._closed = threading.Event()
        self._thread: threading.Thread | None = None
        self._stamp: object = None

    def start(self) -> None:
        """Begin to look; harmless twice."""
        if self._thread is None and not self._closed.is_set():
            self._thread = threading.Thread(target=self._work, name="awaitly-watch", daemon=True)
            self._thread.start()

    def changed(self, stamp: object) -> bool:
        """Tell whether this stamp is another than the one before; the first is not."""
        before, self._stamp = self._stamp, stamp
        return before is not None and before != stamp

    def close(self) -> None:
        """Look no more."""
        self._closed.set()

    def _work(self) -> None:
        wait_s = _LOOK_S
        while not self._closed.wait(wait_s):
            try:
                wait_s = self._look()
            except (AwaitlyError, OSError):  # the folder cannot be read now; the next draw of the panel tells why
                _log.debug("the cache folder cannot be looked at", exc_info=True)
