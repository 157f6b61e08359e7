"""Whether hits leave what running leaves: a notebook is run live, and with its cache, and the two are compared.

Each side is a process of its own, in the notebook's folder: one runs every cell as plain Python on an empty cache, the
other serves what is cached. After each cell both tell what every variable is, what was shown, and what the ledger
watches. Where something differs the notebook is run live once more: what differs between two live runs (time, draws
that nobody seeded) is no fault of the cache, and told apart.

`python -m awaitly_nb.notebook.audit NOTEBOOK` is what the shell command runs.
"""

from __future__ import annotations

import contextlib
import hashlib
import importlib
import io
import json
import os
import re
import subprocess
import sys
import tempfile
from dataclasses import asdict, dataclass, field
from pathlib import Path
from types import MappingProxyType
from typing import TYPE_CHECKING, Any

from awaitly_nb.errors import MisuseError, UnkeyableError
from awaitly_nb.keys import fingerprint, outline, outline_diff
from awaitly_nb.notebook.ledger import Ledger
from awaitly_nb.plans import read_notebook

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping, Sequence

__all__ = ["AuditFinding", "AuditReport", "audit", "audit_sources"]

# Any, throughout: the records of the two processes, which are plain JSON data, and the user's values.


@dataclass(frozen=True, slots=True)
class AuditFinding:
    """One thing that a cell left otherwise than running it does.

    Attributes
    ----------
    cell
        The cell's place among the code cells, from 0.
    name
        The first line of its text.
    what
        `variable x`, `output`, `error`, or a watched state such as `environment: MODE`.
    difference
        How the two differ, what running leaves first.
    """

    cell: int
    name: str
    what: str
    difference: str

    def __str__(self) -> str:
        return f"cell {self.cell} ({self.name}): {self.what}: {self.difference}"


@dataclass(frozen=True, slots=True)
class AuditReport:
    """What an audit found.

    Attributes
    ----------
    cells, hits
        How many code cells there are, and how many of them were served from the cache.
    findings
        What hits left otherwise than running does.
    unsteady
        What two live runs leave otherwise, too: time, or draws that nobody seeded.
    """

    cells: int
    hits: int
    findings: tuple[AuditFinding, ...] = ()
    unsteady: tuple[AuditFinding, ...] = ()

    def to_dict(self) -> dict[str, Any]:
        """Return it as plain JSON data."""
        return asdict(self)

    def __str__(self) -> str:
        lines = [f"{self.hits} of {self.cells} cells were served from the cache"]
        lines += [f"  {found}" for found in self.findings]
        lines.append(f"{len(self.findings)} differences" if self.findings else "they leave what running them leaves")
        if self.unsteady:
            lines += ["two live runs differ in", *(f"  {found}" for found in self.unsteady)]
        return "\n".join(lines)

    __repr__ = __str__


def audit(notebook: str | os.PathLike[str]) -> AuditReport:
    """Run a notebook live and with its cache, and return what its hits leave otherwise than running.

    Every cell runs, twice where something differs: files are written and services called as by *Run All*.

    Parameters
    ----------
    notebook
        The path of the notebook.

    Raises
    ------
    MisuseError
        The file is no notebook, or a process that runs it ended by itself.
    """
    path = Path(notebook)
    return audit_sources([cell.source for cell in read_notebook(path)], path.resolve().parent)


def audit_sources(sources: Sequence[str], folder: Path) -> AuditReport:
    """Do as `audit` for cells that are given as text and run in `folder`."""
    live = _run(sources, folder, live=True)
    cached = _run(sources, folder, live=False)
    found = list(_compared(sources, live, cached))
    # What is loaded in one process only has a state there and none in the other, where it would be as it begins.
    initial = _initial_states() if any(one.difference == _ONE_SIDED for one in found) else {}
    found = list(_compared(sources, live, cached, initial)) if initial else found
    unsteady: list[AuditFinding] = []
    if found:
        other = {(one.cell, one.what) for one in _compared(sources, live, _run(sources, folder, live=True), initial)}
        names = {what for _, what in other}
        unsteady = [one for one in found if one.what in names]
    return AuditReport(
        cells=len(live),
        hits=sum(record["hit"] for record in cached),
        findings=tuple(one for one in found if one not in unsteady),
        unsteady=tuple(unsteady),
    )


