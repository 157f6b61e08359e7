# ruff: noqa: E501 - a notebook is a line, so that one sees many of them at once
"""Small notebooks in which a hit has to leave what running leaves: cells separated by `---`, the last one sets OUT.

`PURE` needs the standard library only; `LIBRARIES` is grouped by the library that every notebook of the group imports. In
`kinds`, `sharing` and `state_cases` are more, by the kind of state.
"""

from collections.abc import Mapping
from dataclasses import dataclass, field

from tests.battery.kinds import GROUPS
from tests.battery.sharing import SHARING
from tests.battery.situations import GROUPS_OF_SITUATIONS
from tests.battery.state_cases import STATE_CASES

PURE = {
    # Containers that other names hold
    "list held by a dict": "a = [1] --- box = {'in': a} --- a.append(2) --- OUT = (box, box['in'] is a)",
    "list held twice": "a = []\nb = [a, a] --- b[0].append(1) --- OUT = (a, b, b[0] is b[1])",
    "list sorted in place": "a = [3, 1, 2]\nb = a --- b.sort() --- OUT = (a, a is b)",
    "list cleared and refilled": "a = [1, 2]\nb = (a,) --- a.clear(); a.extend('xy') --- OUT = b",
    "slice assigned": "a = list(range(5)) --- b = a --- a[1:3] = ['x'] --- OUT = b",
    "nested list through another name": "m = [[0, 0], [0, 0]] --- row = m[1] --- row[0] = 5 --- OUT = m",
    "dict updated by another name": "d = {'a': 1} --- e = d --- e.update(b=2); e.pop('a') --- OUT = (d, list(d))",
    "dict order after a move": "d = {'a': 1, 'b': 2} --- d['a'] = d.pop('a') --- OUT = list(d.items())",
    "dict of dicts": "cfg = {'m': {'lr': 1}} --- m = cfg['m'] --- m['lr'] = 2; m['new'] = [] --- m['new'].append(1) --- OUT = cfg",
    "set grows": "s = {1}\nt = [s] --- s |= {2, 3} --- OUT = sorted(t[0])",
    "set of tuples": "s = {(1, 'a')} --- t = s --- s.add((2, 'b')) --- OUT = sorted(t)",
    "frozen parts": "inner = [1]\npair = (inner, 'x') --- pair[0].append(2) --- OUT = (inner, pair[0] is inner)",
    "deque rotates": "from collections import deque\nq = deque([1, 2, 3]) --- h = [q] --- q.rotate(1) --- OUT = list(h[0])",
    "counter counts on": "from collections import Counter\nc = Counter('abca') --- d = {'c': c} --- c.update('zz') --- OUT = sorted(d['c'].items())",
    "ordered dict moves": "from collections import OrderedDict\no = OrderedDict(a=1, b=2) --- p = [o] --- o.move_to_end('a') --- OUT = list(p[0])",
    "defaultdict fills": "from collections import defaultdict\nd = defaultdict(list)\nh = [d] --- d['k'].append(1) --- d['k'].append(2) --- OUT = (dict(h[0]), h[0]['new'])",
    "chain map": "from collections import ChainMap\na = {'x': 1}\nc = ChainMap({}, a) --- a['y'] = 2 --- OUT = sorted(c.items())",
    "bytearray": "b = bytearray(b'abc')\nv = [b] --- b[0] = 90 --- OUT = bytes(v[0])",
    "typed array": "import array\na = array.array('d', [1, 2])\nh = [a] --- a.append(3) --- OUT = h[0].tolist()",
    "heap": "import heapq\nh = [5, 1, 4]\nk = h --- heapq.heapify(h) --- top = heapq.heappop(h) --- OUT = (top, k)",
    "cyclic list": "a = [1]\na.append(a) --- n = a[1][1][0] --- OUT = (n, a[1] is a)",
    "self in dict": "d = {}\nd['me'] = d --- d['n'] = len(d) --- OUT = (d['me'] is d, d['n'])",
    "alias made later": "a = [1] --- b = a --- c = b --- c.append(2) --- OUT = (a, a is b is c)",
    "copy stays apart": "a = [1, [2]] --- b = a.copy() --- a.append(3); a[1].append(9) --- OUT = (a, b)",
    "deep copy stays apart": "import copy\na = [1, [2]] --- b = copy.deepcopy(a) --- a[1].append(9) --- OUT = (a, b)",
    "swap": "a, b = [1], [2] --- a, b = b, a --- a.append(3) --- OUT = (a, b)",
    "rebound after a change": "a = [1]\nb = a --- a.append(2); a = 'new' --- OUT = (a, b)",
    "bound method kept": "a = [1] --- add = a.append --- add(2); add(3) --- OUT = a",
    "partial over a list": "from functools import partial\na = [] --- p = partial(a.append) --- p(1) --- OUT = (a, p.func.__self__ is a)",
    "zip of shared rows": "rows = [[1], [2]] --- pairs = list(zip('ab', rows)) --- rows[0].append(9) --- OUT = pairs",
    "walrus and comprehension": "xs = [1, 2, 3] --- total = sum(last := x for x in xs) --- OUT = (total, last)",
    # Deleted, unbound, conditional
    "deleted name": "a = 1; b = 2 --- del a --- OUT = ('a' in dir(), b)",
    "deleted and made anew": "a = [1]; h = a --- del a; a = [2] --- OUT = (a, h)",
    "deleted in a loop": "for i in range(3): pass\nx = i --- del i --- OUT = (x, 'i' in dir())",
    "item deleted": "d = {'a': 1, 'b': 2}; e = d --- del d['a'] --- OUT = e",
    "conditional binding": "flag = False; x = [0] --- if flag: x = [1] --- x.append(2) --- OUT = x",
    "try and except": "try:\n    1 / 0\nexcept ZeroDivisionError as e:\n    kind = type(e).__name__ --- n = len(kind) --- OUT = (kind, n)",
    "exception kept": "try:\n    raise ValueError('a', 1)\nexcept ValueError as e:\n    err = e --- args = err.args --- OUT = (args, type(err).__name__)",
    "global bound in a function": "def f():\n    global g\n    g = [7] --- f() --- g.append(8) --- OUT = g",
    "names made by exec": "exec('made = 3') --- twice = made * 2 --- OUT = (made, twice)",
    # Classes
    "class attribute set later": "class K:\n    n = 0 --- K.n = 5 --- k = K() --- OUT = (K.n, k.n)",
    "class attribute deleted": "class K:\n    n = 0; m = 1 --- del K.n --- OUT = (hasattr(K, 'n'), K.m)",
    "instances counted": "class A:\n    n = 0\n    def __init__(self): A.n += 1 --- x = A() --- y = A() --- OUT = A.n",
    "registry of subclasses": "class Base:\n    known = {}\n    def __init_subclass__(cls): Base.known[cls.__name__] = cls --- class One(Base): pass --- class Two(Base): pass --- OUT = (sorted(Base.known), Base.known['One'] is One)",
    "registry by decorator": "handlers = {}\ndef register(f):\n    handlers[f.__name__] = f\n    return f --- @register\ndef one(): return 1 --- @register\ndef two(): return 2 --- OUT = {k: f() for k, f in handlers.items()}",
    "pool on the class": "class A:\n    pool = []\n    def __init__(self): self.pool.append(self) --- a = A() --- b = A() --- OUT = (len(A.pool), A.pool[0] is a)",
    "method put on a class": "class K:\n    def __init__(self): self.v = 3\nk = K() --- K.double = lambda self: self.v * 2 --- OUT = k.double()",
    "dataclass changed": "from dataclasses import dataclass, field\n@dataclass\nclass D:\n    x: int\n    tags: list = field(default_factory=list)\nd = D(1)\nh = [d] --- d.x = 2; d.tags.append('a') --- OUT = h[0]",
    "slots": "class S:\n    __slots__ = ('a', 'b')\ns = S(); s.a = 1\nh = (s,) --- s.b = [2] --- OUT = (h[0].a, h[0].b)",
    "property with a store": "class P:\n    def __init__(self): self._v = 0\n    @property\n    def v(self): return self._v\n    @v.setter\n    def v(self, x): self._v = x\np = P() --- p.v = 4 --- OUT = (p.v, vars(p))",
    "inheritance": "class A:\n    def hi(self): return 'A' --- class B(A):\n    def hi(self): return super().hi() + 'B' --- b = B() --- OUT = (b.hi(), isinstance(b, A))",
    "class in a branch": "if True:\n    class K:\n        def f(self): return 3 --- k = K() --- OUT = (k.f(), type(k) is K)",
    "class in a loop": "made = []\nfor n in range(2):\n    class K:\n        v = n\n    made.append(K) --- k = made[1]() --- OUT = (k.v, type(k) is K)",
    "class from a function": "def make(n):\n    class Inner:\n        v = n\n    return Inner\nC = make(4) --- c = C() --- OUT = (c.v, isinstance(c, C))",
    "class redefined": "class K:\n    v = 1\nold = K() --- class K:\n    v = 2\nnew = K() --- OUT = (old.v, new.v, type(old) is type(new))",
    "enum": "import enum\nclass C(enum.Enum):\n    RED = 1\n    BLUE = 2 --- c = C.RED; d = {C.BLUE: 'b'} --- OUT = (c is C.RED, d[C(2)])",
    "named tuple": "from collections import namedtuple\nP = namedtuple('P', 'x y') --- p = P(1, [2]) --- p.y.append(3) --- OUT = (p, type(p) is P)",
    "abstract class": "from abc import ABC, abstractmethod\nclass B(ABC):\n    @abstractmethod\n    def f(self): ... --- class D(B):\n    def f(self): return 1 --- d = D() --- OUT = d.f()",
    "metaclass": "class M(type):\n    made = []\n    def __new__(m, n, b, d):\n        c = super().__new__(m, n, b, d); m.made.append(n); return c --- class X(metaclass=M): pass --- OUT = (M.made, type(X) is M)",
    "cached property": "from functools import cached_property\nclass K:\n    def __init__(self): self.n = 0\n    @cached_property\n    def v(self):\n        self.n += 1\n        return self.n * 10\nk = K() --- a = k.v --- b = k.v --- OUT = (a, b, k.n)",
    "object that compares": "class E:\n    def __init__(self, v): self.v = v\n    def __eq__(self, o): return self.v == o.v\n    def __hash__(self): return hash(self.v)\na = E(1); s = {a} --- b = E(1) --- OUT = (b in s, a is b)",
    "list subclass": "class L(list): pass\np = L([1]) --- h = [p] --- p.append(2); p.name = 'n' --- OUT = (list(h[0]), h[0].name)",
    "dict subclass": "class D(dict):\n    def __getattr__(self, k): return self[k]\nd = D(a=1) --- e = [d] --- d['b'] = 2 --- OUT = (e[0].b, type(e[0]) is D)",
    "namespace": "from types import SimpleNamespace\nns = SimpleNamespace(a=1)\nh = [ns] --- ns.b = [2]; del ns.a --- OUT = vars(h[0])",
    "linked nodes": "class N:\n    def __init__(s, v): s.v = v; s.next = None\na = N(1); b = N(2); a.next = b --- b.v = 9 --- c = N(3); b.next = c --- OUT = (a.next.v, a.next.next is c)",
    "tree with parents": "class N:\n    def __init__(s, up=None):\n        s.up = up; s.down = []\n        if up: up.down.append(s)\nroot = N() --- leaf = N(root) --- n = len(root.down) --- OUT = (n, leaf.up is root, root.down[0] is leaf)",
    # Functions
    "function counts": "def f():\n    f.n += 1\n    return f.n\nf.n = 0 --- a = f() --- b = f() --- OUT = (a, b, f.n)",
    "nonlocal counter": "def make():\n    n = 0\n    def tick():\n        nonlocal n\n        n += 1\n        return n\n    return tick\nt = make() --- a = t() --- b = t() --- OUT = (a, b, t())",
    "two closures over one cell": "def make():\n    v = [0]\n    return (lambda: v.append(len(v))), (lambda: list(v))\nput, get = make() --- put() --- put() --- OUT = get()",
    "mutable default": "def f(x, seen=[]):\n    seen.append(x)\n    return seen --- a = f(1) --- b = f(2) --- OUT = (b, a is b)",
    "memo in a dict": "memo = {}\ndef fib(n):\n    if n not in memo: memo[n] = n if n < 2 else fib(n - 1) + fib(n - 2)\n    return memo[n] --- a = fib(10) --- b = fib(12) --- OUT = (a, b, len(memo))",
    "lru cache": "from functools import lru_cache\n@lru_cache\ndef sq(n): return n * n --- a = sq(3) --- OUT = (a, sq(4))",
    "decorated with state": "def counted(f):\n    def w(*a):\n        w.calls += 1\n        return f(*a)\n    w.calls = 0\n    return w\n@counted\ndef add(a, b): return a + b --- x = add(1, 2) --- y = add(3, 4) --- OUT = (x, y, add.calls)",
    "helper edits a global": "log = []\ndef note(x): log.append(x) --- note('a') --- note('b') --- OUT = log",
    "helper through helpers": "seen = {}\ndef inner(k): seen[k] = seen.get(k, 0) + 1\ndef outer(k): inner(k); inner(k.upper()) --- outer('a') --- outer('a') --- OUT = seen",
    "lambda default": "fs = [lambda x, i=i: x + i for i in range(3)] --- ys = [f(10) for f in fs] --- OUT = ys",
    "generator half used": "def g():\n    for i in range(5): yield i\nit = g() --- OUT = next(it)",
    "iterator half used": "it = iter([1, 2, 3, 4]) --- a = next(it) --- b = next(it) --- OUT = (a, b, list(it))",
    "itertools count": "import itertools\nc = itertools.count(5) --- a = next(c) --- b = next(c) --- OUT = (a, b, next(c))",
    "random object": "import random\nr = random.Random(3)\nh = [r] --- a = r.random() --- b = r.random() --- OUT = (a, b, h[0].random())",
    "string buffer": "import io\ns = io.StringIO() --- s.write('a') --- s.write('b') --- OUT = s.getvalue()",
    # What is printed and shown
    "last value shown": "7 --- [1, 2] --- OUT = _ + [3]",
    "underscores": "1 --- 2 --- 3 --- OUT = (_, __, ___)",
    "prints and value": "print('a'); x = 1 --- print('b', x); x + 1 --- OUT = _",
    "stderr too": "import sys\nprint('out'); print('err', file=sys.stderr); y = 2 --- OUT = y",
    "display": "from IPython.display import display\ndisplay({'a': 1}); x = 1 --- display(x) --- OUT = x",
    "broken repr": "class B:\n    def __repr__(self): return 'B!'\n    def _repr_html_(self): raise ValueError('no html')\nb = B() --- b --- OUT = type(_).__name__",
    # Handles
    "closed file": "import os\nwith open(os.devnull) as f: n = f.read() --- c = f.closed --- OUT = (c, f.closed)",
    "match": "import re\nm = re.search('b(c)', 'abcd') --- g = m.group(1) --- OUT = (g, m.span())",
    "executor": "from concurrent.futures import ThreadPoolExecutor\nwith ThreadPoolExecutor(2) as ex:\n    r = list(ex.map(abs, [-1, -2])) --- s = sum(r) --- OUT = s",
    "csv reader": "import csv, io\nrd = csv.reader(io.StringIO('a,b')); total = 41 --- later = total + 1 --- OUT = later",
    "lock read later": "import threading\nlock = threading.Lock(); n = 1 --- m = n + 1 --- OUT = (m, lock.locked())",
    "connection read later": "import sqlite3\ndb = sqlite3.connect(':memory:'); n = 1 --- m = n + 1 --- OUT = (m, db.execute('select 5').fetchone()); db.close()",
    "spent generator": "g = (i * i for i in range(3)); xs = list(g) --- ys = list(g) --- OUT = (xs, ys)",
    "zip archive": "import zipfile, io\nwith zipfile.ZipFile(io.BytesIO(), 'w') as z: z.writestr('a', 'b'); names = z.namelist() --- n = len(names) --- OUT = (n, z.fp)",
    "thread joined": "import threading\nout = []\nt = threading.Thread(target=out.append, args=(1,)); t.start(); t.join() --- n = len(out) --- OUT = (n, t.is_alive())",
    "logger": "import logging\nlog = logging.getLogger('mine'); x = 1 --- y = x + 1 --- OUT = (log.name, y)",
    "module alias": "import math as m, os.path --- r = m.sqrt(9) --- OUT = (r, os.path.basename('a/b'))",
    "from import": "from math import pi, floor as fl --- n = fl(pi) --- OUT = (n, fl(2.5))",
    "weak reference": "import weakref\nclass K: pass\nk = K(); w = weakref.ref(k) --- OUT = w() is k",
    "context variable": "import contextvars\nv = contextvars.ContextVar('v', default=0); x = 1 --- OUT = (v.get(), x)",
    "decimal and fractions": "from decimal import Decimal\nfrom fractions import Fraction\nd = Decimal('1.10'); f = Fraction(1, 3) --- s = d + 1, f * 3 --- OUT = s",
    "dates": "import datetime as dt\nd = dt.datetime(2020, 1, 2, tzinfo=dt.timezone.utc) --- e = d + dt.timedelta(days=1) --- OUT = (d, e)",
    "paths": "from pathlib import Path\np = Path('a') / 'b.txt' --- q = p.with_suffix('.csv') --- OUT = (p, q)",
    # Files
    "file written and read": "open('f.txt', 'w').write('one') --- t = open('f.txt').read() --- OUT = t",
    "written twice, read between": "open('g.txt', 'w').write('first') --- t = open('g.txt').read() --- open('g.txt', 'w').write('second') --- OUT = (t, open('g.txt').read())",
    "file renamed": "import os\nopen('a.txt', 'w').write('x') --- os.replace('a.txt', 'b.txt') --- OUT = sorted(os.listdir('.'))",
    "folder made": "import os\nos.makedirs('d/e', exist_ok=True) --- open('d/e/f', 'w').write('1') --- OUT = os.path.exists('d/e/f')",
    "json round trip": "import json\njson.dump({'a': [1]}, open('c.json', 'w')) --- c = json.load(open('c.json')) --- c['a'].append(2) --- OUT = c",
    "pickled by the user": "import pickle\nclass K:\n    v = 1\nk = K(); k.x = 2\nb = pickle.dumps(k) --- j = pickle.loads(b) --- OUT = (j.x, type(j) is K)",
}

