"""A kernel in small: cells are compiled, remembered by `linecache` and run the way ipykernel does it."""

from __future__ import annotations

import hashlib
import itertools
import linecache
import sys
import textwrap
import types
from typing import Any

import pytest


class Kernel:
    """Runs cells in one namespace, each under a file name made of its content."""

    def __init__(self) -> None:
        self.ns: dict[str, Any] = {"__name__": "__main__", "__builtins__": __builtins__}
        self._numbers = itertools.count(1)

    def run(self, source: str, *, filename: str | None = None) -> dict[str, Any]:
        source = textwrap.dedent(source)
        if filename is None:
            filename = f"/tmp/ipykernel_7/{hashlib.md5(source.encode()).hexdigest()[:10]}.py"
        linecache.cache[filename] = (len(source), None, source.splitlines(keepends=True), filename)
        exec(compile(source, filename, "exec", dont_inherit=True), self.ns)
        return self.ns

    def __getitem__(self, name: str) -> Any:
        return self.ns[name]


@pytest.fixture
def kernel(monkeypatch: pytest.MonkeyPatch) -> Kernel:
    made = Kernel()
    main = types.ModuleType("__main__")
    main.__dict__.update(made.ns)
    made.ns = main.__dict__
    monkeypatch.setitem(sys.modules, "__main__", main)
    return made


@pytest.fixture
def project(tmp_path, monkeypatch):
    """A folder of the user's own modules on the path; `write` saves one, and forgets what was loaded from it."""
    monkeypatch.syspath_prepend(str(tmp_path))
    monkeypatch.setattr(sys, "dont_write_bytecode", True)
    names: set[str] = set()

    def write(name: str, source: str) -> None:
        path = tmp_path / f"{name.replace('.', '/')}.py"
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(textwrap.dedent(source))
        names.add(name.partition(".")[0])
        import importlib

        importlib.invalidate_caches()

    yield write
    for loaded in list(sys.modules):
        if loaded.partition(".")[0] in names:
            del sys.modules[loaded]
