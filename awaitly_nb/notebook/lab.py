"""Marks for JupyterLab: what each cell of the page would do, and what it did, told over a comm.

The kernel opens the comm at `%load_ext awaitly_nb`, and a page that is loaded later opens one to the kernel it finds.
The page sends the text of its cells, saved or not, and gets one mark for each. Both remember what they told each other:
after a keystroke one text goes one way, and the marks that are others now come back. While a cell runs and when it has
ended, its mark is sent by itself. While the sidebar is in sight, the panel is drawn there, and its messages go over the
same comm. Nothing is written into the notebook. What cells would do is the plan's to say.
"""

from __future__ import annotations

import logging
import re
import secrets
import time
from dataclasses import dataclass, replace
from types import ModuleType
from typing import TYPE_CHECKING, Any, Final, Literal, NamedTuple, Protocol, TypeAlias

from awaitly_nb import events as ev, manage
from awaitly_nb.engine import RECENT, observe
from awaitly_nb.errors import AwaitlyError, InvalidOptionError, MisuseError
from awaitly_nb.notebook.body import read_only
from awaitly_nb.notebook.cell import Cell
from awaitly_nb.notebook.order import Order
from awaitly_nb.plans import AUTO, called, parse_cell_line, parsed, plan, without_magics

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Mapping, Sequence

    from awaitly_nb.notebook.auto import Auto
    from awaitly_nb.notebook.panel import Panel
    from awaitly_nb.notebook.shell import Shell

__all__ = [
    "TARGET",
    "CellMark",
    "Foresee",
    "Lab",
    "PageCell",
    "asked_to_recompute",
    "foresee",
    "load",
    "out_of_order",
    "page_cells",
    "unload",
]

TARGET: Final = "awaitly_nb.lab"
_MAGIC: Final = "%%awaitly"

_log = logging.getLogger(__name__)

State: TypeAlias = Literal[
    "hit", "cached", "stale", "new", "unknown", "computing", "stored", "live", "uncached", "failed"
]
_RUNS: Final = frozenset({"stale", "new", "unknown", "uncached", "failed"})


@dataclass(frozen=True, slots=True, kw_only=True)
class PageCell:
    """A code cell of the page, as it is written at the moment.

    Attributes
    ----------
    id
        The notebook's own name for it, which stays through moves and reloads.
    source
        Its text, saved or not.
    """

    id: str
    source: str

    @property
    def line(self) -> str | None:
        """What follows `%%awaitly` in the first line; None for a plain cell."""
        first = self.source.lstrip("\n").partition("\n")[0]
        word, _, rest = first.partition(" ")
        return rest.strip() if word == _MAGIC else None

    @property
    def body(self) -> str:
        """The text without the first line of a cached cell."""
        return self.source if self.line is None else self.source.lstrip("\n").partition("\n")[2]


@dataclass(frozen=True, slots=True, kw_only=True)
class CellMark:
    """How one cell stands.

    Attributes
    ----------
    state
        What it did: `hit`, `stored`, `uncached`, `failed`, or is `computing`; what it would do: `cached` (come from the
        cache), `stale` (run, although it has run before), `new` (run for the first time), or what nobody can tell yet
        (`unknown`). A plain cell is `live`.
    reason
        Why, in one line.
    name
        What the cell is called.
    seconds
        What computing it took, or usually takes; None where not known.
    saved_s
        What a hit saved.
    size_bytes
        Size of what is stored.
    began_at
        When a cell that computes began, in seconds since 1970.
    """

    state: State
    reason: str = ""
    name: str = ""
    seconds: float | None = None
    saved_s: float | None = None
    size_bytes: int | None = None
    began_at: float | None = None

    def to_data(self) -> dict[str, Any]:  # Any: plain JSON data
        """Return this as plain JSON data."""
        return {name: getattr(self, name) for name in self.__slots__}


class Foreseen(NamedTuple):
    """The mark of each cell, and which cell feeds which: pairs of ids, in the order of the notebook."""

    marks: dict[str, CellMark]
    feeds: Sequence[tuple[str, str]]


class Foresee(Protocol):
    """Says of each cell what it would do."""

    def __call__(self, shell: Shell, cells: Sequence[PageCell], ran: Mapping[str, str], *, auto: bool) -> Foreseen:
        """Return a mark for each cell, and what feeds what.

        Parameters
        ----------
        shell
            The shell that the cells run in.
        cells
            The code cells of a notebook, in order.
        ran
            The texts with which cells ran in this kernel, by id.
        auto
            Whether plain cells are looked after.
        """


