"""A key as named parts: what a call of a function, and a run of a cell, depends on.

A part is one thing that an answer depends on: the function's code, a helper, a global, an argument. The key is the
digest of all of them, so two keys differ exactly where some part does, and `why.diff` can name it. Small values stand
in a part as exact text, which is stored beside the result and may be shown; text that looks like a secret is hashed.
"""

from __future__ import annotations

import re
import warnings
from contextlib import suppress
from functools import lru_cache
from hashlib import blake2b
from types import FunctionType, MethodType
from typing import TYPE_CHECKING, Any, Final, NamedTuple, TypeAlias

from awaitly_nb.errors import UnkeyableError
from awaitly_nb.keys.graph import ABSENT, CodeGraph, Small, function_graph, wrapped_function

if TYPE_CHECKING:
    from collections.abc import Callable, Collection, Iterable, Iterator, Mapping, Sequence
    from types import CodeType

    from awaitly_nb.keys.cells import Reads
    from awaitly_nb.keys.graph import Fixed, Slot

__all__ = [
    "CellRead",
    "Part",
    "Parts",
    "bind",
    "cell_parts",
    "is_secret_name",
    "masked",
    "named_token",
    "part_digest",
    "part_outline",
    "plain_token",
    "read_cell",
    "read_names",
    "step_parts",
]

_TEXT_LIMIT: Final = 20_000


class Part(NamedTuple):
    """One thing that a key depends on.

    Attributes
    ----------
    kind
        `code`, `helper`, `class`, `global`, `closure`, `default`, `import`, `package`, `version` or `argument`.
    name
        Which one.
    digest
        What it is; equal digests are equal parts.
    shown
        What a reader is shown: the source of code, the outline of a value. Plain JSON data.
    """

    kind: str
    name: str
    digest: str
    shown: Any = ""  # Any: plain JSON data


class Parts:
    """The named parts of an automatic key. Frozen; compares by name and parts.

    Parameters
    ----------
    name
        Of the step or cell.
    parts
        All that its answer depends on.

    Examples
    --------
    >>> Parts("f", [Part("argument", "x", "int 1")]).key == Parts("f", [Part("argument", "x", "int 2")]).key
    False
    """

    __slots__ = ("_key", "_make", "_parts", "is_isolated", "name")

    name: str
    is_isolated: bool
    """Whether they are of code that reaches nothing but its arguments, and of plain ones.

    Then nothing has to be watched while it runs, and nothing of the key can have changed afterwards."""

    def __init__(self, name: str, parts: Iterable[Part]) -> None:
        self.name = name
        self._parts: tuple[Part, ...] | None = tuple(parts)
        self._make: Callable[[], Iterable[Part]] | None = None
        self.is_isolated = False
        hasher = blake2b(digest_size=16)
        hasher.update("".join(map(frame, self._parts)).encode("utf-8", "surrogatepass"))
        self._key = f"{name}:{hasher.hexdigest()}"

    @classmethod
    def later(
        cls, name: str, hexdigest: str, make: Callable[[], Iterable[Part]], *, is_isolated: bool = False
    ) -> Parts:
        """Return parts whose key is known already and whose list is made when it is asked for: a hit never asks."""
        parts: Parts = cls.__new__(cls)
        parts.name = name
        parts._key = f"{name}:{hexdigest}"
        parts._parts = None
        parts._make = make
        parts.is_isolated = is_isolated
        return parts

    @property
    def key(self) -> str:
        """The key, `NAME:<hex>`."""
        return self._key

    @property
    def parts(self) -> tuple[Part, ...]:
        """The parts: code first, arguments last."""
        if self._parts is None:
            assert self._make is not None
            self._parts = tuple(self._make())
            self._make = None
        return self._parts

    def __eq__(self, other: object) -> bool:
        if not isinstance(other, Parts):
            return NotImplemented
        return self._key == other._key

    def __hash__(self) -> int:
        return hash(self._key)

    def __repr__(self) -> str:
        return f"Parts({self._key})"

    def to_data(self) -> dict[str, Any]:
        """Return this as plain JSON data."""
        shown = [(p.kind, p.name, p.digest, _short(p.shown)) for p in self.parts]
        return {"name": self.name, "parts": [list(row) for row in shown]}

    @classmethod
    def from_data(cls, data: Mapping[str, Any]) -> Parts:
        """Return what `to_data` was made of."""
        return cls(str(data["name"]), [Part(*row) for row in data["parts"]])


