"""The public API as pyright sees it: `public.py` holds what must be true. mypy reads the same file (check `types`)."""

import json
import subprocess
import sys
from pathlib import Path

import pytest

HERE = Path(__file__).parent


def test_pyright_agrees():
    pytest.importorskip("basedpyright")
    options = ["--project", str(HERE), "--pythonpath", sys.executable, "--level", "error", "--outputjson"]
    done = subprocess.run([sys.executable, "-m", "basedpyright", *options], capture_output=True, text=True)
    found = json.loads(done.stdout)
    told = [f"{one['range']['start']['line'] + 1}: {one['message']}" for one in found["generalDiagnostics"]]
    assert not told, "\n".join(told)
    assert found["summary"]["filesAnalyzed"] == 1