def _run(sources: Sequence[str], folder: Path, *, live: bool) -> list[dict[str, Any]]:
    with tempfile.TemporaryDirectory() as empty:
        environment = {**os.environ, "IPYTHONDIR": empty, "MPLBACKEND": os.environ.get("MPLBACKEND", "Agg")}
        if live:
            environment |= {"AWAITLY_NB_CACHE_DIR": f"{empty}/cache", "AWAITLY_NB_AUTO": "0"}
        answer = Path(empty, "answer.json")
        done = subprocess.run(  # noqa: S603 - this interpreter, and this module
            [sys.executable, "-m", _module(), "--record", str(answer)],
            input=json.dumps({"sources": list(sources), "live": live}),
            capture_output=True,
            text=True,
            cwd=folder,
            env=environment,
            check=False,
        )
        if not answer.exists():
            raise MisuseError(f"the notebook ended its process: {done.stderr.strip()[-_TAIL:] or done.returncode}")
        records: list[dict[str, Any]] = json.loads(answer.read_text(encoding="utf-8"))
        return records


def _initial_states() -> dict[str, str]:
    """Return digests of the watched states as they are where nobody has changed them yet."""
    command = [sys.executable, "-m", _module(), "--initial"]
    done = subprocess.run(command, capture_output=True, text=True, check=True)  # noqa: S603 - as above
    found: dict[str, str] = json.loads(done.stdout)
    return found


def _module() -> str:
    return __spec__.name if __spec__ else __name__


_TAIL = 500


# -- comparing -------------------------------------------------------------------------------------------------------


def _compared(
    sources: Sequence[str],
    live: list[dict[str, Any]],
    cached: list[dict[str, Any]],
    initial: Mapping[str, str] = MappingProxyType({}),
) -> Iterator[AuditFinding]:
    """Yield what differs, each variable and state at the first cell after which it does."""
    told: set[str] = set()
    asked: set[str] | None = None
    for place, (ran, served) in enumerate(zip(live, cached, strict=False)):
        first = sources[place].strip().partition("\n")[0]
        asked = _asked_for(first)

        def finding(what: str, difference: str, place: int = place, name: str = first) -> AuditFinding:
            return AuditFinding(place, name, what, difference)

        if ran["error"] != served["error"]:
            yield finding("error", f"{ran['error'] or 'none'} -> {served['error'] or 'none'}")
            return
        if ran["shown"] != served["shown"] and not (asked == set() or "--no-output" in first):
            yield finding("output", _first_difference(ran["shown"], served["shown"]))
        for what, difference in _states(ran["variables"], served["variables"], asked):
            if what not in told:
                told.add(what)
                yield finding(f"variable {what}", difference)
        for what in sorted(ran["states"].keys() | served["states"].keys()):
            one, other = (_state(states["states"], what, initial) for states in (ran, served))
            if one != other and what not in told:
                told.add(what)
                yield finding(what, _ONE_SIDED if one is None or other is None else "differs")


def _state(states: Mapping[str, str], what: str, initial: Mapping[str, str]) -> str | None:
    """Return the digest of a state; as it is at first where nothing of its watcher is told."""
    watcher = what.partition(": ")[0] + ": "
    return states.get(what) or (None if any(name.startswith(watcher) for name in states) else initial.get(what))


_ONE_SIDED = "is not in both"


def _states(ran: Mapping[str, Any], served: Mapping[str, Any], asked: set[str] | None) -> Iterator[tuple[str, str]]:
    for name in sorted(ran.keys() | served.keys()):
        one, other = ran.get(name), served.get(name)
        if other is not None and other["kind"] == "placeholder":
            continue  # it explains itself when it is used
        if other is None and asked is not None and name not in asked:
            continue  # the cell was told not to store it
        if one is None or other is None:
            yield name, "is missing after the hit" if other is None else "is there after the hit only"
        elif one["kind"] != other["kind"]:
            yield name, f"{one['kind']} -> {other['kind']}"
        elif one["mark"] != other["mark"]:
            yield name, outline_diff(one["outline"], other["outline"]) or "its content differs"


def _asked_for(first: str) -> set[str] | None:
    found = re.search(r"--vars[= ]\s*(\S+)", first) if first.startswith("%%awaitly") else None
    return None if found is None else set(found.group(1).split(","))


def _first_difference(ran: list[str], served: list[str]) -> str:
    for one, other in zip(ran, served, strict=False):
        if one != other:
            return f"{one[:_SHOWN]!r} -> {other[:_SHOWN]!r}"
    return f"{len(ran)} outputs -> {len(served)}"


_SHOWN = 80


# -- one side, in its own process --------------------------------------------------------------------------------------