def frame(part: Part | Fixed) -> str:
    """Return how a part enters the key."""
    return f"{part.kind}\x1f{part.name}\x1f{part.digest}\x1e"


def _short(shown: Any) -> Any:
    return shown[:_TEXT_LIMIT] if isinstance(shown, str) else shown


# -- of a call and of a cell -------------------------------------------------------------------------------------------

_Value: TypeAlias = "tuple[str, str, str, object]"
"""Kind, name and digest of a part, and the value that it stands for."""


def step_parts(
    fn: Callable[..., Any],
    args: Sequence[Any],
    kwargs: Mapping[str, Any],
    *,
    name: str,
    ignore: Collection[str] = (),
    version: object = None,
) -> Parts:
    """Return the parts of the key of `fn(*args, **kwargs)`.

    Positional, keyword and default forms of one call have one key. The list of parts is made when it is first asked
    for, so ask before the step runs if it may change its arguments.

    Parameters
    ----------
    ignore
        Names of arguments that the result does not depend on.
    version
        Anything small; another version is another key.

    Raises
    ------
    UnkeyableError
        An argument, or a value that the code reads, has no fingerprint; the error's `path` names it.
    TypeError
        The call itself would raise it.
    """
    graph = function_graph(fn, defaults=False)
    hasher = _prefix(graph).copy()
    values = [_read_slot(slot, read=True) for slot in graph.slots]
    if version is not None:
        values.append(("version", "version", _digest(version, "version"), version))
    is_isolated = type(fn) is FunctionType and not ignore and graph.is_isolated()
    for argument, value in bind(fn, args, kwargs):
        if not ignore or (argument not in ignore and argument.lstrip("*") not in ignore):
            if (token := named_token(argument, value)) is None:
                is_isolated = False
                token = _MARKER if _is_own_marker(fn, value) else _digest(value, argument)
            values.append(("argument", argument, token, value))
    hasher.update(_framed(values))
    return Parts.later(name, hasher.hexdigest(), lambda: _listed(graph, values), is_isolated=is_isolated)


_MARKER: Final = "object"


def _is_own_marker(fn: Callable[..., Any], value: object) -> bool:
    # A bare object() that is a default of the function says "not given"; any other has no meaning to key.
    if type(value) is not object:
        return False
    given = (*(getattr(fn, "__defaults__", None) or ()), *(getattr(fn, "__kwdefaults__", None) or {}).values())
    return {id(default) for default in given if type(default) is object} == {id(value)}


def _listed(graph: CodeGraph, values: list[_Value]) -> Iterator[Part]:
    for kind, name, digest, shown in graph.fixed:
        yield Part(kind, name, digest, part_outline(name, shown.value) if type(shown) is Small else shown)
    for kind, name, digest, value in values:
        yield Part(kind, name, digest, _known_outline(name, digest, value))


_outlines: dict[tuple[str, bool], Any] = {}
_MOST_OUTLINES: Final = 512


def _known_outline(name: str, digest: str, value: object) -> Any:
    """Return the outline of a value: equal digests have equal ones, and the cells of a notebook read the same frame."""
    known = digest, is_secret_name(name)
    if (found := _outlines.get(known)) is None:
        if len(_outlines) >= _MOST_OUTLINES:
            _outlines.clear()
        found = _outlines[known] = part_outline(name, value)
    return found


class CellRead(NamedTuple):
    """What a cell reads, found in one walk over its code and the values behind its names.

    Attributes
    ----------
    parts
        The parts of its key; None where a value has no fingerprint.
    unkeyable
        The error of the first value that has none.
    names
        The variables that the cell and its helpers read, in order of first mention; functions and modules too.
    digests
        The fingerprints of those that are values and have one.
    graph
        All that was found, from which `literal_files` tells the files that are named.
    """

    parts: Parts | None
    unkeyable: UnkeyableError | None
    names: tuple[str, ...]
    digests: Mapping[str, str]
    graph: CodeGraph


