"""What the kernel tells JupyterLab of its cells: over a comm that is played here, from a shell that is real."""

import json
import threading
import time
import types

import pytest

from awaitly_nb.notebook.auto import Auto
from awaitly_nb.notebook.cell import Cell
from awaitly_nb.notebook.lab import CellMark, Foreseen, Lab, PageCell, foresee
from awaitly_nb.notebook.magics import mode_of


class Comm:
    """One page's end: what the kernel sent, and what the page sends."""

    def __init__(self):
        self.sent = []
        self._news = threading.Condition()

    def on_msg(self, callback):
        self._to_kernel = callback

    def on_close(self, callback):
        self.close = lambda: callback({})

    def send(self, data, buffers=()):
        with self._news:
            self.sent.append(json.loads(json.dumps(data)) | ({"buffers": buffers} if buffers else {}))
            self._news.notify_all()

    def panel(self, **message):
        """Send the panel a message."""
        self._to_kernel({"content": {"data": {"type": "panel", "message": message}}})

    def told(self, name, begin=0):
        """Wait until the panel was told something of this name, and return the first of it, sent after `begin`."""

        def found():
            messages = [one.get("message", one) for one in self.sent[begin:] if one["type"] == "panel"]
            return [message[name] for message in messages if name in message]

        with self._news:
            assert self._news.wait_for(found, timeout=60), self.sent
            return found()[0]

    def ask(self, **data):
        """Send a message, and return the kernel's answer."""
        self._to_kernel({"content": {"data": data}})
        return self.sent[-1]

    def marks(self):
        """Return the states that were told of cells while they ran, in order."""
        return [(one["id"], one["mark"]["state"]) for one in self.sent if one["type"] == "mark"]


class Seconds:
    def __init__(self):
        self.now = 1000.0

    def __call__(self):
        return self.now


@pytest.fixture
def page():
    return Comm()


@pytest.fixture
def lab(shell, page):
    """The kernel's side, with one page that listens."""
    lab = Lab(shell.ip, foresee=foresee, clock=Seconds())
    lab.attach()
    lab.add_page(page)
    yield lab
    lab.detach()


@pytest.fixture
def run(shell, lab):
    """`run(id, source)` runs a cell of the page."""

    def run_cell(name, source):
        with pytest.MonkeyPatch.context() as patch:
            # IPython passes the id of the front end's cell on; the fixture's own shell has no front end.
            patch.setattr(
                shell.ip, "run_cell", lambda *a, **k: type(shell.ip).run_cell(shell.ip, *a, cell_id=name, **k)
            )
            return shell.attempt(source)

    return run_cell


def cells(**sources):
    return [{"id": name, "source": source} for name, source in sources.items()]


RAW = "%%awaitly raw\nraw = [1, 2, 3]"
TOTAL = "%%awaitly total\ntotal = sum(raw)"


def states(page, **sources):
    answer = page.ask(type="cells", cells=cells(**sources), seq=7)
    assert (answer["type"], answer["seq"]) == ("cells", 7)
    return {name: mark["state"] for name, mark in answer["marks"].items()}, answer["plan"]


@pytest.mark.parametrize(
    ("source", "line", "body"),
    [
        ("%%awaitly raw --ttl 7d\nx = 1", "raw --ttl 7d", "x = 1"),
        ("\n%%awaitly raw\nx = 1", "raw", "x = 1"),
        ("%%awaitly", "", ""),
        ("x = 1", None, "x = 1"),
        ("%%awaitlyx raw\nx", None, "%%awaitlyx raw\nx"),
    ],
)
def test_a_cell_of_the_page_is_read(source, line, body):
    cell = PageCell(id="a", source=source)
    assert (cell.line, cell.body) == (line, body)


def test_a_page_is_greeted(page, lab):
    assert page.sent == [{"type": "hello"}]


