"""Random notebooks: cells that assign, alias, mutate, draw, set, define and delete, edited at random between two runs.

The first run of a notebook fills a cache under automatic mode, in one process; the second one, edited, is served from
it in another process with another hash seed, and has to end as a plain run of the edited cells does: values, which
names share an object, the states of generators, the environment, what was printed, and the error if there is one.

    python -m tests.battery.random_programs [COUNT [FIRST]]
"""

import random
import shutil
import sys
import tempfile
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path

from tests.battery.runner import Parent

IMPORTS = "import os, random\nimport numpy as np\nimport pandas as pd"
SEEDS = "random.seed({0}); np.random.seed({0}); rng = np.random.default_rng({0})"
COMMENT = "# awaitly: cache\n"
DUMP = """
import hashlib as _hashlib, re as _re
def _told(value, seen):
    if isinstance(value, (int, float, str, bool, type(None))):
        return repr(value)
    if id(value) in seen:
        return f"^{seen[id(value)][0]}"
    if isinstance(value, np.ndarray):
        arrays = [(number, other) for number, other in seen.values() if isinstance(other, np.ndarray)]
        shared = [number for number, other in arrays if np.shares_memory(value, other)]
        seen[id(value)] = len(seen), value
        return f"array {value.dtype} {value.tolist()} shared with {shared}"
    seen[id(value)] = len(seen), value  # held, so that its id stays its own
    if isinstance(value, pd.DataFrame):
        return "frame " + value.to_json() + str(list(value.dtypes))
    if isinstance(value, dict):
        return "{" + ", ".join(f"{key!r}: {_told(part, seen)}" for key, part in value.items()) + "}"
    if isinstance(value, (list, tuple)):
        return type(value).__name__ + "(" + ", ".join(_told(part, seen) for part in value) + ")"
    if isinstance(value, set):
        return "set" + repr(sorted(value))
    if isinstance(value, type):
        parts = vars(value).items()
        return "class " + _told({k: v for k, v in parts if not k.startswith("_") and not callable(v)}, seen)
    if callable(value):
        return "function " + _told([c.cell_contents for c in value.__closure__ or ()] + [vars(value)], seen)
    return type(value).__name__ + _told(vars(value), seen)
def _digest(value):
    return _hashlib.md5(repr(value).encode()).hexdigest()[:8]
_seen = {}
OUT = {name: _told(globals()[name], _seen) for name in sorted(globals()) if _re.fullmatch(r"[a-zA-Z]\\d+", name)}
OUT["generators"] = [_digest(random.getstate()), _digest(np.random.get_state())]
OUT["generators"] += [_digest(rng.bit_generator.state)] if "rng" in globals() else []
OUT["settings"] = [np.get_printoptions()["precision"], pd.get_option("display.max_rows")]
OUT["settings"] += [{name: text for name, text in os.environ.items() if name.startswith("QQ")}]
"""


