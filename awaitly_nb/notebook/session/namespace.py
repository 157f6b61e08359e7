"""What a cell leaves in a session: noticed while it runs, turned into one value to store, and restored from it.

All variables go into one pickle, with the new contents of the objects that the cell changed in place, so that two names
of one object stay two names of one object. Objects that were there before are written as references (`live`,
`codec.pack`). A module is stored by its name, a deleted variable as deleted, and a variable that no pickler takes as a
placeholder (`placeholders`).
"""

from __future__ import annotations

import gc
import importlib
import inspect
import os
import sys
from contextlib import contextmanager
from contextvars import ContextVar
from types import BuiltinFunctionType, CodeType, FunctionType, ModuleType
from typing import TYPE_CHECKING, Any, Final, TypeAlias

from awaitly_nb.codec import EntangledError, UndecodableError, exports_memory, out_of_band, pack, unpack
from awaitly_nb.errors import EncodeError, UnkeyableError
from awaitly_nb.keys import generator_states, is_user_class, is_user_function, is_user_module, part_digest
from awaitly_nb.notebook.session.live import CannotRestoreError, Live

if TYPE_CHECKING:
    from collections.abc import Callable, Collection, Iterable, Iterator, Mapping, Sequence

    from awaitly_nb.notebook.ledger import Ledger
    from awaitly_nb.notebook.shell import Shell

__all__ = ["CELL", "Left", "Payload", "Watched", "names_in", "restore"]

Payload: TypeAlias = "dict[str, Any]"
"""A cell as it is stored: `CELL` holds what belongs to it as plain data, the rest is the pickle of its variables."""

CELL: Final = ""
_FORMAT: Final = 4
_SHELL_NAMES: Final = frozenset({"_", "__", "___"})
_IMMUTABLE: Final = (int, float, complex, str, bytes, bool, type(None))


class Left:
    """What a cell left, collected once somebody stores it.

    Attributes
    ----------
    seconds
        How long the cell itself ran.
    files
        Stamps of the files that it wrote, made or removed.
    why
        Why it cannot be stored, once somebody has tried.
    """

    def __init__(self, collect: Callable[[], Payload]) -> None:
        self._collect: Callable[[], Payload] | None = collect
        self._payload: Payload | None = None
        self.seconds = 0.0
        self.files: tuple[Any, ...] = ()  # Any: stamps, as keys makes them
        self.why = ""

    def __reduce__(self) -> tuple[type, tuple[Payload]]:
        if self._collect is not None:
            try:
                self._payload = self._collect()
            except (CannotRestoreError, EncodeError) as exc:
                self.why = str(exc)
            finally:
                self._collect = None  # which holds what the cell could reach, and let go
        if self._payload is None:
            raise EncodeError(self.why)
        return dict, (self._payload,)

    @property
    def missing(self) -> Collection[str]:
        """The variables that could not be stored, once somebody has stored the others."""
        return () if self._payload is None else self._payload[CELL]["missing"]


