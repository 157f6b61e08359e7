"""What all commands have in common: how failures are told, and the options and completions that several share."""

from __future__ import annotations

import warnings
from contextlib import suppress
from typing import Any

import click

from awaitly_nb.errors import AwaitlyError, LeaseHeldError
from awaitly_nb.units import parse_duration

__all__ = ["FAILED", "HELD", "INTERRUPTED", "WOULD_COMPUTE", "Group", "as_json", "complete_keys", "duration"]

FAILED, WOULD_COMPUTE, HELD, INTERRUPTED = 1, 3, 4, 130
"""Exit codes; click itself ends with 2 where the command line is wrong."""


class _HeldError(click.ClickException):
    exit_code = HELD


class Group(click.Group):
    """The commands; messages of this package say what, where and what to do, and no traceback hides that."""

    def invoke(self, ctx: click.Context) -> Any:  # Any: as click has it
        """Run the command that was named."""
        with warnings.catch_warnings():
            warnings.showwarning = _warn  # type: ignore[assignment]
            try:
                return super().invoke(ctx)
            except LeaseHeldError as exc:
                raise _HeldError(str(exc)) from exc
            except AwaitlyError as exc:
                raise click.ClickException(str(exc)) from exc


def _warn(message: Warning | str, *_: object) -> None:
    click.echo(f"warning: {message}", err=True)


as_json = click.option("--json", "as_json", is_flag=True, help="Plain JSON instead of tables.")


def complete_keys(ctx: click.Context, param: click.Parameter, incomplete: str) -> list[str]:  # noqa: ARG001 - click's
    """Return the kept keys that begin so."""
    from awaitly_nb.cli.kept import find

    with suppress(AwaitlyError):
        return sorted({entry.key for entry in find() if entry.key.startswith(incomplete)})
    return []


def duration(ctx: click.Context, param: click.Parameter, value: str | None) -> float | None:  # noqa: ARG001 - click's
    """Return the age that was given, in seconds."""
    return None if value is None else parse_duration(value, name="--older-than")