def test_a_cell_computes_and_is_stored_and_then_comes_from_the_cache(page, run):
    run("a", RAW)
    run("a", RAW)
    assert page.marks() == [("a", "computing"), ("a", "stored"), ("a", "computing"), ("a", "hit")]
    stored, again, hit = [one["mark"] for one in page.sent if one["type"] == "mark"][1:]
    assert stored["name"] == "raw"
    assert stored["reason"] == "first run"
    assert stored["size_bytes"] > 0
    assert again["seconds"] == stored["seconds"], "what it usually takes is told while it computes"
    assert hit["seconds"] == pytest.approx(stored["seconds"])


def test_a_plain_cell_is_live_and_a_failing_one_has_failed(page, run):
    run("a", "x = 1")
    run("b", "%%awaitly b\n1 / 0")
    run("c", "y = 1 / 0")
    assert page.marks()[1::2] == [("a", "live"), ("b", "failed"), ("c", "failed")]


def test_what_cannot_be_stored_and_what_has_no_key_is_not_cached_and_says_why(page, run, tolerate):
    from awaitly_nb.errors import UncachedWarning

    with tolerate(UncachedWarning):
        run("a", "%%awaitly a\nimport threading\nlock = threading.Lock()")
        run("b", "%%awaitly b\nheld = lock.locked()")
    told = [one["mark"] for one in page.sent if one["type"] == "mark"]
    assert told[-1]["state"] == "uncached"
    assert told[-1]["reason"]


def test_before_anything_ran_cells_are_new(page, lab):
    found, plan = states(page, a="import math", b=RAW, c=TOTAL)
    assert (found["a"], found["b"]) == ("live", "new")
    assert found["c"] in {"new", "stale", "unknown"}
    assert {"b", "c"} <= set(plan)


def test_an_edit_makes_a_cell_and_those_that_read_it_stale_and_the_old_text_settles_it(page, run):
    run("a", RAW)
    run("b", TOTAL)
    assert states(page, a=RAW, b=TOTAL) == ({"a": "stored", "b": "stored"}, [])
    found, plan = states(page, a=RAW.replace("3", "4"), b=TOTAL)
    assert found == {"a": "stale", "b": "stale"}
    assert plan == ["a", "b"]
    assert states(page, a=RAW, b=TOTAL) == ({"a": "stored", "b": "stored"}, [])


def test_a_page_that_is_loaded_later_sees_the_same(page, run, lab):
    run("a", RAW)
    later = Comm()
    lab.add_page(later)
    assert states(later, a=RAW)[0] == {"a": "stored"}
    copied = states(later, a=RAW, copy=RAW)[0]
    assert copied == {"a": "stored", "copy": "cached"}


def test_a_page_that_left_is_told_nothing(page, run):
    page.close()
    run("a", RAW)
    assert page.marks() == []


def test_while_a_cell_runs_the_page_is_told_to_ask_later(page, lab, shell, run):
    shell.ns["ask"] = lambda: page.ask(type="cells", cells=cells(a=RAW), seq=1)
    run("a", "answer = ask()")
    assert shell.ns["answer"] == {"type": "busy"}


def test_invalidating_a_cell_removes_what_it_would_be_served_and_undo_brings_it_back(page, run):
    run("a", RAW)
    assert page.ask(type="invalidate", id="a", source=RAW)["removed"] == 1
    assert states(page, a=RAW) == ({"a": "stale"}, ["a"])
    assert page.ask(type="undo") == {"type": "undo", "restored": 1}
    assert states(page, a=RAW) == ({"a": "stored"}, [])


def test_a_cell_is_recomputed_once(page, run):
    run("a", RAW)
    assert page.ask(type="recompute", id="a") == {"type": "recompute", "id": "a"}
    run("b", RAW)
    run("a", RAW)
    run("a", RAW)
    assert page.marks()[1::2] == [("a", "stored"), ("b", "hit"), ("a", "stored"), ("a", "hit")]


def test_why_is_what_the_magic_says(page, run):
    from awaitly_nb import manage

    run("a", RAW)
    assert page.ask(type="why", id="a", name="raw")["text"] == str(manage.why("raw"))
    refused = page.ask(type="why", id="a", name="no such cell")
    assert refused["type"] == "error"
    assert "no such cell" in refused["text"]


