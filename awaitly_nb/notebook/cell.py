"""One `%%awaitly` cell, from its first line to its badge.

A cell is a step without arguments: its key is made of its code and of what it reads, its value is what it leaves behind
(`variables`) and what it showed (`recorder`). The engine decides whether it runs; here is only what is a cell about it.
"""

from __future__ import annotations

import builtins
import getpass
import logging
import warnings
from contextlib import ExitStack, contextmanager
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any

from awaitly_nb.cache import open_default
from awaitly_nb.engine import Serve, StepSpec, explain_hit, explain_miss, look_up
from awaitly_nb.errors import (
    AwaitlyError,
    CodeChangedWarning,
    EncodeError,
    MisuseError,
    UncachedWarning,
    UnkeyableError,
)
from awaitly_nb.keys import cell_parts, fingerprint, literal_files, read_names
from awaitly_nb.manage import show_when
from awaitly_nb.notebook.body import read_body, register_lines
from awaitly_nb.notebook.ledger import Ledger
from awaitly_nb.notebook.recorder import Recorder, flush_figures
from awaitly_nb.notebook.replay import replay, show_badge
from awaitly_nb.notebook.stop import hide_handler
from awaitly_nb.notebook.variables import CELL, Snapshot, collect, restore
from awaitly_nb.plans import parse_cell_line
from awaitly_nb.result import mark_of
from awaitly_nb.units import show_duration
from awaitly_nb.workflow import run_step, run_step_async, standing_run

if TYPE_CHECKING:
    from collections.abc import Callable, Coroutine, Iterator, Mapping

    from awaitly_nb.engine import Outcome
    from awaitly_nb.keys import Parts
    from awaitly_nb.notebook.shell import Shell
    from awaitly_nb.notebook.variables import Payload

__all__ = ["Cell"]