def read_cell(source: str, namespace: Mapping[str, Any], *, name: str, ignore: Collection[str] = ()) -> CellRead:
    """Return what a cell reads of `namespace`, and the parts of its key: its code, and what it reads.

    The list of parts is made when it is first asked for, so ask before the cell runs if it may change its inputs.

    Parameters
    ----------
    source
        Plain Python; `await` outside of functions is allowed.
    namespace
        What the names of the cell stand for.
    name
        Of the cell.
    ignore
        Names of variables that the cell's result does not depend on.

    Raises
    ------
    SyntaxError
        The source is no Python.

    Examples
    --------
    >>> one = read_cell("y = x + 1", {"x": 1}, name="c")
    >>> one.names, one.digests
    (('x',), {'x': 'int 1'})
    >>> one.parts == read_cell("y = x + 1  # more", {"x": 1, "z": 0}, name="c").parts
    True
    >>> one.parts == read_cell("y = x + 1", {"x": 2}, name="c").parts
    False
    """
    from awaitly_nb.keys.collect import collect_names

    cell = _cell(source)
    graph = collect_names(_chains(cell.reads, namespace, ignore), namespace, cell.reads.imports, cell.texts)
    code = Part("code", name, cell.digest, source)
    values: list[_Value] = []
    unkeyable: UnkeyableError | None = None
    digests = {key: digest for key, digest in graph.names.items() if digest is not None}
    for slot in graph.slots:
        try:
            values.append(_read_slot(slot, read=False))
        except UnkeyableError as exc:
            unkeyable = unkeyable or exc
        else:
            if slot.lookup is namespace and slot.key in graph.names:
                digests[str(slot.key)] = values[-1][2]
    parts = None
    if unkeyable is None:
        hasher = blake2b(frame(code).encode("utf-8", "surrogatepass"), digest_size=16)
        hasher.update("".join([frame(part) for part in graph.fixed]).encode("utf-8", "surrogatepass"))
        hasher.update(_framed(values))
        parts = Parts.later(name, hasher.hexdigest(), lambda: [code, *_listed(graph, values)])
    return CellRead(parts, unkeyable, tuple(graph.names), digests, graph)


def cell_parts(source: str, namespace: Mapping[str, Any], *, name: str, ignore: Collection[str] = ()) -> Parts:
    """Return the parts of the key of a cell, as `read_cell` does.

    Raises
    ------
    SyntaxError
        The source is no Python.
    UnkeyableError
        A value that the cell reads has no fingerprint.
    """
    found = read_cell(source, namespace, name=name, ignore=ignore)
    if found.parts is None:
        assert found.unkeyable is not None
        raise found.unkeyable
    return found.parts


def read_names(source: str, namespace: Mapping[str, Any]) -> CodeGraph:
    """Return what a cell reads of `namespace`."""
    return read_cell(source, namespace, name="").graph


def _chains(reads: Reads, namespace: Mapping[str, Any], ignore: Collection[str]) -> list[tuple[str, ...]]:
    left_out = {*ignore, *(name for name in reads.in_text if name not in namespace)}
    chains = [chain for chain in reads.chains if chain[0] not in left_out]
    for variable, chain in reads.if_empty:
        if chain[0] not in left_out and _empty(namespace.get(variable, ABSENT)):
            chains.append(chain)
    return chains


def _empty(value: object) -> bool:
    try:
        return len(value) == 0  # type: ignore[arg-type]
    except Exception:  # noqa: BLE001 - user code may raise anything; what has no size is not empty
        return False


def _prefix(graph: CodeGraph) -> Any:  # Any: hashlib names no type for its objects
    if graph.prefix is None:
        graph.prefix = blake2b(digest_size=16)
        graph.prefix.update("".join([frame(part) for part in graph.fixed]).encode("utf-8", "surrogatepass"))
    return graph.prefix


def _framed(values: Iterable[_Value]) -> bytes:
    text = "".join([f"{kind}\x1f{part}\x1f{digest}\x1e" for kind, part, digest, _ in values])
    return text.encode("utf-8", "surrogatepass")


def _read_slot(slot: Slot, *, read: bool) -> _Value:
    kind, name, lookup, key = slot
    value = lookup.get(key, ABSENT)
    digest = "absent" if value is ABSENT else _digest(value, f"{kind} {name}", read=read)
    return kind, name, digest, value


