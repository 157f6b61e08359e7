"""What the runs of a kernel do, as lines in a file, so that another process can follow and a kill loses nothing.

`keep` runs in the kernel, `Follower` in the process that started it. A line is one event without its values.
"""

from __future__ import annotations

import json
import threading
from typing import TYPE_CHECKING, Any

from awaitly_nb import events

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

__all__ = ["Follower", "WouldCompute", "keep"]

_FIELDS = ("workflow", "run_id", "step_id", "step_key", "duration_s", "computed_s", "size_bytes", "reason", "source")


class WouldCompute(BaseException):
    """A step would be computed, and the run was to compute nothing.

    No `Exception`, because those are answers of a step; no `KeyboardInterrupt`, because that would end asyncio's loop,
    and with it the kernel.
    """


def keep(path: str, *, compute: bool = True) -> None:
    """Write a line to `path` for every event of this process from now on.

    Parameters
    ----------
    path
        The file; lines are appended.
    compute
        False ends the run that comes to a step with a key and without a kept result.
    """
    from awaitly_nb.engine import failure_line

    def write(event: Any) -> None:  # Any: one of the event types
        line = {"type": event.type, "at": event.at.timestamp()}
        line |= {name: value for name in _FIELDS if (value := getattr(event, name, None)) is not None}
        if (result := getattr(event, "result", None)) is not None:
            line["ok"] = result.ok
            if not result.ok:
                line["error_text"] = failure_line(result.error)
        # Opened for each line: the kernel may be forked, or killed at any moment.
        with open(path, "a", encoding="utf-8") as file:  # noqa: PTH123 - no Path in the kernel's hot path
            file.write(json.dumps(line) + "\n")
        if not compute and isinstance(event, events.StepCacheMiss):
            raise WouldCompute(f"step {event.step_id!r} would be computed: {event.reason}")

    events.observe(write)


class Follower:
    """Calls back with each line of a journal as it is written, from a thread, and keeps them all.

    Parameters
    ----------
    path
        The journal; it may not exist yet.
    on_event
        Called with each line's data.
    """

    def __init__(self, path: Path, on_event: Callable[[dict[str, Any]], None] | None = None) -> None:
        self.events: list[dict[str, Any]] = []
        self._path = path
        self._on_event = on_event
        self._read_to = 0
        self._ended = threading.Event()
        self._thread = threading.Thread(target=self._follow, name="awaitly-nb-journal", daemon=True)

    def __enter__(self) -> Follower:
        """Begin to follow."""
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        """Read what is left, and end."""
        self._ended.set()
        self._thread.join()
        self._read()

    def _follow(self) -> None:
        while not self._ended.wait(0.05):
            self._read()

    def _read(self) -> None:
        try:
            text = self._path.read_bytes()[self._read_to :]
        except FileNotFoundError:
            return
        whole = text[: text.rfind(b"\n") + 1]  # a line may be half written, or cut off by a kill
        self._read_to += len(whole)
        for line in whole.splitlines():
            event = json.loads(line)
            self.events.append(event)
            if self._on_event is not None:
                self._on_event(event)
