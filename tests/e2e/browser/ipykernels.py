"""Kernels of several versions of ipykernel beside the installed one, each chosen by its kernelspec.

A version that is not installed is fetched from PyPI into a folder of its own, without its dependencies: of ours it is
to differ in nothing else. The folder comes first on that kernel's PYTHONPATH, and is kept in the tests' cache folder.
"""

from __future__ import annotations

import json
import subprocess
import sys
import tempfile
from importlib import metadata
from pathlib import Path

from tests.services.servers import CACHE


def add_kernelspec(data: Path, version: str) -> str:
    """Write a kernelspec for this minor version of ipykernel into a Jupyter data folder, and return its name."""
    name = f"ipykernel-{version}"
    spec = {
        "argv": [sys.executable, "-m", "ipykernel_launcher", "-f", "{connection_file}"],
        "display_name": f"ipykernel {version}",
        "language": "python",
        "env": {} if _installed(version) else {"PYTHONPATH": str(_fetched(version))},
    }
    folder = data / "kernels" / name
    folder.mkdir(parents=True, exist_ok=True)
    (folder / "kernel.json").write_text(json.dumps(spec))
    return name


def _installed(version: str) -> bool:
    return metadata.version("ipykernel").startswith(f"{version}.")


def _fetched(version: str) -> Path:
    folder = CACHE / f"ipykernel-{version}"
    if folder.is_dir():
        return folder
    CACHE.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(dir=CACHE) as work:
        wanted = ["--no-deps", f"ipykernel=={version}.*"]
        pip = [sys.executable, "-m", "pip", "install", "--quiet", "--disable-pip-version-check"]
        subprocess.run([*pip, "--target", work + "/new", *wanted], check=True, capture_output=True, text=True)
        try:
            Path(work, "new").rename(folder)  # whole or not at all
        except OSError:
            if not folder.is_dir():  # nobody else was faster
                raise
    return folder