def test_the_panel_is_drawn_in_the_sidebar_while_that_is_in_sight(page, run, lab):
    run("a", '%%awaitly a --key "k[1]*"\na = 1')
    run("b", '%%awaitly b --key "k1x"\nb = 1')
    page.panel(op="open")
    assert "initialize" in page.told("esm")
    assert ".awn-panel" in page.told("css")
    assert "loose" in page.told("boot")["order"]
    assert page.told("kind") == "keys"
    assert set(page.told("mine")) >= {"a", "b"}

    # Exactly one key is removed, and what undoes it is one word for the whole page.
    from awaitly_nb import manage

    page.panel(op="delete", ids=[1])
    assert page.told("removed") == [1]
    assert [entry.key for entry in manage.listed("*")] == ["k1x"]
    removed = len(page.sent)
    assert page.ask(type="undo")["restored"] == 1
    assert page.told("added", begin=removed)[0]["key"] == "k[1]*"
    assert page.ask(type="undo")["restored"] == 0

    page.panel(op="close")
    quiet = len(page.sent)
    page.panel(op="refresh")
    run("c", "%%awaitly c\nc = 1")
    assert [one for one in page.sent[quiet:] if one["type"] == "panel"] == []
    page.panel(op="open")
    page.told("esm", begin=quiet)
    page.close()
    quiet = len(page.sent)
    run("d", "%%awaitly d\nd = 1")
    assert page.sent[quiet:] == []


def test_automatic_mode_is_switched_on_and_its_cells_are_marked(shell, page):
    mode = Auto(shell.ip)
    lab = Lab(shell.ip, foresee=foresee, mode=mode)
    lab.add_page(page)
    assert page.ask(type="cells", cells=cells(a="x = 1"), seq=1)["auto"] is False
    assert page.ask(type="auto", on=True) == {"type": "auto", "auto": True}
    told = page.ask(type="cells", cells=cells(a="import math", b="total = sum(range(9))"), seq=2)
    assert told["auto"] is True
    assert [told["marks"][name]["state"] for name in "ab"] == ["live", "new"]
    assert told["marks"]["b"]["name"] == "total"

    # What the engine says of a plain cell is said under the namespace of automatic mode.
    lab.attach()
    try:
        for _ in range(2):
            lab.before_cell(types.SimpleNamespace(cell_id="b", silent=False, raw_cell="# awaitly: cache\ntotal = 1"))
            assert page.ask(type="cells", cells=[], seq=3) == {"type": "busy"}
            Cell(shell.ip, "", "# awaitly: cache\ntotal = 1", mode.cell("# awaitly: cache\ntotal = 1")).start()
            lab.after_cell(types.SimpleNamespace(success=True))
    finally:
        lab.detach()
    assert page.marks() == [("b", "computing"), ("b", "stored"), ("b", "computing"), ("b", "hit")]
    assert page.sent[-1]["mark"]["name"] == "total"


def test_a_cell_of_automatic_mode_is_recomputed_and_invalidated_too(shell, page, lab, run, monkeypatch):
    monkeypatch.setattr(lab, "_mode", mode_of(shell.ip))
    assert page.ask(type="invalidate", id="a", source="total = 1")["removed"] is False
    page.ask(type="auto", on=True)
    source = "# awaitly: cache\ntotal = 1"
    run("a", source)
    page.ask(type="recompute", id="a")
    run("a", source)
    run("a", source)
    assert page.marks()[1::2] == [("a", "stored"), ("a", "stored"), ("a", "hit")]
    assert page.ask(type="invalidate", id="a", source=source)["removed"] == 1
    run("a", source)
    assert page.marks()[-1] == ("a", "stored")

    # What was asked of a cell that is not cached is not kept for later.
    page.ask(type="recompute", id="b")
    run("b", "import math")
    run("b", source)
    assert page.marks()[-1] == ("b", "hit")
    page.ask(type="auto", on=False)


def test_without_magics_there_is_no_automatic_mode_to_switch(page, lab):
    refused = page.ask(type="auto", on=True)
    assert (refused["type"], refused["of"]) == ("error", "auto")
    assert "%load_ext" in refused["text"]


