"""The pairs of the public battery through the caches that people use today, and through ours beside them.

`python -m tests.benchmarks.collisions` prints the comparison for whatever is installed, `--record` writes what was seen
into `known_faults.py` beside this file. A peer is asked in its own words: through its own hash function where it
has one, through a decorated call where that is its only face. An edited function is given to a peer as the function
that it caches, in a module file of its own, never as an argument.
"""

from __future__ import annotations

import contextlib
import importlib
import itertools
import logging
import signal
import sys
import tempfile
import warnings
from collections import Counter
from collections.abc import Callable, Iterator
from importlib import metadata
from pathlib import Path
from typing import Any

from awaitly_nb.keys import fingerprint
from awaitly_nb.testing.collisions import functions, groups

PEERS = {
    "joblib": ("joblib", "https://joblib.readthedocs.io/en/stable/memory.html#gotchas"),
    "marimo": ("marimo", "https://docs.marimo.io/api/caching/"),
    "hamilton": ("apache-hamilton", "https://hamilton.dagworks.io/en/latest/concepts/caching/"),
    "streamlit": ("streamlit", "https://docs.streamlit.io/develop/concepts/architecture/caching"),
    "diskcache": ("diskcache", "https://grantjenks.com/docs/diskcache/api.html#diskcache.Cache.memoize"),
    "cachier": ("cachier", "https://github.com/python-cachier/cachier#cachier-s-limitations"),
    "deepdiff": ("deepdiff", "https://zepworks.com/deepdiff/current/deephash.html"),
    "pandas": ("pandas", "https://pandas.pydata.org/docs/reference/api/pandas.util.hash_pandas_object.html"),
}
CODE_GROUPS = ("a function edited", "what a function reaches")

_PATIENCE_S = 2
"""A peer that takes longer over one small pair (a tree of shared lists takes some of them for ever) has refused it."""

Ask = Callable[[Any], object]
Wrap = Callable[[Any, Path], Any]


def asks(folder: Path) -> Iterator[tuple[str, Ask]]:
    """Yield each installed peer with what gives equal answers for values it takes for one."""
    yield "awaitly_nb", fingerprint
    with contextlib.suppress(ImportError):
        import joblib

        yield "joblib", joblib.hash
    with contextlib.suppress(ImportError):
        yield "marimo", _marimo(folder)
    with contextlib.suppress(ImportError):
        yield "hamilton", _hamilton()
    with contextlib.suppress(ImportError):
        import diskcache

        cache = diskcache.Cache(folder / "diskcache")
        memo = cache.memoize()(lambda value: value)
        yield "diskcache", lambda value: bytes(cache.disk.put(memo.__cache_key__(value))[0])
    with contextlib.suppress(ImportError):
        from cachier.config import get_global_params

        yield "cachier", lambda value: get_global_params().hash_func((), {"value": value})
    with contextlib.suppress(ImportError):
        yield "streamlit", _streamlit()
    with contextlib.suppress(ImportError):
        from deepdiff import DeepHash

        yield "deepdiff", lambda value: DeepHash(value)[value]
    with contextlib.suppress(ImportError):
        from pandas.util import hash_pandas_object

        yield "pandas", lambda value: hash_pandas_object(value).to_numpy().tobytes()


_MARIMO_APP = """
import marimo

app = marimo.App()


@app.cell
def _():
    import itertools
    import marimo as mo

    fresh = itertools.count()
    return fresh, mo


@app.cell
def _(fresh, mo):
    @mo.cache
    def ask(value):
        return next(fresh)

    return (ask,)
"""


def _marimo(folder: Path) -> Ask:
    importlib.import_module("marimo")
    logging.disable(logging.WARNING)
    (folder / "marimo_face.py").write_text(_MARIMO_APP)  # its cache works in an app only
    sys.path.insert(0, str(folder))
    _, defined = importlib.import_module("marimo_face").app.run()
    ask: Ask = defined["ask"]
    return ask


