"""The panel without a page: what it lists, what it tells, what it does when it is asked, and when."""

from __future__ import annotations

import asyncio
import json
import subprocess
import sys
import threading
import time
import zlib

import pytest

import awaitly_nb as aw
from awaitly_nb import cache as caches, events
from awaitly_nb.codec import pack
from awaitly_nb.engine import listeners
from awaitly_nb.engine.listeners import Summariser
from awaitly_nb.notebook import panel as panel_module
from awaitly_nb.notebook.html import panel_html
from awaitly_nb.notebook.panel import FolderWatcher, Panel, panel
from awaitly_nb.notebook.panel_display import panel_text
from awaitly_nb.notebook.panel_keys import CacheKeys, FolderKeys, KeyList
from awaitly_nb.notebook.panel_rows import sections
from awaitly_nb.result import Err, Ok
from awaitly_nb.testing import FakeClock
from tests.unit.notebook.summaries import run, step


def fill(workflow="report", **values):
    for key, value in values.items():
        caches.open_default(workflow).set(key, value if isinstance(value, Ok | Err) else Ok(value))


# ---- the panel as a whole


class Page:
    """Stands where the widget stands, and keeps what the page was told."""

    token = "abc"

    def __init__(self):
        self.told = []
        self.buffers = []

    def tell(self, message, buffers=()):
        self.told.append(json.loads(json.dumps(message)))
        self.buffers += buffers

    def close(self):
        pass

    def of(self, name):
        return [message[name] for message in self.told if name in message]


@pytest.fixture
def shown(monkeypatch):
    """A panel over the default folder, shown on a page that is watched; its thread is not started."""
    monkeypatch.setattr(panel_module, "RECENT", Summariser())  # what other tests ran is not its business
    made = Panel(FolderKeys())
    made._pace.close()
    made._page = Page()
    yield made
    made.close()


def test_a_new_result_is_shown_as_its_call_and_does_not_count_as_an_older_one_of_another_call(shown):
    @aw.step
    def score(params, fold):
        return fold

    shown._draw()
    for fold in (1, 2):
        score({"depth": 3}, fold=fold)
    shown._draw()
    calls = {row["call"] for rows in shown._page.of("added") for row in rows}
    assert {call.partition(" #")[0] for call in calls} == {f"score(params={{...}}, fold={fold})" for fold in (1, 2)}


@pytest.mark.parametrize("calls", [2, 5], ids=["one by one", "as one line"])
def test_steps_of_one_name_are_told_apart_by_their_calls(shown, calls):
    @aw.step
    def score(params, fold):
        return fold

    for fold in range(calls):
        score({"depth": 3}, fold=fold)
    shown._draw()  # reads the keys
    (section,) = shown.sections()
    told = [f"score(params={{...}}, fold={fold})" for fold in range(calls)]
    assert [row["call"] for row in section["steps"]] == told
    if calls == 2:
        assert all(call in panel_html([section], [], total=(0, 0)) for call in told)


def work(name="report", *, fail=False):
    workflow = aw.create_workflow(name)

    def body(ctx):
        ctx.step("load", lambda: [1, 2], key="load:1")
        if fail:
            ctx.step("fetch", lambda: aw.err("DOWN"), key="fetch:1")

    workflow.run_sync(body)


def test_a_run_is_told_step_by_step_with_its_keys(shown):
    work()
    shown._draw()
    page = shown._page
    assert page.of("order")[-1] == ["run report"]
    rows = dict(page.of("sections")[-1][0]["rows"])
    assert rows[0]["state"] == "computed"
    number = shown.keys.number_of("report", "load:1")
    assert rows[0]["keyid"] == number
    assert zlib.decompress(page.buffers[0]).endswith(b"\x1eload:1")
    work()
    shown._draw()
    assert dict(page.of("sections")[-1][0]["rows"])[0]["state"] == "hit"
    assert dict(page.of("sections")[-1][0]["rows"])[0]["at"] > 0


def test_a_key_that_is_stored_later_is_sent_alone(shown):
    shown._draw()
    work()
    shown._draw()
    page = shown._page
    assert page.of("kind") == ["keys"]
    (added,) = [rows for rows in page.of("added") if rows]
    assert [(row["namespace"], row["key"], row["ok"]) for row in added] == [("report", "load:1", 1)]