class Watched:
    """A session while a cell runs in it.

    Parameters
    ----------
    shell
        Whose namespace.
    reads
        The variables that the cell reads.
    automatic
        Whether they are part of its key, so that what is stored may refer to them.
    imports
        The modules that it imports.
    reached
        What else its code may reach, by name.

    Attributes
    ----------
    defined_s
        Seconds that its imports and definitions took, which a hit in another process repeats.
    """

    def __init__(
        self,
        shell: Shell,
        reads: Sequence[str],
        *,
        automatic: bool,
        imports: Sequence[str] = (),
        reached: Sequence[tuple[str, object]] = (),
    ) -> None:
        self._shell = shell
        self._automatic = automatic
        self._before = dict(shell.user_ns)
        self._inputs = Live(watch=True)
        self._loaded = [name for name in imports if name in sys.modules and is_user_module(sys.modules[name])]
        self._inputs.add([*_roots(reads, self._before, self._loaded), *reached])
        self._sharing = self._inputs.sharing() if automatic else None  # an explicit key is the user's word
        self._made = Live(watch=True, known=self._inputs.numbers)
        self._defined: list[str] = []
        self.defined_s = 0.0
        self._found: dict[int, Any] | None = None  # Any: as of `Live.changes`
        self._generators = generator_states()

    def note_definitions(self, names: Iterable[str], seconds: float) -> None:
        """Note what a definition has just bound: on a hit the definition runs, and what came after it is restored."""
        self.defined_s += seconds
        values = self._shell.user_ns
        # Modules and functions that were imported need nothing: they go by name.
        bound = [name for name in names if name in values and not _is_installed(values[name])]
        self._defined += bound
        self._made.add((name, self._shell.user_ns[name]) for name in bound)

    def collect(
        self,
        *,
        stores: Collection[str],
        only: Iterable[str] | None,
        shown: Sequence[object] = (),
        beside: object = None,
        may_run_anew: bool = True,
    ) -> Payload:
        """Return what the cell left, as one value to store.

        Parameters
        ----------
        stores
            Names the cell binds at its top level.
        only
            The only variables to store, with what their functions need of the others; None means all.
        shown
            The value that the cell showed last, if it showed one.
        beside
            What else goes into the pickle, so that it shares objects with the variables.
        may_run_anew
            Whether the cell can run later for the sake of a variable that cannot be stored.

        Raises
        ------
        CannotRestoreError, EncodeError
            It cannot be stored so that a hit leaves the same.
        """
        assigned = self._assigned(stores)
        changes = dict(self._changes())
        changes |= {-1 - number: contents for number, contents in self._made.changes().items()}
        unbound = [name for name in self._before if name in assigned or name not in self._shell.user_ns]
        if (changes or unbound) and (kind := self._inputs.held_weakly()) is not None:
            raise CannotRestoreError(f"a {kind} that it may let go is referred to weakly")
        if only is not None:
            assigned = {name: assigned[name] for name in _with_needs(only, assigned)}
        modules = {name: value.__name__ for name, value in assigned.items() if isinstance(value, ModuleType)}
        values = {name: value for name, value in assigned.items() if name not in modules}
        packer = _Packer(
            self._numbers(changes),
            self._objects(),
            changes.keys(),
            self._is_new,
            protected=self._inputs.protected | self._made.protected,
            outside=self._outside(stores),
        )
        content = {"values": values, "changes": changes, "shown": list(shown), "beside": beside}
        missing: dict[str, tuple[str, str]] = {}
        try:
            encoded = packer.pack(content)
        except EncodeError as exc:
            if shown and packer.why_not(list(shown)) is not None:
                content["shown"] = []
            missing = packer.missing(values)
            _check_apart(missing, values, names=self._shell.user_ns)
            if changes and (why := packer.why_not(changes)) is not None:
                raise CannotRestoreError(f"what it changes in place cannot be stored: {why}") from exc
            if (why := packer.why_not(beside)) is not None:
                raise CannotRestoreError(f"what it changes in the process cannot be stored: {why}") from exc
            # What it did beside them is restored, so running it once more for their sake would do that twice, and
            # perhaps after later cells have done something else.
            does_more = any(number >= 0 for number in changes) or generator_states() != self._generators
            if missing and (does_more or not may_run_anew):
                name, (kind, why) = next(iter(missing.items()))
                raise CannotRestoreError(f"{name} is a {kind} ({why})") from exc
            if not missing and content["shown"] == list(shown):
                raise CannotRestoreError(str(exc)) from exc
            content["values"] = {name: value for name, value in values.items() if name not in missing}
            encoded = packer.pack(content)
        used = packer.used | changes.keys()
        most, most_made = max(used, default=-1), max((-1 - number for number in used), default=-1)
        return {
            CELL: {
                "format": _FORMAT,
                "modules": modules,
                "names": list(assigned),
                "missing": missing,
                "deleted": [] if only is not None else self._deleted(),
                "defined": self._defined,
                "loaded": self._loaded,
                "sharing": self._sharing,
                "inputs": (most, self._inputs.shape(most) if most >= 0 else ""),
                "made": (most_made, self._made.shape(most_made) if most_made >= 0 else ""),
            },
            "stream": encoded.stream,
            "buffers": [out_of_band(view) for view in encoded.buffers],
            "shapes": encoded.shapes,
        }

    def told(self, stores: Collection[str]) -> dict[str, Any]:  # Any: plain JSON data
        """Return what the cell left by fingerprint, without values, for a plan to go on from there.

        A change in place shows under every name that reaches the object, so these are told too.
        """
        names, hidden = self._shell.user_ns, self._shell.user_ns_hidden
        assigned = self._assigned(stores)
        changed = [self._inputs.objects[number] for number in self._changes()]
        touched: list[str] = []
        if changed:
            # What did not lead to one is not gone through again: `fig` and `ax` hold the same thousands of parts.
            aside: list[Live] = []
            passed: dict[int, int] = {}
            for name, value in list(names.items()):
                if name in assigned or name in hidden or name.startswith("_") or isinstance(value, ModuleType):
                    continue
                if (plain := Live.plain_meets(value, changed)) is not None:
                    touched += [name] if plain else []
                    continue
                reached = Live(watch=False, known=passed)
                reached.add([(name, value)])
                if reached.meets(changed):
                    touched.append(name)
                else:
                    aside.append(reached)  # holds the objects, so that their ids stay their own
                    passed |= reached.numbers
        marks: dict[str, str] = {}
        unknown: list[str] = []
        for name, value in self._to_tell([*assigned, *touched]):
            try:
                marks[name] = part_digest(name, value)
            except UnkeyableError:
                unknown.append(name)
        told: dict[str, Any] = {"vars": marks, "unknown": unknown, "deleted": self._deleted(), "changed": touched}
        # Those it seeded or drew from: a hit leaves the others as they are.
        states = generator_states()
        told["generators"] = {name: now[1] for name, now in states.items() if now != self._generators.get(name)}
        return {kind: found for kind, found in told.items() if found or kind == "vars"}

    def _to_tell(self, names: Iterable[str]) -> Iterator[tuple[str, Any]]:
        """Yield variables with their values; definitions and imports are told by the text, what classes hold is not."""
        for name in names:
            value = self._shell.user_ns[name]
            if isinstance(value, type) and value.__module__ == "__main__":
                for attribute, found in list(vars(value).items()):
                    if not attribute.startswith("__") and not callable(found) and not hasattr(found, "__get__"):
                        yield f"{name}.{attribute}", found
            elif not isinstance(value, ModuleType | type) and not callable(value):
                yield name, value

    def _changes(self) -> dict[int, Any]:  # Any: as of `Live.changes`
        if self._found is None:
            self._found = self._inputs.changes()
        return self._found

    def _assigned(self, stores: Collection[str]) -> dict[str, Any]:  # Any: the user's values
        """Return the variables that are new, bound to another object, or named in `stores`."""
        hidden = self._shell.user_ns_hidden
        missing = object()
        found = {}
        was, now = self._before.get, list(self._shell.user_ns.items())
        for name, value in [(n, value) for n, value in now if was(n, missing) is not value or n in stores]:
            if hidden.get(name, missing) is value or (name in _SHELL_NAMES and not self._is_own(name, value, stores)):
                continue
            if was(name, missing) is not value:
                found[name] = value
            elif name in stores and (isinstance(value, _IMMUTABLE) or id(value) in self._inputs.numbers):
                found[name] = value  # perhaps bound to the same object, which hides the assignment
            elif name in stores and isinstance(value, ModuleType):
                found[name] = value
        return found

    def _is_own(self, name: str, value: object, stores: Collection[str]) -> bool:
        """Tell whether `_` is a variable of the user's, as in `first, _ = pair`, and worth keeping: a plain value."""
        shown = getattr(self._shell.displayhook, name, value)
        return name in stores and value is not shown and isinstance(value, _IMMUTABLE)

    def _deleted(self) -> list[str]:
        now, hidden = self._shell.user_ns, self._shell.user_ns_hidden
        # A hit runs the definitions, so what was defined and deleted again is to be deleted there too.
        names = dict.fromkeys([*self._before, *self._defined])
        return [name for name in names if name not in now and name not in hidden]

    def _objects(self) -> list[object]:
        return [*self._inputs.objects, *self._made.objects]

    def _outside(self, stores: Collection[str]) -> dict[str, object]:
        """Return the variables with memory that the cell does not read: of arrays, those that it did not make."""
        numpy = sys.modules.get("numpy")
        if numpy is None:
            return {}
        known = self._inputs.numbers.keys() | self._made.numbers.keys()
        made = self._assigned(stores) if self._automatic else self._shell.user_ns
        return {
            name: value
            for name, value in list(self._shell.user_ns.items())
            if id(value) not in known
            and (name not in made if isinstance(value, numpy.ndarray) else exports_memory(value))
        }

    def _numbers(self, changes: Collection[int]) -> dict[int, int]:
        inputs = self._inputs.numbers
        if not self._automatic:
            inputs = {id(value): number for value, number in self._changed(changes)}
        return {**inputs, **{key: -1 - number for key, number in self._made.numbers.items()}}

    def _changed(self, changes: Collection[int]) -> Iterator[tuple[object, int]]:
        for number in changes:
            if number >= 0:
                yield self._inputs.objects[number], number

    def _is_new(self, cls: type) -> bool:
        """Tell whether the notebook had no such class before the cell ran."""
        if cls.__module__ != "__main__":
            return False
        first, *inner = cls.__qualname__.split(".")
        found = self._before.get(first)
        for name in inner:
            found = getattr(found, name, None)
        return found is not cls