@dataclass(slots=True)
class _Running:
    """The cell that runs now, and what the engine has said of its step, whose entries lie in the namespace `home`."""

    text: PageCell
    name: str
    home: str
    began: float
    event: ev.StepCacheHit | ev.StepStart | None = None
    seconds: float | None = None
    size_bytes: int | None = None
    stored: bool = False
    refused: str | None = None


class _Page:
    """One page: its comm, what was told over it, and the panel of its sidebar while that is in sight.

    Parameters
    ----------
    comm
        The kernel's end of it.
    """

    def __init__(self, comm: Any) -> None:  # Any: comms have no types
        self.comm = comm
        self.token = secrets.token_hex(8)
        self._panel: Panel | None = None
        self._seq: object = None
        self._order: list[str] = []
        self._sources: dict[str, str] = {}
        self._told: dict[str, Any] = {}
        self._marks: dict[str, CellMark] = {}

    def take(self, data: Mapping[str, Any]) -> bool:  # Any: plain JSON data
        """Take note of all texts, or of those that changed since a message which is named; return whether that came."""
        base, seq = data.get("base"), data.get("seq")
        if base is None:
            self._order, self._sources, self._marks, self._told = [cell["id"] for cell in data["cells"]], {}, {}, {}
        elif base != self._seq:
            return False
        self._seq = seq
        self._sources.update((cell["id"], cell["source"]) for cell in data["cells"])
        if "order" in data:
            self._order = data["order"]
            # What is gone is told anew if it comes back.
            self._sources = {name: self._sources[name] for name in self._order if name in self._sources}
            self._marks = {name: self._marks[name] for name in self._order if name in self._marks}
        return True

    @property
    def cells(self) -> tuple[PageCell, ...]:
        """Its code cells in order."""
        return tuple(PageCell(id=name, source=self._sources[name]) for name in self._order if name in self._sources)

    def news(self, marks: Mapping[str, CellMark], others: Mapping[str, Any]) -> dict[str, Any]:  # Any: plain JSON data
        """Return the marks that are not those which it has, and of the rest of an answer what it was not told yet."""
        changed = {name: mark.to_data() for name, mark in marks.items() if self._marks.get(name) != mark}
        told = {name: value for name, value in others.items() if name not in self._told or self._told[name] != value}
        self._marks.update(marks)
        self._told.update(told)
        return {"marks": changed, **told}

    def tell_mark(self, name: str, mark: CellMark, source: str | None = None) -> None:
        """Send it the mark of a cell that begins or has ended, which it shows in place of any other."""
        self._marks.pop(name, None)
        self.send({"type": "mark", "id": name, "mark": mark.to_data(), "source": source})

    def send(self, message: dict[str, Any], buffers: Sequence[bytes] = ()) -> None:  # Any: plain JSON data
        """Send it one message."""
        self.comm.send(message, buffers=list(buffers))

    # -- its sidebar, as the panel sees it

    def tell(self, message: dict[str, Any], buffers: Sequence[bytes] = ()) -> None:  # Any: plain JSON data
        """Send the panel in it one message."""
        self.send({"type": "panel", "message": message}, buffers)

    def close(self) -> None:
        """End the panel in it; its page code has noticed already."""

    def receive(self, message: dict[str, Any]) -> None:  # Any: plain JSON data
        """Do what its sidebar asks: open and close the panel, or what the panel takes."""
        match message:
            case {"op": "open"}:
                from awaitly_nb.notebook.panel import Panel  # for pages that look at the sidebar
                from awaitly_nb.notebook.panel_keys import FolderKeys

                self.close_panel()
                self._panel = Panel(FolderKeys())
                self._panel.open(self._booted)
            case {"op": "close"}:
                self.close_panel()
            case {"op": str()} if self._panel is not None:
                self._panel.receive(message)

    def _booted(self, boot: dict[str, Any]) -> _Page:  # Any: plain JSON data
        # The code comes with the data: kernel and page speak one version, whichever the extension of the server has.
        from awaitly_nb.notebook.panel_widget import CSS, ESM

        self.send({"type": "panel", "boot": boot, "token": self.token, "esm": ESM, "css": CSS})
        return self

    def undo(self) -> int:
        """Bring back what its panel removed last; return how many keys that were."""
        return self._panel.undo() if self._panel is not None and self._panel.keys.trash.holds else 0

    def close_panel(self) -> None:
        """End the panel; harmless without one."""
        if self._panel is not None:
            panel, self._panel = self._panel, None
            panel.close()