def test_a_key_that_is_kept_elsewhere_is_not_listed(shown):
    shown._draw()
    aw.create_workflow("report", cache={}).run_sync(lambda ctx: ctx.step("load", lambda: 1, key="load:1"))
    shown._draw()
    assert len(shown.keys) == 0


def test_invalidating_one_key_makes_its_step_run_again(shown):
    work()
    shown._draw()
    number = shown.keys.number_of("report", "load:1")
    shown.receive({"op": "delete", "ids": [number]})
    assert shown._page.of("removed") == [[number]]
    assert caches.open_default("report").keys() == []
    shown._draw()
    row = dict(shown._page.of("sections")[-1][0]["rows"])[0]
    assert (row["state"], row["why"]) == ("invalidated", "runs again next time")
    assert shown._page.of("note") == ["1 invalidated; it runs again next time."]
    assert "invalidated" in panel_html(shown.sections(), [])
    work()
    assert shown.runs()[-1].steps[0].state == "computed"
    assert shown.sections()[0]["steps"][0]["state"] == "computed"


def test_a_step_that_ran_after_its_key_was_invalidated_says_what_it_came_to(shown):
    work()
    shown._draw()
    shown.receive({"op": "delete", "ids": [shown.keys.number_of("report", "load:1")]})

    def crash():
        raise ValueError("no such file")

    aw.create_workflow("report").run_sync(lambda ctx: ctx.step("load", crash, key="load:1"))
    assert shown.sections()[0]["steps"][0]["state"] == "failed"


def test_a_key_that_somebody_else_removed_is_invalidated_when_that_is_seen(shown):
    work()
    shown._draw()
    caches.open_default("report").delete("load:1")
    shown.receive({"op": "refresh"})
    assert shown.sections()[0]["steps"][0]["state"] == "invalidated"


def test_hits_are_told_when_the_run_has_ended(shown):
    work()
    shown._draw()
    number = shown.keys.number_of("report", "load:1")
    for _ in range(3):
        work()
    shown._draw()
    assert shown._page.of("hits") == [[[number, 3]]]
    assert shown.keys.entry(number).hits == 3
    # Reading them all again counts none twice.
    shown.receive({"op": "refresh"})
    assert shown.keys.entry(number).hits == 3
    work()
    shown._draw()
    assert shown._page.of("hits")[-1] == [[number, 4]]


@pytest.mark.parametrize("executor", ["inline", "thread"])
def test_an_interrupted_step_does_not_run_for_ever(shown, executor):
    def stop():
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        aw.create_workflow("report").run_sync(lambda ctx: ctx.step("fit", stop, key="fit:1", executor=executor))
    (section,) = shown.sections()
    assert (section["status"], section["error"]) == ("cancelled", "interrupted by you")
    assert [row["state"] for row in section["steps"]] == ["interrupted"]
    assert section["steps"][0]["took"] >= 0


def test_a_cancelled_run_leaves_no_step_running(shown):
    async def body(ctx):
        await ctx.step("fit", asyncio.Event().wait, key="fit:1")

    async def cancel():
        begun = asyncio.Event()
        workflow = aw.create_workflow("report", on_event=lambda e: begun.set() if events.is_step_start(e) else None)
        task = asyncio.ensure_future(workflow.run(body))
        await begun.wait()
        task.cancel()
        with pytest.raises(asyncio.CancelledError):
            await task

    asyncio.run(cancel())
    (section,) = shown.sections()
    assert (section["status"], section["error"]) == ("cancelled", None)  # and not "cancelled" twice
    assert [row["state"] for row in section["steps"]] == ["interrupted"]


def test_invalidating_one_key_costs_one_small_message_whatever_the_number_of_keys(shown):
    fill("many", **{f"k{i}": i for i in range(300)})
    shown._draw()
    before = len(shown._page.buffers)
    shown.receive({"op": "delete", "ids": [shown.keys.number_of("many", "k7")]})
    shown._draw()
    assert len(shown._page.buffers) == before
    assert len(json.dumps(shown._page.told[-1])) < 300


def test_retry_removes_failures_and_nothing_else(shown):
    work(fail=True)
    shown._draw()
    failed = shown.keys.number_of("report", "fetch:1")
    shown.receive({"op": "retry"})
    assert shown._page.of("removed") == [[failed]]
    assert shown._page.of("note") == ["1 failure removed; it runs again next time."]
    assert caches.open_default("report").keys() == ["load:1"]