_log = logging.getLogger(__name__)


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

    def __init__(self, shell: Shell, line: str, source: str) -> None:
        self._shell = shell
        self.options = parse_cell_line(line)
        self.body = read_body(shell, line, source)
        if self.body.shell_commands and not self.options.allow_shell:
            raise MisuseError(
                f"{self.body.shell_commands[0]!r} is a command of the system, and what it does (files, installs) "
                "would not happen again on a hit; move it to a cell of its own, or add --allow-shell"
            )
        self._code = cell_parts(self.body.python, {}, name=self.options.name).key
        self._cache = open_default(self.options.name)
        self._ledger = Ledger(shell.user_ns, shell)
        self.parts, self._unkeyable = self._keyed()
        self.key = self.options.key or (None if self.parts is None else self.parts.key)

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
                return
            if self.key is None:
                self._warn(self._uncached(), UncachedWarning)
                self.body.run(self._shell)
                return
            self._prepare()
            run = standing_run(self.options.name, self._cache)
            outcome = run_step(run, self._spec(self._compute))
            if (why := self._refusal(outcome)) is not None:
                outcome = run_step(run, self._spec(self._compute).but(force=True))._replace(reason=why)
            self._finish(outcome)
        except BaseException as exc:  # noqa: BLE001 - the same exception, less the frames of the machinery
            raise self._below(exc)  # noqa: B904 - as above

    async def run_async(self) -> None:
        """Run or load a cell that awaits at its top level."""
        __tracebackhide__ = True
        try:
            if self.options.dry_run:
                show_badge(self._shell, self.forecast())
                return
            if self.key is None:
                self._warn(self._uncached(), UncachedWarning)
                await self.body.run_async(self._shell)
                return
            self._prepare()
            run = standing_run(self.options.name, self._cache)
            outcome = await run_step_async(run, self._spec(self._compute_async))
            if (why := self._refusal(outcome)) is not None:
                forced = self._spec(self._compute_async).but(force=True)
                outcome = (await run_step_async(run, forced))._replace(reason=why)
            self._finish(outcome)
        except BaseException as exc:  # noqa: BLE001 - the same exception, less the frames of the machinery
            raise self._below(exc)  # noqa: B904 - as above

    def _refusal(self, outcome: Outcome) -> str | None:
        """Return why this hit would not leave the session as running the cell does; None where it would."""
        if not outcome.hit or self.options.read or not outcome.result.ok:
            return None
        return self._ledger.refusal(outcome.result.unwrap()[CELL].get("ledger", {}))

    def _compute(self) -> Payload:
        with self._captured() as payload:
            self.body.run(self._shell)
        return payload

    async def _compute_async(self) -> Payload:
        with self._captured() as payload:
            await self.body.run_async(self._shell)
        return payload

    @contextmanager
    def _captured(self) -> Iterator[Payload]:
        """Yield a dict that is filled with what the block did, if it ends well."""
        payload: Payload = {}
        snapshot = Snapshot(self._shell, self._inputs())
        before = self._ledger.snapshot(self.body.python)
        recorder = Recorder(self._shell) if self.options.output else None
        with ExitStack() as around:
            around.callback(before.close)
            if recorder is not None:
                around.enter_context(recorder)
            around.enter_context(_input_refused())
            yield payload
            if recorder is not None:
                flush_figures(self._shell)
        changes = self._ledger.difference(before)
        outputs = None if recorder is None else recorder.outputs()
        payload.update(
            collect(
                snapshot,
                stores=self.body.stores,
                class_attributes=self.body.class_attributes,
                only=self._wanted(),
                fingerprint=_fingerprint_or_none,
                by_reference=self.parts is not None,
            )
        )
        payload[CELL].update(
            outputs=outputs,
            ledger=changes.to_data(),
            settings=self.body.settings,
            imports=self.body.imports,
            filename=self.body.filename,
            lines=self.body.lines,
            code=self._code,
        )
        if outputs and any(output["kind"] == "result" for output in outputs):
            shown = self._shell.displayhook._
            if isinstance(shown, _ATOMS) or any(value is shown for value in payload.values()):
                payload[CELL]["shown"] = shown

    def forecast(self) -> str:
        """Return whether the cell would hit or miss, and why, in one line."""
        if self.key is None:
            return f"dry run: {self._uncached()}"
        run, spec = standing_run(self.options.name, self._cache), self._spec(self._compute)
        decision = look_up(run, spec)
        if isinstance(decision, Serve):
            return f"dry run: {explain_hit(spec, decision, run.now())}"
        return f"dry run: {explain_miss(run, spec, decision)}"

    def _spec(self, compute: Callable[[], object]) -> StepSpec:
        options, names = self.options, self._shell.user_ns
        return StepSpec(
            step_id=options.name,
            fn=compute,
            kwargs={},
            key=self.key,
            parts=self.parts,
            ttl_s=options.ttl_s,
            cache_errors="none",
            force=options.force,
            read_only=options.read,
            quiet=True,  # the engine speaks of steps; `_finish` tells of the cell
            known_files=() if self.parts is None else literal_files(read_names(self.body.python, names)),
        )

    def _keyed(self) -> tuple[Parts | None, UnkeyableError | None]:
        if self.options.key is not None:
            return None, None
        names = self._shell.user_ns
        try:
            source = self.body.key_source(names)
            ignore = (*self.options.ignore, *_PLUMBING)
            return cell_parts(source, names, name=self.options.name, ignore=ignore), None
        except UnkeyableError as exc:
            return None, exc

    def _inputs(self) -> Mapping[str, str]:
        """Return the fingerprints of the variables that the cell and its helpers read, as far as they have one."""
        names = self._shell.user_ns
        slots = read_names(self.body.key_source(names), names).slots
        reads = [slot.key for slot in slots if slot.lookup is names and slot.key in names]
        reads = [name for name in reads if name not in _PLUMBING]
        return {name: mark for name in reads if (mark := _fingerprint_or_none(names[name])) is not None}

    def _prepare(self) -> None:
        # A stored instance names its class, so what this very cell defines has to be there before the entry is decoded.
        if self.body.defines_by_name and not self.options.force and self._cache.has(self.key or ""):
            try:
                self.body.define(self._shell)
            except Exception as exc:  # noqa: BLE001 - the stranger is the user's class statement
                _log.debug("cell %r: its definitions cannot run by themselves: %s", self.options.name, exc)

    def _wanted(self) -> tuple[str, ...] | None:
        wanted = self.options.variables
        if wanted is not None and (missing := [name for name in wanted if name not in self._shell.user_ns]):
            raise MisuseError(f"--vars names {missing[0]!r}, which the cell has not assigned")
        return wanted

    def _finish(self, outcome: Outcome) -> None:
        result = outcome.result
        payload = result.unwrap()  # or raise what the cell raised
        if outcome.hit:
            self._replay(payload)
        mark = mark_of(result)
        took = show_duration(mark.duration_s) if mark and mark.duration_s is not None else "a moment"
        if outcome.hit:
            # The badge is saved with the notebook, where an age would soon be wrong.
            when = show_when(mark.at, datetime.now(UTC)) if mark and mark.at else "earlier"
            show_badge(self._shell, f"from cache, computed {when} in {took}", title=outcome.key or "")
        elif outcome.error is None:
            why = "" if outcome.reason in {"", "first run"} else f" ({outcome.reason})"
            show_badge(self._shell, f"computed in {took}, stored{why}", title=outcome.key or "")
        else:
            self._warn(
                f"Cell {self.options.name} is not stored: {_why_not_stored(outcome.error, payload)}", UncachedWarning
            )
            show_badge(self._shell, f"computed in {took}, not stored", title=str(outcome.error))

    def _replay(self, payload: Payload) -> None:
        cell = payload[CELL]
        if self.parts is None and cell["code"] != self._code:
            self._warn(
                f"cell {self.options.name!r}: its code has changed since {self.key!r} was computed; what is kept is "
                "served, because an explicit key is your own word for what it is. To run the new code: --force",
                CodeChangedWarning,
            )
        register_lines(cell["filename"], cell["lines"])
        for name, line in cell["settings"]:
            self._shell.run_line_magic(name, line)
        ledger = cell.get("ledger", {})
        self._ledger.prepare(ledger)
        restore(self._shell, payload)
        self._ledger.apply(ledger)
        if cell["outputs"] and self.options.output:
            replay(self._shell, cell["outputs"], **({"result": cell["shown"]} if "shown" in cell else {}))

    def _below(self, exc: BaseException) -> BaseException:
        """Return an exception whose traceback begins in the cell, so that the user sees no frame of the machinery."""
        found = exc.__traceback__
        while found is not None and found.tb_frame.f_code.co_filename != self.body.filename:
            found = found.tb_next
        if isinstance(exc, KeyboardInterrupt):
            hide_handler(found)
        # Where no frame is the cell's, an error of this package says all in its message; any other one is shown whole.
        return exc if found is None and not isinstance(exc, AwaitlyError) else exc.with_traceback(found)

    def _uncached(self) -> str:
        return (
            f"cell {self.options.name!r} runs uncached: {self._unkeyable}. Leave that input out of the key (--ignore "
            "NAME), give the cell a key of your own (--key K), or teach its type (aw.register_key)"
        )

    def _warn(self, message: str, category: type[Warning]) -> None:
        # At the cell's own first line, whose file is of no use to a reader, and the line is what the message names.
        shown = warnings.formatwarning
        warnings.formatwarning = _message_only
        try:
            warnings.warn_explicit(message, category, self.body.filename, 1)
        finally:
            warnings.formatwarning = shown