class Lab:
    """The kernel's side of the extension.

    Parameters
    ----------
    shell
        The shell whose cells are marked.
    foresee
        What says of cells that do not run now what they would do.
    mode
        Automatic mode of the shell, where it has one.
    clock
        Seconds since 1970.

    Attributes
    ----------
    cells
        The notebook's code cells, as a page told of them last.
    """

    def __init__(
        self, shell: Shell, *, foresee: Foresee, mode: Auto | None = None, clock: Callable[[], float] = time.time
    ) -> None:
        self._shell = shell
        self._foresee = foresee
        self._mode = mode
        self._clock = clock
        self.cells: tuple[PageCell, ...] = ()
        self._pages: list[_Page] = []
        self._ran: dict[str, tuple[str, CellMark]] = {}
        self._running: _Running | None = None
        self._recomputed: set[str] = set()
        self._order = Order()

    # -- pages

    def add_page(self, comm: Any, _message: object = None) -> None:  # Any: comms have no types
        """Take a page that opened its comm."""
        page = _Page(comm)
        comm.on_msg(lambda message: self._receive(page, message))
        comm.on_close(lambda _message: self._leave(page))
        self._pages.append(page)
        page.send({"type": "hello"})

    def _leave(self, page: _Page) -> None:
        if page in self._pages:
            self._pages.remove(page)
        if not self._pages:
            self.cells = ()
        page.close_panel()

    def _tell_mark(self, name: str, mark: CellMark, source: str | None = None) -> None:
        for page in tuple(self._pages):
            page.tell_mark(name, mark, source)

    def _receive(self, page: _Page, message: Any) -> None:
        match message:
            case {"content": {"data": {"type": "panel", "message": dict(told)}}}:
                page.receive(told)
                return
            case {"content": {"data": {"type": str(kind)} as data}} if _is_ours(kind, data):
                answer = self._answers[kind]
            case _:
                return  # any output of the page can send what it likes
        if kind == "cells" and not page.take(data):
            page.send({"type": "hello"})  # a message was lost, so all has to be told again
            return
        # A page may ask on a thread of its own (subshells): the names of a cell that runs are not to be read meanwhile.
        if self._running is not None and kind in {"cells", "invalidate"}:
            page.send({"type": "busy"})
            return
        try:
            page.send({"type": kind, **answer(self, page, data)})
        except Exception as exc:  # noqa: BLE001 - the session is the user's; whatever fails, the page waits for an answer
            if not isinstance(exc, AwaitlyError):
                _log.exception("a question of the page cannot be answered")
            page.send({"type": "error", "of": kind, "text": str(exc)})

    # -- what the page asks

    def _cells(self, page: _Page, data: dict[str, Any]) -> dict[str, Any]:
        cells = self.cells = page.cells
        ran = {name: source for name, (source, _) in self._ran.items()}
        foreseen = self._foresee(self._shell, cells, ran, auto=self._is_auto)
        marks = {cell.id: self._settled(cell, foreseen.marks[cell.id]) for cell in cells}
        plan = self._to_run(cells, marks, foreseen.feeds)
        told = page.news(marks, {"plan": plan, "feeds": foreseen.feeds, "auto": self._is_auto})
        return {**told, "seq": data.get("seq")}

    @property
    def _is_auto(self) -> bool:
        return self._mode is not None and self._mode.on

    def _to_run(
        self, cells: Sequence[PageCell], marks: Mapping[str, CellMark], feeds: Sequence[tuple[str, str]]
    ) -> list[str]:
        """Return the cells that would compute, and those that feed them and have not run here as they are."""
        chosen = {cell.id for cell in cells if marks[cell.id].state in _RUNS}
        fed: dict[str, list[str]] = {}
        for source, target in feeds:
            fed.setdefault(source, []).append(target)
        for cell in reversed(cells):
            is_here = self._ran.get(cell.id, ("",))[0] == cell.source
            if not is_here and not chosen.isdisjoint(fed.get(cell.id, ())):
                chosen.add(cell.id)
        return [cell.id for cell in cells if cell.id in chosen]

    def _settled(self, cell: PageCell, mark: CellMark) -> CellMark:
        """Return what the cell did, as long as its text is the same and running it now would not do something else."""
        source, did = self._ran.get(cell.id, (None, None))
        if did is None or source != cell.source:
            return mark
        # Where the plan cannot tell, what the cell did is the best that is known.
        is_settled = did.state in {"failed", "uncached"} or mark.state in {"cached", "unknown"}
        return did if is_settled and did.state != "live" else mark

    def _why(self, _page: _Page, data: dict[str, Any]) -> dict[str, Any]:
        return {"id": data.get("id"), "text": str(manage.why(data["name"]))}

    def _invalidate(self, _page: _Page, data: dict[str, Any]) -> dict[str, Any]:
        cell = PageCell(id=data["id"], source=data["source"])
        is_plain = cell.line is None
        if is_plain and not self._is_auto:
            return {"id": cell.id, "removed": False}
        try:
            auto = self._mode.cell(cell.body, runs=False) if is_plain and self._mode is not None else None
            read = Cell(self._shell, cell.line or "", cell.body, auto)
        except (SyntaxError, ValueError):
            return {"id": cell.id, "removed": False}  # it is no Python (yet), so nothing was stored of it
        removed = read.key is not None and manage.remove(_literal(read.key)).removed
        return {"id": cell.id, "removed": removed}

    def _recompute(self, _page: _Page, data: dict[str, Any]) -> dict[str, Any]:
        self._recomputed.add(data["id"])
        return {"id": data["id"]}

    def _undo(self, _page: _Page, _data: dict[str, Any]) -> dict[str, Any]:
        restored = next((n for page in self._pages if (n := page.undo())), 0)
        return {"restored": restored or manage.undo()}

    def _auto(self, _page: _Page, data: dict[str, Any]) -> dict[str, Any]:
        if self._mode is None:
            raise MisuseError("automatic mode needs the magics: %load_ext awaitly_nb")
        self._mode.on = data["on"]
        return {"auto": self._mode.on}

    _answers: Final = {
        "cells": _cells,
        "why": _why,
        "invalidate": _invalidate,
        "recompute": _recompute,
        "undo": _undo,
        "auto": _auto,
    }

    # -- what the kernel does

    def attach(self) -> None:
        """Listen to the shell and to the engine; harmless once."""
        self._shell.events.register("pre_run_cell", self.before_cell)
        self._shell.events.register("post_run_cell", self.after_cell)
        self._stop = observe(self.handle_event, without=[ev.StepCacheMiss])
        _attached.append(self)

    def detach(self) -> None:
        """Listen no more, and tell every page that the marks end."""
        _attached.remove(self)
        self._stop()
        self._shell.events.unregister("pre_run_cell", self.before_cell)
        self._shell.events.unregister("post_run_cell", self.after_cell)
        while self._pages:
            page = self._pages.pop()
            page.close_panel()
            page.comm.close()

    def out_of_order(self, names: Iterable[str], key: str) -> str:
        """Return what the cell that runs now uses, and the order of the page would not give; see `Order.told`."""
        if self._running is None:
            return ""
        # A module is the same one whichever cell imports it, and a call of its functions is no change.
        values = [name for name in names if not isinstance(self._shell.user_ns.get(name), ModuleType)]
        return self._order.told([(cell.id, cell.source) for cell in self.cells], self._running.text.id, values, key)

    def take_recompute(self) -> bool:
        """Return whether the page asked to recompute the cell that runs now; it is asked for once."""
        if self._running is None or self._running.text.id not in self._recomputed:
            return False
        self._recomputed.discard(self._running.text.id)
        return True

    def before_cell(self, info: Any) -> None:  # Any: IPython's, which has no types
        """Mark a cell that begins; IPython calls this."""
        if info.cell_id is None or info.silent:
            return
        text = PageCell(id=info.cell_id, source=info.raw_cell)
        known = self._ran.get(text.id)
        name, home = _name_of(text), AUTO if self._is_auto else ""
        self._running = _Running(text, name, home if text.line is None else name, self._clock())
        mark = CellMark(
            state="computing",
            name=self._running.name,
            seconds=known[1].seconds if known else None,
            began_at=self._running.began,
        )
        self._tell_mark(text.id, mark)

    def after_cell(self, result: Any) -> None:  # Any: as above
        """Mark a cell that has ended; IPython calls this."""
        running, self._running = self._running, None
        if running is None:
            return
        mark = _mark_of(running, failed=not result.success, seconds=self._clock() - running.began)
        self._ran[running.text.id] = (running.text.source, mark)
        self._recomputed.discard(running.text.id)  # also where nothing of it is cached
        self._order.ran(running.text.source)
        self._tell_mark(running.text.id, mark, running.text.source)

    def handle_event(self, event: ev.Event) -> None:
        """Note what the engine says of the cell that runs."""
        running = self._running
        if running is None or not running.home or event.workflow != running.home:
            return
        match event:
            case ev.StepCacheHit():
                running.event, running.name = event, event.step_id
            case ev.StepStart():
                running.event, running.name, running.refused = event, event.step_id, None
            case ev.StepSuccess():
                running.seconds = event.duration_s
            case ev.StepComplete():
                running.size_bytes, running.stored = event.size_bytes, event.stored
            case ev.PersistFailed():
                running.refused = str(event.error)


