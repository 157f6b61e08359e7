"""The magics `%%awaitly` and `%awaitly`: they parse, call one public function, and show.

The only module of the package that imports IPython when it is loaded; `load_ipython_extension` loads it.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from IPython.core.error import UsageError
from IPython.core.magic import Magics, cell_magic, line_magic, magics_class, no_var_expand

from awaitly_nb import events as ev
from awaitly_nb.config import settled
from awaitly_nb.engine import observe
from awaitly_nb.errors import InvalidOptionError, MisuseError, NotCachedError
from awaitly_nb.keys import remember_environment
from awaitly_nb.notebook import lab
from awaitly_nb.notebook.auto import Auto, remember_as_typed
from awaitly_nb.notebook.body import awaits, transformed, wake_on_stop
from awaitly_nb.notebook.cell import Cell, show_as_plain
from awaitly_nb.notebook.progress import Progress
from awaitly_nb.plans import CELL_FLAGS, CELL_VALUES

if TYPE_CHECKING:
    from collections.abc import Callable, Coroutine

    from awaitly_nb.notebook.shell import Shell

__all__ = ["AwaitlyMagics", "mode_of", "register", "unregister"]

_CELL = "%%awaitly"


@magics_class
class AwaitlyMagics(Magics):
    """Both magics, bound to one shell."""

    @no_var_expand  # a key tells 1 from "1", and refuses a name that is not there
    @cell_magic("awaitly")  # type: ignore[arg-type] # IPython's decorators have no types
    def cell(self, line: str, cell: str) -> Coroutine[Any, Any, None] | None:
        """Run a cell once; afterwards restore its variables and replay what it showed.

        %%awaitly NAME [--key K] [--vars a,b] [--ignore c,d] [--ttl 7d] [--force] [--read] [--no-output] [...]

        The key is the cell's code and all that it reads: variables by value, functions by code, files by content.
        Change any of it and the cell runs again; otherwise it is back in a moment, after a restart too.

          NAME           what the cell is called in the panel and in the folder; quotes allow spaces; without it
                         the cell is called by what it makes
          --key K        store it under this key instead, whatever it reads; {variable} is filled in, as in NAME
          --vars a,b     store only these variables
          --ignore c,d   leave these inputs out of the key
          --ttl 7d       serve it for this long: 90s, 15m, 2h, 7d, 1w
          --force        run again, and replace what is cached
          --read         load what is cached, or fail; never run
          --no-output    neither record nor replay what the cell shows
          --dry-run      say hit or miss, and why; run nothing
          --allow-shell  allow !commands, although a hit does not repeat them
        """
        __tracebackhide__ = True
        with settled():
            try:
                mode = _modes.get(id(self.shell))
                force = "--force" if lab.asked_to_recompute() else ""
                if mode is not None and line.strip() == "--auto":
                    remember_as_typed(self.shell, cell)  # type: ignore[arg-type] # as below
                    auto = mode.cell(cell)
                    return Cell(self.shell, force, cell, auto, out_of_order=lab.out_of_order).start()  # type: ignore[arg-type] # as below
                first = f"{line} {force}" if force else line
                read = Cell(self.shell, first, cell, out_of_order=lab.out_of_order)  # type: ignore[arg-type] # a magic always has its shell
            except (MisuseError, InvalidOptionError) as exc:
                raise UsageError(str(exc)) from None
            return read.start()

    @line_magic("awaitly")  # type: ignore[arg-type] # as above
    def line(self, line: str) -> Any:  # Any: the answer, which knows how to show itself
        """Look at what this kernel did and what is cached, and manage it.

        %awaitly status        one line for each cell and step: its latest state, and why; also without the word
        %awaitly keys [GLOB]   the cached keys, with size, age and hits
        %awaitly show KEY      what is cached under a key: variables, plots, printed text
        %awaitly why NAME      why a cell or step was computed: which part of its key was new
        %awaitly auto [on|off|status]   cache plain cells by themselves where that is worth it
        %awaitly plan          what Run All would do: which cells hit, which run and why, and what that costs
        %awaitly graph         which cell feeds which, as a picture
        %awaitly audit         run every cell live, beside the cache, and tell what its hits leave otherwise
        %awaitly rm GLOB       remove keys, in every namespace; they are computed again
        %awaitly undo          bring back what was removed last, for a minute
        %awaitly retry [KEY]   remove cached failures, so that they run again
        %awaitly prune         remove what is not needed any more: --superseded
        %awaitly panel         the live panel
        %awaitly doctor        versions, folder and secret, when something does not work; --fix repairs
        %awaitly config        each setting, and where it came from
        %awaitly help [WORD]   all words with their options, or one of them

        Globs match whole keys, case counts; `keys` also takes the name of a workflow, or a part of a key; `show`, `rm`
        and `retry` the first letters of one. The shell command `awaitly-nb` has the same words.
        """
        __tracebackhide__ = True
        from awaitly_nb.notebook.commands import perform  # which `%load_ext` need not wait for

        try:
            return perform(line)
        except (MisuseError, InvalidOptionError, NotCachedError) as exc:
            raise UsageError(str(exc)) from None


_modes: dict[int, Auto] = {}
_ends: list[Callable[[], object]] = []


def mode_of(shell: Shell | None) -> Auto | None:
    """Return the automatic mode of a shell in which the extension is loaded."""
    return _modes.get(id(shell))


def register(shell: Shell) -> None:
    """Put the magics, their completion and their input transformation into a shell; harmless twice."""
    unregister(shell)
    shell.register_magics(AwaitlyMagics)
    remember_environment()
    mode = _modes[id(shell)] = Auto(shell)
    shell.input_transformers_cleanup.append(mode)
    shell.input_transformers_cleanup.append(_Cells(shell))
    shell.events.register("pre_run_cell", mode.before_cell)
    shell.events.register("post_run_cell", mode.after_cell)
    shell.events.register("pre_execute", wake_on_stop)
    _ends.append(observe(Progress(shell).handle_event, without=[ev.StepCacheMiss]))
    _ends.append(show_as_plain(shell))
    lab.load(shell, mode)
    for word in ("awaitly", "%awaitly", _CELL):
        shell.set_hook("complete_command", _complete, str_key=word)


def unregister(shell: Shell) -> None:
    """Take out of a shell what `register` put in; completion stays, and completes nothing that is not typed."""
    shell.input_transformers_cleanup[:] = [
        transform for transform in shell.input_transformers_cleanup if not isinstance(transform, _Cells | Auto)
    ]
    if (mode := _modes.pop(id(shell), None)) is not None:
        shell.events.unregister("pre_run_cell", mode.before_cell)
        shell.events.unregister("post_run_cell", mode.after_cell)
    lab.unload(shell)
    while _ends:
        _ends.pop()()
    if wake_on_stop in shell.events.callbacks["pre_execute"]:
        shell.events.unregister("pre_execute", wake_on_stop)
    for kind in ("line", "cell"):
        shell.magics_manager.magics[kind].pop("awaitly", None)


def _complete(_shell: object, event: Any) -> list[str]:  # Any: IPython's, which has no types
    """Return what may stand at the cursor; IPython calls this."""
    from awaitly_nb.notebook.commands import complete  # as above

    line = event.text_until_cursor
    words = line.split()
    before, last = (words, "") if line.endswith((" ", "\t")) else (words[:-1], words[-1] if words else "")
    return complete(before, last, cell_options=[*CELL_VALUES, *CELL_FLAGS])


class _Cells:
    """The input transformation for `%%awaitly` cells that await at their top level, and for those that do not compile.

    IPython runs a cell magic as a plain call, and decides by the transformed code whether a cell is awaited. So a cell
    that awaits becomes `await get_ipython().run_cell_magic(...)`; others stay plain calls, which the Stop button
    reaches. What is no Python is left to IPython as a plain cell, for it to say where, as of any cell.
    """

    def __init__(self, shell: Shell) -> None:
        self._shell = shell

    def __call__(self, lines: list[str]) -> list[str]:
        """Return the lines of a cell, rewritten if it is such a one."""
        if not lines or not lines[0].startswith((_CELL + " ", _CELL + "\n")):
            return lines
        body = "".join(lines[1:])
        if (waits := self._awaits(body)) is None:
            return [f"# {lines[0]}", *lines[1:]]
        if not waits or not self._shell.autoawait:
            return lines
        return [f"await get_ipython().run_cell_magic('awaitly', {lines[0][len(_CELL) :].strip()!r}, {body!r})\n"]

    def _awaits(self, body: str) -> bool | None:
        if (waits := awaits(body)) is not None:
            return waits
        try:
            return awaits(transformed(self._shell, body))  # there are magics in it
        except SyntaxError:
            return None