class _Packer:
    def __init__(
        self,
        numbers: Mapping[int, int],
        live: Sequence[object],
        changed: Collection[int],
        is_new: Callable[[type], bool],
        *,
        protected: Collection[int],
        outside: Mapping[str, object],
    ) -> None:
        self._numbers, self._live, self._changed, self._is_new = numbers, live, changed, is_new
        self._protected, self._outside = protected, outside
        self.used: set[int] = set()

    def pack(self, content: object, used: set[int] | None = None) -> Any:  # Any: an Encoded of codec
        return pack(
            content,
            self._live,
            numbers=self._numbers,
            changed=self._changed,
            is_new=self._is_new,
            protected=self._protected,
            outside=self._outside,
            used=self.used if used is None else used,
        )

    def why_not(self, content: object) -> str | None:
        try:
            self.pack(content, set())
        except EntangledError as exc:
            raise CannotRestoreError(str(exc)) from exc
        except EncodeError as exc:
            return str(exc)
        return None

    def missing(self, values: Mapping[str, object]) -> dict[str, tuple[str, str]]:
        """Return type and reason of the variables that no pickler takes."""
        return {name: (_kind(value), why) for name, value in values.items() if (why := self.why_not(value)) is not None}


def _check_apart(missing: Mapping[str, tuple[str, str]], values: Mapping[str, object], *, names: object) -> None:
    """Raise CannotRestoreError where a variable that cannot be stored holds what others of the cell's hold too.

    Its cell would run again for its sake, and leave it with objects, and classes, of its own.
    """
    if not missing:
        return
    stored = Live(watch=False)
    stored.add((name, value) for name, value in values.items() if name not in missing)
    classes = {id(value): name for name, value in values.items() if isinstance(value, type)}
    for name, (kind, why) in missing.items():
        waiting, seen = [values[name]], {id(names)}
        while waiting and len(seen) < _SEARCHED:
            value = waiting.pop()
            if (made := classes.get(id(value))) is not None and made != name:
                raise CannotRestoreError(f"{name} is a {kind} ({why}), and knows the class {made} of the same cell")
            if id(value) in seen or isinstance(value, ModuleType | type | CodeType):
                continue
            seen.add(id(value))
            if id(value) in stored.numbers and not isinstance(value, tuple | frozenset | FunctionType):
                raise CannotRestoreError(f"{name} is a {kind} ({why}), and shares a {_kind(value)} with others")
            if isinstance(value, FunctionType):
                waiting += [*(value.__closure__ or ()), *(value.__defaults__ or ())]
            elif isinstance(value, ContextVar):
                waiting.append(value.get(None))  # which lies in the context
            else:
                waiting += gc.get_referents(value)