@dataclass
class _Recorder:
    """Tells what each cell leaves."""

    shell: Any
    ledger: Ledger
    outlines: dict[str, tuple[str, Any]] = field(default_factory=dict)

    def variables(self) -> dict[str, Any]:
        hidden, missing = self.shell.user_ns_hidden, object()
        return {
            name: self._told(name, value)
            for name, value in list(self.shell.user_ns.items())
            if not name.startswith("_") and hidden.get(name, missing) is not value
        }

    def _told(self, name: str, value: object) -> dict[str, Any]:
        kind = f"{type(value).__module__}.{type(value).__qualname__}"
        if type(value).__name__ == "Placeholder":
            return {"kind": "placeholder", "mark": "", "outline": None}
        try:
            mark = fingerprint(value)
        except UnkeyableError:
            return {"kind": kind, "mark": "", "outline": None}
        except Exception as exc:  # noqa: BLE001 - user code may raise anything while it is read
            return {"kind": kind, "mark": f"{type(exc).__name__}", "outline": None}
        known = self.outlines.get(name)
        if known is None or known[0] != mark:
            self.outlines[name] = known = (mark, outline(value))
        return {"kind": kind, "mark": mark, "outline": known[1]}


def _record(sources: Sequence[str], *, live: bool) -> list[dict[str, Any]]:
    from IPython.core.displaypub import CapturingDisplayPublisher
    from IPython.core.interactiveshell import InteractiveShell

    class AuditShell(InteractiveShell):
        """A shell without a window, in which `%matplotlib` asks for none."""

        def enable_gui(self, gui: object = None) -> None:
            """Do nothing."""

    shell: Any = AuditShell.instance()
    shell.display_pub = CapturingDisplayPublisher(shell=shell)  # type: ignore[no-untyped-call]
    recorder = _Recorder(shell, Ledger(shell.user_ns, shell))
    records = []
    for source in sources:
        text = source.partition("\n")[2] if live and source.lstrip().startswith("%%awaitly") else source
        shell.display_pub.outputs.clear()
        # What goes to the error stream is not compared: this package itself says there what it serves.
        out, err = io.StringIO(), io.StringIO()
        with contextlib.redirect_stdout(out), contextlib.redirect_stderr(err):
            done = shell.run_cell(text, store_history=True)
        error = done.error_before_exec or done.error_in_exec
        shown = [output["data"] for output in shell.display_pub.outputs]
        badges = [data for data in shown if "awaitly-badge" in str(data.get("text/html", ""))]
        records.append(
            {
                "error": None if error is None else f"{type(error).__name__}: {error}",
                "hit": any(_FROM_CACHE.match(str(data.get("text/plain", ""))) for data in badges),
                "shown": [] if error else [out.getvalue(), *(_plain(data) for data in shown if data not in badges)],
                "variables": recorder.variables(),
                "states": {name: mark for name, mark in recorder.ledger.digests().items() if not _OURS.search(name)},
            }
        )
        if error is not None:
            break
    return records


def _plain(data: Mapping[str, Any]) -> str:
    """Return a display as text: addresses differ in every run, and pictures are told by a digest."""
    told = {mime: content if len(str(content)) < _LARGE else _digest(content) for mime, content in data.items()}
    return _ADDRESS.sub("0x", json.dumps(told, default=str, sort_keys=True))


def _digest(content: object) -> str:
    return hashlib.blake2b(_ADDRESS.sub("0x", str(content)).encode(), digest_size=8).hexdigest()


_FROM_CACHE = re.compile(r"(?:[^:]*: )?from cache")  # automatic mode says which cell
_OURS = re.compile("AWAITLY_|IPYTHONDIR")
_LARGE = 2000
_ADDRESS = re.compile(r"0x[0-9a-f]+")


def _main(arguments: list[str]) -> int:
    if arguments[:1] == ["--record"]:
        job = json.loads(sys.stdin.read())
        records = _record(job["sources"], live=job["live"])
        Path(arguments[1]).write_text(json.dumps(records, default=str), encoding="utf-8")
        return 0
    if arguments == ["--initial"]:
        ledger = Ledger({})
        for library in ledger.libraries():
            with contextlib.suppress(ImportError):
                importlib.import_module(library)
        sys.stdout.write(json.dumps(ledger.digests()))
        return 0
    report = audit(arguments[0])
    sys.stdout.write((json.dumps(report.to_dict()) if "--json" in arguments else str(report)) + "\n")
    return 1 if report.findings else 0


if __name__ == "__main__":
    raise SystemExit(_main(sys.argv[1:]))
