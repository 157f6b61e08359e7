"""Pairs of functions, before and after an edit."""

from __future__ import annotations

from typing import Any

from awaitly_nb.testing.collisions.battery import Group, define

__all__ = ["groups"]


def groups() -> list[Group]:
    """Return the groups of this file."""
    return [_own(), _reached()]


_BASE = "def f(x, y=1):\n    return x + y\n"


def _own() -> Group:
    def edited(old: str, new: str) -> Any:  # Any: a function
        return lambda: define(_BASE.replace(old, new))

    base = edited("", "")
    return Group(
        "a function edited",
        differ=(
            ("an operator", base, edited("+", "-")),
            ("a default", base, edited("y=1", "y=2")),
            ("type of a default", base, edited("y=1", "y=True")),
            ("a constant", edited("x + y", "x + 1"), edited("x + y", "x + 2")),
            ("1 and 1.0", edited("x + y", "x + 1"), edited("x + y", "x + 1.0")),
            ("0.0 and -0.0", edited("x + y", "x + 0.0"), edited("x + y", "x + -0.0")),
            ("order of operands", edited("+", "-"), edited("x + y", "y - x")),
            ("name of an argument", base, lambda: define("def f(x, z=1):\n    return x + z\n")),
            ("order of arguments", base, edited("x, y=1", "y, x=1")),
            ("keyword only", base, edited("x, y", "x, *, y")),
            ("return and yield", base, edited("return", "yield")),
            ("def and async def", base, edited("def", "async def")),
            ("an attribute", edited("x + y", "x.a"), edited("x + y", "x.b")),
            ("a name", edited("x + y", "min(x, y)"), edited("x + y", "max(x, y)")),
            ("a string", edited("x + y", "x['a']"), edited("x + y", "x['b']")),
            (
                "order of statements",
                edited("    return", "    x *= 2\n    x += 1\n    return"),
                edited("    return", "    x += 1\n    x *= 2\n    return"),
            ),
            ("a statement more", base, edited("    return", "    x += 1\n    return")),
            (
                "indentation that means something",
                lambda: define("def f(x):\n    if x:\n        x = 1\n        x = 2\n    return x\n"),
                lambda: define("def f(x):\n    if x:\n        x = 1\n    x = 2\n    return x\n"),
            ),
            (
                "a nested function",
                lambda: define("def f(x):\n    def g():\n        return 1\n    return g()\n"),
                lambda: define("def f(x):\n    def g():\n        return 2\n    return g()\n"),
            ),
            (
                "two lambdas on one line",
                lambda: define("a, f = lambda x: x + 1, lambda x: x + 2", "a"),
                lambda: define("a, f = lambda x: x + 1, lambda x: x + 2", "f"),
            ),
            ("< and <=", edited("+", "<"), edited("+", "<=")),
            ("an f-string", edited("x + y", "f'{x}'"), edited("x + y", "f'{x!r}'")),
            ("list and tuple", edited("x + y", "[x, y]"), edited("x + y", "(x, y)")),
        ),
        agree=(
            ("the same again", base, base),
            ("a comment", base, edited("x + y", "x + y  # the sum")),
            ("a docstring", base, edited("    return", '    """Add."""\n    return')),
            ("spaces", base, edited("x + y", "x  +  y")),
            ("parentheses", base, edited("x + y", "(x + y)")),
            ("a line break", base, edited("x + y", "(\n        x + y\n    )")),
            ("a blank line", base, edited("    return", "\n\n    return")),
            ("quotes", edited("x + y", "x['a']"), edited("x + y", 'x["a"]')),
            ("its place in the file", base, lambda: define("\n\nimport os\n\n\n" + _BASE)),
            ("other code beside it", base, lambda: define(_BASE + "\ndef g():\n    return 2\n")),
            ("a lambda moved", lambda: define("f = lambda x: x"), lambda: define("\n\nf = (lambda x:\n  x)")),
        ),
    )


_HELPED = "def h(x):\n    return g(x)\ndef g(x):\n    return x * {0}\ndef f(x):\n    return h(x)\n"
_GLOBAL = "RATE = {0}\ndef f(x):\n    return x * RATE\n"
_CLOSURE = "def make(n):\n    def f(x):\n        return x * n\n    return f\nf = make({0})\n"
_METHOD = "class A:\n    def m(self, x):\n        return x * {0}\ndef f(x):\n    return A().m(x)\n"
_DECORATED = (
    "import functools\ndef twice(fn):\n    @functools.wraps(fn)\n    def call(x):\n        return {0} * fn(x)\n"
    "    return call\n@twice\ndef f(x):\n    return x\n"
)
_PARTIAL = (
    "import functools\ndef g(a, x):\n    return a * x\nh = functools.partial(g, {0})\ndef f(x):\n    return h(x)\n"
)
_TABLE = "TABLE = {{'a': {0}}}\ndef f(x):\n    return TABLE[x]\n"
_DEFAULT = "def f(x, table={0}):\n    return table\n"
_RECURSIVE = "def f(x):\n    return x if x < {0} else f(x - 1)\n"
_BASES = "class A:\n    k = {0}\nclass B(A):\n    def m(self):\n        return self.k\ndef f(x):\n    return B().m()\n"


def _reached() -> Group:
    def pair(name: str, template: str, old: object, new: object) -> Any:  # Any: a case
        return name, lambda: define(template.format(old)), lambda: define(template.format(new))

    return Group(
        "what a function reaches",
        differ=(
            pair("a helper's helper", _HELPED, 2, 3),
            pair("a global", _GLOBAL, 1, 2),
            pair("type of a global", _GLOBAL, 1, 1.0),
            pair("a closure", _CLOSURE, 1, 2),
            pair("type of a closure's value", _CLOSURE, "1", "True"),
            pair("a method of a class it uses", _METHOD, 1, 2),
            pair("its decorator", _DECORATED, 1, 2),
            pair("a partial it calls", _PARTIAL, 1, 2),
            pair("a table it reads", _TABLE, 1, 2),
            pair("a mutable default", _DEFAULT, "[1]", "[2]"),
            pair("a recursion", _RECURSIVE, 1, 2),
            pair("a base class", _BASES, 1, 2),
        ),
        agree=(
            pair("a global made twice", _GLOBAL, "2", "1 + 1"),
            pair("a closure made twice", _CLOSURE, "2", "1 + 1"),
            pair("a comment in a helper", _HELPED, "2", "2  # twice"),
            ("a global it does not read", lambda: define("OTHER = 1\n" + _BASE), lambda: define("OTHER = 2\n" + _BASE)),
            (
                "a helper it does not call",
                lambda: define("def g(): return 1\n" + _BASE),
                lambda: define("def g(): return 2\n" + _BASE),
            ),
            ("a recursion made twice", lambda: define(_RECURSIVE.format(1)), lambda: define(_RECURSIVE.format(1))),
        ),
    )
