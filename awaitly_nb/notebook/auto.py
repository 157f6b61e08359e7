"""`%awaitly auto`: plain cells become cached cells where that is worth it, and nobody changes one.

A transformation of the input puts `%%awaitly --auto` before a cell, unless its text shows that it always runs, or it
was fast before. `Cell` then does what it does for a named cell; what is particular is here: what is worth storing, what
was done that no cache can repeat, and what is told about it.
"""

from __future__ import annotations

import builtins
import getpass
import re
import shutil
import sys
import threading
import time
from contextlib import contextmanager
from datetime import UTC, datetime
from functools import wraps
from typing import TYPE_CHECKING, Any

from awaitly_nb.cache import open_default
from awaitly_nb.config import cache_directory, settings, settled
from awaitly_nb.errors import AwaitlyError
from awaitly_nb.keys import is_user_function
from awaitly_nb.notebook.body import is_typed
from awaitly_nb.notebook.ledger import Ledger
from awaitly_nb.notebook.outputs import show_badge
from awaitly_nb.notebook.totals import Tally
from awaitly_nb.plans import (
    AUTO,
    Directive,
    always_runs,
    called,
    code_digest,
    notes_of,
    parsed,
    plain_digest,
    read_directive,
    without_magics,
)
from awaitly_nb.units import show_duration

if TYPE_CHECKING:
    import ast
    from collections.abc import Callable, Iterator, Mapping
    from pathlib import Path
    from types import FrameType

    from awaitly_nb.engine import Outcome
    from awaitly_nb.notebook.ledger import Before
    from awaitly_nb.notebook.shell import Shell
    from awaitly_nb.plans import Notes

__all__ = ["AUTO_LINE", "Auto", "AutoCell", "asking_by", "few", "remember_as_typed"]

AUTO_LINE = "%%awaitly --auto"
_WORTH = 3.0
"""A result is worth storing when running takes more than this many times what key, store and load take."""
_LOAD_SHARE = 0.25
"""How long loading takes of what storing takes, until it is measured."""
_SLOWER = "from the cache it would take as long, so it runs from now on"
_NETWORK = "read the network"
_MUCH_LONGER = 3.0
_FEW = 2000
_MAY_SET = re.compile(r"[.(]")
"""What a cell has that sets an attribute, or calls what does."""
_TIMED_FROM_S = 0.005


def remember_as_typed(shell: Shell, source: str) -> None:
    """Let the history hold a cell as a plain one: `In[3]`, `%save` and `%macro` give that to the user.

    Parameters
    ----------
    shell
        Whose last input is the cell, with the line that automatic mode has put before it.
    source
        The cell's text.
    """
    inputs, history = shell.user_ns.get("_ih"), getattr(shell, "history_manager", None)
    if not inputs or _PUT_BEFORE.match(str(inputs[-1])) is None:
        return
    inputs[-1] = source.rstrip("\n")
    if history is not None:
        with history.db_input_cache_lock:
            waiting = history.db_input_cache  # to be written to the history of all sessions
            if waiting and _PUT_BEFORE.match(waiting[-1][1]) is not None:
                waiting[-1] = (waiting[-1][0], inputs[-1], waiting[-1][2])


_PUT_BEFORE = re.compile(r"(?:await )?get_ipython\(\)\.run_cell_magic\('awaitly', '--auto'")


