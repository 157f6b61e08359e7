"""What a cell shows: recorded while it runs, beside being shown, and shown again on a hit, with a quiet line below it.

The shell's own streams, publisher and displayhook stay in place, with some methods of these objects shadowed, so that
whoever holds one of them already (a logging handler, a progress bar) is recorded too. The recording is stored as the
notebook would store it: what `clear_output` removed is gone, and a display that was updated holds its last content. A
widget becomes static HTML, because its model dies with its kernel: text, progress bars, the value of a control, and
boxes of these. A frontend never gets the widget's own view type, which would show "model not found".
"""

from __future__ import annotations

import os
import sys
import threading
from contextlib import contextmanager
from html import escape
from typing import TYPE_CHECKING, Any, TypeAlias

from awaitly_nb.keys import children_started, is_user_class

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator, Sequence
    from types import TracebackType

    from awaitly_nb.notebook.shell import Shell

__all__ = ["Output", "Recorder", "flush_figures", "replay", "show_badge", "without_widgets"]

Output: TypeAlias = "dict[str, Any]"
"""One thing shown, as plain data; its `kind` is one of those that `Recorder.outputs` tells."""


class _Pipe:
    """What child processes write: a thread of the kernel reads it from a pipe, and writes it to the stream.

    Parameters
    ----------
    stream
        ipykernel's.
    """

    def __init__(self, stream: Any) -> None:  # Any: ipykernel is not imported here
        self._stream = stream
        self._before = children_started()
        self._mark = ""
        self._held = ""
        self._is_seen = False
        self._empty = threading.Event()

    def drain(self) -> None:
        """Wait until all is written that was in the pipe, if a child process was started meanwhile."""
        if children_started() == self._before:
            return
        # Terminals show nothing of it, should it come to one.
        self._mark = f"\x1b[0;{id(self) % 1_000_000_007}m"
        os.write(self._stream._original_stdstream_fd, self._mark.encode())  # noqa: SLF001 - the pipe has no other name
        self._empty.wait(_LONGEST_DRAIN_S)
        self._mark = ""

    def let_through(self, text: str) -> str:
        """Return the text without the mark, of which a part may still be to come."""
        if not self._mark or threading.current_thread() is not self._stream.watch_fd_thread:
            return text
        text = self._held + text
        if self._mark in text:
            self._held = ""
            self._is_seen = True
            return text.replace(self._mark, "")
        size = next((size for size in range(len(self._mark) - 1, 0, -1) if text.endswith(self._mark[:size])), 0)
        self._held = text[len(text) - size :]
        return text[: len(text) - size]

    def written(self) -> None:
        """Note that what was let through is recorded, which ends `drain` if the mark came with it."""
        if self._is_seen and threading.current_thread() is self._stream.watch_fd_thread:
            self._empty.set()


_LONGEST_DRAIN_S = 2.0