_SEARCHED: Final = 10_000


def _is_installed(value: object) -> bool:
    if isinstance(value, (ModuleType, BuiltinFunctionType, *_IMMUTABLE)):
        return True
    if isinstance(value, type):
        return not is_user_class(value)
    return isinstance(value, FunctionType) and not is_user_function(value)


def restore(
    shell: Shell,
    payload: Payload,
    reads: Sequence[str],
    *,
    ledger: Ledger,
    reached: Sequence[tuple[str, object]] = (),
    define: Callable[[], None],
) -> list[object]:
    """Restore what `Watched.collect` noted, and return the value that was shown, if one was.

    Parameters
    ----------
    reads
        The variables that the cell reads.
    ledger
        Applies what the cell changed in the process.
    reached
        What else its code may reach, by name.
    define
        Runs the definitions of the cell's top level.

    Raises
    ------
    CannotRestoreError
        It cannot be restored in this session; nothing but the definitions was touched.
    """
    cell, names = payload[CELL], shell.user_ns
    if cell.get("format") != _FORMAT:
        raise CannotRestoreError("it was stored by another version of awaitly_nb")
    with _prepared(ledger, cell["early"]):
        content, inputs, made, modules = _loaded(payload, reads, names, define, reached)
        changes = content["changes"]
        inputs.check(number for number in changes if number >= 0)
        if (why := ledger.refusal(content["beside"])) is not None:
            raise CannotRestoreError(why)
    inputs.change({number: contents for number, contents in changes.items() if number >= 0})
    made.change({-1 - number: contents for number, contents in changes.items() if number < 0})
    shell.push({**content["values"], **modules})
    for name in cell["deleted"]:
        names.pop(name, None)
    ledger.apply(content["beside"])
    shown: list[object] = content["shown"]
    return shown


