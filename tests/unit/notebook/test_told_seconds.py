"""The seconds on a badge are those of a watch around the cell, for a miss and for a hit, of all kinds of cells."""

import re
import time

import pytest

KINDS = {
    "fast": ("", "x = 1 + 1"),
    "slow": ("from threading import Event", "done = Event().wait(0.3)"),
    "busy": ("", "total = sum(i * i for i in range(400_000))"),
    "large list read": ("big = list(range(300_000))", "total = sum(big)"),
    "large array read": ("import numpy as np\nbig = np.arange(4e6)", "total = float(big.sum())"),
    "large frame read": (
        "import numpy as np, pandas as pd\ndf = pd.DataFrame({c: np.arange(2e5) for c in 'abcdef'})",
        "means = df.mean()",
    ),
    "many texts read": ("words = [f'word {i}' for i in range(100_000)]", "longest = max(words, key=len)"),
    "large list left": ("", "rows = [{'i': i, 't': str(i)} for i in range(40_000)]"),
    "large array left": ("import numpy as np", "big = np.ones((2000, 1000))"),
    "frame left": ("import pandas as pd", "df = pd.DataFrame({'t': [str(i) for i in range(50_000)]})"),
    "plot": (
        "import matplotlib\nmatplotlib.use('agg')\nimport matplotlib.pyplot as plt",
        "fig, ax = plt.subplots()\nax.plot(range(500))\nfig.savefig('plot.png')\nplt.close(fig)",
    ),
    "many prints": ("", "for i in range(3000):\n    print('line', i)"),
    "many displays": (
        "from IPython.display import HTML, display",
        "for i in range(100):\n    display(HTML(f'<b>{i}</b>'))",
    ),
    "frame shown": ("import pandas as pd\ndf = pd.DataFrame({'a': range(500)})", "df.describe()"),
    "error caught": (
        "import traceback",
        "try:\n    1 / 0\nexcept ZeroDivisionError:\n    traceback.print_exc()\nn = 1",
    ),
    "class defined": ("", "class Walk:\n    steps = [i for i in range(1000)]\nwalks = [Walk() for _ in range(2000)]"),
    "changed in place": ("import numpy as np\nbig = np.zeros(1_000_000)", "big += 1"),
    "draws": ("import numpy as np\nnp.random.seed(1)", "drawn = np.random.normal(size=300_000)"),
    "lazy value read": (
        "%%awaitly source\nimport numpy as np\nbig = np.ones(3_000_000)",
        "total = float(big.sum())",
    ),
    "file read": (
        "from pathlib import Path\nPath('in.txt').write_text('line\\n' * 200_000)",
        "lines = Path('in.txt').read_text().split()",
    ),
    "file written": ("from pathlib import Path", "size = Path('out.txt').write_text('line\\n' * 200_000)"),
    "awaits": ("import asyncio", "await asyncio.sleep(0.05)\nslept = True"),
    "step called": ("import awaitly_nb as aw\n@aw.step\ndef square(n):\n    return n * n", "nine = square(3)"),
}
MARGIN, LEAST_S = 0.10, 0.005
ATTEMPTS = 8
"""A busy machine takes the processor away between the watch and the badge; it does not each time."""


@pytest.fixture
def watch(shell, tmp_path, monkeypatch):
    """Run a cell; return its badge, and the seconds between the events around it."""
    monkeypatch.setenv("AWAITLY_NB_CACHE_DIR", str(tmp_path / "cache"))
    monkeypatch.chdir(tmp_path)
    times = []
    shell.ip.events.callbacks["pre_run_cell"].insert(0, lambda *_: times.append(time.perf_counter()))
    shell.ip.events.register("post_run_cell", lambda *_: times.append(time.perf_counter()))

    def run(source):
        times.clear()
        shell.run(source)
        began, *_, ended = times
        return shell.badge, ended - began

    yield run
    for name in ("pre_run_cell", "post_run_cell"):
        shell.ip.events.callbacks[name][:] = [
            one for one in shell.ip.events.callbacks[name] if getattr(one, "__module__", "") != __name__
        ]


def seconds_in(text, pattern):
    """Return the seconds that a text tells as `pattern` has them: `{}` stands for 1.2 s, 12 ms or 0.3 ms."""
    found = re.search(pattern.format(r"([\d.]+) (ms|s)\b"), text)
    assert found, text
    return float(found[1]) * (1e-3 if found[2] == "ms" else 1.0)


def is_near(told_s, watched_s):
    return abs(told_s - watched_s) <= max(LEAST_S, MARGIN * watched_s)


@pytest.mark.parametrize("first_line", ["%%awaitly told", "# awaitly: cache"], ids=["magic", "auto"])
@pytest.mark.parametrize("kind", KINDS)
def test_the_badge_tells_what_a_watch_tells(kind, first_line, watch, shell):
    setup, cell = KINDS[kind]
    shell.run("import awaitly_nb\n%awaitly auto on")
    for expected, pattern in (("computed in", "computed in {}"), ("from cache", "loaded in {}")):
        tried = []
        for attempt in range(ATTEMPTS):
            shell.forget()
            if setup:
                shell.run(setup)
            # Another comment is the same cell, so that it hits; another constant is another one, which misses.
            number = attempt if expected == "computed in" else 0
            badge, watched_s = watch(f"{first_line}\nattempt = {number}\n{cell}")
            assert expected in badge, badge
            told_s = seconds_in(badge, pattern)
            if expected == "from cache" and (ran_s := seconds_in(badge, "computed [^,]* in {}")) < told_s:
                assert "saved" not in badge or seconds_in(badge, "{} saved") == 0.0, (badge, ran_s)
            tried.append((told_s, watched_s, badge))
            if is_near(told_s, watched_s):
                break
        else:
            pytest.fail(f"{kind}: {tried}")