class Auto:
    """Automatic mode of one shell.

    Attributes
    ----------
    on
        Whether plain cells are looked after.
    """

    def __init__(self, shell: Shell) -> None:
        self.on = settings().auto
        self.tally = Tally(lambda totals: show_badge(shell, str(totals)))
        self._told: dict[str, str] = {}
        self._live_code: str | None = None
        self._live_name, self._live_min_s = "", 0.0
        self._notes: tuple[Path, Notes] | None = None
        self._cold = True
        self._ledger = Ledger(shell.user_ns)
        self._before: Before | None = None
        self._takes = False

    def __call__(self, lines: list[str]) -> list[str]:
        """Return the lines of a cell, with `%%awaitly --auto` before them where it is to be looked after."""
        found = self._read(lines)
        self._takes = found is not lines
        return found

    def _read(self, lines: list[str]) -> list[str]:
        self._live_code = None
        if not self.on or not is_typed() or not lines or lines[0].startswith("%%"):
            return lines
        with settled():
            return self._looked_after(lines, "".join(lines))

    def _looked_after(self, lines: list[str], source: str) -> list[str]:
        python, has_magics = without_magics(source)
        tree = parsed(python)
        if tree is None or has_magics or not tree.body:
            return lines
        directive = _directive(source)
        if directive is None:
            return [AUTO_LINE + "\n", *lines]  # its comment is wrong, and the cell tells so
        if directive.live or (always_runs(tree) and not directive.cache):
            return lines
        if not directive.cache and self._is_fast(tree, python):
            return lines
        return [AUTO_LINE + "\n", *lines]

    def cell(self, source: str, *, runs: bool = True) -> AutoCell:
        """Return what automatic mode has to say on one cell; raises MisuseError for a comment that asks nonsense.

        Parameters
        ----------
        source
            The cell's text.
        runs
            Whether it is about to run, and is not only looked up.
        """
        directive = read_directive(source)
        cold = self._cold and runs
        self._cold = self._cold and not runs
        return AutoCell(self, source, directive, cold=cold)

    @property
    def notes(self) -> Notes:
        """What is remembered of cells that are not stored."""
        directory = cache_directory()
        if self._notes is None or self._notes[0] != directory:
            self._notes = directory, notes_of(directory)  # which reads a file of notes as it grows
        return self._notes[1]

    def before_cell(self, info: Any = None) -> None:  # Any: IPython's own record of a cell
        """Begin to time a cell that runs live, and to see what it sets; IPython calls this before each."""
        self._note_set()  # where a cell runs another one, this is all that is seen of it
        source = getattr(info, "raw_cell", None) or ""
        if not self._takes and not source.startswith("%%awaitly") and _MAY_SET.search(source) is not None:
            self._before = self._ledger.live(source)
        self.tally.begin()

    def _note_set(self) -> None:
        """Note what a live cell has set on modules and classes of libraries: the cells after it depend on that."""
        before, self._before = self._before, None
        if before is not None:
            self._ledger.note(before)

    def after_cell(self, result: Any) -> None:  # Any: IPython's own record of what a cell came to
        """Count a cell that ran live, and remember it once it is slow; IPython calls this after each."""
        took_s = self.tally.took_s
        self._note_set()
        is_timed = self.tally.is_live and result.success and took_s >= _TIMED_FROM_S
        if is_timed and (code := plain_digest(result.info.raw_cell)) is not None:
            self.notes.note_live(code, took_s, datetime.now(UTC))
        if not self.on:
            return
        if self._live_code is not None:
            code, self._live_code = self._live_code, None
            if took_s >= self._live_min_s:
                notes = self.notes
                # Where it takes much longer than when it was judged, it is judged anew.
                slower = notes.is_slower_cached(code) and took_s < _MUCH_LONGER * (notes.expected_s(code) or 0.0)
                notes.add(code=code, name=self._live_name, seconds=took_s, at=datetime.now(UTC), slower=slower)
        self.tally.end()

    def tell(self, name: str, what: str) -> None:
        """Remember what became of a cell, for the status."""
        self._told[name] = what

    def status(self) -> str:
        """Return what was done so far, in a few lines."""
        total = f"automatic mode is {'on' if self.on else 'off'}: {self.tally.session}"
        return "\n".join([total, *(f"  {name}: {what}" for name, what in self._told.items())])

    def _is_fast(self, tree: ast.Module, source: str) -> bool:
        code = code_digest(source)
        notes = self.notes
        expected = notes.expected_s(code)
        if expected is None or (expected >= settings().auto_min and not notes.is_slower_cached(code)):
            return False
        self._live_code, self._live_name, self._live_min_s = code, called(tree, source), settings().auto_min
        return True


