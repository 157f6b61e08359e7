"""`python -m tests.notebooks [NAME ...]`: runs the notebooks of the manual and writes their outputs into them.

A reader on the host, and of the documentation, sees what a real run shows. Each has a fresh kernel and an empty cache.
What is different from run to run and tells a reader nothing is left out: clocks, widgets that need their kernel.
"""

import os
import re
import shutil
import sys
import tempfile
from pathlib import Path

import nbformat

from awaitly_nb.cli.headless import run_notebook

FOLDER = Path(__file__).resolve().parent.parent / "notebooks"
WIDGET = "application/vnd.jupyter.widget-view+json"


def main(names: list[str]) -> int:
    """Run the notebooks of these names, or all of them, and return the exit code."""
    failed = 0
    for path in sorted(FOLDER.glob("*.ipynb")):
        if names and path.stem not in names:
            continue
        with tempfile.TemporaryDirectory() as folder:
            os.environ["AWAITLY_NB_CACHE_DIR"] = f"{folder}/cache"
            executed = Path(folder) / "executed.ipynb"
            # Beside nothing else: some write files.
            report = run_notebook(Path(shutil.copy(path, folder)), output=executed)
            print(f"{path.stem}: {report.ending} {report.error}".strip(), flush=True)
            if report.ending != "ok":
                failed += 1
                continue
            nbformat.write(cleaned(nbformat.read(executed, as_version=4)), path)
    return 1 if failed else 0


def cleaned(notebook: nbformat.NotebookNode) -> nbformat.NotebookNode:
    """Return an executed notebook as it is committed."""
    notebook.metadata = {key: notebook.metadata[key] for key in ("kernelspec", "language_info")}
    # The version of the Python that it was run with is of no use to a reader, and another one in each run.
    notebook.metadata["language_info"] = {"name": "python"}
    for cell in notebook.cells:
        cell.metadata = {key: value for key, value in cell.metadata.items() if key != "execution"}
        for output in cell.get("outputs", ()):
            if "data" in output:
                output.data.pop(WIDGET, None)
            if "text" in output:
                output.text = re.sub(
                    r"/\S*/site-packages/", "", output.text
                )  # where a warning came from, on this machine
        if "outputs" in cell:
            cell.outputs = [output for output in cell.outputs if output.get("data", True)]
    return notebook


if __name__ == "__main__":
    raise SystemExit(main(sys.argv[1:]))
