"""The demonstration: a real notebook, its kernel killed in the middle of the longest step, and run again.

The notebook is copied into a folder of its own, with a cache of its own, which stays, to be opened in JupyterLab.
"""

from __future__ import annotations

import os
import shutil
import sys
import tempfile
import threading
import time
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from awaitly_nb.cli.headless import RunReport, RunStep, run_notebook
from awaitly_nb.errors import MisuseError

if TYPE_CHECKING:
    from collections.abc import Callable

__all__ = ["STEPS", "Demo", "DemoRow", "run_demo"]

_KILLED = "fit"
"""The longest step of the notebook, and its last one."""

STEPS = 18
"""How many steps and cells of the notebook are cached: three cells by name and one by itself, the list of airlines,
twelve fits, the last fit."""


@dataclass(frozen=True, slots=True, kw_only=True)
class DemoRow:
    """One step of the notebook in both runs; the calls of one step are taken together.

    Attributes
    ----------
    step
        Its id.
    calls
        How often it was called in the second run.
    first_s, second_s
        Seconds in each run.
    killed
        Whether the first run's kernel was killed in it.
    computed
        How many of its calls the second run computed.
    saved_s
        Seconds that the second run saved.
    """

    step: str
    calls: int
    first_s: float
    second_s: float
    killed: bool
    computed: int
    saved_s: float


@dataclass(frozen=True, slots=True, kw_only=True)
class Demo:
    """Both runs, and the folder in which they took place."""

    folder: Path
    first: RunReport
    second: RunReport

    @property
    def rows(self) -> list[DemoRow]:
        """One row per step, in the order of the notebook."""
        ids = dict.fromkeys(step.step_id for step in (*self.second.steps, *self.first.steps))
        return [self._row(name) for name in ids]

    def _row(self, name: str) -> DemoRow:
        first = [s for s in self.first.steps if s.step_id == name]
        second = [s for s in self.second.steps if s.step_id == name]
        return DemoRow(
            step=name,
            calls=len(second),
            first_s=sum(s.duration_s for s in first),
            second_s=sum(s.duration_s for s in second),
            killed=any(s.state == "interrupted" for s in first),
            computed=sum(s.state == "computed" for s in second),
            saved_s=sum(s.saved_s for s in second),
        )

    @property
    def resumed(self) -> bool:
        """True when the kernel was killed, and the second run computed exactly what that interrupted."""
        killed = {_identity(s) for s in self.first.steps if s.state == "interrupted"}
        computed = {_identity(s) for s in self.second.steps if s.state != "hit"}
        return self.first.ending == "kernel died" and self.second.ending == "ok" and killed == computed != set()

    def to_dict(self) -> dict[str, Any]:
        """Return both runs as plain JSON data."""
        return {
            "folder": str(self.folder),
            "resumed": self.resumed,
            "first": self.first.to_dict(),
            "second": self.second.to_dict(),
        }


def _identity(step: RunStep) -> tuple[str, str | None]:
    return step.step_id, step.step_key


def run_demo(
    folder: Path | None = None,
    *,
    notebook: Path | None = None,
    killed_step: str = _KILLED,
    on_event: Callable[[str, dict[str, Any]], None] | None = None,
) -> Demo:
    """Run the quickstart, kill its kernel in the middle of the longest step, and run it again.

    Parameters
    ----------
    folder
        Where; a new temporary folder by default.
    notebook, killed_step
        Another notebook, and its step to be killed in.
    on_event
        Called with `"first"` or `"second"` and the data of each event; `"kernel_start"` comes before the others, and
        `"killed"` when the kill is sent.
    """
    folder = Path(tempfile.mkdtemp(prefix="awaitly-nb-demo-")) if folder is None else folder
    folder.mkdir(parents=True, exist_ok=True)
    if any(folder.iterdir()):
        raise MisuseError(f"{folder} is not empty; the demonstration needs a new folder, so that nothing is cached yet")
    source = quickstart() if notebook is None else notebook
    copy = folder / source.name
    shutil.copyfile(source, copy)
    # The default place for a notebook that lies in no project, named so that no setting of the user's moves it.
    environment = dict(os.environ) | {"AWAITLY_NB_CACHE_DIR": str(folder / ".awaitly")}
    # One thread a fit: threads that wait in a loop for a busy core make a shared machine ten times slower.
    environment.setdefault("OMP_NUM_THREADS", "1")
    killer = _Killer(killed_step)

    def tell(which: str, event: dict[str, Any]) -> None:
        if on_event is not None:
            on_event(which, event)

    def first_event(event: dict[str, Any], kill: Callable[[], None]) -> None:
        def kill_and_tell() -> None:
            kill()
            tell("first", {"type": "killed", "step_id": killed_step, "at": time.time()})

        killer.watch(event, kill_and_tell)
        tell("first", event)

    def second_event(event: dict[str, Any], _kill: Callable[[], None]) -> None:
        tell("second", event)

    tell("first", {"type": "kernel_start", "at": time.time()})
    first = _unless_interrupted(run_notebook(copy, environment=environment, on_event=first_event))
    killer.stand_down()
    tell("second", {"type": "kernel_start", "at": time.time()})
    second = _unless_interrupted(run_notebook(copy, environment=environment, on_event=second_event))
    return Demo(folder=folder, first=first, second=second)


def _unless_interrupted(report: RunReport) -> RunReport:
    if report.ending == "interrupted":
        raise KeyboardInterrupt  # Two runs are compared here, and of half a run there is nothing to tell.
    return report


class _Killer:
    """Kills a kernel in the middle of a step: after three quarters of the shortest call of the step that took longest.

    How long a step will take is not known before it ends; on a busy machine the same fit takes twice as long as before.
    """

    def __init__(self, step_id: str) -> None:
        self._step_id = step_id
        self._calls: dict[str, list[float]] = {}
        self._timer: threading.Timer | None = None

    def watch(self, event: dict[str, Any], kill: Callable[[], None]) -> None:
        if event["type"] == "step_success":
            self._calls.setdefault(event["step_id"], []).append(event["duration_s"])
        if event["type"] == "step_start" and event["step_id"] == self._step_id:
            shortest_s = min(max(self._calls.values(), key=sum, default=[0.0]))
            self._timer = threading.Timer(0.75 * shortest_s, kill)
            self._timer.start()

    def stand_down(self) -> None:
        if self._timer is not None:
            self._timer.cancel()


def quickstart() -> Path:
    """Return the notebook of the demonstration: beside the package in a checkout, inside it when installed."""
    package = Path(__file__).parent.parent
    for folder in (package.parent / "notebooks", package / "notebooks"):
        if (folder / "quickstart.ipynb").is_file():
            return folder / "quickstart.ipynb"
    raise MisuseError(f"quickstart.ipynb is neither beside nor inside {package}; install the package again")


def open_command(notebook: Path) -> str:
    """Return the command that opens `notebook` in the JupyterLab of this environment."""
    lab = Path(sys.executable).with_name("jupyter")
    program = os.path.relpath(lab) if lab.is_file() else "jupyter"
    return f"{program} lab {notebook}"