class AutoCell:
    """What automatic mode has to say on one cell: its name, whether it is worth storing, and what is told.

    Parameters
    ----------
    auto
        The mode of the shell.
    source
        The cell's text.
    directive
        What a comment in it asks for.
    cold
        Whether it is the first of its process, which waits for modules to be loaded and for the folder to be made. No
        other cell does, so its own costs are measured a second time.
    """

    namespace = AUTO

    def __init__(self, auto: Auto, source: str, directive: Directive, *, cold: bool = False) -> None:
        self._auto = auto
        self._cold = cold
        self.directive = directive
        self.source = source
        self.why_not = ""
        self._run_s = 0.0
        self.effects = _Effects()

    def key_s(self, took_s: float, read: Callable[[], object]) -> float:
        """Return how long the key of such a cell takes, of which one took `took_s`; `read` makes it once more."""
        if not self._cold:
            return took_s
        began = time.perf_counter()
        read()
        return time.perf_counter() - began

    def worth(self, key_s: float, run_s: float) -> bool:
        """Tell whether the result of a run is to be stored."""
        self._run_s = run_s
        seen = self.effects.seen
        if seen and not self._asked and (why := self.late(seen, datetime.now(UTC))):
            self.why_not = f"{why}; # awaitly: cache stores it all the same"
            return False
        return self._asked or (run_s >= settings().auto_min and run_s > _WORTH * key_s)

    def late(self, seen: str, at: datetime) -> str:
        """Return why what read the network at a time, or did something else, is not served; "" where it is."""
        if self._asked or not seen:
            return ""
        if not seen.startswith(_NETWORK):
            return f"it {seen}, which nobody can repeat"
        ttl_s = settings().auto_network
        if ttl_s is None:
            return f"it {seen}, which is another one later, and auto_network does not say for how long it holds"
        age_s = (datetime.now(UTC) - at).total_seconds()
        return "" if age_s <= ttl_s else f"it {seen}, and that holds for {show_duration(ttl_s)}"

    def finish(self, outcome: Outcome, *, name: str, made: Callable[[], Mapping[str, Any] | None]) -> str:
        """Take note of how the cell went; return what is to be said after its seconds, or "" for nothing."""
        run_s = self._run_s
        if outcome.stored:
            if self._asked or run_s > _WORTH * self._cost_s(outcome):
                self._keep_budget(outcome.key or "")
                return ""
            self._give_up(outcome, name, run_s, made())
            return f"; {_SLOWER}"
        slow = run_s >= settings().auto_min
        slower = slow and outcome.error is None and not self.why_not
        self._note(name, run_s, outcome, made(), slower=slower)
        if slower:
            return f"; {_SLOWER}"
        if outcome.error is not None and slow:
            return f", not stored: {outcome.error}"
        if self.why_not and slow:
            return f", not stored: {self.why_not}"
        return ""

    def finish_hit(self, outcome: Outcome, *, name: str, ran_s: float, made: Mapping[str, Any] | None) -> str:
        """Remove an entry that took too long to load; return what is to be said, or "" for nothing."""
        if self._asked or self._cold or ran_s > _WORTH * (outcome.key_s + outcome.lookup_s):
            return ""
        self._give_up(outcome, name, ran_s, made)
        return _SLOWER

    @property
    def _asked(self) -> bool:
        return self.directive.cache or self.directive.ttl_s is not None

    def _cost_s(self, outcome: Outcome) -> float:
        """Return what key, store and load take.

        What loading takes is not known yet. Storing is to fingerprint, pickle, sign and write, and loading to read and
        unpickle; an entry that proves to be slower is removed at its first hit.
        """
        cost_s = outcome.key_s + (1 + _LOAD_SHARE) * outcome.store_s
        if not self._cold or self._run_s > _WORTH * cost_s:
            return cost_s
        began = time.perf_counter()
        open_default(AUTO).get(outcome.key or "")
        return outcome.key_s + 2 * (time.perf_counter() - began)

    def _give_up(self, outcome: Outcome, name: str, run_s: float, made: Mapping[str, Any] | None) -> None:
        open_default(AUTO).delete(outcome.key or "")
        self._note(name, run_s, outcome, made, slower=True)

    def tell(self, name: str, what: str) -> None:
        """Remember what became of this cell, for the status."""
        self._auto.tell(name, what)

    def count(self, *, hit: bool, took_s: float, would_s: float, name: str, what: str) -> None:
        """Count this cell in the mode's totals."""
        self._auto.tally.looked_after(hit=hit, took_s=took_s, would_s=would_s)
        if what:
            self._auto.tell(name, what)

    def _note(
        self, name: str, run_s: float, outcome: Outcome, made: Mapping[str, Any] | None, *, slower: bool = False
    ) -> None:
        parts = None if outcome.parts is None else outcome.parts.to_data()
        self._auto.notes.add(
            code=code_digest(self.source),
            name=name,
            seconds=run_s,
            at=datetime.now(UTC),
            parts=parts,
            made=made,
            slower=slower,
        )

    def _keep_budget(self, key: str) -> None:
        """Remove what saves the fewest seconds per byte, where automatic mode has stored more than it may."""
        cache = open_default(AUTO)
        entries = cache.entries()
        size = sum(entry.size_bytes or 0 for entry in entries)
        budget = settings().auto_budget
        if budget is None:
            try:
                budget = shutil.disk_usage(cache_directory()).free // 5
            except OSError:
                return
        for entry in sorted(entries, key=lambda entry: (entry.duration_s or 0.0) / max(1, entry.size_bytes or 0)):
            if size <= budget:
                return
            if entry.key != key:
                cache.delete(entry.key)
                size -= entry.size_bytes or 0


