"""People with a home, a configuration, a secret and a folder of work of their own, and what one of them runs."""

import json
import os
import subprocess
import sys
from unittest.mock import patch

from click.testing import CliRunner

from awaitly_nb.cache.folder import forget_folders
from awaitly_nb.cli.app import app

CELLS = [
    "import numpy as np\nimport pandas as pd",
    "n = 200_000",
    "def scaled(values, by):\n    return values * by",
    "%%awaitly load\nraw = pd.read_csv('in.csv')\nprint('read', len(raw))",
    "%%awaitly model\narray = scaled(np.arange(n, dtype=float), 2) + raw['a'].sum()",
    "%%awaitly total\ntotal = float(array.sum())\ntotal",
    "print('total', total)",
]
RUN = """
import contextlib, io, json, sys
from IPython.core.displaypub import CapturingDisplayPublisher
from IPython.core.interactiveshell import InteractiveShell
from traitlets.config import Config
config = Config()
config.HistoryManager.enabled = False
ip = InteractiveShell.instance(config=config)
ip.display_pub = CapturingDisplayPublisher(shell=ip)
badges = []
out = io.StringIO()
with contextlib.redirect_stdout(out):
    ip.run_line_magic("load_ext", "awaitly_nb")
    for cell in json.load(open(sys.argv[1]))["cells"]:
        ip.display_pub.outputs.clear()
        ip.run_cell(cell["source"]).raise_error()
        badges += [shown["data"]["text/plain"] for shown in ip.display_pub.outputs][-1:]
print(json.dumps([badges, out.getvalue(), ip.user_ns["total"], float(ip.user_ns["array"][-1])]))
"""


class User:
    """Somebody with a home, a configuration, a secret and a folder of work of their own."""

    def __init__(self, home, **environment):
        self.home = home
        self.more = environment
        self.told = ""
        self.work = home / "work"
        self.work.mkdir(parents=True)
        (self.work / ".git").mkdir()
        dropped = ("AWAITLY_NB_", "XDG_")
        self.environment = {name: value for name, value in os.environ.items() if not name.startswith(dropped)}
        self.environment |= {"HOME": str(home), "XDG_CONFIG_HOME": str(home / "config"), "OMP_NUM_THREADS": "1"}
        self.environment |= environment

    @property
    def cache(self):
        return self.work / ".awaitly"

    def run_all(self):
        """Run the notebook's cells in a shell of a new process: badges, what was printed, and two values.

        What it was warned of is in `told` then.
        """
        command = [sys.executable, "-c", RUN, "n.ipynb"]
        done = subprocess.run(
            command, cwd=self.work, env=self.environment, capture_output=True, text=True, timeout=120, check=False
        )
        assert done.returncode == 0, (done.returncode, done.stdout[-2000:], done.stderr[-2000:])
        self.told = done.stderr
        return json.loads(done.stdout.splitlines()[-1])

    def awaitly(self, *arguments, code=0, stdin=None):
        """Run a command as this user, and return what it says."""
        forget_folders()
        environment = {"AWAITLY_NB_CACHE_DIR": str(self.cache), "XDG_CONFIG_HOME": str(self.home / "config")}
        environment["HOME"] = str(self.home)
        runner = CliRunner(env={**environment, **self.more, "AWAITLY_NB_SECRET": None})
        with patch("awaitly_nb.manage.steps.recent_runs", list):  # as in a shell, where nothing has run
            done = runner.invoke(app, [str(argument) for argument in arguments], input=stdin, catch_exceptions=False)
        forget_folders()
        assert code is None or done.exit_code == code, done.output
        return done.output

    def shell(self, *arguments):
        """Run a command in a process of its own, with the packages of this user."""
        code = "from awaitly_nb.cli import main; main()"
        command = [sys.executable, "-c", code, *map(str, arguments)]
        done = subprocess.run(
            command, cwd=self.work, env=self.environment, capture_output=True, text=True, timeout=120, check=False
        )
        assert done.returncode == 0, done.stdout + done.stderr
        return done.stdout

    def data(self, *arguments, **options):
        return json.loads(self.awaitly(*arguments, "--json", **options))

    def trust(self, other, name="ann"):
        self.awaitly("trust", "add", other.data("trust", "key")["key"], "--name", name)

    def write(self, cells):
        """Write the notebook and the file that it reads."""
        cells = [{"cell_type": "code", "source": source} for source in cells]
        (self.work / "n.ipynb").write_text(json.dumps({"cells": cells, "nbformat": 4, "metadata": {}}))
        (self.work / "in.csv").write_text("a\n1\n2\n")

    def files(self):
        """Everything that is there and is no configuration."""
        return sorted(str(path.relative_to(self.work)) for path in self.work.rglob("*"))
