"""One `%%awaitly` cell, from its first line to its badge.

A cell is a step without arguments: its key is made of its code and of what it reads, its value is what it leaves in the
session (`session`, `ledger`) and what it showed (`outputs`). The engine decides whether it runs. A hit is accepted
once the session is restored; what cannot be restored runs, with the reason on its badge.
"""

from __future__ import annotations

import sys
import threading
import time
import warnings
from contextlib import ExitStack, contextmanager, redirect_stdout
from dataclasses import replace
from datetime import UTC, datetime
from functools import cached_property, partial
from io import StringIO
from types import TracebackType
from typing import TYPE_CHECKING, Any, Final
from weakref import getweakrefcount

from awaitly_nb.cache import open_default
from awaitly_nb.config import cache_directory, settings, settled
from awaitly_nb.engine import Serve, StepSpec, explain_hit, explain_miss, look_up
from awaitly_nb.errors import AwaitlyError, CodeChangedWarning, MisuseError, UncachedWarning
from awaitly_nb.interrupts import noticed
from awaitly_nb.keys import (
    Rewriting,
    cell_parts,
    changed_files,
    changed_traces,
    import_again,
    literal_files,
    names_set_here,
    read_cell,
    rewriting,
    track_files,
    tree_digest,
)
from awaitly_nb.notebook.auto import asking_by, few
from awaitly_nb.notebook.body import hide_handler, read_body, register_lines
from awaitly_nb.notebook.ledger import Ledger, running_beside
from awaitly_nb.notebook.outputs import Recorder, flush_figures, replay, show_badge
from awaitly_nb.notebook.session import (
    CELL,
    CannotRestoreError,
    Left,
    Placeholder,
    Unstored,
    Watched,
    before_cells,
    located,
    make_placeholders,
    noted_digests,
    read_unread,
    remember_located,
    restore,
    unread,
)
from awaitly_nb.plans import SessionInputs, called, notes_of, parse_cell_line, parsed, read_input
from awaitly_nb.result import mark_of
from awaitly_nb.units import show_duration, show_when
from awaitly_nb.workflow import run_step, run_step_async, standing_run

if TYPE_CHECKING:
    from collections.abc import Callable, Coroutine, Iterable, Iterator

    from awaitly_nb.engine import Outcome
    from awaitly_nb.keys import CellRead
    from awaitly_nb.notebook.auto import AutoCell
    from awaitly_nb.notebook.ledger import Before
    from awaitly_nb.notebook.session import Payload
    from awaitly_nb.notebook.shell import Shell
    from awaitly_nb.plans import CellOptions, Notes
    from awaitly_nb.result import Mark

__all__ = ["Cell", "show_as_plain"]