class Recorder:
    """Records from `with` to the end of it.

    `outputs()` is what was shown, in order. A "stream" has `name` and `text`; "display" and "result" have `data` and
    `metadata` as they were published, and the `display_id` where there is one. An "update" is of a display of an
    earlier cell, an "error" an exception that IPython showed and swallowed.
    """

    def __init__(self, shell: Shell) -> None:
        self._shell = shell
        self._outputs: list[Output] = []
        self._lock = threading.RLock()
        self._clear_next = False
        self._undo: list[Callable[[], None]] = []
        self._cell = _cell_id(sys.stdout)
        self._local = threading.local()
        self._writing = threading.RLock()
        self._pipes: list[_Pipe] = []
        self.results: list[object] = []

    def __enter__(self) -> Recorder:
        publisher, displayhook = self._shell.display_pub, self._shell.displayhook
        self._shadow(sys.stdout, "write", self._writer(sys.stdout, sys.stderr, "stdout"))
        self._shadow(sys.stderr, "write", self._writer(sys.stderr, sys.stdout, "stderr"))
        self._shadow(publisher, "publish", self._publish(publisher.publish))
        self._shadow(publisher, "clear_output", self._clear(publisher.clear_output))
        self._shadow(self._shell, "_showtraceback", self._traceback(self._shell._showtraceback))  # noqa: SLF001 - IPython has no other place for it
        self._shadow(displayhook, "write_format_data", self._result(displayhook.write_format_data))
        self._shadow(displayhook, "fill_exec_result", self._note_result(displayhook.fill_exec_result))
        self._shadow(displayhook, "write_output_prompt", self._quietly(displayhook.write_output_prompt))
        self._shadow(displayhook, "finish_displayhook", self._quietly(displayhook.finish_displayhook))
        return self

    def __exit__(
        self, kind: type[BaseException] | None, exc: BaseException | None, traceback: TracebackType | None
    ) -> None:
        for pipe in self._pipes:
            pipe.drain()
        while self._undo:
            self._undo.pop()()

    def outputs(self) -> list[Output]:
        """Return what was shown so far, with widgets turned into static snapshots."""
        with self._lock:
            return [_finished(output) for output in self._outputs]

    def _shadow(self, owner: Any, name: str, method: Callable[..., Any]) -> None:  # Any: stream or traitlets object
        before = vars(owner).get(name)

        def undo() -> None:
            if before is None:
                delattr(owner, name)
            else:
                setattr(owner, name, before)

        setattr(owner, name, method)
        self._undo.append(undo)

    def _writer(self, stream: Any, other: Any, name: str) -> Callable[[str], Any]:  # Any: file-like, as users make them
        write = stream.write
        pipe = _Pipe(stream) if getattr(stream, "_should_watch", False) else None
        if pipe is not None:
            self._pipes.append(pipe)

        def recording_write(text: str) -> Any:
            if pipe is None:
                return recorded(text)
            try:
                text = pipe.let_through(text)
                return recorded(text) if text else 0
            finally:
                pipe.written()

        def recorded(text: str) -> Any:
            if getattr(self._local, "muted", False) or _cell_id(stream) != self._cell:
                return write(text)  # recorded as a display, or from a thread that an earlier cell started
            with self._lock:
                last = self._outputs[-1] if self._outputs else None
                turned = last is not None and last["kind"] == "stream" and last["name"] != name
            if turned:
                # The kernel sends each stream by itself now and then; only a flush keeps the two in order.
                other.flush()
            with self._writing:  # what a child and the cell write is recorded in the order in which it is shown
                written = write(text)
                if isinstance(text, str) and text:
                    self._add_text(name, text)
            return written

        return recording_write

    def _add_text(self, name: str, text: str) -> None:
        with self._lock:
            self._clear_if_due()
            if self._outputs and self._outputs[-1]["kind"] == "stream" and self._outputs[-1]["name"] == name:
                self._outputs[-1]["text"].append(text)
            else:
                self._outputs.append({"kind": "stream", "name": name, "text": [text]})

    def _publish(self, publish: Callable[..., None]) -> Callable[..., None]:
        def recording_publish(data: Any, metadata: Any = None, *args: Any, **kwargs: Any) -> None:
            display_id = (kwargs.get("transient") or {}).get("display_id")
            with self._muted():
                publish(data, metadata, *args, **kwargs)
            self._add_display(dict(data), dict(metadata or {}), display_id, update=bool(kwargs.get("update")))

        return recording_publish

    def _add_display(self, data: Output, metadata: Output, display_id: str | None, *, update: bool) -> None:
        with self._lock:
            if update:
                same = [output for output in self._outputs if output.get("display_id") == display_id]
                for output in same:
                    output.update(data=data, metadata=metadata)
                if same:
                    return
            else:
                self._clear_if_due()
            kind = "update" if update else "display"
            self._outputs.append({"kind": kind, "data": data, "metadata": metadata, "display_id": display_id})

    def _result(self, write: Callable[..., None]) -> Callable[..., None]:
        def recording_write(format_dict: Any, md_dict: Any = None) -> None:
            with self._muted():
                write(format_dict, md_dict)
            with self._lock:
                self._clear_if_due()
                self._outputs.append(
                    {"kind": "result", "data": dict(format_dict), "metadata": dict(md_dict or {}), "display_id": None}
                )

        return recording_write

    def _note_result(self, fill: Callable[[object], None]) -> Callable[[object], None]:
        def noting_fill(result: object) -> None:
            self.results.append(result)
            fill(result)

        return noting_fill

    def _traceback(self, show: Callable[..., None]) -> Callable[..., None]:
        """Record an exception that IPython shows and swallows, as one of a `_repr_html_`."""

        def recording_show(kind: type, value: object, lines: list[str]) -> None:
            with self._muted():
                show(kind, value, lines)
            with self._lock:
                self._clear_if_due()
                self._outputs.append(
                    {"kind": "error", "name": kind.__name__, "value": str(value), "lines": list(lines)}
                )

        return recording_show

    def _clear(self, clear_output: Callable[..., None]) -> Callable[..., None]:
        def recording_clear(wait: bool = False) -> None:  # noqa: FBT001, FBT002 - IPython's own signature
            with self._muted():
                clear_output(wait)
            with self._lock:
                self._clear_next = True
                if not wait:
                    self._clear_if_due()

        return recording_clear

    def _quietly(self, method: Callable[[], None]) -> Callable[[], None]:
        def quiet() -> None:
            with self._muted():
                method()

        return quiet

    @contextmanager
    def _muted(self) -> Iterator[None]:
        """Record no text of this thread: a terminal's publisher prints what it publishes."""
        before = getattr(self._local, "muted", False)
        self._local.muted = True
        try:
            yield
        finally:
            self._local.muted = before

    def _clear_if_due(self) -> None:
        if self._clear_next:
            # Updates of other cells' displays stay: `clear_output` reaches this cell's area only.
            self._outputs = [output for output in self._outputs if output["kind"] == "update"]
            self._clear_next = False