def test_what_was_invalidated_is_brought_back_by_undo(shown):
    fill("report", a=1, b=2)
    shown._draw()
    numbers = shown.keys.numbers()
    shown.receive({"op": "delete", "ids": numbers})
    assert shown._page.of("undo") == [True]
    assert caches.open_default("report").keys() == []
    shown.receive({"op": "undo"})
    assert caches.open_default("report").get("a") == Ok(1)
    (added,) = shown._page.of("added")
    assert sorted(row["id"] for row in added) == sorted(numbers)
    assert shown._page.of("note")[-1] == "2 keys restored."
    shown.receive({"op": "undo"})
    assert shown._page.of("note")[-1] == "There is nothing to restore any more."


def test_an_undo_works_in_a_cache_of_ones_own_and_keeps_the_time_of_expiry():
    clock = FakeClock(at=time.time())
    cache = aw.create_memory_cache(clock=clock)
    cache.set("a", Ok(1), ttl="1h")
    cache.set("b", Ok(2))
    keys = KeyList(CacheKeys(cache))
    keys.read()
    keys.delete(keys.numbers())
    assert cache.keys() == []
    assert len(keys.undo()) == 2
    assert (cache.get("a"), cache.get("b")) == (Ok(1), Ok(2))
    assert len(keys) == 2
    clock.advance(3601)
    assert cache.keys() == ["b"]


def test_a_removal_that_cannot_be_undone_does_not_bring_back_the_one_before(shown):
    fill("report", a=1, b=2)
    shown._draw()
    a, b = (shown.keys.number_of("report", key) for key in "ab")
    shown.receive({"op": "delete", "ids": [a]})
    caches.open_default("report").delete("b")  # by somebody else
    shown.receive({"op": "delete", "ids": [b]})
    assert shown._page.of("undo") == [True, False]
    shown.receive({"op": "undo"})
    assert caches.open_default("report").keys() == []


def test_the_page_knows_which_keys_are_this_notebooks(shown, monkeypatch, tmp_path):
    notebook = tmp_path / "late.ipynb"
    sources = ["%%awaitly raw --ttl 1d\nx = 1", "import awaitly_nb as aw\n@aw.step\ndef score(fold): ..."]
    sources += ["@step(ttl='1d')\nasync def fetch(): ...\nflow = aw.create_workflow('my flow')"]
    cells = [{"cell_type": "code", "source": source.splitlines(keepends=True)} for source in sources]
    notebook.write_text(json.dumps({"cells": [*cells, {"cell_type": "markdown", "source": ["%%awaitly no"]}]}))
    monkeypatch.setenv("JPY_SESSION_NAME", str(notebook))
    work()
    shown._draw()
    assert shown._page.of("mine") == [["fetch", "my flow", "raw", "report", "score"]]
    shown._draw()
    assert len(shown._page.of("mine")) == 1  # told when it changes
    monkeypatch.setenv("JPY_SESSION_NAME", str(tmp_path / "none.ipynb"))
    shown._draw()
    assert shown._page.of("mine")[-1] == ["report"]


STORE = """
import awaitly_nb as aw
aw.create_disk_cache(namespace="other").set("b", aw.Ok(2))
"""


def test_the_list_grows_when_another_kernel_stores_a_key(shown):
    fill("report", a=1)
    shown._draw()
    fill("report", c=3)  # of this process: told of by its events
    shown._look()
    assert shown._keys_read
    subprocess.run([sys.executable, "-c", STORE], check=True)
    shown._look()
    assert not shown._keys_read
    shown._draw()
    assert shown.keys.number_of("other", "b") is not None
    assert len([kind for kind in shown._page.of("kind") if kind == "keys"]) == 2


def test_the_folder_is_looked_at_from_time_to_time_until_the_panel_is_closed(monkeypatch):
    monkeypatch.setattr(panel_module, "_LOOK_S", 0.001)
    looked = threading.Semaphore(0)
    watcher = FolderWatcher(lambda: looked.release() or 0.001)
    watcher.start()
    watcher.start()
    for _ in range(3):
        assert looked.acquire(timeout=10)
    watcher.close()
    watcher._thread.join(10)
    assert not watcher._thread.is_alive()