class Cell:
    """A cell that was read and keyed, and may be run once.

    Parameters
    ----------
    shell
        The IPython shell that the cell belongs to.
    line
        The rest of the cell's first line.
    source
        The code below it.
    auto
        What automatic mode has to say on it, where the user typed no first line.
    out_of_order
        Returns what variables of these names, under this key, are otherwise than the order of the notebook would have
        them; "" where they are not.

    Raises
    ------
    MisuseError
        An unknown option, or something that a cached cell may not do.

    Attributes
    ----------
    options, body
        Its first line and its code.
    parts
        The parts of its automatic key; None under an explicit key, and for a cell that has none.
    key
        Its key; None where something it reads has no fingerprint.
    """

    def __init__(
        self,
        shell: Shell,
        line: str,
        source: str,
        auto: AutoCell | None = None,
        *,
        out_of_order: Callable[[Iterable[str], str], str] = lambda _names, _key: "",
    ) -> None:
        self._began = time.perf_counter()
        self._out_of_order = out_of_order
        self._shell = shell
        self._auto = auto
        self.body = read_body(shell, line if auto is None else None, source)
        self.options = parse_cell_line(line, called(self.body.tree, source))
        if auto is not None:
            self.options = replace(self.options, ttl_s=auto.directive.ttl_s)
        elif not _BRACES.isdisjoint(line):
            self.options = self._filled(self.options)
        # In automatic mode neither the place of an entry nor its key holds the name of the cell.
        self._home = self.options.name if auto is None else auto.namespace
        if self.body.shell_commands and not self.options.allow_shell:
            raise MisuseError(
                f"{self.body.shell_commands[0]!r} is a command of the system, and what it does (files, installs) "
                "would not happen again on a hit; move it to a cell of its own, or add --allow-shell"
            )
        if missing := self.body.unassigned(self.options.variables or (), shell.user_ns):
            raise MisuseError(f"--vars names {missing[0]!r}, which the cell does not assign")
        self._line, self._source = line, source
        self._ran_first = make_placeholders(shell, self.body.key_source(shell.user_ns))
        keying = time.perf_counter()
        self._unchecked: list[Callable[[], None]] = []
        self._cache = open_default(self._home, later=self._unchecked.append)
        self._ledger = Ledger(shell.user_ns, shell)
        self._read = self._read_once()
        self.parts = None if self.options.key is not None else self._read.parts
        self.key = self.options.key or (None if self.parts is None else self.parts.key)
        took_s = time.perf_counter() - keying
        self._key_s = took_s if auto is None else auto.key_s(took_s, self._read_once)
        self._refused: str | None = None
        self._restored: Payload | None = None
        self._maker: _Maker | None = None
        self._doubt = self._display = ""
        self._shown: list[object] = []
        self._written: list[str] = []
        self._session: Watched | None = None
        self._noted: dict[tuple[int, int], bytes] = {}

    def _filled(self, options: CellOptions) -> CellOptions:
        from awaitly_nb.workflow import fill_for_cell

        names = self._shell.user_ns
        name = fill_for_cell(options.name, names, cell=options.name)
        key = None if options.key is None else fill_for_cell(options.key, names, cell=name)
        return replace(options, name=name, key=key)

    def start(self) -> Coroutine[Any, Any, None] | None:
        """Do what the first line asks for; return a coroutine to await where the code awaits at its top level."""
        __tracebackhide__ = True
        if self.body.is_async:
            return self.run_async()
        self.run()
        return None

    def run(self) -> None:
        """Run or load the cell."""
        __tracebackhide__ = True
        try:
            if self.options.dry_run:
                show_badge(self._shell, self.forecast())
            elif self.key is None:
                self._tell_uncached()
                self._read_now()
                self.body.run(self._shell)
                self._end_uncached()
            else:
                self._finish(run_step(standing_run(self._home, self._cache), self._spec(self._compute)))
        except BaseException as exc:  # noqa: BLE001 - the same exception, less the frames of the machinery
            raise self._below(exc)  # noqa: B904 - as above
        finally:
            self._session = self._maker = None  # hold what the cell could reach, and may have let go

    async def run_async(self) -> None:
        """Run or load a cell that awaits at its top level."""
        __tracebackhide__ = True
        try:
            if self.options.dry_run:
                show_badge(self._shell, self.forecast())
            elif self.key is None:
                self._tell_uncached()
                self._read_now()
                await self.body.run_async(self._shell)
                self._end_uncached()
            else:
                run = standing_run(self._home, self._cache)
                outcome = await run_step_async(run, self._spec(self._compute_async))
                with settled():
                    self._finish(outcome)
        except BaseException as exc:  # noqa: BLE001 - the same exception, less the frames of the machinery
            raise self._below(exc)  # noqa: B904 - as above
        finally:
            self._session = self._maker = None  # hold what the cell could reach, and may have let go

    def _compute(self) -> Left:
        with self._captured() as (left, session):
            self.body.run(self._shell, session.note_definitions)
        return left

    async def _compute_async(self) -> Left:
        with self._captured() as (left, session):
            await self.body.run_async(self._shell, session.note_definitions)
        return left

    @contextmanager
    def _captured(self) -> Iterator[tuple[Left, Watched]]:
        """Yield what will hold what the block leaves, if it ends well; all of that is collected when it is stored."""
        self._read_now()
        self._maker = self._maker_by(self._line, self._source)
        session = self._session = Watched(
            self._shell,
            self._read.names,
            automatic=self.parts is not None,
            imports=self.body.modules,
            reached=self._ledger.reached(self.body.python),
        )
        before, self._display = self._ledger.snapshot(self.body.python), self._ledger.display()
        self._doubt, threads = running_beside(), threading.enumerate()
        recorder = Recorder(self._shell) if self.options.output else None
        left = Left(lambda: self._collect(session, before, recorder, left))
        with ExitStack() as around:
            around.callback(self._ledger.note, before)
            if recorder is not None:
                around.enter_context(recorder)
            files = around.enter_context(track_files(self._named_files)) if settings().track_files else None
            if files is not None:
                for command in self.body.commands:  # IPython starts them in a terminal, which tells nobody
                    files.started(command)
            if self._auto is None:
                around.enter_context(asking_by(_refuse_to_ask))
            else:
                around.enter_context(self._auto.effects)
            stop = around.enter_context(noticed())
            began = time.perf_counter()
            yield left, session
            if recorder is not None:
                flush_figures(self._shell)
            left.seconds = time.perf_counter() - began
        self._doubt = self._doubt or running_beside(threads)
        if stop.pressed:
            self._doubt = "it was interrupted, and went on"
        if files is not None:
            left.files = files.effects(literal_files(self._read.graph))
        self._check_assigned()

    def _collect(self, session: Watched, before: Before, recorder: Recorder | None, left: Left) -> Payload:
        changes = self._ledger.difference(before, shown=recorder is None or bool(recorder.results))
        if why := self._doubt or changes.obstacle:
            raise CannotRestoreError(why)
        early, late = self._ledger.split(changes.to_data())
        outputs = None if recorder is None else recorder.outputs()
        payload = session.collect(
            stores=self.body.stores,
            only=self.options.variables,
            shown=() if recorder is None else recorder.results,
            beside=late,
            may_run_anew=not (self.body.is_async or changes.data or left.files),
        )
        payload[CELL].update(
            outputs=outputs,
            early=early,
            files=left.files,
            settings=self.body.settings,
            imports=[module for module in self.body.imports if module in sys.modules],
            filename=self.body.filename,
            lines=self.body.lines,
            patches=before.patches,
            display=self._display if any(one["kind"] != "stream" for one in outputs or ()) else None,
            code=self._code(),
            line=self._line,
            source=self._source,
            seconds=left.seconds,
            digests=located(self._noted, payload["buffers"]),
            effects=None if self._auto is None else self._auto.effects.told,
        )
        return payload

    def _read_now(self) -> None:
        """Authenticate what hits left unread, as far as the cell reads it."""
        read_unread(before_cells(self._shell).unread, self._shell.user_ns, self.body.python, self._read.names)

    def forecast(self) -> str:
        """Return whether the cell would hit or miss, and why, in one line."""
        if self.key is None:
            return f"dry run: {self._uncached()}"
        run, spec = standing_run(self._home, self._cache), self._spec(self._compute)
        decision = look_up(run, spec)
        if isinstance(decision, Serve):
            return f"dry run: {explain_hit(spec, decision, run.now())}"
        return f"dry run: {explain_miss(run, spec, decision)}"

    def _spec(self, compute: Callable[[], object]) -> StepSpec:
        options = self.options
        return StepSpec(
            step_id=options.name,
            fn=compute,
            args=(),
            kwargs={},
            key=self.key,
            parts=self.parts,
            ttl_s=options.ttl_s,
            cache_errors="none",
            force=options.force,
            read_only=options.read,
            quiet=True,  # the engine speaks of steps; `_finish` tells of the cell
            known_files=() if self.parts is None else self._named_files,
            key_s=self._key_s,
            accept=self._accept,
            made=self._made,
            worth=None if self._auto is None else partial(self._auto.worth, self._key_s),
        )

    @cached_property
    def _named_files(self) -> tuple[Any, ...]:  # Any: stamps, as keys makes them
        """The files that the code names and that are there before it runs."""
        return literal_files(self._read.graph)

    def _code(self) -> str:
        """Return a digest of its code alone, by which a cell under an explicit key is known to be edited."""
        return cell_parts(self.body.python, {}, name=self._home).key

    def _made(self) -> dict[str, Any] | None:  # Any: plain JSON data
        return self._told

    @cached_property
    def _told(self) -> dict[str, Any] | None:  # Any: as above
        """What it left by fingerprint, once it has run; None where that cannot be told."""
        try:
            if self._session is None:
                return None
            with noted_digests() as self._noted:
                told = {**self._session.told(self.body.stores), "setup": self._setup()}
                return {**told, "environment": names} if (names := names_set_here()) else told
        except CannotRestoreError:  # then the cell is not stored, with this as the reason
            return None

    def _setup(self) -> list[str]:
        """Return what set up the session before this cell, so that a plan can tell whether the same does."""
        inputs = self._shell.user_ns.get("_ih", ())
        latest, own = read_input(str(inputs[-1])) if inputs else None, parsed(self.body.python)
        is_own = latest is not None and (
            latest is own or (own is not None and tree_digest(latest.body) == tree_digest(own.body))
        )
        return list(_session.setup(inputs, len(inputs) - 1 if is_own else len(inputs)))

    def _read_once(self) -> CellRead:
        names = self._shell.user_ns
        ignore = (*self.options.ignore, *_PLUMBING)
        return read_cell(self.body.key_source(names), names, name=self._home, ignore=ignore)

    def _check_assigned(self) -> None:
        names = self._shell.user_ns
        if missing := [name for name in self.options.variables or () if name not in names]:
            raise MisuseError(f"--vars names {missing[0]!r}, which the cell has not assigned")

    def _accept(self, payload: Payload | Left) -> str | None:
        """Restore the session from a cached cell, before that counts as a hit; return why it cannot be restored."""
        if self._refused is None:
            try:
                self._restore(payload)
            except CannotRestoreError as exc:
                self._refused = str(exc)
        return self._refused

    def _restore(self, payload: Payload | Left) -> None:
        cell = {} if isinstance(payload, Left) else payload.get(CELL, {})
        names = cell.get("names")
        if isinstance(payload, Left) or names is None:
            raise CannotRestoreError("it was stored by another version of awaitly_nb")
        if why := running_beside():
            raise CannotRestoreError(why)
        if absent := set(self.options.variables or ()) - set(names):
            raise CannotRestoreError(f"{min(absent)} is asked for and was not stored")
        written = Rewriting()
        if changed := changed_files(cell["files"]):
            if (found := rewriting(cell["files"])) is None:
                raise CannotRestoreError(f"it wrote files: {changed[0]}")
            written = found
        if self._auto is not None and (why := self._auto.late(*_effects(cell))):
            raise CannotRestoreError(why)
        if cell["patches"] != self._ledger.patches(self.body.python):
            raise CannotRestoreError("what the notebook set on modules and classes of libraries differs")
        if (display := cell.get("display")) is not None and display != self._ledger.display():
            raise CannotRestoreError("values are shown in another way than when it ran")
        register_lines(self._shell.compile, cell["filename"], cell["lines"], like=self.body.filename)
        if cell["inputs"][0] >= 0:
            self._read_now()  # what it leaves shares objects with what it reads
        maker = self._maker = self._maker_by(cell["line"], cell["source"])
        # First, because what is imported or mapped may be one of them.
        with _written_again(written):
            import_again(self.body.modules)
            self._shown = restore(
                self._shell,
                payload,
                self._read.names,
                ledger=self._ledger,
                reached=self._ledger.reached(self.body.python),
                define=partial(self.body.define, self._shell),
            )
        self._written = written.paths
        again = "run its cell again"
        if self._auto is None:
            again = f"run its cell with --force: %%awaitly {self.options.name} --force"
        for name, (kind, why) in cell["missing"].items():
            self._shell.user_ns[name] = Placeholder(
                name=name, cell=self.options.name, kind=kind, why=why, maker=maker, again=again
            )
            before_cells(self._shell).placeholders = True
        remember_located(cell.get("digests", []), payload["buffers"])
        bound = {name: self._shell.user_ns.get(name) for name in names}
        before_cells(self._shell).unread += [
            unread(bound, check, is_stored=self._is_stored, make=maker) for check in self._unchecked[-1:]
        ]
        self._restored = payload

    def _maker_by(self, line: str, source: str) -> _Maker:
        """Return what runs this cell once more, from its text as it was when it was stored."""
        read = partial(Cell, self._shell, line, source, self._auto)
        return _Maker(self._shell, read, key=self.key, home=self._home, reads=self._read.names)

    def _is_stored(self) -> bool:
        return open_default(self._home).get(self.key or "") is not None

    def _finish(self, outcome: Outcome) -> None:
        outcome.result.unwrap()  # or raise what the cell raised
        disorder = self._out_of_order(self._read.names, self.parts.key if self.parts is not None else "")
        if self._ran_first:
            show_badge(self._shell, f"ran {', '.join(self._ran_first)} first: what this cell reads cannot be stored")
        if outcome.hit:
            self._finish_hit(outcome, f"; out of order: {disorder}" if disorder else "")
            return
        if outcome.stored:
            self._note_unstored(outcome)
            # A hit in the next kernel imports and defines what this run did, and a value takes about as long to be read
            # as to be written.
            defined_s = 0.0 if self._session is None else self._session.defined_s
            seconds = outcome.key_s + outcome.lookup_s + outcome.store_s + defined_s
            self._notes.note_store(outcome.key or "", self.options.name, seconds, datetime.now(UTC))
        if self._auto is not None:
            self._finish_auto(self._auto, outcome)
            return
        reason = outcome.reason
        why = "" if reason in {"", "first run"} else f" ({reason})"
        took = show_duration(time.perf_counter() - self._began)
        if outcome.error is None:
            show_badge(self._shell, f"computed in {took}, stored{why}", title=outcome.key or "")
            return
        left = outcome.result.unwrap()
        told = left.why if isinstance(left, Left) and left.why else str(outcome.error)
        show_badge(self._shell, f"computed in {took}, not stored: {told}", title=outcome.key or "")

    def _note_unstored(self, outcome: Outcome) -> None:
        left, names = outcome.result.unwrap(), self._shell.user_ns
        if self._maker is not None and isinstance(left, Left) and left.missing:
            self._maker.made_of(mark_of(outcome.result), left.missing)
            made = {name: id(names[name]) for name in left.missing if name in names}
            before_cells(self._shell).unstored.append(Unstored(made, self._maker))

    @property
    def _notes(self) -> Notes:
        return notes_of(cache_directory())

    def _finish_auto(self, auto: AutoCell, outcome: Outcome) -> None:
        """Tell of a cell that automatic mode looked after: a line where it was stored, none where it was too fast."""
        name = self.options.name
        said = auto.finish(outcome, name=name, made=self._made_by_few)
        if not said and outcome.stored:
            why = "" if outcome.reason in {"", "first run"} else f" ({outcome.reason})"
            seen = f"; it {seen}" if (seen := auto.effects.seen) else ""
            said = f", stored{why}{seen}"
        took_s = time.perf_counter() - self._began
        if said:
            said = f"computed in {show_duration(took_s)}{said}"
            show_badge(self._shell, f"{name}: {said}", title=outcome.key or "")
        auto.count(hit=False, took_s=took_s, would_s=outcome.run_s, name=name, what=said)

    def _made_by_few(self) -> dict[str, Any] | None:  # Any: plain JSON data
        return self._made() if few(self._shell.user_ns, list(self.body.stores)) else None

    def _finish_hit(self, outcome: Outcome, disorder: str) -> None:
        assert self._restored is not None
        cell = self._restored[CELL]
        if self.parts is None and cell["code"] != self._code():
            self._warn(
                f"cell {self.options.name!r}: its code has changed since {self.key!r} was computed; what is stored is "
                "served, because an explicit key is your own word for what it is. To run the new code: --force",
                CodeChangedWarning,
            )
        with redirect_stdout(StringIO()):  # what they print is among the outputs
            for name, line in cell["settings"]:
                self._shell.run_line_magic(name, line)
        if cell["outputs"] and self.options.output:
            replay(self._shell, cell["outputs"], results=self._shown)
        mark = mark_of(outcome.result)
        if self._maker is not None:
            self._maker.made_of(mark, cell["names"])
        # The badge is saved with the notebook, where an age would soon be wrong.
        when = show_when(mark.at, datetime.now(UTC)) if mark and mark.at else "earlier"
        ran_s, took_s = cell["seconds"], time.perf_counter() - self._began
        self._notes.note_load(outcome.key or "", self.options.name, took_s, datetime.now(UTC))
        took_s = time.perf_counter() - self._began
        seen = f" ({seen})" if (seen := _effects(cell)[0]) else ""
        text = f"from cache, computed {when} in {show_duration(ran_s)}{seen}, {_saved(ran_s, took_s)}{disorder}"
        if self._written:
            more = f" and {len(self._written) - 1} more" if len(self._written) > 1 else ""
            text += f"; files as it left them: {self._written[0]}{more}"
        if self._auto is not None:
            made = None if mark is None or mark.made is None else dict(mark.made)
            if slower := self._auto.finish_hit(outcome, name=self.options.name, ran_s=ran_s, made=made):
                text += f"; {slower}"
            self._auto.count(hit=True, took_s=took_s, would_s=ran_s, name=self.options.name, what=text)
            text = f"{self.options.name}: {text}"
        show_badge(self._shell, text, title=outcome.key or "")

    def _below(self, exc: BaseException) -> BaseException:
        """Return an exception whose traceback begins in the cell, so that the user sees no frame of the machinery."""
        found = exc.__traceback__
        while found is not None and found.tb_frame.f_code.co_filename != self.body.filename:
            found = found.tb_next
        if isinstance(exc, KeyboardInterrupt):
            hide_handler(found)
        # Where no frame is the cell's, an error of this package says all in its message; any other one is shown whole.
        return exc if found is None and not isinstance(exc, AwaitlyError) else exc.with_traceback(found)

    def _tell_uncached(self) -> None:
        if self._auto is None:
            self._warn(self._uncached(), UncachedWarning)
        else:  # nobody asked for this cell to be cached: the status tells
            self._auto.tell(self.options.name, f"not cached: {self._read.unkeyable}")

    def _end_uncached(self) -> None:
        """Tell of a cell that automatic mode would have stored, had it a key."""
        took_s = time.perf_counter() - self._began
        if self._auto is not None and took_s >= settings().auto_min:
            told = f"computed in {show_duration(took_s)}, not stored: {self._read.unkeyable}"
            show_badge(self._shell, f"{self.options.name}: {told}")

    def _uncached(self) -> str:
        return (
            f"cell {self.options.name!r} runs uncached: {self._read.unkeyable}. Leave that input out of the key "
            "(--ignore NAME), give the cell a key of your own (--key K), or teach its type (aw.register_key)"
        )

    def _warn(self, message: str, category: type[Warning]) -> None:
        # At the cell's own first line, whose file is of no use to a reader, and the line is what the message names.
        shown = warnings.formatwarning
        warnings.formatwarning = _message_only
        try:
            warnings.warn_explicit(message, category, self.body.filename, 1)
        finally:
            warnings.formatwarning = shown


