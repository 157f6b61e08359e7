"""Calls that set up a session: which count, and which take each other's place."""

import ast

import pytest

from awaitly_nb.plans.cell_text import read_input
from awaitly_nb.plans.setup import setup_of

BEGIN = "import pandas as pd\nimport matplotlib.pyplot as plt\nROWS = 12"


def digests(*cells):
    return setup_of(ast.parse(cell) for cell in (BEGIN, *cells))


@pytest.mark.parametrize(
    ("one", "other", "same"),
    [
        ("pd.set_option('display.width', 80)", "pd.set_option('display.width',  80)  # wide", True),
        ("pd.set_option('display.width', 80)", "pd.set_option('display.width', 90)", False),
        (
            "pd.set_option('display.width', 9)\npd.set_option('display.width', 80)",
            "pd.set_option('display.width', 80)",
            True,
        ),
        ("plt.rcParams['figure.dpi'] = 60", "plt.rcParams['figure.dpi'] = 80", False),
        ("pd.options.display.precision = 3", "pd.options.display.precision = 3\nx = 1", True),
        ("pd.set_option('display.max_rows', ROWS)", "ROWS = 13\npd.set_option('display.max_rows', ROWS)", False),
        ("with plt.style.context('dark_background'):\n    plt.plot(x)", "", True),
        ("import os\nos.environ['MODE'] = 'x'\nplt.style.use('ggplot')", "plt.style.use('ggplot')", True),
        ("import random\nrandom.seed(3)", "", True),
        ("def look():\n    plt.style.use('ggplot')", "", True),
        ("def look():\n    plt.style.use('ggplot')\nlook()", "", False),
        (
            "def look():\n    plt.style.use('ggplot')\nlook()",
            "def look():\n    plt.style.use('classic')\nlook()",
            False,
        ),
        ("plt.style.use('a')\nplt.rcParams['x'] = 1", "plt.rcParams['x'] = 1\nplt.style.use('a')", False),
    ],
)
def test_two_texts_set_up_the_same_or_not(one, other, same):
    assert (digests(one) == digests(other)) is same


def test_what_the_text_does_not_tell_is_never_the_same():
    assert digests("pd.set_option('display.max_rows', len(frame))") == ("",)


def test_magics_and_builtins_have_one_meaning():
    magics = ast.unparse(read_input("%load_ext awaitly_nb\n%matplotlib inline"))
    found = digests(magics, "pd.set_option('display.max_rows', int(9))")
    assert len(found) == 3
    assert "" not in found


def test_inputs_of_a_shell_are_read_as_the_cells_they_were():
    cached = "get_ipython().run_cell_magic('awaitly', 'style', \"plt.style.use('ggplot')\\n\")"
    (digest,) = setup_of([ast.parse(BEGIN), read_input(cached)])
    assert (digest,) == digests("plt.style.use('ggplot')")