_NUMPY = {
    "view of an array": "x = np.arange(4) --- v = x[:2] --- v[0] = 99 --- OUT = x.tolist()",
    "view of a view": "x = np.arange(12).reshape(3, 4) --- v = x[1:] --- w = v[:, ::2] --- w += 100 --- OUT = x.tolist()",
    "transposed": "x = np.zeros((2, 3)) --- t = x.T --- t[2, 1] = 5 --- OUT = x.tolist()",
    "view and base in one cell": "x = np.arange(6); v = x[::2] --- v *= 10 --- OUT = x.tolist()",
    "two views of one base": "b = np.arange(8); u, v = b[:5], b[3:]\ndel b --- v[0] = 7 --- OUT = u.tolist()",
    "array in a list": "x = np.ones(3); h = [x, x] --- x[0] = 0 --- OUT = [a.tolist() for a in h]",
    "array in an object": "class M: pass\nm = M(); m.w = np.zeros(2) --- w = m.w --- w += 1 --- OUT = m.w.tolist()",
    "array replaced in an object": "class M: pass\nm = M(); m.w = np.zeros(2); old = m.w --- m.w = m.w + 1 --- OUT = (m.w.tolist(), old.tolist())",
    "sorted in place": "x = np.array([3, 1, 2]); y = x --- y.sort() --- OUT = x.tolist()",
    "filled": "x = np.empty(3, dtype=object); h = [x] --- x.fill('a') --- OUT = h[0].tolist()",
    "object array of lists": "x = np.array([[1], 2], dtype=object); e = x[0] --- e.append(3) --- OUT = x.tolist()",
    "structured": "x = np.zeros(2, dtype=[('a', 'i4'), ('b', 'f8')]) --- f = x['a'] --- f[:] = 7 --- OUT = x.tolist()",
    "another dtype of one memory": "x = np.zeros(2) --- v = x.view('i8') --- x[0] = 1.5 --- OUT = v.tolist()",
    "dates in place": "x = np.array(['2020', '2021'], 'M8[D]') --- v = x[1:] --- v[0] = np.datetime64('1999-01-01') --- OUT = x.astype(str).tolist()",
    "read only": "x = np.arange(3); r = x.view(); r.flags.writeable = False --- x[0] = 9 --- OUT = (r.tolist(), r.flags.writeable)",
    "reshaped": "x = np.arange(6) --- m = x.reshape(2, 3) --- m[1, 1] = -1 --- OUT = x.tolist()",
    "copy stays apart": "x = np.arange(3) --- y = x.copy() --- x[0] = 9 --- OUT = y.tolist()",
    "fancy index copies": "x = np.arange(4) --- y = x[[0, 1]] --- x[0] = 9 --- OUT = y.tolist()",
    "masked": "m = np.ma.array([1, 2, 3], mask=[0, 1, 0]) --- s = int(m.sum()) --- OUT = (s, m.tolist())",
    "generator object": "g = np.random.default_rng(1); h = {'g': g} --- a = g.random() --- b = g.random() --- OUT = (a, b, h['g'].random())",
    "scalar": "x = np.float64(2.5); y = np.int8(3) --- z = x * y --- OUT = (z, type(z).__name__)",
    "big array": "x = np.arange(200_000.); v = x[:10] --- x += 1 --- OUT = (v.tolist(), float(x.sum()))",
    "shape in place": "x = np.arange(4) --- x.shape = (2, 2) --- OUT = x.tolist()",
}