_session = SessionInputs(read_input)
_BRACES = frozenset("{}$")
_PLUMBING = ("get_ipython",)  # what IPython itself puts into the code of a cell with magics
_TOLD_FROM_S = 0.005


@contextmanager
def _written_again(written: Rewriting) -> Iterator[None]:
    """Let files be what a cell left, and what they were where the rest cannot be restored."""
    try:
        written.apply()
    except OSError as exc:
        raise CannotRestoreError(f"it wrote files: {exc}") from exc
    try:
        yield
    except BaseException:
        written.undo()
        raise


def _effects(cell: dict[str, Any]) -> tuple[str, datetime]:  # Any: plain data of a stored cell
    """Return what a stored cell did that nobody watches, "" for nothing, and when."""
    seen, at = cell.get("effects") or ("", 0.0)
    return seen, datetime.fromtimestamp(at, UTC)


def _saved(ran_s: float, took_s: float) -> str:
    """Say what a hit saved: what running takes, less what the hit took."""
    saved_s = ran_s - took_s
    if saved_s >= 0 or took_s < _TOLD_FROM_S:
        return f"loaded in {show_duration(took_s)}, {show_duration(max(saved_s, 0.0))} saved"
    return (
        f"loaded in {show_duration(took_s)}, which is {show_duration(-saved_s)} more than running it takes; "
        "uncached it would be faster"
    )


