"""What a cell may change in place through functions, methods and aliases."""

import ast

import pytest

from awaitly_nb.plans.effects import Effects, aliases, closure

DEFINITIONS = {
    node.name: node
    for node in ast.parse(
        """
def fill(frame, n):
    frame["x"] = n

def deep(things):
    fill(things[0], 1)

def count():
    seen.append(1)

def copied(frame):
    result = frame.copy()
    result["x"] = 1
    return result

def loop():
    for layer in reversed(net):
        layer.w -= 1

def again(x):
    return again(x)

class Shop:
    opened = 0
    def __init__(self, stock):
        Shop.opened += 1
        self.stock = stock
    def sell(self, what):
        self.stock.remove(what)
    def total(self):
        return len(self.stock)
"""
    ).body
}


@pytest.mark.parametrize(
    ("source", "changed"),
    [
        ("y = fill(df, 3)", {"df"}),
        ("y = deep([a, b])", {"a", "b"}),
        ("y = deep(things=table.values)", {"table"}),
        ("y = count()", {"seen"}),
        ("y = copied(df)", set()),
        ("y = loop()", {"net"}),
        ("y = again(df)", set()),
        ("shop = Shop(goods)", {"Shop"}),
        ("y = shop.sell(3)", {"shop"}),
        ("y = shop.total()", set()),
        ("y = len(df)", set()),
        ("view = df['a'].values\nview[0] = 1", {"view", "df"}),
        ("for part in parts:\n    part.x = 1", {"part", "parts"}),
    ],
)
def test_what_a_cell_may_change(source, changed):
    classes = [node for node in DEFINITIONS.values() if isinstance(node, ast.ClassDef)]
    found = Effects(DEFINITIONS.get, classes).of_cell(ast.parse(source))
    assert found - {"y"} == changed


@pytest.mark.parametrize(
    ("source", "pairs"),
    [
        ("report = Report(df, title='x')", {("report", "df")}),
        ("both = {'a': one, 'b': [two]}", {("both", "one"), ("both", "two")}),
        ("groups[0] = part", {("groups", "part")}),
        ("names.append(one)", {("names", "one")}),
        ("picked = [row for row in rows]", {("picked", "rows")}),
        ("n = len(df) + other.sum()", set()),
    ],
)
def test_names_that_may_reach_one_object(source, pairs):
    assert set(aliases(ast.parse(source).body)) == pairs


def test_what_is_joined_is_reached_over_several_names():
    assert closure(["a"], {"a": {"b"}, "b": {"a", "c"}, "d": {"e"}}) == {"a", "b", "c"}