def flush_figures(shell: Shell) -> None:
    """Show matplotlib's open figures now, as the inline backend would after the cell, so that they are recorded."""
    inline = sys.modules.get("matplotlib_inline.backend_inline")
    if inline is not None and inline.flush_figures in shell.events.callbacks["post_execute"]:
        inline.flush_figures()


def _cell_id(stream: Any) -> str | None:  # Any: ipykernel's stream, or any other
    """Return which cell's output area a write now goes to, where the stream knows."""
    header = getattr(stream, "parent_header", None)
    return header.get("msg_id") if isinstance(header, dict) else None


def _finished(output: Output) -> Output:
    if output["kind"] == "stream":
        return {**output, "text": "".join(output["text"])}
    if output["kind"] == "error":
        return output
    return {**output, "data": without_widgets(output["data"])}


_QUIET = "font-size:.8em;color:var(--jp-ui-font-color2,#757575)"
_MISSING = object()
_PLAIN = "DisplayPublisher"


def replay(shell: Shell, outputs: Iterable[Output], *, results: Sequence[object] = ()) -> None:
    """Show recorded outputs, as the cell itself would have.

    Parameters
    ----------
    shell
        Whose streams, publisher and displayhook are used.
    outputs
        What a `Recorder` recorded.
    results
        The values behind each `execute_result`, which become `_` and `Out[n]`; none where they were not stored.
    """
    values = iter(results)
    for output in outputs:
        match output["kind"]:
            case "stream":
                stream = getattr(sys, output["name"])
                stream.write(output["text"])
                stream.flush()
            case "result":
                _show_result(shell, output, next(values, _MISSING))
            case "error":
                kind = type(output["name"], (Exception,), {})
                shell._showtraceback(kind, kind(output["value"]), output["lines"])  # noqa: SLF001 - as above
            case kind:
                transient = {"display_id": output["display_id"]} if output["display_id"] else None
                shell.display_pub.publish(
                    output["data"], output["metadata"], transient=transient, update=kind == "update"
                )


def show_badge(shell: Shell, text: str, *, title: str = "") -> None:
    """Show one quiet line; `title` is what hovering over it tells."""
    if type(shell.display_pub).__module__ == "IPython.core.displaypub" and type(shell.display_pub).__name__ == _PLAIN:
        _shells_stream(shell).write(f"{text}\n")  # it would print, and `print` may be the user's own
        return
    html = f'<div class="awaitly-badge" style="{_QUIET}" title="{escape(title)}">{escape(text)}</div>'
    shell.display_pub.publish({"text/plain": text, "text/html": html}, {})


def _shells_stream(shell: Shell) -> Any:  # Any: file-like
    """Return where a terminal shows what the shell says: no stream that the user's code has put there."""
    stream = sys.stdout
    if is_user_class(type(stream)) or any(value is stream for value in list(shell.user_ns.values())):
        return _last_stream[0] if _last_stream else sys.__stdout__
    _last_stream[:] = [stream]
    return stream


_last_stream: list[Any] = []


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


VIEW = "application/vnd.jupyter.widget-view+json"


def without_widgets(data: dict[str, Any]) -> dict[str, Any]:  # Any: a MIME bundle's values
    """Return a MIME bundle in which a widget view is replaced by HTML of its state now; other bundles as they are."""
    if VIEW not in data:
        return data
    rest = {mime: content for mime, content in data.items() if mime != VIEW}
    widget = _widget(data[VIEW].get("model_id", ""))
    if "text/html" not in rest:
        rest["text/html"] = _drawn(widget) if widget is not None else escape(str(rest.get("text/plain", "widget")))
    return rest


def _widget(model_id: str) -> Any:  # Any: an ipywidgets widget, or None
    module = sys.modules.get("ipywidgets.widgets.widget")
    return None if module is None else module._instances.get(model_id)  # noqa: SLF001 - no public way to look one up


def _drawn(widget: Any) -> str:  # Any: an ipywidgets widget of any class
    kind = type(widget).__name__
    label = escape(str(getattr(widget, "description", "") or ""))
    if children := getattr(widget, "children", None):
        direction = "column" if kind in {"VBox", "Accordion", "Tab", "Stack"} else "row"
        inner = "".join(_drawn(child) for child in children)
        return f'<div style="display:flex;flex-direction:{direction};gap:.5em;align-items:baseline">{inner}</div>'
    value: Any = getattr(widget, "value", None)
    if kind in {"HTML", "HTMLMath"}:
        return f"<span>{label} {value}</span>"  # markup by its own definition, shown as markup live, too
    if kind in {"IntProgress", "FloatProgress"}:
        return f'<label>{label} <progress max="{float(widget.max):g}" value="{float(value):g}"></progress></label>'
    if value is None:
        return f"<code>{escape(kind)}</code>"
    return f"<span>{label} {escape(str(value))}</span>"
