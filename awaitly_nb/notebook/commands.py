"""What `%awaitly` understands: each word with its usage, its function, and how the answer shows itself.

The words are those of the shell command, and call the same functions of `manage`. Knows no IPython.
"""

from __future__ import annotations

import shlex
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any, Final

from awaitly_nb import manage
from awaitly_nb.errors import MisuseError
from awaitly_nb.manage import shown_key, shown_text
from awaitly_nb.notebook.html import document, heading, preview_html, table
from awaitly_nb.notebook.shell import current_shell
from awaitly_nb.units import (
    counted,
    did_you_mean,
    fit_width,
    in_one_line,
    middle_cut,
    show_age,
    show_duration,
    show_size,
    show_took,
    visible,
)

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable

    from awaitly_nb.cache import Entry
    from awaitly_nb.manage import EntryDetails
    from awaitly_nb.notebook.audit import AuditReport
    from awaitly_nb.plans import Graph, Plan

__all__ = ["COMMANDS", "Command", "TextTable", "ValueView", "complete", "perform"]

_NONE: Final = "-"
_MOST_ROWS: Final = 50
_MOST_NAMES: Final = 1_000
_WIDTH: Final = 80


@dataclass(frozen=True, slots=True)
class TextTable:
    """A table that knows how to show itself.

    Attributes
    ----------
    title
        One line above it.
    columns
        Names of the columns.
    rows
        Their texts.
    flexible
        The columns that are cut in their middle where a line of 80 letters has no room for them.
    more
        One line below it, or empty.
    """

    title: str
    columns: tuple[str, ...]
    rows: tuple[tuple[str, ...], ...]
    flexible: tuple[int, ...] = (0,)
    more: str = ""

    def __str__(self) -> str:
        if not self.rows:
            return visible(self.title)
        rows = [tuple(map(in_one_line, row)) for row in self.rows]
        widths = fit_width(self.columns, rows, self.flexible, _WIDTH)
        lines = [
            "  ".join(
                (middle_cut(text, width) if place in self.flexible else text).ljust(width)
                for place, (text, width) in enumerate(zip(line, widths, strict=True))
            ).rstrip()
            for line in (self.columns, *rows)
        ]
        return "\n".join([visible(self.title), *lines, *([self.more] if self.more else [])])

    def _repr_pretty_(self, printer: Any, cycle: bool) -> None:  # noqa: FBT001 - IPython's own signature; Any: its printer
        printer.text("..." if cycle else str(self))

    def _repr_html_(self) -> str:
        shown = [table([(column, "") for column in self.columns], self.rows)] if self.rows else []
        return document(heading(self.title), *shown, self.more, css="awaitly-listing")


@dataclass(frozen=True, slots=True)
class ValueView:
    """What is cached under one key, with a preview of its value."""

    found: tuple[EntryDetails, ...]

    def __str__(self) -> str:
        return visible("\n".join("\n".join([_head_of(one), shown_text(one.preview)]) for one in self.found))

    def _repr_pretty_(self, printer: Any, cycle: bool) -> None:  # noqa: FBT001 - IPython's own signature; Any: its printer
        printer.text("..." if cycle else str(self))

    def _repr_html_(self) -> str:
        shown = []
        for one in self.found:
            parts = [(f"{kind} {name}", middle_cut(text.strip().partition("\n")[0])) for kind, name, text in one.parts]
            told = table([("part", ""), ("value", "")], parts) if parts else ""
            shown += [heading(one.entry.key, *_facts_of(one)), preview_html(one.preview), told]
        return document(*shown)


def _head_of(one: EntryDetails) -> str:
    return ", ".join([one.entry.key, *_facts_of(one)])


def _facts_of(one: EntryDetails) -> list[str]:
    entry, now = one.entry, datetime.now(UTC)
    at = [] if entry.created_at is None else [f"computed {show_age(entry.created_at, now)}"]
    size = [] if entry.size_bytes is None else [show_size(entry.size_bytes)]
    return [*at, *size, *one.preview.facts]


def _status() -> TextTable:
    found = manage.status()
    now = datetime.now(UTC)
    rows = tuple(
        (
            one.state,
            one.name,
            _NONE if one.duration_s is None else show_took(one.duration_s),
            _NONE if one.size_bytes is None else show_size(one.size_bytes),
            show_duration(one.saved_s) if one.saved_s else _NONE,
            _NONE if one.at is None else show_age(one.at, now),
            one.why,
        )
        for one in found[-_MOST_NAMES:]
    )
    saved_s = sum(one.saved_s for one in found)
    title = f"{counted(len(found), 'name')}" + (f", {show_duration(saved_s)} saved" if saved_s else "")
    more = f"{counted(len(found) - len(rows), 'name')} more, which ran before these" if len(rows) < len(found) else ""
    if not rows:
        title = "nothing has run in this kernel yet: begin a cell with %%awaitly NAME; %awaitly help tells the rest"
    return TextTable(title, ("state", "step", "took", "size", "saved", "age", "why"), rows, (1, 6), more)


