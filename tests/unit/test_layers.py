"""What the import contracts of `pyproject.toml` cannot say: what is loaded when, and how large a file may grow."""

import ast
from pathlib import Path

import pytest

import awaitly_nb

PACKAGE = Path(awaitly_nb.__file__).parent
FILES = sorted(PACKAGE.rglob("*.py"))
SURFACES = ("notebook", "cli", "testing")
CORE = [f for f in FILES if f.relative_to(PACKAGE).parts[0] not in SURFACES]
# Types of these are looked up in `sys.modules`, or the module is imported inside the function that needs it.
HEAVY = {"IPython", "anywidget", "ipywidgets", "numpy", "pandas", "pyarrow", "polars", "nest_asyncio2"}
# Each is an extra, or costs more time at import than all of this package.
OPTIONAL = {
    "psycopg",
    "pymongo",
    "libsql",
    "redis",
    "distributed",
    "dask",
    "fsspec",
    "diskcache",
    "cloudpickle",
    "tenacity",
}
# The heaviest part of the standard library that we use, loaded by the first body that is `async def`.
ASYNC_DRIVERS = {"engine/drive_async.py"}


def loaded_at_import(tree):
    """Yield the top-level names of modules that running `tree` imports, leaving out what only type checkers see."""
    pending = list(tree.body)
    while pending:
        node = pending.pop()
        match node:
            case ast.Import(names=names):
                yield from (name.name.split(".")[0] for name in names)
            case ast.ImportFrom(module=module, level=0):
                yield module.split(".")[0]
            case ast.If(test=ast.Name(id="TYPE_CHECKING"), orelse=orelse):
                pending += orelse
            case ast.FunctionDef() | ast.AsyncFunctionDef() | ast.Lambda():
                pass
            case _:
                pending += ast.iter_child_nodes(node)


def parsed(path):
    return ast.parse(path.read_text(encoding="utf-8"), str(path))


@pytest.mark.parametrize(
    ("source", "names"),
    [
        ("import asyncio.events as e", ["asyncio"]),
        ("from numpy.linalg import norm", ["numpy"]),
        ("try:\n    import pandas\nexcept ImportError:\n    pass", ["pandas"]),
        ("class A:\n    import redis", ["redis"]),
        (
            "from typing import TYPE_CHECKING\nif TYPE_CHECKING:\n    import numpy\nelse:\n    import pandas",
            ["typing", "pandas"],
        ),
        ("def f():\n    import numpy", []),
        ("from . import x", []),
    ],
)
def test_the_reading_of_imports_itself(source, names):
    assert sorted(loaded_at_import(ast.parse(source))) == sorted(names)


@pytest.mark.parametrize("path", CORE, ids=lambda p: p.relative_to(PACKAGE).as_posix())
def test_the_core_loads_nothing_heavy(path):
    loaded = set(loaded_at_import(parsed(path)))
    assert not loaded & (HEAVY | OPTIONAL)
    assert "asyncio" not in loaded or path.relative_to(PACKAGE).as_posix() in ASYNC_DRIVERS


@pytest.mark.parametrize("path", CORE, ids=lambda p: p.relative_to(PACKAGE).as_posix())
def test_the_core_never_imports_widgets(path):
    # The import contract cannot name a package that nobody imports yet.
    nodes = list(ast.walk(parsed(path)))
    names = {name.name for node in nodes if isinstance(node, ast.Import) for name in node.names}
    names |= {node.module or "" for node in nodes if isinstance(node, ast.ImportFrom)}
    assert not {name.split(".")[0] for name in names} & {"ipywidgets", "IPython", "anywidget"}


@pytest.mark.parametrize("path", FILES, ids=lambda p: p.relative_to(PACKAGE).as_posix())
def test_every_module_says_what_it_is(path):
    assert ast.get_docstring(parsed(path))
    assert path.stem not in {"utils", "helpers", "misc", "common"}


def test_files_can_be_held_in_mind():
    lines = {p.relative_to(PACKAGE).as_posix(): len(p.read_text(encoding="utf-8").splitlines()) for p in FILES}
    assert {name: n for name, n in lines.items() if n > 900} == {}
