"""A notebook run from top to bottom in a kernel of its own, without a browser, and the outcome of its steps.

The keys are those of the same notebook in JupyterLab, so what is cached there is cached here, and a run that was killed
goes on where it stopped. Needs the extra `lab`.

What the kernel does it writes as lines into a file, the journal, so that this process can follow and a kill loses
nothing: `write_journal` runs in the kernel, `Follower` here. A line is one event without its values.
"""

from __future__ import annotations

import json
import os
import re
import signal
import tempfile
import threading
import time
from collections.abc import Callable, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

from awaitly_nb import events
from awaitly_nb.config import settings
from awaitly_nb.engine import observe
from awaitly_nb.errors import MissingExtraError, MisuseError
from awaitly_nb.plans import AUTO
from awaitly_nb.units import show_duration

if TYPE_CHECKING:
    import subprocess
    from collections.abc import Collection, Iterable, Iterator

    from nbclient import NotebookClient

__all__ = [
    "Ending",
    "Follower",
    "OverBudget",
    "RunReport",
    "RunStep",
    "WouldCompute",
    "run_notebook",
    "steps_of",
    "write_journal",
]

Ending = Literal["ok", "cell failed", "kernel died", "interrupted", "would compute", "over budget"]
_SMALL_S = 0.1
_JOURNAL, _LOG = "events.jsonl", "kernel.log"
_FORGOTTEN = re.compile(r"[Mm]agic function `?%%?awaitly|[Mm]agic `?%%?awaitly")
_LOAD_EXT = (
    "%%awaitly is unknown to this kernel: put `%load_ext awaitly_nb` into a cell above the first one that uses it."
)
OnEvent = Callable[[dict[str, Any], Callable[[], None]], None]


@dataclass(frozen=True, slots=True, kw_only=True)
class RunStep:
    """What became of one step of the run.

    Attributes
    ----------
    workflow, step_id, step_key
        Which step; for a cell all three begin with its name.
    state
        `"interrupted"` for a step that had begun when the kernel died, or was stopped from the keyboard.
    duration_s
        Seconds it took in this run; for an interrupted one, until the last sign of life.
    saved_s
        Seconds saved by not computing it.
    reason
        Why it was computed.
    error_text
        The error of a failed step, replayed or not.
    """

    workflow: str
    step_id: str
    step_key: str | None
    state: Literal["hit", "replayed failure", "computed", "failed", "interrupted", "would compute"]
    duration_s: float = 0.0
    saved_s: float = 0.0
    reason: str = ""
    error_text: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class RunReport:
    """How a run of a notebook ended, and its steps in the order in which they were settled.

    Attributes
    ----------
    notebook
        The file.
    ending
        How it ended.
    seconds
        From the start of the kernel to the end.
    steps
        What became of each step.
    error
        What a failed cell said, or a kernel that died of itself.
    code_cells
        How many code cells were to run.
    """

    notebook: Path
    ending: Ending
    seconds: float
    steps: tuple[RunStep, ...]
    error: str = ""
    code_cells: int = 0

    @property
    def total(self) -> str:
        """What became of the cells, and what that saved, in one line."""
        cells = [step for step in self.steps if step.workflow in (AUTO, step.step_id)]
        hits = sum(step.state == "hit" for step in cells)
        saved_s = sum(step.saved_s for step in self.steps)
        text = f"{hits} from cache, {len(cells) - hits} computed, {max(0, self.code_cells - len(cells))} live"
        text += f": {show_duration(self.seconds)}"
        return text if saved_s < _SMALL_S else f"{text} instead of {show_duration(self.seconds + saved_s)}"

    @property
    def step_seconds(self) -> float:
        """Seconds spent in steps, looked up or computed."""
        return sum(step.duration_s for step in self.steps)

    def to_dict(self) -> dict[str, Any]:
        """Return the report as plain JSON data."""
        counted = {state: sum(s.state == state for s in self.steps) for state in ("hit", "computed", "failed")}
        return {
            "notebook": str(self.notebook),
            "ending": self.ending,
            "seconds": round(self.seconds, 3),
            "step_seconds": round(self.step_seconds, 3),
            "total": self.total,
            "saved_seconds": round(sum(step.saved_s for step in self.steps), 3),
            **counted,
            "error": self.error,
            "steps": [{name: getattr(step, name) for name in RunStep.__slots__} for step in self.steps],
        }