def _keys(glob: str = "*", *, everything: bool = False) -> TextTable:
    now = datetime.now(UTC)
    entries = manage.listed(glob)[::-1]
    shown = entries if everything else entries[:_MOST_ROWS]
    rows = tuple(_entry_row(entry, now, whole=everything) for entry in shown)
    size = sum(entry.size_bytes or 0 for entry in entries)
    near = did_you_mean(glob, manage.names()) if not entries else ""
    title = (
        f"{counted(len(entries), 'key')}, {show_size(size)}"
        if rows
        else f"no key matches {glob!r}" + (f"; {near}" if near else "")
    )
    hidden = len(entries) - len(shown)
    flexible = () if everything else (0, 1)
    more = f"and {hidden:,} more: %awaitly keys {shlex.quote(glob)} --all" if hidden else ""
    return TextTable(title, ("key", "in", "result", "size", "took", "age", "hits"), rows, flexible=flexible, more=more)


def _entry_row(entry: Entry, now: datetime, *, whole: bool) -> tuple[str, ...]:
    return (
        entry.key if whole else shown_key(entry),
        entry.namespace or _NONE,
        "ok" if entry.ok else "failed",
        _NONE if entry.size_bytes is None else show_size(entry.size_bytes),
        _NONE if entry.duration_s is None else show_took(entry.duration_s),
        _NONE if entry.created_at is None else show_age(entry.created_at, now),
        str(entry.hits),
    )


@dataclass(frozen=True, slots=True)
class _Said:
    """One line, as a cell's result shows it."""

    text: str

    def __repr__(self) -> str:
        return self.text


def _rm(
    glob: str | None = None, *, older_than: str | None = None, errors: bool = False, dry_run: bool = False
) -> _Said | TextTable:
    from awaitly_nb.units import parse_duration

    if glob is None and older_than is None and not errors:
        raise MisuseError("say which: a GLOB ('*' for all), --older-than AGE or --errors\n" + _usage("rm"))
    older_than_s = None if older_than is None else parse_duration(older_than, name="--older-than")
    done = manage.remove(glob, errors=errors, older_than_s=older_than_s, dry_run=dry_run)
    return _said(done, dry_run=dry_run)


def _retry(key: str | None = None, *, dry_run: bool = False) -> _Said | TextTable:
    return _said(manage.retry(key, dry_run=dry_run), dry_run=dry_run)


def _prune(*, superseded: bool = False, dry_run: bool = False) -> _Said | TextTable:
    if not superseded:
        raise MisuseError("say what: --superseded\n" + _usage("prune"))
    return _said(manage.remove(superseded=True, dry_run=dry_run), dry_run=dry_run)


def _said(done: manage.Removal, *, dry_run: bool) -> _Said | TextTable:
    if dry_run and done.entries:
        now = datetime.now(UTC)
        rows = tuple(_entry_row(entry, now, whole=False) for entry in done.entries[:_MOST_ROWS])
        title = f"would remove {counted(len(done.entries), 'key')}"
        return TextTable(title, ("key", "in", "result", "size", "took", "age", "hits"), rows, flexible=(0, 1))
    return _Said(f"{done}; %awaitly undo brings back what was removed, for a minute" if done.undo else str(done))


def _undo() -> _Said:
    restored = manage.undo()
    return _Said(f"restored {counted(restored, 'key')}" if restored else "nothing was removed in the last minute")


def _doctor(*, fix: bool = False) -> TextTable:
    found = manage.doctor(fix=fix)
    rows = tuple(("ok" if one.ok else "look", one.what, one.state) for one in found)
    wrong = sum(not one.ok for one in found)
    title = f"{counted(wrong, 'thing')} should be looked at" if wrong else "nothing is wrong"
    return TextTable(title, ("", "what", "state"), rows, flexible=())


def _config() -> TextTable:
    rows = tuple((one.name, str(one.value), one.source) for one in manage.config())
    return TextTable("settings", ("setting", "value", "from"), rows, flexible=(1, 2))


