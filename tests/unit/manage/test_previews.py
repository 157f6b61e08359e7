"""Values in a few lines: of a cell each variable, each plot and what it printed, and nothing of how they are stored."""

from __future__ import annotations

import base64
import struct

import numpy as np
import pandas as pd
import pytest

from awaitly_nb.codec import pack
from awaitly_nb.manage import Preview, preview, shown_text

PNG = b"\x89PNG\r\n\x1a\n" + struct.pack(">I4sIIBBBBB", 13, b"IHDR", 640, 480, 8, 6, 0, 0, 0) + b"\0" * 4


def cell(*outputs, **variables):
    """A cell's payload, as it is stored."""
    packed = pack({"values": variables}, [], numbers={}, changed=(), is_new=lambda cls: False)
    facts = {"outputs": list(outputs), "imports": (), "code": "x:1", "names": list(variables)}
    return {"": facts, "stream": packed.stream, "buffers": packed.buffers, "shapes": packed.shapes}


ENCODED = base64.b64encode(PNG).decode()


def plot(content=ENCODED, kind="image/png"):
    return {"kind": "display", "data": {"text/plain": "<Figure>", kind: content}, "metadata": {}, "display_id": None}


def text(words, name="stdout"):
    return {"kind": "stream", "name": name, "text": words}


def test_a_cell_shows_each_variable_with_its_shape():
    frame = pd.DataFrame({"price": [1.0, 2.0]})
    seen = preview(cell(df=frame, rows=[1, 2], x=np.zeros((3, 4))))
    assert seen.facts == ("cell", "3 variables")
    parts = dict(seen.parts)
    assert parts["df"].columns == ("", "price")
    assert parts["df"].facts == ("DataFrame", "2 rows", "1 columns")
    assert parts["x"].facts == ("ndarray", "shape (3, 4)", "float64")
    assert parts["rows"].text == "[1, 2]"


def test_modules_and_what_is_not_stored_are_told_by_name():
    payload = cell(rows=[1])
    payload[""] |= {
        "names": ["np", "rows", "lock"],
        "modules": {"np": "numpy"},
        "missing": {"lock": ("lock", "no pickle")},
    }
    assert shown_text(preview(payload)).splitlines() == [
        "rows: list, 1 item [1]",
        "lock: lock, not stored no pickle",
        "np: module numpy",
    ]


def test_what_only_its_session_can_rebuild_is_told_by_name():
    payload = cell(rows=[1])
    payload["stream"] = b"nothing that can be read"
    assert shown_text(preview(payload)) == "rows: can be shown where its cell runs"


@pytest.mark.parametrize("content", [PNG, base64.b64encode(PNG).decode(), base64.encodebytes(PNG).decode()])
def test_a_plot_is_a_picture_and_never_text(content):
    seen = preview(cell(plot(content)))
    (name, picture) = seen.parts[0]
    assert name == "plot"
    assert picture.facts == ("png", "640 by 480", "0 kB")
    assert base64.b64decode(picture.image.removeprefix("data:image/png;base64,")) == PNG
    assert shown_text(seen) == "plot: png, 640 by 480, 0 kB"


def test_a_picture_that_is_none_or_too_large_is_only_told_of(monkeypatch):
    assert dict(preview(cell(plot("<not base64>"))).parts) == {"shown": Preview((), text="<Figure>")}
    monkeypatch.setattr("awaitly_nb.manage.previews._MOST_PICTURE", 10)
    assert dict(preview(cell(plot())).parts)["plot"].image == ""
    assert "too large" in shown_text(preview(cell(plot())))


def test_printed_text_loses_its_colours():
    seen = preview(cell(text("\x1b[31mred\x1b[0m\n"), text("oh\n", "stderr")))
    assert [(name, part.text) for name, part in seen.parts] == [("printed", "red\n"), ("printed (stderr)", "oh\n")]
    assert shown_text(seen) == "printed: red\nprinted (stderr): oh"


def test_a_table_that_was_displayed_shows_as_text():
    output = {"kind": "result", "data": {"text/html": "<table>", "text/plain": "  a\n0 1"}, "metadata": {}}
    assert shown_text(preview(cell(output))) == "shown:\n    a\n  0 1"


def test_an_ordinary_dict_is_no_cell():
    assert preview({"": 1}).facts == ("dict", "1 item")
    assert preview({"a": {"outputs": []}}).parts == ()


def test_tables_of_text_align():
    text_of = shown_text(preview(pd.DataFrame({"name": ["a", "bcd"]})))
    assert text_of.splitlines() == ["   name", "0     a", "1   bcd"]
