"""Showing a recording again, and the quiet line below it that says where it came from."""

from __future__ import annotations

import sys
from html import escape
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Iterable

    from awaitly_nb.notebook.recorder import Output
    from awaitly_nb.notebook.shell import Shell

__all__ = ["replay", "show_badge"]

_QUIET = "font-size:.8em;color:var(--jp-ui-font-color2,#757575)"
_MISSING = object()


def replay(shell: Shell, outputs: Iterable[Output], *, result: Any = _MISSING) -> None:
    """Show recorded outputs, as the cell itself would have.

    Parameters
    ----------
    shell
        Whose streams, publisher and displayhook are used.
    outputs
        What a `Recorder` recorded.
    result
        The value behind the last `execute_result`, which becomes `_` and `Out[n]`; absent where it was not stored.
    """
    for output in outputs:
        match output["kind"]:
            case "stream":
                stream = getattr(sys, output["name"])
                stream.write(output["text"])
                stream.flush()
            case "result":
                _show_result(shell, output, result)
            case "error":
                kind = type(output["name"], (Exception,), {})
                shell._showtraceback(kind, kind(output["value"]), output["lines"])  # noqa: SLF001 - see the recorder
            case kind:
                transient = {"display_id": output["display_id"]} if output["display_id"] else None
                shell.display_pub.publish(
                    output["data"], output["metadata"], transient=transient, update=kind == "update"
                )


def show_badge(shell: Shell, text: str, *, title: str = "") -> None:
    """Show one quiet line; `title` is what hovering over it tells."""
    html = f'<div class="awaitly-badge" style="{_QUIET}" title="{escape(title)}">{escape(text)}</div>'
    shell.display_pub.publish({"text/plain": text, "text/html": html}, {})


def _show_result(shell: Shell, output: Output, value: Any) -> None:  # Any: the user's value
    hook = shell.displayhook
    hook.start_displayhook()
    hook.write_output_prompt()
    if value is not _MISSING:
        hook.update_user_ns(value)
        hook.fill_exec_result(value)
    hook.write_format_data(output["data"], output["metadata"])
    hook.log_output(output["data"])
    hook.finish_displayhook()