def _auto(word: str = "on") -> _Said:
    from awaitly_nb.notebook.magics import mode_of

    if word not in ("on", "off", "status"):
        raise MisuseError(f"{_unknown('word', word, ('on', 'off', 'status'))}\n{_usage('auto')}")
    mode = mode_of(current_shell())
    if mode is None:
        raise MisuseError("automatic mode needs a notebook: %load_ext awaitly_nb")
    if word != "status":
        mode.on = word == "on"
    return _Said(mode.status())


def _plan(notebook: str | None = None) -> Plan:
    from awaitly_nb.notebook.plan_view import plan_of_session

    return plan_of_session(current_shell(), notebook)


def _graph(notebook: str | None = None, *, mermaid: bool = False) -> Graph | _Said:
    graph = _plan(notebook).graph()
    return _Said(graph.to_mermaid()) if mermaid else graph


def _audit(notebook: str | None = None) -> AuditReport:
    from awaitly_nb.notebook.audit import audit
    from awaitly_nb.notebook.plan_view import own_notebook

    path = own_notebook(current_shell()) if notebook is None else notebook
    if path is None:
        raise MisuseError("this front end does not tell which notebook it shows; say it: %awaitly audit NOTEBOOK.ipynb")
    return audit(path)


def _panel() -> None:
    from awaitly_nb.notebook.panel import panel

    panel()


def _help(word: str | None = None) -> TextTable | _Said:
    if word is None:
        rows = tuple((f"%awaitly {_call(name)}", command.summary) for name, command in COMMANDS.items())
        cell = ("%%awaitly NAME", "run a cell once; %%awaitly? tells its options")
        return TextTable("what %awaitly can do", ("word", ""), (*rows, cell), flexible=())
    if word not in COMMANDS:
        raise MisuseError(_unknown("command", word, COMMANDS))
    command = COMMANDS[word]
    flags = [f"  {flag:<22}{told}" for flag, told in command.flags.items()]
    return _Said("\n".join([f"%awaitly {_call(word)}: {command.summary}", *flags]))


@dataclass(frozen=True, slots=True)
class Command:
    """One word of `%awaitly`.

    Attributes
    ----------
    run
        What it does: a function of `manage`, and what shows its answer.
    argument
        What it takes, or empty; in brackets where it may be left out.
    flags
        Its options and what each does; one that takes a value ends in `=`.
    summary
        What it does, in a line.
    completes
        Which names complete its argument: "keys", "failed", "names" or "words".
    """

    run: Callable[..., Any]  # Any: each answer knows how to show itself
    argument: str
    summary: str
    flags: dict[str, str]
    completes: str = ""


_DRY: Final = {"--dry-run": "only say what would be removed"}
COMMANDS: Final = {
    "status": Command(_status, "", "one line for each cell and step: its latest state; also without the word", {}),
    "keys": Command(_keys, "[GLOB]", "the cached keys, with size, age and hits", {"--all": "all, whole"}, "keys"),
    "show": Command(lambda key: ValueView(tuple(manage.show(key))), "KEY", "what is cached under a key", {}, "keys"),
    "why": Command(manage.why, "NAME", "why a cell or step was computed: which part of its key was new", {}, "names"),
    "rm": Command(
        _rm,
        "[GLOB]",
        "remove keys, in every namespace; they are computed again when they are needed",
        {"--older-than=": 'only what is older: "7d"', "--errors": "only cached failures", **_DRY},
        "keys",
    ),
    "auto": Command(
        _auto, "[on|off|status]", "cache plain cells by themselves where that is worth it; what it did so far", {}
    ),
    "plan": Command(
        _plan, "[NOTEBOOK]", "what Run All would do: which cells hit, which run and why, and what that costs", {}
    ),
    "graph": Command(
        _graph, "[NOTEBOOK]", "which cell feeds which, and what would run", {"--mermaid": "as Mermaid text"}
    ),
    "audit": Command(
        _audit, "[NOTEBOOK]", "run every cell live, beside the cache, and tell what its hits leave otherwise", {}
    ),
    "undo": Command(_undo, "", "bring back what was removed last, for a minute", {}),
    "retry": Command(_retry, "[KEY]", "remove cached failures, so that they run again", _DRY, "failed"),
    "prune": Command(
        _prune,
        "",
        "remove what is not needed any more",
        {"--superseded": "results for which the same call has a newer one", **_DRY},
    ),
    "panel": Command(_panel, "", "the live panel", {}),
    "doctor": Command(
        _doctor,
        "",
        "versions, folder and secret, when something does not work",
        {"--fix": "repair what can be repaired"},
    ),
    "config": Command(_config, "", "each setting, and where it came from", {}),
    "help": Command(_help, "[WORD]", "this list, or the options of a word", {}, "words"),
}
"""The words of `%awaitly`; those that a shell can do as well mean the same there."""