def part_digest(name: str, value: object) -> str:
    """Return the digest that a value has as a part of a key: what a cell leaves is told by it, and met by it later.

    Raises
    ------
    UnkeyableError
        The value has no fingerprint.
    """
    return named_token(name, value) or _digest(value, name)


def _digest(value: object, path: str, *, read: bool = False) -> str:
    token = named_token(path, value)
    if token is not None:
        return token
    from awaitly_nb.keys.values import fingerprint

    return fingerprint(value, path=path, read=read)


def part_outline(name: str, value: object) -> object:
    """Return what a part of a key tells of its value, so that `outline_diff` can say what changed."""
    from awaitly_nb.keys.why import outline

    # Asked for on a miss alone, so there is time to note each column, and `why` can say which of them changed.
    return "absent" if value is ABSENT else outline(masked(name, value), digests=True)


class _Source(NamedTuple):
    digest: str
    reads: Reads
    texts: tuple[str, ...]


_sources: dict[str, _Source] = {}
_MOST_CELLS: Final = 256


def _cell(source: str) -> _Source:
    found = _sources.get(source)
    if found is None:
        import ast

        from awaitly_nb.keys.cells import cell_reads
        from awaitly_nb.keys.code import tree_digest

        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # the shell compiles the cell as well, and tells
            tree = ast.parse(source)
        texts = [
            node.value for node in ast.walk(tree) if isinstance(node, ast.Constant) and isinstance(node.value, str)
        ]
        found = _Source(tree_digest(tree.body), cell_reads(tree), tuple(dict.fromkeys(texts)))
        if len(_sources) >= _MOST_CELLS:
            _sources.clear()
        _sources[source] = found
    return found


# -- arguments by parameter name ---------------------------------------------------------------------------------------

Bound = list[tuple[str, object]]

_VARARGS: Final = 0x04
_VARKEYWORDS: Final = 0x08
_STARRED: Final = _VARARGS | _VARKEYWORDS


def bind(fn: object, args: Sequence[Any], kwargs: Mapping[str, Any]) -> Bound:
    """Return the arguments of `fn(*args, **kwargs)` by parameter name, defaults filled in.

    Raises
    ------
    TypeError
        The call itself would raise it.
    """
    target = fn
    if type(target) is MethodType:
        args = (target.__self__, *args)
        target = target.__func__
    if type(target) is FunctionType:
        code = target.__code__
        if code.co_flags & _STARRED == _STARRED and not code.co_argcount:
            inner = wrapped_function(target)
            if inner is not None:  # a plain wrapper: the signature is that of what it wraps
                with suppress(TypeError):  # unless it adds arguments of its own
                    own = [(name, value) for name, value in (target.__kwdefaults__ or {}).items() if name not in kwargs]
                    return [*bind(inner, args, kwargs), *own]
        bound = _bind_function(target, code, args, kwargs)
        if bound is None:
            _bind_slowly(target, args, kwargs)  # raises, and says what is wrong; but for a bug in Python 3.13.0
            raise TypeError(f"{target.__name__}() cannot be called with these arguments")
        return bound
    return _bind_slowly(target, args, kwargs)


def _bind_function(
    function: FunctionType, code: CodeType, args: Sequence[Any], kwargs: Mapping[str, Any]
) -> Bound | None:
    count = code.co_argcount
    names = code.co_varnames
    flags = code.co_flags
    if len(args) == count and not kwargs and not code.co_kwonlyargcount and not flags & _STARRED:
        return list(zip(names, args))  # noqa: B905 - names go on with the local variables
    if len(args) > count and not flags & _VARARGS:
        return None
    bound: Bound = list(zip(names, args[:count], strict=False))
    last = count + code.co_kwonlyargcount
    used = 0
    defaults = function.__defaults__ or ()
    for index in range(min(len(args), count), last):
        name = names[index]
        if name in kwargs and index >= code.co_posonlyargcount:
            bound.append((name, kwargs[name]))
            used += 1
        elif count - len(defaults) <= index < count:
            bound.append((name, defaults[index - count]))
        elif index >= count and function.__kwdefaults__ and name in function.__kwdefaults__:
            bound.append((name, function.__kwdefaults__[name]))
        else:
            return None
    if flags & _VARARGS:
        bound.append((f"*{names[last]}", tuple(args[count:])))
    if used < len(kwargs) and (not flags & _VARKEYWORDS or _given_twice(code, len(args), kwargs)):
        return None
    if flags & _VARKEYWORDS:
        taken = names[code.co_posonlyargcount : last]
        extra = {name: value for name, value in kwargs.items() if name not in taken} if kwargs else {}
        bound.append((f"**{names[last + bool(flags & _VARARGS)]}", extra))
    return bound