class _Writer:
    """Writes statements that fit what earlier ones have made."""

    def __init__(self, dice):
        self._dice = dice
        self._kinds = {}
        self._count = 0

    def cell(self):
        return "\n".join(self._statement() for _ in range(self._dice.choice((1, 1, 2, 3))))

    def _statement(self):
        ways = [self._assign, self._assign, self._alias, self._mutate, self._mutate, self._draw, self._set]
        return self._dice.choice([*ways, self._define, self._delete, self._show, self._call])()

    def _new(self, kind):
        self._count += 1
        name = {"function": "f", "class": "K"}.get(kind, "v") + str(self._count)
        self._kinds[name] = kind
        return name

    def _any(self, *kinds):
        names = [name for name, kind in self._kinds.items() if not kinds or kind in kinds]
        return self._dice.choice(names) if names else None

    def _number(self):
        return self._dice.randrange(1, 9)

    def _assign(self):
        n, old = self._number(), self._any("list", "dict", "array", "object")
        texts = {
            "list": [f"[{n}, {n + 1}]", f"[[{n}], [{n}]]", f"[i * {n} for i in range(4)]"],
            "dict": [f"{{'a': {n}}}", f"{{'a': [{n}], 'b': {{}}}}"],
            "array": [f"np.arange({n + 3}.0)", f"np.ones((3, {n})) * {n}"],
            "set": [f"{{{n}, {n + 1}}}"],
            "frame": [f"pd.DataFrame({{'a': [{n}, 2, 3], 'b': [1.5, {n}, 0]}})"],
            "number": [str(n), f"{n} / 4", f"'{n}'"],
        }
        if old is not None:
            texts["list"] += [f"[{old}, {old}]", f"list({old}) if hasattr({old}, '__iter__') else [{old}]"]
            texts["dict"] += [f"{{'in': {old}, 'n': {n}}}"]
        if (array := self._any("array")) is not None:
            texts["array"] += [f"{array}[1:]", f"{array} + {n}", f"{array}[::-1]", f"{array}.reshape(-1)"]
        if (cls := self._any("class")) is not None:
            texts["object"] = [f"{cls}({old or n})", f"{cls}({n})"]
        if (frame := self._any("frame")) is not None:
            texts["frame"] += [f"{frame}.copy()", f"{frame}[['a']]", f"{frame}.assign(c=lambda d: d.a * {n})"]
        kind = self._dice.choice(list(texts))
        text = self._dice.choice(texts[kind])
        return f"{self._new(kind)} = {text}"

    def _alias(self):
        old = self._any()
        if old is None:
            return self._assign()
        kind = self._kinds[old]
        new = self._new(kind)
        return f"{new} = {old}"

    def _mutate(self):
        name = self._any("list", "dict", "array", "set", "object", "frame", "class", "function")
        if name is None:
            return self._assign()
        n, other = self._number(), self._any("list", "dict", "array") or "None"
        texts = {
            "list": [
                f"append({n})",
                f"extend([{n}, {n}])",
                f"append({other})",
                "reverse()",
                f"insert(0, {n})",
                "pop()",
            ],
            "dict": [f"update(k{n}={n})", f"setdefault('new', []).append({n})", f"__setitem__('x', {other})"],
            "array": [f"fill({n})", f"__iadd__({n})", f"__setitem__(0, {n})", "sort()"],
            "set": [f"add({n})", f"discard({n})"],
        }
        kind = self._kinds[name]
        if kind == "object":
            return self._dice.choice((f"{name}.x = {n}", f"{name}.part = {other}", f"{name}.grow({n})"))
        if kind == "frame":
            return self._dice.choice((f"{name}['n{n}'] = {n}", f"{name}.loc[0, 'a'] = {n}", f"{name}.attrs['k'] = {n}"))
        if kind in ("class", "function"):
            return f"{name}.extra = {self._dice.choice((str(n), other))}"
        return f"{name}.{self._dice.choice(texts[kind])}"

    def _draw(self):
        n, name = self._number(), self._new("number")
        return self._dice.choice(
            (
                f"{name} = random.random()",
                f"{name} = random.sample(range(50), {n})[0]",
                f"{name} = float(np.random.rand())",
                f"{name} = float(rng.normal())",
                f"{name} = 0; random.seed({n})",
                f"{name} = 0; rng = np.random.default_rng({n})",
            )
        )

    def _set(self):
        n = self._number()
        return self._dice.choice(
            (
                f"os.environ['QQ_{n % 3}'] = '{n}'",
                f"os.environ.pop('QQ_{n % 3}', None)",
                f"np.set_printoptions(precision={n})",
                f"pd.set_option('display.max_rows', {n + 10})",
                f"{self._new('number')} = os.environ.get('QQ_{n % 3}', 'none')",
            )
        )

    def _define(self):
        n, read, held = self._number(), self._any("number", "list", "dict"), self._any("list", "dict")
        if self._dice.random() < 0.4:
            name = self._new("class")
            return (
                f"class {name}:\n    made = []\n    x = {n}\n    def __init__(self, part):\n"
                f"        self.part = part\n        self.made.append({n})\n"
                f"    def grow(self, k):\n        self.x += k * {n}\n        return self"
            )
        name = self._new("function")
        if held is not None and self._dice.random() < 0.3:
            return f"def {name}(x={n}, box={held}):\n    return (x, len(box))"
        if self._dice.random() < 0.3:
            return (
                f"def {name}_outer():\n    seen = []\n    def {name}(x={n}):\n        seen.append(x)\n"
                f"        return len(seen)\n    return {name}\n{name} = {name}_outer()"
            )
        body = f"x * {n}" if read is None else f"(x, repr({read})[:40])"
        return f"def {name}(x={n}):\n    return {body}"

    def _call(self):
        function = self._any("function")
        if function is None:
            return self._define()
        return f"{self._new('tuple')} = {function}({self._number()})"

    def _delete(self):
        name = self._any()
        if name is None or len(self._kinds) < 4:
            return self._assign()
        del self._kinds[name]
        return f"del {name}"

    def _show(self):
        name = self._any("number", "list", "dict", "array", "set", "tuple")
        return "print('nothing')" if name is None else f"print({name})"