def test_a_preview_of_a_cell_is_its_variables_its_plots_and_its_text(shown):
    outputs = [
        {"kind": "stream", "name": "stdout", "text": "two rows\n"},
        {"kind": "display", "data": {"image/png": "aGVsbG8="}, "metadata": {}, "display_id": None},
    ]
    packed = pack({"values": {"rows": [1, 2]}}, [], numbers={}, changed=(), is_new=lambda cls: False)
    payload = {"": {"outputs": outputs}, "stream": packed.stream, "buffers": [], "shapes": packed.shapes}
    caches.open_default("cell").set("cell:1", Ok(payload))
    shown._draw()
    shown.receive({"op": "preview", "id": shown.keys.number_of("cell", "cell:1")})
    (seen,) = shown._page.of("preview")
    assert [part["name"] for part in seen["parts"]] == ["rows", "printed", "plot"]
    assert seen["parts"][0]["text"] == "[1, 2]"
    assert seen["parts"][2]["image"] == "data:image/png;base64,aGVsbG8="
    assert "aGVsbG8" not in json.dumps(seen["parts"][:2])
    assert "1 plot" in seen["facts"]


def test_a_preview_is_text(shown):
    fill("report", evil="<img src=x onerror=alert(1)>")
    shown._draw()
    number = shown.keys.number_of("report", "evil")
    shown.receive({"op": "preview", "id": number})
    (seen,) = shown._page.of("preview")
    assert seen["id"] == number
    assert seen["text"] == "<img src=x onerror=alert(1)>"
    assert "str" in seen["facts"]


def test_a_preview_of_a_frame_is_a_table(shown):
    import pandas as pd

    fill("report", frame=pd.DataFrame({"a": range(100)}))
    shown._draw()
    shown.receive({"op": "preview", "id": shown.keys.number_of("report", "frame")})
    (seen,) = shown._page.of("preview")
    assert seen["table"]["columns"] == ["", "a"]
    assert len(seen["table"]["rows"]) == 8
    assert "100 rows" in seen["facts"]


def test_a_preview_of_a_key_that_is_gone_says_so(shown):
    fill("report", a=1)
    shown._draw()
    number = shown.keys.number_of("report", "a")
    caches.open_default("report").clear()
    shown.receive({"op": "preview", "id": number})
    shown.receive({"op": "preview", "id": 999})
    assert [seen["text"] for seen in shown._page.of("preview")] == ["This key is gone."] * 2


@pytest.mark.parametrize(
    "message",
    [
        {},
        {"op": 3},
        {"op": "delete"},
        {"op": "delete", "ids": ["*", None]},
        {"op": "preview", "id": "x"},
        {"op": "eval"},
    ],
)
def test_a_message_that_means_nothing_does_nothing(shown, message):
    fill("report", a=1)
    shown._draw()
    shown.receive(message)
    assert caches.open_default("report").keys() == ["a"]


def test_a_store_that_fails_is_told_to_the_person(shown):
    class Broken(FolderKeys):
        def remove(self, namespace, key):
            raise aw.errors.CacheError("disk full")

    fill("report", a=1)
    shown.keys = KeyList(Broken())
    shown._draw()
    number = shown.keys.number_of("report", "a")
    shown.receive({"op": "delete", "ids": [number]})
    assert shown._page.told[-1]["note"] == "That did not work: disk full"
    assert shown._page.told[-1]["settled"] == [number]


def test_a_page_that_was_loaded_again_sees_that_it_missed_something_and_is_told_everything(shown):
    work()
    shown._draw()
    seq = shown._page.told[-1]["seq"]
    told = len(shown._page.told)
    shown.receive({"op": "hello", "mounts": True})
    assert shown._page.told[told:] == [{"upto": seq}]
    shown.receive({"op": "again"})
    assert shown._page.told[told + 1]["order"] == ["run report"]
    assert shown._page.told[told + 2]["kind"] == "keys"


def test_listening_does_no_drawing_and_no_reading_on_the_time_of_the_run(shown):
    work()
    assert shown._page.told == []
    assert len(shown.keys) == 0


def test_buttons_work_from_many_threads_while_steps_run(shown):
    fill("report", **{f"k{i}": i for i in range(60)})
    shown._draw()
    numbers = shown.keys.numbers()

    def click(part):
        for number in part:
            shown.receive({"op": "delete", "ids": [number]})

    threads = [threading.Thread(target=click, args=(numbers[i::4],)) for i in range(4)]
    for thread in threads:
        thread.start()
    for _ in range(10):
        work()
        shown._draw()
    for thread in threads:
        thread.join(30)
    assert caches.open_default("report").keys() == ["load:1"]
    assert sorted(number for gone in shown._page.of("removed") for number in gone) == sorted(numbers)


