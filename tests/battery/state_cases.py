"""Small notebooks about the state of the process: what a cell leaves of it, draws from it and uses of it.

Each is a dict: `cells` (the last one sets OUT and is never cached), `edit` (source by number of the cell, for the later
runs), `env` and `env_warm` (the environment of the first and of the later runs), and `hits` (how many cells have to be
served in the warm run).
"""

from __future__ import annotations

from typing import Any

PLOT = "import matplotlib\nmatplotlib.use('Agg')\nimport matplotlib.pyplot as plt"
FRAME = "import pandas as pd\ndf = pd.DataFrame({'a': [1.23456, 2.5], 'b': ['x', 'y']})"


def case(*cells: str, **more: Any) -> dict[str, Any]:
    return {"cells": list(cells), **more}


STATE_CASES: dict[str, dict[str, Any]] = {
    # -- what a cell sets -------------------------------------------------------------------------------------------
    "environment: several at once": case(
        "import os", "os.environ.update(AA='1', BB='2')", "OUT = os.environ['AA'] + os.environ['BB']", hits=2
    ),
    "environment: taken away": case(
        "import os\nos.environ['AA'] = '1'", "gone = os.environ.pop('AA')", "OUT = 'AA' in os.environ", hits=2
    ),
    "environment: set to what it is, then edited before": case(
        "import os",
        "os.environ['MODE'] = 'slow'",
        "os.environ['MODE'] = 'slow'",
        "OUT = os.environ['MODE']",
        edit={1: "os.environ['MODE'] = 'fast'"},
    ),
    "environment: set in a function": case(
        "import os\ndef prepare():\n    os.environ['AA'] = 'ready'", "prepare()", "OUT = os.environ['AA']", hits=2
    ),
    "environment: read after it was set in an earlier cell": case(
        "import os",
        "os.environ['LEVEL'] = '3'",
        "level = int(os.environ['LEVEL'])",
        "OUT = level",
        edit={1: "os.environ['LEVEL'] = '4'"},
    ),
    "environment: the cell that does not read it hits": case(
        "import os",
        "os.environ['LEVEL'] = '3'",
        "other = 1 + 1",
        "level = int(os.environ['LEVEL'])",
        "OUT = (level, other)",
        edit={1: "os.environ['LEVEL'] = '4'"},
        hits=2,
    ),
    "folder: into one and back": case(
        "import os\nos.makedirs('in', exist_ok=True)\nhome = os.getcwd()",
        "os.chdir('in')",
        "os.chdir('..')",
        "OUT = os.path.basename(os.getcwd()) != 'in'",
    ),
    "folder: files are named from it": case(
        "import os\nos.makedirs('data', exist_ok=True)\n_ = open('data/t.txt', 'w').write('five')",
        "os.chdir('data')",
        "OUT = open('t.txt').read()",
    ),
    "path: a module behind an appended folder": case(
        "import os\nos.makedirs('more', exist_ok=True)\n_ = open('more/own_more.py', 'w').write('V = 4')",
        "import sys\nsys.path.append('more')",
        "from own_more import V",
        "OUT = V",
    ),
    "path: inserted twice": case(
        "import sys", "sys.path.insert(0, 'p1')", "sys.path.insert(0, 'p2')", "OUT = sys.path[:2]", hits=3
    ),
    "warnings: ignored": case(
        "import warnings", "warnings.simplefilter('ignore')", "OUT = warnings.filters[0][0]", hits=2
    ),
    "warnings: errors and then a message that is not one": case(
        "import warnings",
        "warnings.simplefilter('error')",
        "warnings.filterwarnings('ignore', message='.*old')",
        "try:\n    warnings.warn('very old')\n    OUT = 'quiet'\nexcept UserWarning:\n    OUT = 'raised'",
        hits=3,
    ),
    "warnings: the order of two filters": case(
        "import warnings",
        "warnings.filterwarnings('ignore', category=UserWarning)",
        "warnings.filterwarnings('error', category=UserWarning)",
        "OUT = [f[0] for f in warnings.filters[:2]]",
        hits=3,
    ),
    "logging: a level": case(
        "import logging",
        "logging.getLogger('app.db').setLevel(logging.DEBUG)",
        "OUT = logging.getLogger('app.db').isEnabledFor(10)",
        hits=2,
    ),
    "logging: basicConfig": case(
        "import logging",
        "logging.basicConfig(level='INFO', format='%(name)s %(message)s')",
        "OUT = (logging.root.level, [h.formatter._fmt for h in logging.root.handlers][-1:])",
    ),
    "logging: a handler that writes to a file": case(
        "import logging\nlog = logging.getLogger('app')",
        "h = logging.FileHandler('app.log', mode='w')\nlog.addHandler(h); del h",
        "log.warning('one')",
        "OUT = open('app.log').read()",
    ),
    "logging: propagation": case(
        "import logging",
        "logging.getLogger('quiet').propagate = False",
        "OUT = logging.getLogger('quiet').propagate",
        hits=2,
    ),
    "locale": case(
        "import locale",
        "_ = locale.setlocale(locale.LC_TIME, 'C.UTF-8')",
        "OUT = locale.setlocale(locale.LC_TIME)",
        hits=2,
    ),
    "decimal: precision edited": case(
        "from decimal import Decimal, getcontext",
        "getcontext().prec = 6",
        "third = Decimal(1) / 3",
        "OUT = str(third)",
        edit={1: "getcontext().prec = 9"},
    ),
    "decimal: rounding": case(
        "import decimal",
        "decimal.getcontext().rounding = decimal.ROUND_UP",
        "OUT = str(round(decimal.Decimal('2.21'), 1))",
        hits=2,
    ),
    "recursion limit": case("import sys", "sys.setrecursionlimit(5000)", "OUT = sys.getrecursionlimit()", hits=2),
    "garbage collection off": case("import gc", "gc.disable()", "OUT = gc.isenabled()", hits=2),
    "builtins: a function added": case(
        "import builtins", "builtins.double = lambda x: 2 * x", "OUT = double(4)", hits=2
    ),
    "builtins: print replaced": case(
        "import builtins\nsaid = []", "builtins.shout = str.upper", "OUT = shout('a')", hits=2
    ),
    "module: a constant replaced": case("import math", "math.tau = 6", "OUT = math.tau", hits=2),
    "module: one's own, configured": case(
        "_ = open('settings_of_mine.py', 'w').write('DEBUG = False')",
        "import settings_of_mine",
        "settings_of_mine.DEBUG = True",
        "OUT = settings_of_mine.DEBUG",
    ),
    "class of a library: a method": case(
        "import pandas as pd",
        "def size_(self):\n    return self.shape\npd.DataFrame.size_ = size_",
        "OUT = pd.DataFrame({'a': [1]}).size_()",
        hits=2,
    ),
    "class of a library: a property": case(
        "import pandas as pd",
        "pd.Series.first_ = property(lambda self: self.iloc[0])",
        "OUT = int(pd.Series([4, 5]).first_)",
        hits=2,
    ),
    "class of a library: the import in the same cell": case(
        "import pandas as pd\npd.DataFrame.rows_ = lambda self: len(self)",
        "d = pd.DataFrame({'a': [1]})",
        "OUT = d.rows_()",
        hits=2,
    ),
    "class of a library: an accessor": case(
        "import pandas as pd",
        "@pd.api.extensions.register_dataframe_accessor('sums')\nclass Sums:\n    def __init__(self, df):\n"
        "        self.df = df\n    def all(self):\n        return int(self.df.to_numpy().sum())",
        "OUT = pd.DataFrame({'a': [1, 2]}).sums.all()",
    ),
    "class of a library: progress_apply": case(
        "import pandas as pd\nfrom tqdm import tqdm",
        "tqdm.pandas(disable=True)",
        "OUT = pd.Series([1, 2]).progress_apply(lambda x: x + 1).tolist()",
    ),
    "pandas: an option by attribute": case(
        "import pandas as pd",
        "pd.options.display.max_columns = 3",
        "OUT = pd.get_option('display.max_columns')",
        hits=2,
    ),
    "pandas: an option reset": case(
        "import pandas as pd\npd.set_option('display.width', 50)",
        "pd.reset_option('display.width')",
        "OUT = pd.get_option('display.width')",
        hits=2,
    ),
    "pandas: a formatter": case(
        FRAME, "pd.options.display.float_format = '{:.1f}!'.format", "OUT = '1.2!' in repr(df)", hits=2
    ),
    "pandas: import and option in one cell": case(
        "import pandas as pd\npd.options.display.precision = 1", "x = 1", "OUT = repr(pd.Series([1.26]))", hits=2
    ),
    "pandas: set to the same and edited before": case(
        "import pandas as pd",
        "pd.set_option('display.precision', 2)",
        "pd.set_option('display.precision', 2)",
        "OUT = pd.get_option('display.precision')",
        edit={1: "pd.set_option('display.precision', 3)"},
    ),
    "pandas: under a context nothing stays": case(
        FRAME,
        "with pd.option_context('display.precision', 1):\n    t = repr(df)",
        "OUT = (t, pd.get_option('display.precision'))",
        hits=2,
    ),
    "numpy: how arrays are shown": case(
        "import numpy as np",
        "np.set_printoptions(precision=2, suppress=True)",
        "OUT = str(np.array([1.23456, 1e-9]))",
        hits=2,
    ),
    "numpy: how errors are treated": case(
        "import numpy as np",
        "old = np.seterr(all='raise')",
        "try:\n    np.array([1.0]) / 0\n    OUT = 'passed'\nexcept FloatingPointError:\n    OUT = 'raised'",
        hits=2,
    ),
    "sklearn: what transformers return": case(
        "import sklearn, pandas as pd\nfrom sklearn.preprocessing import StandardScaler",
        "sklearn.set_config(transform_output='pandas')",
        "OUT = type(StandardScaler().fit_transform(pd.DataFrame({'a': [1.0, 2.0]}))).__name__",
        hits=2,
    ),
    "polars: rows shown": case(
        "import polars as pl", "_ = pl.Config.set_tbl_rows(2)", "OUT = str(pl.DataFrame({'a': list(range(9))}))", hits=2
    ),
    "matplotlib: a style": case(PLOT, "plt.style.use('ggplot')", "OUT = plt.rcParams['axes.grid']", hits=2),
    "matplotlib: rc": case(PLOT, "plt.rc('lines', linewidth=4)", "OUT = plt.rcParams['lines.linewidth']", hits=2),
    "matplotlib: back to the defaults": case(
        PLOT + "\nplt.rcParams['lines.linewidth'] = 9",
        "plt.rcdefaults()",
        "OUT = plt.rcParams['lines.linewidth']",
        hits=2,
    ),
    "matplotlib: a style in the cell of the import": case(
        PLOT + "\nplt.style.use('dark_background')", "x = 1", "OUT = plt.rcParams['figure.facecolor']", hits=2
    ),
    "matplotlib: a colour map of one's own": case(
        PLOT,
        "from matplotlib.colors import ListedColormap as Map\nplt.colormaps.register(Map(['red', 'blue'], name='two'))",
        "OUT = plt.get_cmap('two').N",
        hits=2,
    ),
    "matplotlib: a figure left open": case(
        PLOT, "plt.figure(num=3)\n_ = plt.plot([1, 2])", "OUT = (plt.get_fignums(), len(plt.gca().lines))"
    ),
    "matplotlib: figures closed": case(
        PLOT, "fig = plt.figure(num=5)", "plt.close('all'); del fig", "OUT = plt.get_fignums()"
    ),
    "IPython: which values are shown": case(
        "shell = get_ipython(); del shell",
        "get_ipython().ast_node_interactivity = 'all'",
        "OUT = get_ipython().ast_node_interactivity",
    ),
    # -- generators -------------------------------------------------------------------------------------------------
    "random: seed edited": case(
        "import random",
        "random.seed(1)",
        "a = [random.random() for _ in range(2)]",
        "OUT = a",
        edit={1: "random.seed(2)"},
    ),
    "random: seed in the cell that draws": case(
        "import random", "random.seed(1)\na = random.random()", "b = random.random()", "OUT = (a, b)", hits=3
    ),
    "random: each cell seeds anew": case(
        "import random",
        "random.seed(0)\na = random.random()",
        "random.seed(0)\nb = random.random()",
        "OUT = (a, b, random.random())",
        edit={1: "random.seed(5)\na = random.random()"},
        hits=2,
    ),
    "random: a draw added in the middle": case(
        "import random\nrandom.seed(3)",
        "a = random.random()",
        "n = 1",
        "b = random.random()",
        "OUT = (a, b)",
        edit={2: "n = random.randint(1, 6)"},
        hits=2,
    ),
    "random: shuffled in place": case(
        "import random\nrandom.seed(4)\ncards = list(range(10))",
        "random.shuffle(cards)",
        "OUT = (cards, random.random())",
    ),
    "random: nobody seeded": case("import random", "n = len([random.random() for _ in range(5)])", "OUT = n", hits=2),
    "numpy: seed in the cell of the import": case(
        "import numpy as np\nnp.random.seed(7)",
        "x = np.random.rand(3)",
        "y = np.random.randn(3)",
        "OUT = (x.tolist(), y.tolist())",
        hits=3,
    ),
    "numpy: seed edited, what does not draw hits": case(
        "import numpy as np",
        "np.random.seed(1)",
        "x = np.random.rand(3)",
        "k = 5",
        "OUT = (x.tolist(), k)",
        edit={1: "np.random.seed(2)"},
        hits=2,
    ),
    "numpy: draws of a helper": case(
        "import numpy as np\ndef noise(n):\n    return np.random.normal(size=n)",
        "np.random.seed(1)",
        "x = noise(3)",
        "y = noise(3)",
        "OUT = (x.tolist(), y.tolist())",
        edit={1: "np.random.seed(9)"},
    ),
    "numpy: one draw of a pair": case(
        "import numpy as np\nnp.random.seed(2)",
        "a = np.random.randn()",
        "b = np.random.randn()",
        "OUT = (a, b, np.random.randn())",
        hits=3,
    ),
    "numpy: state saved and set again": case(
        "import numpy as np\nnp.random.seed(2)",
        "state = np.random.get_state()",
        "a = np.random.rand()",
        "np.random.set_state(state)",
        "OUT = (a, np.random.rand())",
    ),
    "numpy: the seed imported by name": case(
        "from numpy.random import seed, rand", "seed(3)", "x = rand(2)", "OUT = x.tolist()", edit={1: "seed(4)"}
    ),
    "numpy: sampling a frame": case(
        "import numpy as np, pandas as pd\nnp.random.seed(0)\ndf = pd.DataFrame({'a': range(20)})",
        "some = df.sample(3)",
        "more = df.sample(3)",
        "OUT = (some.index.tolist(), more.index.tolist())",
        hits=3,
    ),
    "numpy: a model that draws": case(
        "import numpy as np\nfrom sklearn.model_selection import train_test_split\nnp.random.seed(0)",
        "a, b = train_test_split(list(range(10)))",
        "OUT = (a, b, np.random.rand())",
        edit={0: "import numpy as np\nfrom sklearn.model_selection import train_test_split\nnp.random.seed(1)"},
    ),
    "numpy: a generator of one's own": case(
        "import numpy as np\nrng = np.random.default_rng(1)",
        "a = rng.random()",
        "b = rng.random()",
        "OUT = (a, b, rng.random())",
    ),
    # -- what a cell uses -------------------------------------------------------------------------------------------
    "environment used with a default": case(
        "import os", "v = os.environ.get('WANTED', 'none')", "OUT = v", env_warm={"WANTED": "some"}
    ),
    "environment asked whether it is there": case(
        "import os", "v = 'WANTED' in os.environ", "OUT = v", env_warm={"WANTED": "some"}
    ),
    "environment that nobody asks for": case("import os", "v = 2", "OUT = v", env_warm={"WANTED": "some"}, hits=2),
    "option edited, frame as text": case(
        FRAME,
        "pd.set_option('display.precision', 1)",
        "text = repr(df)",
        "total = float(df['a'].sum())",
        "OUT = (text, total)",
        edit={1: "pd.set_option('display.precision', 3)"},
        hits=2,
    ),
    "option edited, frame as HTML": case(
        FRAME,
        "pd.set_option('display.max_rows', 1)",
        "html = df._repr_html_()",
        "OUT = html",
        edit={1: "pd.set_option('display.max_rows', 9)"},
    ),
    "option edited, array as text": case(
        "import numpy as np",
        "np.set_printoptions(precision=1)",
        "text = f'{np.array([1.234])}'",
        "OUT = text",
        edit={1: "np.set_printoptions(precision=2)"},
    ),
    "option edited, array as text: others hit": case(
        "import numpy as np\nx = np.array([1.234])",
        "np.set_printoptions(precision=1)",
        "y = x * 2",
        "text = str(y)",
        "OUT = text",
        edit={1: "np.set_printoptions(precision=2)"},
        hits=2,
    ),
    "option edited, polars as text": case(
        "import polars as pl",
        "_ = pl.Config.set_tbl_rows(1)",
        "text = str(pl.DataFrame({'a': [1, 2, 3]}))",
        "OUT = text",
        edit={1: "_ = pl.Config.set_tbl_rows(2)"},
    ),
    "configuration edited, estimator": case(
        "import sklearn, pandas as pd\nfrom sklearn.preprocessing import StandardScaler",
        "sklearn.set_config(transform_output='pandas')",
        "kind = type(StandardScaler().fit_transform(pd.DataFrame({'a': [1.0, 2.0]}))).__name__",
        "OUT = kind",
        edit={1: "sklearn.set_config(transform_output='default')"},
    ),
    "style edited, figure drawn to bytes": case(
        PLOT,
        "plt.rcParams['lines.color'] = 'red'\nplt.rcParams['figure.facecolor'] = 'white'",
        "import io, hashlib\nfig, ax = plt.subplots()\n_ = ax.plot([1, 2])\n"
        "b = io.BytesIO()\nfig.savefig(b, format='rgba')\n"
        "plt.close(fig); del fig, ax\npicture = hashlib.md5(b.getvalue()).hexdigest(); del b",
        "OUT = picture",
        edit={1: "plt.rcParams['lines.color'] = 'red'\nplt.rcParams['figure.facecolor'] = 'blue'"},
    ),
    "style edited, nothing drawn": case(
        PLOT,
        "plt.rcParams['figure.figsize'] = (3, 2)",
        "n = sum(range(5))",
        "OUT = n",
        edit={1: "plt.rcParams['figure.figsize'] = (5, 1)"},
        hits=2,
    ),
    "style in a context around the drawing": case(
        PLOT,
        "plt.rcParams['figure.figsize'] = (3, 2)",
        "with plt.rc_context({'figure.figsize': (1, 1)}):\n    fig = plt.figure()\n"
        "size = [float(v) for v in fig.get_size_inches()]\nplt.close(fig); del fig",
        "OUT = size",
        edit={1: "plt.rcParams['figure.figsize'] = (5, 1)"},
    ),
}