def test_a_question_that_fails_is_answered_too(shell, page):
    def broken(*_, **__):
        raise RuntimeError("no plan today")

    lab = Lab(shell.ip, foresee=broken)
    lab.add_page(page)
    assert page.ask(type="cells", cells=[], seq=1) == {"type": "error", "of": "cells", "text": "no plan today"}


def test_a_bare_cell_is_called_by_what_it_makes(page, run):
    run("a", "%%awaitly\ntotal = 3")
    assert page.marks() == [("a", "computing"), ("a", "stored")]
    assert page.sent[-1]["mark"]["name"] == "total"


def test_after_an_edit_one_text_is_told_and_only_the_marks_that_differ_come_back(page, run):
    run("a", RAW)
    run("b", TOTAL)
    texts = {"x": "import math", "a": RAW, "b": TOTAL}
    first = page.ask(type="cells", cells=cells(**texts), seq=1)
    assert {name: mark["state"] for name, mark in first["marks"].items()} == {"x": "live", "a": "stored", "b": "stored"}
    again = page.ask(type="cells", cells=[], base=1, seq=2)
    assert again == {"type": "cells", "marks": {}, "seq": 2}
    edited = page.ask(type="cells", cells=cells(a=RAW.replace("3", "4")), base=2, seq=3)
    assert {name: mark["state"] for name, mark in edited["marks"].items()} == {"a": "stale", "b": "stale"}
    assert edited["plan"] == ["a", "b"]
    assert "feeds" not in edited
    moved = page.ask(type="cells", cells=cells(a=RAW, c=TOTAL), order=["a", "b", "c"], base=3, seq=4)
    assert {name: mark["state"] for name, mark in moved["marks"].items()} == {
        "a": "stored",
        "b": "stored",
        "c": "cached",
    }
    assert moved["plan"] == []
    # A cell that comes back is marked anew, and so is one that ran meanwhile.
    assert list(page.ask(type="cells", cells=cells(x="import math"), order=["x", "a"], base=4, seq=5)["marks"]) == ["x"]
    assert list(page.ask(type="cells", cells=cells(b=TOTAL), order=["a", "b"], base=5, seq=6)["marks"]) == ["b"]
    run("a", RAW)
    assert list(page.ask(type="cells", cells=[], base=6, seq=7)["marks"]) == ["a"]


def test_where_a_message_was_lost_the_page_tells_all_again(page, run):
    run("a", RAW)
    page.ask(type="cells", cells=cells(a=RAW), seq=1)
    assert page.ask(type="cells", cells=[], base=2, seq=3) == {"type": "hello"}
    assert list(page.ask(type="cells", cells=cells(a=RAW), seq=4)["marks"]) == ["a"]


def test_what_a_busy_kernel_is_told_counts_later(page, lab, shell, run):
    edited = RAW.replace("3", "4")
    page.ask(type="cells", cells=cells(a=RAW, b=TOTAL), seq=1)
    shell.ns["ask"] = lambda: page.ask(type="cells", cells=cells(b=edited), base=1, seq=2)
    run("a", "answer = ask()")
    assert shell.ns["answer"] == {"type": "busy"}
    assert page.ask(type="cells", cells=[], base=2, seq=3)["marks"]["b"]["name"] == "raw"


def test_a_text_that_did_not_change_is_not_read_again(shell, page):
    from awaitly_nb.plans.effects import text_of

    lab = Lab(shell.ip, foresee=foresee)
    lab.add_page(page)
    texts = {f"i{number}": f"%%awaitly r{number}\nr{number} = [{number}]" for number in range(100)}
    page.ask(type="cells", cells=cells(**texts), seq=1)
    read = text_of.cache_info().misses
    page.ask(type="cells", cells=cells(i7="%%awaitly r7\nr7 = [-1]"), base=1, seq=2)
    assert text_of.cache_info().misses == read + 1