def run_notebook(
    notebook: Path,
    *,
    compute: bool = True,
    only: Collection[int] | None = None,
    budget_s: float | None = None,
    environment: Mapping[str, str] | None = None,
    output: Path | None = None,
    on_event: OnEvent | None = None,
) -> RunReport:
    """Run the cells of `notebook` in a new kernel, in the notebook's folder.

    Parameters
    ----------
    notebook
        The file; it is not changed.
    compute
        False stops at the first step with a key that is not in the cache.
    only
        Places of the cells to run, from 0; None runs all.
    budget_s
        Stop before a step that is expected to take longer than what is left of these seconds, and in one that nobody
        has timed when they are over; None means no bound.
    environment
        The kernel's environment; by default this process's.
    output
        Where to write the notebook with its outputs, or None.
    on_event
        Called with the data of each event, and a function that kills the kernel as `kill -9` does.

    Raises
    ------
    MissingExtraError
        The extra `lab` is not installed.
    MisuseError
        There is no such notebook.
    """
    try:
        import nbclient
        import nbformat
        from nbclient.exceptions import CellExecutionError, DeadKernelError
    except ImportError as exc:
        raise MissingExtraError(exc.name or "nbclient", "lab") from exc
    if not notebook.is_file():
        raise MisuseError(f"there is no notebook {notebook}")
    nb = nbformat.read(notebook, as_version=4)  # type: ignore[no-untyped-call]
    place = {"metadata": {"path": str(notebook.absolute().parent)}}
    client = nbclient.NotebookClient(nb, timeout=None, resources=place)
    began, ending, error = time.monotonic(), "ok", ""
    died_at: float | None = None

    def kill() -> None:
        nonlocal died_at
        died_at = time.time()
        _kill(client)

    def follow(event: dict[str, Any]) -> None:
        if on_event is not None:
            on_event(event, kill)

    with tempfile.TemporaryDirectory() as temporary:
        folder = Path(temporary)
        with Follower(folder / _JOURNAL, follow) as follower, _bounded(client, follower, budget_s) as bound:
            try:
                _run_cells(
                    client, folder, f"compute={compute}, budget_s={budget_s}", only=only, environment=environment
                )
            except CellExecutionError as exc:
                ending = "over budget" if bound.stopped else _STOPS.get(exc.ename, "cell failed")
                error = str(exc) if ending == "cell failed" else bound.stopped or exc.evalue
                died_at = time.time() if bound.stopped else None
                if _FORGOTTEN.search(str(exc.evalue)):
                    error = f"{_LOAD_EXT}\n\n{error}"
            except DeadKernelError:
                ending = "kernel died"
                error = "" if died_at else (folder / _LOG).read_text(errors="replace")
                died_at = died_at or time.time()
            except KeyboardInterrupt:
                ending, died_at = "interrupted", time.time()
    if output is not None:
        nbformat.write(nb, output)  # type: ignore[no-untyped-call]
    return RunReport(
        notebook=notebook,
        ending=ending,  # type: ignore[arg-type]
        seconds=time.monotonic() - began,
        steps=tuple(steps_of(follower.events, until=died_at)),
        error=error,
        code_cells=sum(
            cell.cell_type == "code" and bool(cell.source.strip()) and (only is None or index in only)
            for index, cell in enumerate(nb.cells)
        ),
    )


