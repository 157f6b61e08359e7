"""What the kernel tells JupyterLab of its cells: over a comm that is played here, from a shell that is real."""

import pytest

from awaitly_nb.notebook.lab import CellMark, Foreseen, Lab, PageCell, foresee


class Comm:
    """One page's end: what the kernel sent, and what the page sends."""

    def __init__(self):
        self.sent = []

    def on_msg(self, callback):
        self._to_kernel = callback

    def on_close(self, callback):
        self.close = lambda: callback({})

    def send(self, data):
        self.sent.append(data)

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


def test_the_folder_is_listed_searched_and_a_key_removed_exactly(page, run):
    run("a", '%%awaitly a --key "k[1]*"\na = 1')
    run("b", '%%awaitly b --key "k1x"\nb = 1')
    listed = page.ask(type="entries", pattern="")
    assert (listed["count"], [one["key"] for one in listed["entries"]]) == (2, ["k1x", "k[1]*"])
    assert listed["size_bytes"] > 0
    assert page.ask(type="remove", key="k[1]*")["removed"] == 1
    assert [one["key"] for one in page.ask(type="entries", pattern="k*")["entries"]] == ["k1x"]


def test_a_message_that_is_no_question_is_let_be(page, lab):
    page.ask(type="no such question")
    assert page.sent == [{"type": "hello"}]


def test_another_plan_can_take_the_place(shell, page):
    marks = {"a": CellMark(state="cached"), "b": CellMark(state="live"), "c": CellMark(state="stale")}
    lab = Lab(shell.ip, foresee=lambda *_: Foreseen(marks, [("a", "b"), ("b", "c")]))
    lab.add_page(page)
    found, plan = states(page, a=RAW, b="x = raw", c=TOTAL)
    assert found == {"a": "cached", "b": "live", "c": "stale"}
    assert plan == ["a", "b", "c"], "also what leaves the names that a stale cell reads"