_PLUMBING = ("get_ipython",)  # what IPython itself puts into the code of a cell with magics
_ATOMS = (int, float, str, bytes, type(None))
_KINDS = dict.fromkeys(
    ("_io.TextIOWrapper", "_io.BufferedReader", "_io.BufferedWriter", "_io.BufferedRandom", "_io.FileIO"),
    "an open file",
)
_NAMED = 3


def _why_not_stored(error: Exception, payload: Payload) -> str:
    if not isinstance(error, EncodeError) or not error.name:
        return str(error)
    what = _KINDS.get(error.kind) or f"{'an' if error.kind[0] in 'aeiouAEIOU' else 'a'} {error.kind}"
    why = f"{error.name}{error.path} is {what}{f' ({error.why})' if error.kind == 'function' else ''}."
    others = [other for other in payload if other not in {CELL, error.name}]
    if others:
        named = ",".join(others[:_NAMED]) + (",..." if len(others) > _NAMED else "")
        why += f" `--vars {named}` stores the {'other' if len(others) == 1 else 'others'}."
    return why


def _message_only(message: object, *_: object, **__: object) -> str:
    return f"{message}\n"


def _fingerprint_or_none(value: object) -> str | None:
    try:
        return fingerprint(value)
    except UnkeyableError:
        return None


@contextmanager
def _input_refused() -> Iterator[None]:
    """Refuse to ask the user anything: the answer would be no part of the key."""

    def refuse(prompt: object = "", *_: object, **__: object) -> str:
        raise MisuseError(
            f"input({str(prompt)!r}) inside %%awaitly: a cell from the cache would never ask; ask in a cell of its "
            "own, and read the answer here"
        )

    saved = builtins.input, getpass.getpass
    builtins.input, getpass.getpass = refuse, refuse
    try:
        yield
    finally:
        builtins.input, getpass.getpass = saved
