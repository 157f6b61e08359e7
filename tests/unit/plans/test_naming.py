"""What a cell is called, and what its comments ask for."""

import ast

import pytest

from awaitly_nb import MisuseError
from awaitly_nb.plans.cell_line import Directive, called, read_directive


@pytest.mark.parametrize(
    ("source", "asked"),
    [
        ("x = 1", Directive()),
        ("# awaitly: live\nx = 1", Directive(live=True)),
        ("x = 1  # awaitly: cache", Directive(cache=True)),
        ("#awaitly:ttl 7d\nx = 1", Directive(ttl_s=7 * 86400.0)),
        ("# awaitly: cache\n# awaitly: ttl 1h\nx = 1", Directive(cache=True, ttl_s=3600.0)),
        ("text = '# awaitly: live'", Directive()),
        ("%time x = 1\n# awaitly: live", Directive(live=True)),
    ],
)
def test_comments_that_ask(source, asked):
    assert read_directive(source) == asked


@pytest.mark.parametrize(
    "source", ["# awaitly: lives", "# awaitly:", "# awaitly: ttl", "# awaitly: live\n# awaitly: cache"]
)
def test_a_comment_that_asks_for_something_unknown_is_told(source):
    with pytest.raises(MisuseError, match="awaitly:"):
        read_directive(source)


@pytest.mark.parametrize(
    ("source", "heading", "name"),
    [
        ("import x\nfeatures = make(x)", "Load", "features"),
        ("a = 1; b = 2; c = 3; d = 4", "", "a, b, c, …"),
        ("plot(x)", "The plot", "The plot"),
        ("# --- Residuals ---\nplot(x)", "The plot", "Residuals"),
        ("# awaitly: cache\nplot(x)", "The plot", "The plot"),
        ("plot(x)", "", "cell 4"),
        ("plot(x)  # " + "long " * 20, "", "long long long long long long long long…"),
    ],
)
def test_a_cell_is_called_by_what_it_makes(source, heading, name):
    assert called(ast.parse(source), source, heading, place=4) == name