def _hamilton() -> Ask:
    from hamilton.caching import fingerprinting

    def ask(value: Any) -> str:
        digest = fingerprinting.hash_value(value)
        if digest == fingerprinting.UNHASHABLE:
            raise TypeError("Hamilton does not cache what depends on it")
        return digest

    return ask


def _streamlit() -> Ask:
    import hashlib

    from streamlit.runtime.caching.cache_type import CacheType
    from streamlit.runtime.caching.hashing import update_hash

    def ask(value: Any) -> str:
        hasher = hashlib.new("md5", usedforsecurity=False)
        update_hash(value, hasher, CacheType.DATA)
        return hasher.hexdigest()

    return ask


def wraps() -> Iterator[tuple[str, Wrap]]:
    """Yield each installed peer that caches functions, with its decorator."""
    with contextlib.suppress(ImportError):
        import awaitly_nb

        yield "awaitly_nb", lambda fn, folder: awaitly_nb.step(fn)
    with contextlib.suppress(ImportError):
        import joblib

        yield "joblib", lambda fn, folder: joblib.Memory(folder, verbose=0).cache(fn)
    with contextlib.suppress(ImportError):
        import diskcache

        yield "diskcache", lambda fn, folder: diskcache.Cache(folder).memoize()(fn)
    with contextlib.suppress(ImportError):
        import cachier

        yield "cachier", lambda fn, folder: cachier.cachier(cache_dir=str(folder))(fn)


def pairs() -> Iterator[tuple[str, str, bool, Callable[[], object], Callable[[], object]]]:
    """Yield group, name, whether it must agree, left and right of every pair that can be made here."""
    for group in groups():
        if not group.missing:
            for agree, cases in ((False, group.differ), (True, group.agree)):
                for name, left, right in cases:
                    yield group.name, name, agree, left, right


def compare(folder: Path) -> dict[str, dict[str, str]]:
    """Return by peer and pair: "ok", "fooled" (one key for two values), "missed" (two for one) or "refused"."""
    seen: dict[str, dict[str, str]] = {}
    for peer, ask in asks(folder):
        found = seen.setdefault(peer, {})
        for group, name, agree, left, right in pairs():
            if group not in CODE_GROUPS:
                found[f"{group}: {name}"] = _verdict(ask, left, right, agree=agree)
    for peer, wrap in wraps():
        for number, (group, name, agree, left, right) in enumerate(pairs()):
            if group in CODE_GROUPS and not agree:
                verdict = _code_verdict(wrap, left, right, folder / f"{peer}{number}")
                if verdict:
                    seen.setdefault(peer, {})[f"{group}: {name}"] = verdict
    return seen


def _verdict(ask: Ask, left: Callable[[], object], right: Callable[[], object], *, agree: bool) -> str:
    try:
        with within(_PATIENCE_S):
            one = ask(left())
            other = ask(right())
    except BaseException as exc:  # a peer may raise anything, Rust panics included
        if isinstance(exc, KeyboardInterrupt):
            raise
        return "refused"
    if agree:
        return "ok" if one == other else "missed"
    return "fooled" if one == other else "ok"


@contextlib.contextmanager
def within(seconds: float) -> Iterator[None]:
    """Raise TimeoutError in the body after `seconds`."""

    def stop(*_: object) -> None:
        raise TimeoutError

    kept = signal.signal(signal.SIGALRM, stop)
    signal.setitimer(signal.ITIMER_REAL, seconds)
    try:
        yield
    finally:
        signal.setitimer(signal.ITIMER_REAL, 0)
        signal.signal(signal.SIGALRM, kept)


def _code_verdict(wrap: Wrap, left: Callable[[], Any], right: Callable[[], Any], folder: Path) -> str:
    """Return whether the answer of the function before its edit is given after it; "" where the two answers are one."""
    folder.mkdir()
    try:
        truth = [_shown(side()(3)) for side in (left, right)]
        if truth[0] == truth[1]:
            return ""
    except Exception:
        return ""  # the pair is about something else than a value for 3
    try:
        wrap(left(), folder)(3)
        got = _shown(wrap(right(), folder)(3))
    except Exception:
        return "refused"
    return "fooled" if got != truth[1] else "ok"