_PANDAS = {
    "frame in a dict": "df = pd.DataFrame({'k': [1]}); frames = {'t': df} --- frames['t']['new'] = 5 --- OUT = df.to_dict('list')",
    "frame held by an object": "class M: pass\ndf = pd.DataFrame({'x': [1]}) --- m = M(); m.data = df --- df['y'] = 2 --- OUT = (list(m.data), m.data is df)",
    "column set": "df = pd.DataFrame({'k': [1, 2]}); e = df --- df.loc[0, 'k'] = 9 --- OUT = (e.k.tolist(), e is df)",
    "series of a frame": "df = pd.DataFrame({'k': [1, 2]}) --- s = df['k'] --- df.loc[0, 'k'] = 9 --- OUT = (s.tolist(), df.k.tolist())",
    "frame of a series": "s = pd.Series([1, 2], name='s') --- df = s.to_frame() --- s[0] = 5 --- OUT = (df.s.tolist(), s.tolist())",
    "derived frame": "df = pd.DataFrame({'a': [1, 2]}) --- e = df.rename(columns={'a': 'z'}) --- df['a'] = 0 --- OUT = (e.z.tolist(), df.a.tolist())",
    "derived and written at once": "df = pd.DataFrame({'a': [1, 2]}) --- df.loc[0, 'a'] = 9; e = df.assign(b=1) --- e.loc[1, 'a'] = 7 --- OUT = (df.a.tolist(), e.a.tolist())",
    "values": "df = pd.DataFrame({'a': [1, 2]}) --- v = df.values --- df.loc[0, 'a'] = 9 --- OUT = v.tolist()",
    "index renamed": "df = pd.DataFrame({'a': [1]}) --- i = df.index --- df.index.name = 'row' --- OUT = i.name",
    "columns renamed": "df = pd.DataFrame({'a': [1]}); h = [df] --- df.columns = ['b'] --- OUT = list(h[0])",
    "columns popped": "df = pd.DataFrame({'a': [1], 'b': [2]}); h = [df] --- b = df.pop('b') --- OUT = (list(h[0]), b.tolist())",
    "column inserted": "df = pd.DataFrame({'a': [1]}); h = [df] --- df.insert(0, 'z', [3]) --- OUT = h[0].to_dict('list')",
    "strings set": "df = pd.DataFrame({'s': ['a', 'b']}); h = [df] --- df.loc[0, 's'] = 'z' --- OUT = h[0].s.tolist()",
    "category set": "df = pd.DataFrame({'c': pd.Categorical(['a', 'b'])}); h = [df] --- df.loc[0, 'c'] = 'b' --- OUT = h[0].c.tolist()",
    "dates set": "df = pd.DataFrame({'d': pd.to_datetime(['2020', '2021'])}); h = [df] --- df.loc[0, 'd'] = pd.Timestamp('1999') --- OUT = h[0].d.astype(str).tolist()",
    "nullable set": "s = pd.Series([1, None], dtype='Int64'); h = [s] --- s[1] = 7 --- OUT = h[0].tolist()",
    "objects set": "s = pd.Series([[1], 'x'], dtype=object); h = [s] --- s[0].append(2) --- OUT = h[0].tolist()",
    "series named": "s = pd.Series([1]); h = [s] --- s.name = 'n' --- OUT = h[0].name",
    "attrs": "df = pd.DataFrame({'a': [1]}); h = [df] --- df.attrs['unit'] = 'm' --- OUT = h[0].attrs",
    "rows appended": "df = pd.DataFrame({'a': [1]}); h = [df] --- df.loc[1] = 5 --- OUT = h[0].a.tolist()",
    "rows dropped and rebound": "df = pd.DataFrame({'a': [1, None]}); old = df --- df = df.dropna() --- OUT = (len(df), len(old))",
    "groups": "df = pd.DataFrame({'g': ['a', 'b', 'a'], 'v': [1, 2, 3]}) --- g = df.groupby('g') --- t = g.v.sum() --- OUT = t.to_dict()",
    "multi index": "df = pd.DataFrame({'a': [1, 2], 'b': [3, 4], 'v': [5, 6]}).set_index(['a', 'b']) --- df.index.names = ['x', 'y'] --- OUT = list(df.reset_index())",
    "read twice": "df = pd.DataFrame({'a': [1], 'b': [2.], 'c': ['x']}) --- d = df.describe().to_dict() --- m = df[['a', 'b']].mean().to_dict() --- OUT = (d['a']['count'], m)",
    "merge": "l = pd.DataFrame({'k': [1, 2], 'a': [3, 4]}); r = pd.DataFrame({'k': [1], 'b': [5]}) --- m = l.merge(r) --- l.loc[0, 'a'] = 9 --- OUT = m.to_dict('list')",
    "csv": "pd.DataFrame({'a': [1, 2]}).to_csv('t.csv', index=False) --- df = pd.read_csv('t.csv') --- df['b'] = df.a * 2 --- OUT = df.to_dict('list')",
    "own accessor": "class K:\n    def __init__(self, df): self.df = df\nk = K(pd.DataFrame({'a': [1]})) --- k.df['b'] = 2 --- OUT = list(k.df)",
    "library class imported": "from pandas import DataFrame, Series --- d = DataFrame({'a': [1]}) --- s = Series([1]) --- OUT = (len(d), s.tolist())",
}