class _Effects:
    """What a cell did that no cache can do again: it read the network, or started a program."""

    def __init__(self) -> None:
        self.seen = ""

    def __enter__(self) -> _Effects:
        _listen()
        _watching.append(self)
        self._around = asking_by(self._noting)
        self._around.__enter__()
        return self

    def __exit__(self, *_: object) -> None:
        self._around.__exit__(None, None, None)
        _watching.remove(self)

    @property
    def told(self) -> tuple[str, float] | None:
        """What it did, and when, as plain data; None for nothing."""
        return (self.seen, time.time()) if self.seen else None

    def _noting(self, ask: Callable[..., str]) -> Callable[..., str]:
        @wraps(ask)
        def asked(*args: Any, **kwargs: Any) -> str:  # Any: as `input` takes them
            self.seen = self.seen or "asked you something"
            return ask(*args, **kwargs)

        return asked


@contextmanager
def asking_by(stand_in: Callable[[Callable[..., str]], Callable[..., str]]) -> Iterator[None]:
    """Let others ask the user: `stand_in` is given each function that asks, unless that is one of the user's own.

    A front end puts functions of its own there, which no audit hook hears of. What the cell puts there, stays.
    """
    exchanged = []
    for module, name in ((builtins, "input"), (getpass, "getpass")):
        if not is_user_function(ask := getattr(module, name)):
            exchanged.append((module, name, ask, stand_in(ask)))
            setattr(module, name, exchanged[-1][3])
    try:
        yield
    finally:
        for module, name, ask, now in exchanged:
            if getattr(module, name, None) is now:
                setattr(module, name, ask)


_watching: list[_Effects] = []
_listening = threading.Event()
_POOLS = ("joblib", "loky", "multiprocessing", "concurrent", "distributed", "dask", "ray")
_LOCAL = ("127.", "::1", "localhost")


def _listen() -> None:
    if not _listening.is_set():
        _listening.set()
        sys.addaudithook(_heard)


def _heard(event: str, arguments: tuple[Any, ...]) -> None:  # Any: each event has its own
    if not _watching or event not in _EVENTS:
        return
    if event == "socket.connect" and _is_local(arguments[1]):
        return
    frame: FrameType | None = sys._getframe(1)  # noqa: SLF001 - the caller's frames alone tell who asks
    while frame is not None:
        # Worker processes of a pool compute the cell's own values; they are no effect.
        if str(frame.f_globals.get("__name__")).partition(".")[0] in _POOLS:
            return
        frame = frame.f_back
    for watch in _watching:
        watch.seen = watch.seen or f"{_EVENTS[event]} at {datetime.now().astimezone():%H:%M}"


_EVENTS = {
    "socket.connect": _NETWORK,
    "subprocess.Popen": "started a program",
    "os.system": "started a program",
    "os.posix_spawn": "started a program",
    "os.exec": "started a program",
}


def _is_local(address: object) -> bool:
    if not isinstance(address, tuple):
        return True  # a socket of the file system
    return isinstance(address[0], str) and address[0].startswith(_LOCAL)


def few(names: Mapping[str, Any], made: list[str]) -> bool:
    """Tell whether what a cell left is small enough for its fingerprint to cost nothing to speak of."""
    for name in made:
        value = names.get(name)
        size = getattr(value, "nbytes", None)
        if isinstance(size, int) and size > _FEW * 100:
            return False
        if isinstance(value, list | dict | set | tuple | str | bytes) and len(value) > _FEW:
            return False
    return True


def _directive(source: str) -> Directive | None:
    try:
        return read_directive(source)
    except AwaitlyError:
        return None