def program(seed):
    """Return the cells of a random notebook, without the one that tells its end."""
    dice = random.Random(seed)
    writer = _Writer(dice)
    cells = [IMPORTS, SEEDS.format(dice.randrange(9))]
    return cells + [COMMENT + writer.cell() for _ in range(dice.randrange(4, 11))]


def edited(cells, dice):
    """Return the cells with one to three edits: a number, a cell moved, copied, deleted, split off, or a new one."""
    cells = list(cells)
    for _ in range(dice.randrange(1, 4)):
        at = dice.randrange(2, len(cells))  # below imports and seeds: what nobody seeded is the user's
        match dice.choice(("number", "number", "move", "copy", "delete", "comment", "new", "split")):
            case "number":
                digits = [i for i, c in enumerate(cells[at]) if c.isdigit() and not cells[at][i - 1].isalnum()]
                if digits:
                    i = dice.choice(digits)
                    cells[at] = f"{cells[at][:i]}{dice.randrange(1, 9)}{cells[at][i + 1 :]}"
            case "move":
                cells.insert(dice.randrange(2, len(cells)), cells.pop(at))
            case "copy":
                cells.insert(dice.randrange(at, len(cells)), cells[at])
            case "delete" if len(cells) > 3:  # noqa: PLR2004 - imports, seeds and a cell
                del cells[at]
            case "comment":
                cells[at] += "  # a note"
            case "new":
                cells.insert(at, COMMENT + _Writer(dice).cell())
            case "split" if "\n" in cells[at].removeprefix(COMMENT):
                first, rest = cells[at].removeprefix(COMMENT).split("\n", 1)
                if not rest.startswith(" ") and not first.startswith(("def", "class")):
                    cells[at : at + 1] = [COMMENT + first, COMMENT + rest]
    return cells


@dataclass(frozen=True)
class Ending:
    """How one random notebook did: its edited cells, what differs ("" for nothing), cached cells and hits."""

    seed: int
    cells: tuple[str, ...]
    differs: str
    cached: int
    hits: int


def check_program(seed, cold, warm):
    """Run one notebook, edit it, and compare its second run with a plain one."""
    dice = random.Random(f"edits {seed}")
    before = program(seed)
    after = edited(before, dice)
    with tempfile.TemporaryDirectory(ignore_cleanup_errors=True) as top:

        def play(parent, cells, folder, *, cached):
            Path(top, folder).mkdir(exist_ok=True)
            at = {"cache": f"{top}/cache", "folder": f"{top}/{folder}"}
            return parent.run(cells=[*cells, DUMP], cached=cached, first="", env={"AWAITLY_NB_AUTO": "1"}, **at)

        play(cold, before, "work", cached=True)
        wanted, printed, _ = play(warm, after, "plain", cached=False)
        found, shown, badges = play(warm, after, "work", cached=True)
        shutil.rmtree(f"{top}/cache", ignore_errors=True)
    differs = "" if found == wanted else f"ends as\n{found}\nfor\n{wanted}"
    if not differs and not wanted.startswith("cell") and shown != printed:
        differs = f"shows {shown!r} for {printed!r}"
    return Ending(seed, tuple(after), differs, len(badges), sum("from cache" in badge for badge in badges))


def check_programs(seeds):
    """Check many, on two pairs of processes; return how they ended."""
    seeds = list(seeds)

    def share(start):
        with Parent(100 + start, loaded="pandas") as cold, Parent(200 + start, loaded="pandas") as warm:
            return [check_program(seed, cold, warm) for seed in seeds[start::2]]

    with ThreadPoolExecutor(2) as pool:
        return [ending for part in pool.map(share, range(2)) for ending in part]


if __name__ == "__main__":
    count = int(sys.argv[1]) if len(sys.argv) > 1 else 1000
    first = int(sys.argv[2]) if len(sys.argv) > 2 else 0  # noqa: PLR2004 - the second word
    endings = check_programs(range(first, first + count))
    for ending in endings:
        if ending.differs:
            print(f"---- seed {ending.seed}", *ending.cells, ending.differs, sep="\n# %%\n")
    wrong = sum(bool(ending.differs) for ending in endings)
    cached, hits = sum(e.cached for e in endings), sum(e.hits for e in endings)
    print(f"{len(endings)} notebooks, {cached} cells looked at, {hits} hits, {wrong} differ")