_TEXTS: Final = {
    "cells": (),
    "why": ("name",),
    "invalidate": ("id", "source"),
    "recompute": ("id",),
    "undo": (),
    "auto": (),
}
"""What each message holds beside its type: members that are text; and in one the cells whose text is another one now,
and the ids of all in order where that is another one."""


def _is_ours(kind: str, data: Mapping[str, Any]) -> bool:
    """Tell whether a message is one that our page sends."""
    if kind not in _TEXTS or not all(isinstance(data.get(name), str) for name in _TEXTS[kind]):
        return False
    if kind == "auto":
        return isinstance(data.get("on"), bool)
    if kind != "cells":
        return True
    cells, order = data.get("cells"), data.get("order", [])
    return (
        isinstance(cells, list)
        and all(
            isinstance(cell, dict) and isinstance(cell.get("id"), str) and isinstance(cell.get("source"), str)
            for cell in cells
        )
        and isinstance(order, list)
        and all(isinstance(name, str) for name in order)
    )


def _mark_of(running: _Running, *, failed: bool, seconds: float) -> CellMark:
    mark = CellMark(state="live", name=running.name, seconds=seconds)
    if failed:
        return replace(mark, state="failed", reason="it raised an error")
    match running.event:
        case None:
            return mark if running.text.line is None else replace(mark, state="uncached", reason="it has no key")
        case ev.StepCacheHit(computed_s=computed_s, size_bytes=size):
            saved = None if computed_s is None else computed_s - seconds  # of the whole cell, as its badge says
            return replace(mark, state="hit", seconds=computed_s, saved_s=saved, size_bytes=size)
        case ev.StepStart():
            if running.refused is not None:
                return replace(mark, state="uncached", reason=running.refused, seconds=running.seconds)
            if running.text.line is None and not running.stored:
                return replace(mark, reason="automatic mode stores what is worth it, and this was quick")
            step = running.event
            reason = RECENT.reason(step.run_id, step.step_id, step.step_key)
            return replace(mark, state="stored", seconds=running.seconds, size_bytes=running.size_bytes, reason=reason)