_SKLEARN = {
    "model in a list": "X = np.arange(6.).reshape(-1, 1); y = X[:, 0] * 2 --- m = LinearRegression(); models = [m] --- for one in models: one.fit(X, y) --- OUT = (round(float(m.coef_[0]), 6), models[0] is m)",
    "model fitted twice": "X = np.arange(6.).reshape(-1, 1) --- m = LinearRegression().fit(X, X[:, 0]); h = {'m': m} --- m.fit(X, X[:, 0] * 3) --- OUT = round(float(h['m'].coef_[0]), 6)",
    "parameters set": "m = LinearRegression(); h = [m] --- m.set_params(fit_intercept=False) --- OUT = h[0].fit_intercept",
}

LIBRARIES = {
    "import numpy as np\n": _NUMPY,
    "import pandas as pd\n": _PANDAS,
    "import numpy as np\nfrom sklearn.linear_model import LinearRegression\n": _SKLEARN,
}


@dataclass(frozen=True)
class Notebook:
    """One notebook of the battery.

    Attributes
    ----------
    cells
        Their sources; the last one sets OUT and is never cached.
    edits
        Sources that cells have in one more run each, as `(number, source)`.
    env, env_later
        The environment of the first run and of those after it.
    hits
        How many cells have to be served in the run after the edits; None makes no demand.
    """

    cells: tuple[str, ...]
    edits: tuple[tuple[int, str], ...] = ()
    env: Mapping[str, str] = field(default_factory=dict)
    env_later: Mapping[str, str] = field(default_factory=dict)
    hits: int | None = None