def _given_twice(code: CodeType, given: int, kwargs: Mapping[str, Any]) -> bool:
    by_position = code.co_varnames[code.co_posonlyargcount : min(given, code.co_argcount)]
    return any(name in kwargs for name in by_position)


def _bind_slowly(target: object, args: Sequence[Any], kwargs: Mapping[str, Any]) -> Bound:
    import inspect

    try:
        signature = inspect.signature(target)  # type: ignore[arg-type]
    except (ValueError, TypeError):  # a builtin without a signature
        named = [(f"{name}=", value) for name, value in kwargs.items()]
        return [*((str(index), value) for index, value in enumerate(args)), *named]
    found = signature.bind(*args, **kwargs)
    found.apply_defaults()
    stars = {inspect.Parameter.VAR_POSITIONAL.value: "*", inspect.Parameter.VAR_KEYWORD.value: "**"}
    kinds = {name: stars.get(parameter.kind.value, "") for name, parameter in signature.parameters.items()}
    return [(kinds[name] + name, value) for name, value in found.arguments.items()]


# -- small values as text ----------------------------------------------------------------------------------------------

TEXT_LIMIT: Final = 200
_BITS_LIMIT: Final = 640


def _text(value: str) -> str | None:
    if len(value) > TEXT_LIMIT or ("@" in value and "://" in value):  # a connection string may hold a password
        return None
    return f"str {value!r}"


def _data(value: bytes) -> str | None:
    return f"bytes {value!r}" if len(value) <= TEXT_LIMIT else None


def _integer(value: int) -> str | None:
    # Beyond a few hundred digits `str` of an int gets slow, and from 4300 on Python refuses it.
    return f"int {value}" if value.bit_length() < _BITS_LIMIT else None


def _tuple(value: tuple[object, ...]) -> str | None:
    if len(value) > 16:  # noqa: PLR2004 - a handful of column names, not data
        return None
    items = []
    for item in value:
        token = plain_token(item)
        if token is None:
            return None
        items.append(token)
    return f"tuple {len(items)} ({', '.join(items)})"


_WRITERS: Final[dict[type, Callable[..., str | None]]] = {
    int: _integer,
    str: _text,
    bool: "bool {}".format,
    float: "float {!r}".format,
    type(None): "None".format,
    bytes: _data,
    tuple: _tuple,
}


_SECRET: Final = re.compile(r"passw|passphrase|secret|token|api_?key|credential|private_?key", re.IGNORECASE)
_PASSWORD: Final = re.compile(r"(://[^\s:/@]*:)[^\s@]+(@)")


@lru_cache(maxsize=4096)
def is_secret_name(name: str) -> bool:
    """Tell whether text under this name is not for showing, as in `api_key`.

    Examples
    --------
    >>> is_secret_name("api_key"), is_secret_name("key")
    (True, False)
    """
    return _SECRET.search(name) is not None


def named_token(name: str, value: object) -> str | None:
    """Return the token of a value under a name, or None where it has none or would tell a secret."""
    writer = _WRITERS.get(type(value))
    if writer is None or (writer is _text and is_secret_name(name)):
        return None
    return writer(value)


def masked(name: str, value: object) -> object:
    """Return what may be shown of a value: text under a secret name, and passwords in addresses, are blotted out.

    Examples
    --------
    >>> masked("url", "postgres://me:pass@host/db"), masked("password", "pass")
    ('postgres://me:***@host/db', '***')
    """
    if type(value) is not str:
        return value
    return "***" if is_secret_name(name) else _PASSWORD.sub(r"\1***\2", value)


def plain_token(value: object) -> str | None:
    """Return the exact text for a small value of a plain type, or None for every other value.

    Examples
    --------
    >>> plain_token(1), plain_token(True), plain_token(1.0), plain_token([1])
    ('int 1', 'bool True', 'float 1.0', None)
    """
    writer = _WRITERS.get(type(value))
    return writer(value) if writer is not None else None