def test_five_hundred_cells_are_planned_and_marked_in_half_a_second(shell, page):
    """Of this process's own time, so that busy neighbours do not count; on an edit, as after a pause in the typing."""
    lab = Lab(shell.ip, foresee=foresee)
    lab.add_page(page)
    texts = [f"%%awaitly c{i}\nc{i} = [x * {i} for x in range(20)]\nprint(sum(c{i}))" for i in range(0, 500, 2)]
    texts += [f"%%awaitly d{i}\nd{i} = sum(c{i - 1})" for i in range(1, 500, 2)]
    asked = [{"id": f"i{number}", "source": text} for number, text in enumerate(texts)]
    assert len(page.ask(type="cells", cells=asked, seq=1)["marks"]) == 500
    asked[10]["source"] += "\nprint('edited')"
    began = time.process_time()
    answer = page.ask(type="cells", cells=asked, seq=2)
    assert time.process_time() - began < 0.5
    assert len(answer["marks"]) == 500


def test_marks_cost_the_kernel_at_most_five_milliseconds_a_cell(page, lab):
    began = time.process_time()
    for number in range(200):
        lab.before_cell(types.SimpleNamespace(cell_id=f"i{number}", silent=False, raw_cell=RAW))
        lab.after_cell(types.SimpleNamespace(success=True))
    assert (time.process_time() - began) / 200 < 0.005


def test_a_message_that_is_no_question_is_let_be(page, lab):
    page.ask(type="no such question")
    assert page.sent == [{"type": "hello"}]


def test_another_plan_can_take_the_place(shell, page):
    marks = {"a": CellMark(state="cached"), "b": CellMark(state="live"), "c": CellMark(state="stale")}
    lab = Lab(shell.ip, foresee=lambda *_, auto: Foreseen(marks, [("a", "b"), ("b", "c")]))
    lab.add_page(page)
    found, plan = states(page, a=RAW, b="x = raw", c=TOTAL)
    assert found == {"a": "cached", "b": "live", "c": "stale"}
    assert plan == ["a", "b", "c"], "also what leaves the names that a stale cell reads"


A, B, C = "a = 2", "a = 3", "%%awaitly c\nc = [a] * 2"


@pytest.mark.parametrize(
    ("order", "badge"),
    [
        ("abc bc", ""),
        ("abc ac", "a from a cell above, and not the last that sets it"),
        ("abc dc", "a from a cell below"),
        ("abc xc", "a from a cell that was edited or removed since"),
    ],
)
def test_the_badge_says_when_a_hit_used_what_the_order_would_not_give(order, badge, page, lab, run, shell):
    sources = {"a": A, "b": B, "c": C, "d": "a = 4", "x": "a = 5"}
    page.ask(type="cells", cells=cells(**{name: sources[name] for name in "abcd"}))
    for value in (2, 4, 5):  # so that each of the values has its entry
        run("x", f"a = {value}")
        run("y", C)
    for name in order.replace(" ", ""):
        run(name, sources[name])
    assert shell.badge.startswith("from cache")
    assert shell.badge.partition("out of order: ")[2] == badge


@pytest.mark.parametrize("tells", ["before", "after"])
def test_a_cell_that_hits_on_the_key_of_its_run_in_order_is_in_order(tells, page, lab, run, shell):
    sources = {"a": "a = [1]", "c": "%%awaitly c\nc = [a] * 2", "d": "def look(x):\n    return None\nlook(a)"}
    if tells == "before":
        page.ask(type="cells", cells=cells(**sources))
    for name in "acd":  # the text of `look(a)` does not tell that it leaves `a` as it is
        run(name, sources[name])
    page.ask(type="cells", cells=cells(**sources))  # after *Run All* of a kernel that has just begun it comes so late
    run("c", sources["c"])
    assert shell.badge.startswith("from cache")
    assert "out of order" not in shell.badge


def test_a_module_is_the_same_wherever_it_is_used(page, lab, run, shell):
    sources = {"m": "import time", "c": "%%awaitly c\nc = bool(time.time())", "d": "time.sleep(0)"}
    page.ask(type="cells", cells=cells(**sources))
    for name in "mdcc":
        run(name, sources[name])
    assert shell.badge.startswith("from cache")
    assert "out of order" not in shell.badge