def _run_cells(
    client: NotebookClient,
    folder: Path,
    options: str,
    *,
    only: Collection[int] | None,
    environment: Mapping[str, str] | None,
) -> None:
    call = f"_k({str(folder / _JOURNAL)!r}, {options})"
    if settings().auto:  # the notebook need not have a line for it
        call += "; get_ipython().run_line_magic('load_ext', 'awaitly_nb')"
    start = f"from awaitly_nb.cli.headless import write_journal as _k; {call}; del _k"
    with (
        (folder / _LOG).open("wb") as log,
        client.setup_kernel(env=dict(os.environ if environment is None else environment), stdout=log, stderr=log),
    ):
        # Not `execute_cell`, which would put it into the notebook. The kernel takes requests in order.
        assert client.kc is not None
        client.kc.execute(start, silent=True, store_history=False)
        for index, cell in enumerate(client.nb.cells):
            if only is None or index in only:
                client.execute_cell(cell, index)


class _Bound:
    """Stops a kernel, as the Stop button does, in something that nobody has timed, once the budget is over.

    What is expected to end in time may end: it was begun because it would.
    """

    def __init__(self, client: NotebookClient, follower: Follower, budget_s: float) -> None:
        self.stopped = ""
        self._client = client
        self._follower = follower
        self._budget_s = budget_s

    def watch(self, ended: threading.Event) -> None:
        """Wait for the budget to be over; runs in a thread of its own."""
        while not ended.wait(_LOOK_AGAIN_S):
            events = self._follower.events
            if not events or time.time() < events[0]["at"] + self._budget_s:
                continue  # the first line says when the kernel was ready
            latest = events[-1]
            is_timed = latest["type"] == "step_start" and latest.get("expected_s") is not None
            process = _process_of(self._client)
            if is_timed or time.time() - latest["at"] < _LOOK_AGAIN_S or process is None:
                continue
            what = f"step {latest['step_id']!r}" if latest["type"] == "step_start" else "a cell"
            self.stopped = f"{what} ran when the budget was over, and nobody knows how long it takes; it was stopped"
            process.send_signal(signal.SIGINT)  # the manager's own way is a coroutine of the loop that waits


_LOOK_AGAIN_S = 1.0


@contextmanager
def _bounded(client: NotebookClient, follower: Follower, budget_s: float | None) -> Iterator[_Bound]:
    bound, ended = _Bound(client, follower, budget_s or 0.0), threading.Event()
    thread = threading.Thread(target=bound.watch, args=(ended,), name="awaitly-nb-budget", daemon=True)
    if budget_s is not None:
        thread.start()
    try:
        yield bound
    finally:
        ended.set()
        if budget_s is not None:
            thread.join()


def _kill(client: NotebookClient) -> None:
    # SIGKILL, and not km.shutdown_kernel(): the kernel gets no chance to finish anything.
    if (process := _process_of(client)) is not None:
        process.kill()


def _process_of(client: NotebookClient) -> subprocess.Popen[bytes] | None:
    provisioner = client.km and client.km.provisioner
    return getattr(provisioner, "process", None)


def steps_of(lines: Iterable[Mapping[str, Any]], *, until: float | None = None) -> list[RunStep]:
    """Return what became of each step, from the lines of a journal.

    Parameters
    ----------
    lines
        Data of events, in order.
    until
        When the kernel died, in seconds since the epoch; by default with the last line.
    """
    steps: list[RunStep] = []
    running: dict[tuple[str, ...], tuple[Mapping[str, Any], str]] = {}
    missed: dict[tuple[str, ...], Mapping[str, Any]] = {}
    last_at = 0.0
    for line in lines:
        last_at = max(last_at, line["at"])
        if "step_id" not in line:
            continue
        step = (line["run_id"], line["step_id"], line.get("step_key", ""))
        match line["type"]:
            case "step_cache_hit":
                seconds = line.get("duration_s", 0.0)
                saved = max(0.0, line.get("computed_s", seconds) - seconds)
                state = "hit" if line.get("ok", True) else "replayed failure"
                steps.append(_step(line, state, duration_s=seconds, saved_s=saved))
            case "step_cache_miss":
                missed[step] = line
            case "step_start":
                reason = missed.pop(step, {}).get("reason", "" if "step_key" in line else "no key")
                running[step] = (line, reason)
            case "step_success" | "step_error":
                reason = running.pop(step, (line, ""))[1]
                state = "computed" if line["type"] == "step_success" else "failed"
                steps.append(_step(line, state, duration_s=line["duration_s"], reason=reason))
    steps += [_step(line, "would compute", reason=line.get("reason", "")) for line in missed.values()]
    for line, reason in running.values():
        steps.append(_step(line, "interrupted", duration_s=max(0.0, (until or last_at) - line["at"]), reason=reason))
    return steps