def foresee(shell: Shell, cells: Sequence[PageCell], ran: Mapping[str, str], *, auto: bool = False) -> Foreseen:
    """Return what each cell would do if all were run from top to bottom, by the notebook's plan; see `Foresee`."""
    with read_only():
        planned = plan([cell.source for cell in cells], auto=auto, transform=shell.transform_cell)
    marks = {
        cell.id: CellMark(
            state=_STATES.get(told.state) or ("stale" if cell.id in ran else "new"),
            reason=told.reason,
            name=told.name,
            seconds=told.seconds,
            size_bytes=told.size_bytes or None,
        )
        for cell, told in zip(cells, planned.cells, strict=True)
    }
    return Foreseen(marks, [(cells[edge.source].id, cells[edge.target].id) for edge in planned.edges])


_STATES: Final[dict[str, State]] = {"hit": "cached", "depends": "stale", "live": "live", "unknown": "unknown"}


def _name_of(cell: PageCell) -> str:
    if (line := cell.line) is None:
        return ""
    try:
        return parse_cell_line(line, called(parsed(without_magics(cell.body)[0]), cell.body)).name
    except (MisuseError, InvalidOptionError):
        return line


def _literal(key: str) -> str:
    """Return the glob that matches this key only."""
    return re.sub(r"([*?[])", r"[\1]", key)


_attached: list[Lab] = []


def asked_to_recompute() -> bool:
    """Return whether the page asked to recompute the cell that runs now."""
    return any(lab.take_recompute() for lab in tuple(_attached))


def out_of_order(names: Iterable[str], key: str) -> str:
    """Return what the cell that runs now uses, and the order of its page would not give; "" without a page."""
    return next((told for lab in tuple(_attached) if (told := lab.out_of_order(names, key))), "")


def page_cells() -> tuple[PageCell, ...]:
    """Return the cells as the page has them, saved or not; none where no page told."""
    return next((lab.cells for lab in reversed(_attached) if lab.cells), ())


def load(shell: Shell, mode: Auto | None = None) -> None:
    """Serve the pages of a kernel; harmless twice, and without a kernel."""
    unload(shell)
    if getattr(shell, "kernel", None) is None:
        return
    import comm

    lab = Lab(shell, foresee=foresee, mode=mode)
    lab.attach()
    comm.get_comm_manager().register_target(TARGET, lab.add_page)
    # For a page that is there already: what it sends itself waits behind the cells that are to be run.
    lab.add_page(comm.create_comm(target_name=TARGET))


def unload(_shell: Shell) -> None:
    """End what `load` began; harmless twice."""
    while _attached:
        _attached[-1].detach()
