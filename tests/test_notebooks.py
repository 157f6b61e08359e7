"""Each notebook of the manual runs twice, in fresh kernels on one cache: first it computes, then all is kept.

The second run must show what the first showed, without calling a single step.
"""

import re
import shutil
from pathlib import Path

import nbformat
import pytest

from awaitly_nb.cli.headless import run_notebook
from tests import notebooks

FOLDER = Path(__file__).resolve().parent.parent / "notebooks"
NOTEBOOKS = sorted(FOLDER.glob("*.ipynb"))
# What differs from run to run by its nature: addresses, run ids, and how long ago or how long something took.
VARYING = re.compile(r"0x[0-9a-f]{6,}|[0-9a-f]{8}-[0-9a-f]{4}-[0-9a-f-]{22,}")


def shown(notebook):
    """Return what each cell of an executed notebook showed to the user, without what tells of the run itself."""
    return [_joined(cell.get("outputs", ())) for cell in nbformat.read(notebook, as_version=4).cells]


def _joined(outputs):
    """Return what `outputs` show. How a printed text was cut into messages says how busy the machine was: join them."""
    found = []
    for output in outputs:
        match _shown(output):
            case None:
                pass
            case str(text) if found and isinstance(found[-1], str):
                found[-1] += text
            case content:
                found.append(content)
    return found


def _shown(output):
    if output.output_type == "stream":
        return VARYING.sub("", output.text) if output.name == "stdout" else None
    data = output.get("data", {})
    html = "".join(data.get("text/html", ""))
    # Notes, panels and tables of ours tell how long each step took in this run.
    if "application/vnd.jupyter.widget-view+json" in data or "awaitly" in html or "awn-" in html:
        return None
    return {kind: VARYING.sub("", content) if isinstance(content, str) else content for kind, content in data.items()}


@pytest.mark.parametrize("path", NOTEBOOKS, ids=lambda p: p.stem)
def test_as_committed_a_notebook_shows_a_real_run(path):
    # `python -m tests notebooks --update` makes it so.
    notebook = nbformat.read(path, as_version=4)
    nbformat.validate(notebook)
    assert notebook.metadata.kernelspec.name == "python3"
    assert notebook.cells[0].cell_type == "markdown", "a notebook begins with what it is about"
    code = [cell for cell in notebook.cells if cell.cell_type == "code"]
    assert [cell.execution_count for cell in code] == list(range(1, len(code) + 1)), "run once, from top to bottom"
    outputs = [output for cell in code for output in cell.outputs]
    assert outputs
    assert not [output for output in outputs if output.output_type == "error"]
    assert not [output for output in outputs if notebooks.WIDGET in output.get("data", {})]
    text = path.read_text(encoding="utf-8")
    assert not re.search(r"/(home|root|tmp|work|Users)/", text), "a place on somebody's machine"


def test_what_is_committed_of_a_run_is_what_a_reader_can_use():
    shown = nbformat.v4.new_output("display_data", data={"text/plain": "a table", notebooks.WIDGET: {"model_id": "1"}})
    alone = nbformat.v4.new_output("display_data", data={notebooks.WIDGET: {"model_id": "1"}})
    cell = nbformat.v4.new_code_cell("1", outputs=[shown, alone], metadata={"execution": {"a": "b"}, "tags": ["t"]})
    spec = {"name": "python3", "display_name": "Python 3", "language": "python"}
    run = nbformat.v4.new_notebook(
        cells=[cell], metadata={"kernelspec": spec, "language_info": {"name": "python", "version": "3"}, "widgets": {}}
    )
    found = notebooks.cleaned(run)
    assert [output.data for output in found.cells[0].outputs] == [{"text/plain": "a table"}]
    assert found.cells[0].metadata == {"tags": ["t"]}
    assert found.metadata == {"kernelspec": spec, "language_info": {"name": "python"}}


@pytest.mark.parametrize("path", NOTEBOOKS, ids=lambda p: p.stem)
def test_its_links_and_pictures_are_where_jupyterlab_serves_them(path):
    text = "\n".join(c.source for c in nbformat.read(path, as_version=4).cells if c.cell_type == "markdown")
    local = [link for link in re.findall(r"\]\(([^)#]+)[^)]*\)", text) if "://" not in link]
    assert [link for link in local if not (FOLDER / link).exists()] == []
    # Its server shows no hidden files, and a notebook's pictures travel with the folder.
    assert [link for link in local if link.endswith(".png") and not link.startswith("pictures/")] == []


def test_how_a_printed_text_was_cut_into_messages_does_not_count():
    def stream(text, name="stdout"):
        return nbformat.v4.new_output("stream", name=name, text=text)

    picture = nbformat.v4.new_output("display_data", data={"text/plain": "a picture"})
    cut = [stream("one\ntw"), stream("badge", "stderr"), stream("o\n"), picture, stream("three\n")]
    assert _joined(cut) == _joined([stream("one\ntwo\n"), picture, stream("three\n")])
    assert _joined(cut) != _joined([stream("one\n"), picture, stream("two\nthree\n")])


@pytest.mark.slow
@pytest.mark.timeout(900)
@pytest.mark.parametrize("path", NOTEBOOKS, ids=lambda p: p.stem)
def test_it_computes_once_and_then_shows_the_same_from_disk(path, tmp_path, monkeypatch):
    notebook = Path(shutil.copy(path, tmp_path))
    monkeypatch.setenv("AWAITLY_NB_CACHE_DIR", str(tmp_path / "cache"))

    first = run_notebook(notebook, output=tmp_path / "first.ipynb")
    assert (first.ending, first.error) == ("ok", "")
    computed = {(s.step_id, s.step_key) for s in first.steps if s.state in ("computed", "failed") and s.step_key}
    assert computed

    second = run_notebook(notebook, output=tmp_path / "second.ipynb")
    assert (second.ending, second.error) == ("ok", "")
    anew = [s for s in second.steps if s.step_key and s.state not in ("hit", "replayed failure")]
    assert not anew
    assert {(s.step_id, s.step_key) for s in second.steps if s.step_key} == computed

    assert shown(tmp_path / "second.ipynb") == shown(tmp_path / "first.ipynb")
    # Numbers may differ on another machine; what shows nothing, or something, may not.
    assert [bool(cell) for cell in shown(path)] == [bool(cell) for cell in shown(tmp_path / "first.ipynb")]