def show_as_plain(shell: Shell) -> Callable[[], object]:
    """Let tracebacks of cached cells begin in the user's text, as those of plain cells; return what ends that."""
    tracebacks = shell.InteractiveTB
    show = tracebacks.structured_traceback

    # Any: IPython's own signature, which differs between its versions.
    def structured_traceback(etype: Any, value: Any, traceback: Any = None, tb_offset: Any = None, *rest: Any) -> Any:
        here = traceback if isinstance(traceback, TracebackType) else None
        while here is not None and here.tb_frame.f_code not in _RUNS:
            here = here.tb_next
        if here is not None and here.tb_next is not None:
            traceback, tb_offset = here.tb_next, 0  # of what is left, no frame is IPython's
        return show(etype, value, traceback, tb_offset, *rest)

    tracebacks.structured_traceback = structured_traceback
    return lambda: vars(tracebacks).pop("structured_traceback", None)


_RUNS: Final = frozenset({Cell.run.__code__, Cell.run_async.__code__})


class _Maker:
    """Runs a cell once more, with what it read when it ran or was served, and binds nothing of what it leaves.

    Parameters
    ----------
    shell
        Whose session.
    read
        Reads the cell, as it finds the session then.
    key, home
        The key of its entry, and where that lies.
    reads
        The variables that it reads.
    """

    def __init__(
        self, shell: Shell, read: Callable[[], Cell], *, key: str | None, home: str, reads: Iterable[str]
    ) -> None:
        self._shell, self._read, self._key, self._home = shell, read, key, home
        self._names: tuple[str, ...] = ()
        self._mark: Mark | None = None
        now = shell.user_ns
        self._inputs = {name: now[name] for name in reads if name in now and not _tells_its_end(now[name])}

    def made_of(self, mark: Mark | None, names: Iterable[str]) -> None:
        """Note what it found in files and in the process, and which variables it leaves."""
        self._mark, self._names = mark, tuple(names)

    def __call__(self) -> dict[str, Any]:  # Any: the user's values
        """Return the variables it leaves; nothing where it would leave something else by now."""
        from IPython.utils.capture import capture_output

        with self._as_it_was():
            cell = self._again()
            if cell is None:
                return {}
            with _hooks_of_cells(self._shell), capture_output():
                cell.body.run(self._shell)
            return {name: self._shell.user_ns[name] for name in self._names if name in self._shell.user_ns}

    def check(self) -> bool:
        """Tell whether it would leave the same now, and remove its entry where it would not."""
        with self._as_it_was():
            return self._again() is not None

    @contextmanager
    def _as_it_was(self) -> Iterator[None]:
        names = self._shell.user_ns
        before = dict(names)
        names.update(self._inputs)
        try:
            yield
        finally:
            for name in names.keys() - before.keys():
                del names[name]
            names.update(before)

    def _again(self) -> Cell | None:
        """Return the cell as it is read now; None, and remove its entry, where it is another one."""
        cell, mark = self._read(), self._mark
        found_otherwise = mark is not None and (changed_files(mark.files or ()) or changed_traces(mark.traces))
        if cell.key == self._key and not found_otherwise:
            return cell
        if self._key is not None:
            open_default(self._home).delete(self._key)
        return None


@contextmanager
def _hooks_of_cells(shell: Shell) -> Iterator[None]:
    """Have in force what IPython has while a cell runs, and a maker may run before one does."""
    hook, sys.excepthook = sys.excepthook, shell.excepthook
    try:
        with shell.display_trap:
            yield
    finally:
        sys.excepthook = hook


def _tells_its_end(value: object) -> bool:
    """Tell whether something may happen when a value is let go, which is not to be later for our holding it."""
    return hasattr(type(value), "__del__") or getweakrefcount(value) > 0


def _message_only(message: object, *_: object, **__: object) -> str:
    return f"{message}\n"


def _refuse_to_ask(_ask: object) -> Callable[..., str]:
    """Return what stands for a function that asks the user: the answer would be no part of the key."""

    def refuse(prompt: object = "", *_: object, **__: object) -> str:
        raise MisuseError(
            f"input({str(prompt)!r}) inside %%awaitly: a cell from the cache would never ask; ask in a cell of its "
            "own, and read the answer here"
        )

    return refuse
