"""What all commands have in common: how failures are told, the options that several share, and completion.

Bash breaks words at colons, and nearly every key has one: with click's own script nothing is completed behind it. Here
the line is taken as it was typed, and of each word the part is returned that bash has still to insert, quoted.
"""

from __future__ import annotations

import os
import re
import warnings
from contextlib import suppress
from typing import TYPE_CHECKING, Any

import click
from click.shell_completion import BashComplete, split_arg_string

from awaitly_nb.errors import AwaitlyError, LeaseHeldError
from awaitly_nb.units import did_you_mean, parse_duration

if TYPE_CHECKING:
    from click.shell_completion import CompletionItem

__all__ = [
    "FAILED",
    "INTERRUPTED",
    "UNDER_WAY",
    "WOULD_COMPUTE",
    "Bash",
    "CommandGroup",
    "as_json",
    "complete_keys",
    "complete_names",
    "duration",
]

FAILED, WOULD_COMPUTE, UNDER_WAY, INTERRUPTED = 1, 3, 4, 130
"""Exit codes; click itself ends with 2 where the command line is wrong."""


class _RunningError(click.ClickException):
    exit_code = UNDER_WAY


class CommandGroup(click.Group):
    """The commands; messages of this package say what, where and what to do, and no traceback hides that."""

    def invoke(self, ctx: click.Context) -> Any:  # Any: as click has it
        """Run the command that was named."""
        with warnings.catch_warnings():
            warnings.showwarning = _warn  # type: ignore[assignment]
            try:
                return super().invoke(ctx)
            except LeaseHeldError as exc:
                raise _RunningError(_inert(exc)) from exc
            except AwaitlyError as exc:
                raise click.ClickException(_inert(exc)) from exc

    def resolve_command(self, ctx: click.Context, args: list[str]) -> Any:  # Any: as click has it
        """Find the command that was named; of one that is not there, say which is near."""
        if args and not args[0].startswith("-") and self.get_command(ctx, args[0]) is None:
            near = did_you_mean(args[0], self.list_commands(ctx))
            ctx.fail(f"unknown command {args[0]!r}{near and '; '}{near}")
        return super().resolve_command(ctx, args)


def _warn(message: Warning | str, *_: object) -> None:
    click.echo(f"warning: {_inert(message)}", err=True)


def _inert(message: BaseException | str) -> str:
    # It may quote what was typed, or what is stored: a path, an id, a key.
    from awaitly_nb.cli.show import inert

    return str(inert(str(message)))


as_json = click.option("--json", "as_json", is_flag=True, help="Plain JSON instead of tables.")


def complete_keys(ctx: click.Context, param: click.Parameter, incomplete: str) -> list[str]:  # noqa: ARG001 - click's
    """Return the cached keys that begin so; for `retry`, the failed ones."""
    from awaitly_nb.manage import find

    with suppress(AwaitlyError):
        failed = ctx.info_name == "retry"
        return sorted({entry.key for entry in find(errors=failed) if entry.key.startswith(incomplete)})
    return []


def complete_names(ctx: click.Context, param: click.Parameter, incomplete: str) -> list[str]:  # noqa: ARG001 - click's
    """Return the names of cells, functions and steps that begin so."""
    from awaitly_nb.manage import names

    with suppress(AwaitlyError):
        return [name for name in names() if name.startswith(incomplete)]
    return []


def duration(ctx: click.Context, param: click.Parameter, value: str | None) -> float | None:  # noqa: ARG001 - click's
    """Return the age that was given, in seconds."""
    return None if value is None else parse_duration(value, name="--older-than")


_SPECIAL = re.compile(r"[^\w@%+=:,./\-]")
_BREAKS = ":=@"


class Bash(BashComplete):
    """The script for bash, and what it asks."""

    source_template = r"""
%(complete_func)s() {
    local IFS=$'\n' completion kind value
    COMPREPLY=()
    for completion in $(COMP_LINE="${COMP_LINE:0:COMP_POINT}" COMP_BREAKS="$COMP_WORDBREAKS" \
        %(complete_var)s=bash_complete "$1"); do
        IFS=',' read -r kind value <<< "$completion"
        case "$kind" in
            dir) compopt -o dirnames ;;
            file) compopt -o default ;;
            plain) COMPREPLY+=("$value") ;;
        esac
    done
}
complete -o nosort -F %(complete_func)s %(prog_name)s
"""
    _word = ""

    def get_completion_args(self) -> tuple[list[str], str]:
        """Return the words before the last one, and that one as far as it was typed."""
        line = os.environ["COMP_LINE"]
        words = split_arg_string(line)[1:]
        self._word = "" if line[-1:].isspace() or not words else words.pop()
        return words, self._word

    def format_completion(self, item: CompletionItem) -> str:
        """Return a line of the answer."""
        if item.type != "plain":
            return super().format_completion(item)
        value = "".join(char for char in str(item.value) if char.isprintable())
        typed = self._word.partition("=")[2] if self._word.startswith("--") else self._word
        breaks = set(_BREAKS) & set(os.environ.get("COMP_BREAKS", _BREAKS))
        # Bash inserts behind the last character at which it broke the word.
        start = max((typed.rfind(char) + 1 for char in breaks), default=0)
        return f"plain,{_SPECIAL.sub(lambda found: chr(92) + found[0], value[start:])}"