def notebooks() -> dict[str, Notebook]:
    """Return the notebooks by name."""
    found = {name: _read("", text) for name, text in PURE.items()}
    for imports, group in LIBRARIES.items():
        library = imports.split()[1] if "sklearn" not in imports else "sklearn"
        found |= {f"{library}: {name}": _read(imports, text) for name, text in group.items()}
    for kind, (imports, group) in {**GROUPS, **SHARING, **GROUPS_OF_SITUATIONS}.items():
        found |= {f"{kind}: {name}": _read(imports, text) for name, text in group.items()}
    for name, case in STATE_CASES.items():
        env = case.get("env", {})
        found[f"state: {name}"] = Notebook(
            cells=tuple(case["cells"]),
            edits=tuple(case.get("edit", {}).items()),
            env=env,
            env_later=case.get("env_warm", env),
            hits=case.get("hits"),
        )
    return found


def _read(imports: str, text: str) -> Notebook:
    pairs = [cell.split(" ==> ") for cell in text.split(" --- ")]
    start = [imports, *[""] * (len(pairs) - 1)]
    cells = tuple(first + sources[0] for first, sources in zip(start, pairs, strict=True))
    edits = [(number, start[number] + sources[1]) for number, sources in enumerate(pairs) if len(sources) > 1]
    return Notebook(cells, tuple(edits))