def _step(line: Mapping[str, Any], state: Any, **told: Any) -> RunStep:  # Any: the literals and fields of RunStep
    return RunStep(
        workflow=line["workflow"],
        step_id=line["step_id"],
        step_key=line.get("step_key"),
        state=state,
        error_text=line.get("error_text", ""),
        **told,
    )


# -- the journal ------------------------------------------------------------------------------------------------------

_FIELDS = ("workflow", "run_id", "step_id", "step_key", "duration_s", "computed_s", "size_bytes", "reason", "source")


class OverBudget(BaseException):
    """A step is expected to take longer than what is left, and was not started. A BaseException as `WouldCompute`."""


class WouldCompute(BaseException):
    """A step would be computed, and the run was to compute nothing.

    No `Exception`, because those are answers of a step; no `KeyboardInterrupt`, because that would end asyncio's loop,
    and with it the kernel.
    """


_STOPS = {"WouldCompute": "would compute", "OverBudget": "over budget"}


def write_journal(path: str, *, compute: bool = True, budget_s: float | None = None) -> None:
    """Write a line to `path` for every event of this process from now on.

    Parameters
    ----------
    path
        The file; lines are appended.
    compute
        False ends the run that comes to a step with a key whose result is not cached.
    budget_s
        Seconds from now; a step that is expected to take longer than what is left of them ends the run.
    """
    from awaitly_nb.engine import failure_line
    from awaitly_nb.manage import expected_s

    ends = None if budget_s is None else time.monotonic() + budget_s

    def write(event: Any) -> None:  # Any: one of the event types
        line = {"type": event.type, "at": event.at.timestamp()}
        line |= {name: value for name in _FIELDS if (value := getattr(event, name, None)) is not None}
        if ends is not None and isinstance(event, events.StepStart):
            line["expected_s"] = expected_s(event.workflow, event.step_id)
        if (result := getattr(event, "result", None)) is not None:
            line["ok"] = result.ok
            if not result.ok:
                line["error_text"] = failure_line(result.error)
        # Opened for each line: the kernel may be forked, or killed at any moment.
        with open(path, "a", encoding="utf-8") as file:  # noqa: PTH123 - no Path in the kernel's hot path
            file.write(json.dumps(line) + "\n")
        if not compute and isinstance(event, events.StepCacheMiss):
            raise WouldCompute(f"step {event.step_id!r} would be computed: {event.reason}")
        if ends is not None and isinstance(event, events.StepCacheMiss):
            _check_budget(event, ends - time.monotonic())

    if ends is not None:
        Path(path).write_text(json.dumps({"type": "ready", "at": time.time()}) + "\n", encoding="utf-8")
    observe(write)


def _check_budget(event: events.StepCacheMiss, left_s: float) -> None:
    from awaitly_nb.manage import expected_s

    expected = expected_s(event.workflow, event.step_id)
    if left_s <= 0 or (expected is not None and expected > left_s):
        takes = "nobody knows how long" if expected is None else f"about {show_duration(expected)}"
        raise OverBudget(
            f"step {event.step_id!r} would take {takes}, and {show_duration(max(0.0, left_s))} are left; nothing was "
            f"started ({event.reason})"
        )


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