_RENAMED: Final = {"--all": "everything"}


def _call(word: str) -> str:
    command = COMMANDS[word]
    flags = [f"[{flag}{'AGE' if flag.endswith('=') else ''}]".replace("=", " ") for flag in command.flags]
    return " ".join(filter(None, (word, command.argument, *flags)))


def _usage(word: str) -> str:
    return f"usage: %awaitly {_call(word)}"


def _unknown(what: str, word: str, known: Iterable[str]) -> str:
    near = did_you_mean(word, known)
    return f"unknown {what} {word!r}{near and '; '}{near}"


def perform(line: str) -> Any:  # Any: each answer knows how to show itself
    """Do what a `%awaitly` line asks for, and return the answer. An empty line asks for the status.

    Raises
    ------
    MisuseError
        An unknown word or option, or too few or too many arguments; the message ends with the usage.

    Examples
    --------
    >>> perform("help undo")
    %awaitly undo: bring back what was removed last, for a minute
    """
    known = "usage: %awaitly " + " | ".join(f"{word} {one.argument}".rstrip() for word, one in COMMANDS.items())
    try:
        word, *rest = shlex.split(line) or ["status"]
    except ValueError as exc:
        raise MisuseError(f"cannot read this line ({exc})\n{known}") from None
    if word in {"--help", "-h"}:
        return _help()
    if word not in COMMANDS:
        raise MisuseError(f"{_unknown('command', word, COMMANDS)}\n{known}")
    if {"--help", "-h"} & {*rest}:
        return _help(word)
    arguments, options = _read(word, rest)
    return COMMANDS[word].run(*arguments, **options)


def _read(word: str, tokens: list[str]) -> tuple[list[str], dict[str, Any]]:
    """Return the arguments and the options of a word."""
    command = COMMANDS[word]
    arguments: list[str] = []
    options: dict[str, str | bool] = {}
    waiting = iter(tokens)
    for token in waiting:
        flag, equals, value = token.partition("=")
        if not token.startswith("--"):
            arguments.append(token)
        elif token in command.flags:
            options[_RENAMED.get(token, token[2:].replace("-", "_"))] = True
        elif f"{flag}=" in command.flags:
            if not equals and (following := next(waiting, None)) is not None:
                equals, value = "=", following
            if not equals:
                raise MisuseError(f"{flag} needs a value\n{_usage(word)}")
            options[flag[2:].replace("-", "_")] = value
        else:
            known = [one.rstrip("=") for one in command.flags]
            raise MisuseError(f"{_unknown('option', token, known)}\n{_usage(word)}")
    most, fewest = bool(command.argument), bool(command.argument) and not command.argument.startswith("[")
    if not fewest <= len(arguments) <= most:
        raise MisuseError(_usage(word))
    return arguments, options


# -- completion -------------------------------------------------------------------------------------------------------

_MOST_COMPLETED: Final = 200


def complete(words: list[str], last: str, *, cell_options: Iterable[str]) -> list[str]:
    """Return what may stand at the cursor of a line that begins with either magic.

    Parameters
    ----------
    words
        What stands before the word at the cursor.
    last
        That word, as far as it was typed.
    cell_options
        The options of `%%awaitly`.
    """
    if words[:1] == ["%%awaitly"]:
        return _beginning(last, cell_options if last.startswith("-") or len(words) > 1 else _names())
    if len(words) == 1:
        return _beginning(last, COMMANDS)
    if (command := COMMANDS.get(words[1])) is None:
        return []
    if last.startswith("-"):
        return _beginning(last, [flag.rstrip("=") for flag in command.flags])
    if any(not word.startswith("-") for word in words[2:]):
        return []
    match command.completes:
        case "names":
            return _beginning(last, _names())
        case "words":
            return _beginning(last, COMMANDS)
        case "keys" | "failed" as kind:
            entries = [e for e in manage.find(errors=kind == "failed") if e.key.startswith(last)]
            return list(dict.fromkeys(entry.key for entry in reversed(entries[-_MOST_COMPLETED:])))
    return []


def _beginning(start: str, candidates: Iterable[str]) -> list[str]:
    return [word for word in candidates if word.startswith(start)]


def _names() -> list[str]:
    from awaitly_nb.engine import recent_runs

    ran = [step.step_id for run in reversed(recent_runs()) for step in run.steps]
    return list(dict.fromkeys([*ran, *manage.names()]))[:_MOST_COMPLETED]
