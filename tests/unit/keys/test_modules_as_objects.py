"""Modules of the user that are imported where they are used, handed on, renamed, or asked for a name that is data."""

import importlib
import sys
import textwrap

import pytest

from awaitly_nb.errors import UnkeyableError
from awaitly_nb.keys import fingerprint, function_digest, step_parts
from awaitly_nb.keys.parts import cell_parts

SETTINGS = """
import logging
import numpy as np
from dataclasses import dataclass

@dataclass
class Optim:
    lr: float = 0.1

PARAMS = {"lr": 1}
GRID = np.arange(3)
OPTIM = Optim(2.0)
log = logging.getLogger("settings")

def other():
    return 1
"""
EDITS = [('{"lr": 1}', '{"lr": 5}'), ("np.arange(3)", "np.arange(4)"), ("Optim(2.0)", "Optim(3.0)")]


@pytest.fixture
def settings(project):
    """Write the module and load it anew."""

    def write(source=SETTINGS, name="settings"):
        project(name, source)
        if name in sys.modules:
            importlib.reload(sys.modules[name])

    write()
    return write


def test_an_import_inside_a_function_counts_what_the_function_takes_of_the_module(kernel, settings):
    f = kernel.run("def f():\n    import settings\n    return settings.PARAMS['lr']\n")["f"]
    first = function_digest(f)
    assert f() == 1
    assert function_digest(f) == first
    settings(SETTINGS.replace(*EDITS[0]))
    changed = function_digest(f)
    assert changed != first
    settings(
        SETTINGS.replace(*EDITS[1]).replace("return 1", "return 2") + "import threading\nlock = threading.Lock()\n"
    )
    assert function_digest(f) == first


@pytest.mark.parametrize(
    "body",
    [
        "import settings as s; return s.PARAMS, s.GRID, s.OPTIM",
        "from settings import PARAMS, GRID as g, OPTIM; return PARAMS, g, OPTIM",
        "import settings; m = settings; return m.PARAMS, m.GRID, m.OPTIM",
        "import settings; return [getattr(settings, name) for name in ('PARAMS', 'GRID', 'OPTIM')]",
        "import settings; return (lambda: (settings.PARAMS, settings.GRID, settings.OPTIM))()",
        "import settings; return vars(settings)",
    ],
)
def test_each_way_to_import_a_module_counts_its_data(kernel, settings, body):
    source = f"def f():\n    {body}\n"
    f = kernel.run(source)["f"]
    first = function_digest(f)
    f()
    assert function_digest(f) == first
    for edit in EDITS:
        settings(SETTINGS.replace(*edit))
        assert function_digest(f) != first, edit
    settings()
    assert function_digest(f) == first


@pytest.mark.parametrize(
    "source",
    [
        "import settings\ndef lr_of(s): return s.PARAMS, s.GRID, s.OPTIM\ndef f(): return lr_of(settings)\n",
        "import settings\nm = settings\ndef f(): return m.PARAMS, m.GRID, getattr(m, 'OPTIM')\n",
        "import settings\nNAME = 'PARAMS'\ndef f(): return getattr(settings, NAME), settings.GRID, settings.OPTIM\n",
        "import settings\nHELD = [settings]\ndef f(): return HELD[0].PARAMS, HELD[0].GRID, HELD[0].OPTIM\n",
    ],
)
def test_a_module_that_is_handed_on_counts_as_a_whole(kernel, settings, source):
    f = kernel.run(source)["f"]
    first = function_digest(f)
    f()
    assert function_digest(f) == first
    for edit in EDITS:
        settings(SETTINGS.replace(*edit))
        assert function_digest(f) != first, edit
    settings()
    assert function_digest(f) == first


def test_a_module_as_an_argument_counts_by_what_is_in_it_and_an_installed_one_by_name(settings):
    import math

    import settings as module  # type: ignore[import-not-found]

    first = fingerprint(module)
    assert fingerprint([module]) == fingerprint([module]) != first
    settings(SETTINGS.replace(*EDITS[0]))
    assert fingerprint(module) != first
    settings()
    assert fingerprint(module) == first
    module.more = 1
    assert fingerprint(module) != first
    assert fingerprint(math) == fingerprint(math)


def test_a_module_that_holds_itself_ends(settings):
    import settings as module

    module.TABLE = {"me": [module]}
    module.again = module
    first = fingerprint(module)
    module.PARAMS["lr"] = 7
    assert fingerprint(module) != first