def _shown(value: object) -> str:
    text = repr(value)
    if " at 0x" in text:
        raise TypeError("an object has no value to compare")
    return text


@contextlib.contextmanager
def module_files(folder: Path) -> Iterator[None]:
    """Make the functions of the battery in module files, because peers read a function's file."""
    serial = itertools.count()

    def define(source: str, name: str = "f", **values: object) -> Any:
        place = folder / f"module{next(serial)}"
        place.mkdir()
        (place / "user_code.py").write_text(source)
        sys.path.insert(0, str(place))
        sys.modules.pop("user_code", None)
        try:
            return getattr(importlib.import_module("user_code"), name)
        finally:
            sys.path.remove(str(place))
            importlib.invalidate_caches()

    kept, functions.define = functions.define, define
    try:
        yield
    finally:
        functions.define = kept


def table(seen: dict[str, dict[str, str]]) -> list[str]:
    """Return the lines of the comparison."""
    names = list(seen)
    rows = [f"{'group':<34}" + "".join(f"{name:>12}" for name in names)]
    by_group = sorted({key.partition(": ")[0] for found in seen.values() for key in found})
    for group in by_group:
        counts = [Counter(v for k, v in seen[n].items() if k.partition(": ")[0] == group) for n in names]
        cells = [f"{c['fooled']}/{c['missed']}" if sum(c.values()) > c["refused"] else "-" for c in counts]
        rows.append(f"{group:<34}" + "".join(f"{cell:>12}" for cell in cells))
    for word in ("fooled", "missed", "refused", "ok"):
        counts_of = [Counter(seen[name].values())[word] for name in names]
        rows.append(f"{word + ', all groups':<34}" + "".join(f"{count:>12}" for count in counts_of))
    versions = ", ".join(f"{name} {_version(name)}" for name in names)
    return [*rows, "", "fooled/missed: one key for two values / two keys for one value; -: refuses them all", versions]


def _version(peer: str) -> str:
    return metadata.version(PEERS[peer][0] if peer in PEERS else "awaitly-nb") if _installed(peer) else "(this tree)"


def _installed(peer: str) -> bool:
    try:
        metadata.version(PEERS[peer][0] if peer in PEERS else "awaitly-nb")
    except metadata.PackageNotFoundError:
        return False
    return True


def record(seen: dict[str, dict[str, str]], path: Path) -> None:
    """Write which peers each pair fooled into `path`, below its docstring."""
    peers = [name for name in seen if name in PEERS]
    fools: dict[str, str] = {}
    for name in peers:
        for pair, verdict in seen[name].items():
            if verdict in ("fooled", "missed"):
                fools[pair] = f"{fools.get(pair, '')} {name}".strip()
    head = path.read_text().partition("SOURCES: ")[0]
    lines = [head + "SOURCES: dict[str, tuple[str, str]] = {"]
    lines += [f'    "{name}": ("{_version(name)}", "{PEERS[name][1]}"),' for name in peers]
    lines += ["}", '"""By system: the version that was measured, and where its rule is documented."""', ""]
    lines += ["FOOLS: dict[str, str] = {"]
    lines += [f'    "{pair}": "{fools[pair]}",' for pair in sorted(fools)]
    lines += ["}", '"""By "group: pair": the systems that got it wrong."""', ""]
    path.write_text("\n".join(lines).replace("\\0", "\\\\0"))


def main(arguments: list[str]) -> None:
    """Compare, print, and record where asked."""
    warnings.simplefilter("ignore")
    with tempfile.TemporaryDirectory() as text, module_files(Path(text)):
        seen = compare(Path(text))
        print("\n".join(table(seen)))
        if "--record" in arguments:
            record(seen, Path(__file__).with_name("known_faults.py"))


if __name__ == "__main__":
    main(sys.argv[1:])