def test_a_panel_of_one_workflow_shows_that_one(shown):
    fill("other", a=1)
    only = Panel(FolderKeys("report"), workflow="report")
    only._pace.close()
    only._widget = Page()
    work("other")
    work("report")
    only._draw()
    assert [section["title"] for section in only.sections()] == ["report"]
    assert [only.keys.entry(number).namespace for number in only.keys.numbers()] == ["report"]
    only.close()


def test_runs_from_before_the_panel_was_made_are_shown():
    work("early")
    late = Panel(FolderKeys())
    try:
        assert "early" in [section["title"] for section in late.sections()]
    finally:
        late.close()


def test_closing_stops_listening(shown):
    count = len(listeners._observers)
    other = Panel(FolderKeys())
    assert len(listeners._observers) == count + 1
    other.close()
    assert len(listeners._observers) == count


# ---- outside of a notebook


@pytest.fixture
def no_panels(monkeypatch):
    made: dict = {}
    monkeypatch.setattr(panel_module, "_panels", made)
    yield made
    for one in made.values():
        one.close()


def test_in_a_terminal_the_panel_is_text(capsys, no_panels):
    workflow = aw.create_workflow("terminal")
    workflow.run_sync(lambda ctx: ctx.step("load", lambda: 1, key="load:1"))
    workflow.panel()
    out = capsys.readouterr().out
    assert "terminal: done" in out
    assert "computed           load" in out


def test_one_panel_for_the_life_of_the_kernel(capsys, no_panels):
    cache: dict = {}
    workflow = aw.create_workflow("own", cache=cache)
    for _ in range(3):
        panel()
        panel(workflow)
        workflow.panel()
    assert len(no_panels) == 2


def test_text_of_every_state():
    text = panel_text(sections([run(step("load", "hit", saved_s=41.0, size_bytes=3000), step("fit", "running"))]))
    assert "from cache         load" in text
    assert "saved 41 s" in text
    assert panel_text([]) == "No step has run yet.\n"


# ---- why


def ask_why(shown, row):
    shown.receive({"op": "why", "row": "r", "of": [row["workflow"], row["step"], row["key"], row["why"]]})
    return shown._page.told[-1]["why"]


def edited(workflow, source, *values):
    """Run a step of this source with an automatic key."""
    names: dict = {}
    exec(source, names)
    aw.create_workflow(workflow, {"fit": names["fit"]}).run_sync(lambda ctx: ctx.steps.fit(*values))


def last_row(shown):
    return shown.sections()[0]["steps"][-1]


@pytest.mark.parametrize("elsewhere", [False, True])
def test_why_tells_what_the_row_tells_with_the_difference(shown, monkeypatch, elsewhere):
    edited("report", "def fit(x): return x + 1", 1)
    edited("report", "def fit(x): return x + 1", 2)
    row = last_row(shown)
    if elsewhere:  # as after a restart: this process has seen nothing
        monkeypatch.setattr("awaitly_nb.engine.explain._SEEN", {})
    found = ask_why(shown, row)
    assert found["row"] == "r"
    assert [change["line"] for change in found["changes"]] == [row["why"]]
    assert "argument" in row["why"]
    # Another reason than the row's own is not made up.
    assert ask_why(shown, {**row, "why": "first run"})["changes"] == []
    assert ask_why(shown, {**row, "key": "fit:other"})["changes"] == []


def test_why_of_a_failed_step_tells_the_error_and_the_reason(shown):
    workflow = aw.create_workflow("report")
    workflow.run_sync(lambda ctx: ctx.attempt("fetch", lambda: aw.err("DOWN"), key="fetch:1"))
    row = last_row(shown)
    assert (row["why"], row["reason"]) == ("DOWN", "first run")


def test_why_reads_no_value_and_works_with_a_cache_of_ones_own(shown):
    shown.keys = KeyList(CacheKeys(aw.create_memory_cache()))
    edited("report", "def fit(x): return x", 1)
    assert ask_why(shown, last_row(shown))["changes"] == []