def test_what_is_in_a_module_that_is_handed_on_and_cannot_be_keyed_is_named(kernel, settings):
    settings(SETTINGS + "import threading\nlock = threading.Lock()\n")
    f = kernel.run("import settings\nm = settings\ndef f(): return m\n")["f"]
    with pytest.raises(UnkeyableError, match=r"settings\.lock"):
        step_parts(f, (), {}, name="f")
    f = kernel.run("def f():\n    import settings\n    return settings.PARAMS\n")["f"]
    assert step_parts(f, (), {}, name="f").key


def test_names_that_a_package_hands_on_are_followed(kernel, project):
    project("pk.__init__", "from .io import load, Reader\nfrom . import io\n")
    text = "SCALE = [1]\ndef load(): return SCALE\nclass Reader:\n    size = 2\n"
    project("pk.io", text)
    sources = [
        "def f():\n    import pk\n    return pk.load(), pk.Reader()\n",
        "def f():\n    import pk.io\n    return pk.io.load(), pk.io.Reader()\n",
        "def f():\n    import pk.io as i\n    return i.load(), i.Reader()\n",
        "def f():\n    from pk import io\n    return io.load(), io.Reader()\n",
        "def f():\n    import pk\n    return getattr(pk, 'load'), getattr(pk, 'Reader')\n",
        "import pk\nq = pk\ndef f(): return q.load(), q.Reader()\n",
    ]

    def digests(source):
        for name in [name for name in sys.modules if name.partition(".")[0] == "pk"]:
            del sys.modules[name]
        project("pk.io", source)
        found = []
        for code in sources:
            f = kernel.run(code)["f"]
            found.append(function_digest(f))
            f()
            assert function_digest(f) == found[-1]
        return found

    first = digests(text)
    for before, after in (("[1]", "[2]"), ("return SCALE", "return -SCALE[0]"), ("size = 2", "size = 3")):
        assert all(one != two for one, two in zip(first, digests(text.replace(before, after)), strict=True)), before
    assert digests(text) == first


def test_data_that_a_module_makes_when_asked_counts(kernel, settings):
    lazy = "def __getattr__(name):\n    if name == 'TABLE':\n        return [1]\n    raise AttributeError(name)\n"
    settings(lazy, "lazy_settings")
    sources = (
        "import lazy_settings\ndef f(): return lazy_settings.TABLE\n",
        "def f():\n    from lazy_settings import TABLE\n    return TABLE\n",
        "import lazy_settings\nm = lazy_settings\ndef f(): return m.TABLE\n",
    )
    first = [function_digest(kernel.run(source)["f"]) for source in sources]
    assert first == [function_digest(kernel.run(source)["f"]) for source in sources]
    settings(lazy.replace("[1]", "[2]"), "lazy_settings")
    assert all(function_digest(kernel.run(source)["f"]) != was for source, was in zip(sources, first, strict=True))


@pytest.mark.parametrize(
    "cell",
    [
        "from settings import *\nx = PARAMS, GRID, OPTIM",
        "from settings import *",
        "from settings import PARAMS, GRID, OPTIM",
        "from settings import PARAMS as p, GRID as g, OPTIM as o\nx = p, g, o",
        "import settings as q\nz = q",
        "import settings\nx = settings.PARAMS, settings.GRID, settings.OPTIM",
        "def g():\n    import settings\n    return settings.PARAMS, settings.GRID, settings.OPTIM\nx = g()",
    ],
)
def test_a_cell_that_imports_a_module_counts_its_data(kernel, settings, cell):
    first = cell_parts(cell, kernel.ns, name="c").key
    kernel.run(cell)
    assert cell_parts(cell, kernel.ns, name="c").key == first
    for edit in EDITS:
        settings(SETTINGS.replace(*edit))
        assert cell_parts(cell, kernel.ns, name="c").key != first, edit
    settings()
    assert cell_parts(cell, kernel.ns, name="c").key == first


def test_a_function_that_a_cell_imports_and_leaves_alone_does_not_count(kernel, settings):
    cell = "from settings import other\nx = 1"
    first = cell_parts(cell, kernel.ns, name="c").key
    settings(SETTINGS.replace("return 1", "return 2"))
    assert cell_parts(cell, kernel.ns, name="c").key == first


def test_a_cell_that_imports_a_part_of_a_package_has_one_key_before_and_after(kernel, project):
    project("parted.__init__", "")
    project("parted.low", "def base(): return 1\n")
    cell = textwrap.dedent("""
        import parted
        import parted.low
        x = parted.low.base()
    """)
    first = cell_parts(cell, kernel.ns, name="c").key
    kernel.run(cell)
    assert cell_parts(cell, kernel.ns, name="c").key == first