def _loaded(
    payload: Payload,
    reads: Sequence[str],
    names: Mapping[str, Any],  # Any: the user's values
    define: Callable[[], None],
    reached: Sequence[tuple[str, object]],
) -> tuple[dict[str, Any], Live, Live, dict[str, ModuleType]]:  # Any: the user's values
    """Return the content of a payload, what lives of its inputs and definitions, and the modules it names."""
    cell = payload[CELL]
    try:
        for module in cell["imports"]:
            importlib.import_module(module)
        modules = {name: importlib.import_module(module) for name, module in cell["modules"].items()}
        # Before the definitions run, which may enter themselves into a registry.
        roots = [*_roots(reads, names, cell["loaded"]), *reached]
        inputs = _numbered(cell["inputs"], roots, sharing=cell.get("sharing"))
        if cell["defined"]:
            define()
        defined = [(name, names[name]) for name in cell["defined"]]
    except CannotRestoreError:
        raise
    except Exception as exc:  # user code may raise anything where it is imported or defined
        raise CannotRestoreError(f"{type(exc).__name__}: {exc}") from exc
    made = _numbered(cell["made"], defined, known=inputs.numbers)

    def live(number: int) -> object:
        return inputs.objects[number] if number >= 0 else made.objects[-1 - number]

    try:
        return unpack(payload["stream"], payload["buffers"], payload["shapes"], live), inputs, made, modules
    except UndecodableError as exc:
        raise CannotRestoreError(str(exc)) from exc


@contextmanager
def _prepared(ledger: Ledger, early: dict[str, Any]) -> Iterator[None]:
    """Change what imports depend on, and change it back where the rest cannot be restored."""
    if not early:
        yield
        return
    if (why := ledger.refusal(early)) is not None:
        raise CannotRestoreError(why)
    saved = os.getcwd(), dict(os.environ), list(sys.path)  # noqa: PTH109 - pathlib gives another type
    try:
        ledger.prepare(early)
        yield
    except BaseException as exc:
        os.chdir(saved[0])
        os.environ.clear()
        os.environ.update(saved[1])
        sys.path[:] = saved[2]
        if isinstance(exc, CannotRestoreError) or not isinstance(exc, Exception):
            raise
        raise CannotRestoreError(f"{type(exc).__name__}: {exc}") from exc


def _roots(
    reads: Iterable[str], names: Mapping[str, Any], modules: Iterable[str]
) -> list[tuple[str, object]]:  # Any: the user's values
    """Return the variables and the loaded modules from which a cell reaches what it reads."""
    found = [(name, names[name]) for name in reads if name in names]
    return found + [(f"module {name}", sys.modules[name]) for name in modules if name in sys.modules]


def _numbered(
    wanted: tuple[int, str],
    roots: Iterable[tuple[str, object]],
    known: Mapping[int, int] | None = None,
    *,
    sharing: str | None = None,
) -> Live:
    most, shape = wanted
    live, roots = Live(watch=False, known=known), list(roots)
    # Most inputs share nothing, and to see that takes a tenth of numbering all that they hold.
    whole = sharing is not None and not (sharing == "" and Live.is_a_tree(roots))
    if most >= 0 or whole:
        live.add(roots, most=None if whole else most)
        is_same = most < 0 or (len(live.objects) > most and live.shape(most) == shape)
        if not is_same or (whole and live.sharing() != sharing):
            raise CannotRestoreError("the objects that it reads are shared in another way than when it was stored")
    return live


def _with_needs(wanted: Iterable[str], assigned: Mapping[str, Any]) -> list[str]:  # Any: the user's values
    """Return the wanted names, and what the functions among them name, themselves or through each other."""
    found = [name for name in wanted if name in assigned]
    for name in found:  # grows while it is walked
        code = getattr(inspect.unwrap(assigned[name]), "__code__", None)
        found += [need for need in names_in(code) if need in assigned and need not in found]
    return found


def names_in(code: CodeType | None) -> set[str]:
    """Return the names that code and the functions in it look up beside their own variables."""
    if code is None:
        return set()
    return set(code.co_names).union(*(names_in(part) for part in code.co_consts if isinstance(part, CodeType)))


def _kind(value: object) -> str:
    kind = type(value)
    return kind.__qualname__ if kind.__module__ == "builtins" else f"{kind.__module__}.{kind.__qualname__}"
