"""The parts of the panel: rows of runs and keys, the list of keys, and the pace of drawing."""

from __future__ import annotations

import json
import struct
import threading
import zlib
from datetime import datetime, timedelta

import pytest

import awaitly_nb as aw
from awaitly_nb import cache as caches, events
from awaitly_nb.cache import Listing
from awaitly_nb.frozen import replace
from awaitly_nb.notebook.html import run_html
from awaitly_nb.notebook.panel import Pace
from awaitly_nb.notebook.panel_keys import CacheKeys, FolderKeys, KeyList, key_columns
from awaitly_nb.notebook.panel_rows import changes, sections
from awaitly_nb.result import Err, Ok
from awaitly_nb.units import middle_cut, show_computed, show_took, show_when
from tests.unit.notebook.summaries import NOW, run, states, step

# ---- rows


def test_every_state_has_its_word():
    before = run(step("load"), step("fit"), step("score"), run_id="r0")
    now = run(
        step("load", "hit", saved_s=3.0),
        step("clean", "failed", error_text="ValueError: x"),
        step("weather", "replayed failure"),
        step("fit", "running"),
        status="running",
        seconds=10,
    )
    (section,) = sections([before, now])
    assert states(section) == {
        "load": "hit",
        "clean": "failed",
        "weather": "replayed",
        "fit": "running",
        "score": "pending",
    }
    assert section["steps"][1]["why"] == "ValueError: x"
    assert section["steps"][3]["took"] is None


def test_what_a_failed_run_did_not_reach_is_skipped_and_a_good_run_skips_nothing():
    before = run(step("load"), step("fit"), run_id="r0")
    assert states(sections([before, run(step("load"), status="failed", seconds=1)])[0])["fit"] == "skipped"
    assert states(sections([before, run(step("load"), status="cancelled", seconds=1)])[0])["fit"] == "skipped"
    assert states(sections([before, run(step("load"), status="ok", seconds=1)])[0]) == {"load": "computed"}


def test_a_failed_run_does_not_say_what_is_to_come():
    before = run(step("load"), step("fit"), run_id="r0", status="failed")
    assert states(sections([before, run(step("load"), status="running", seconds=1)])[0]) == {"load": "computed"}


def test_the_last_run_of_each_workflow_the_newest_first():
    drawn = sections([run(step(), run_id="a"), run(step(), workflow="other", seconds=1), run(step("x"), seconds=2)])
    assert [section["title"] for section in drawn] == ["report", "other"]
    assert states(drawn[0]) == {"x": "computed"}
    assert [section["title"] for section in sections([run(step()), run(step(), workflow="b")], workflow="b")] == ["b"]


def test_cells_and_decorated_functions_share_one_section():
    cell = run(step("features"), workflow="features", run_id="features@1", status="running")
    other = run(step("plot", "hit"), workflow="plot", run_id="plot@1", status="running", seconds=5)
    workflow = run(step("load"), seconds=9)
    drawn = sections([cell, other, workflow])
    assert [section["id"] for section in drawn] == ["run report", "loose"]
    assert states(drawn[1]) == {"features": "computed", "plot": "hit"}
    assert drawn[1]["status"] == "done"


def test_cells_of_automatic_mode_are_among_the_cells_with_their_sum():
    rows, total = step("rows", duration_s=6.0), step("total", seconds=6, duration_s=9.0)
    (section,) = sections([run(rows, total, workflow="auto", run_id="auto@1", status="running")])
    assert (section["id"], section["took"]) == ("loose", 15.0)
    assert {row["workflow"] for row in section["steps"]} == {"auto"}, "under which their keys lie"


def test_the_last_state_of_every_name_stays_however_often_others_were_called(monkeypatch):
    monkeypatch.setattr("awaitly_nb.notebook.panel_rows._MOST_STEPS", 100)
    cell = run(step("raw"), workflow="raw", run_id="raw@1")
    calls = [replace(step("score", seconds=n), step_key=f"score:{n}") for n in range(3_000)]
    (section,) = sections([cell, run(*calls, workflow="score", run_id="score@1")])
    assert states(section) == {"raw": "computed", "score": "computed"}
    assert [row["key"] for row in section["steps"]][-1] == "score:2999"
    assert len(section["steps"]) == 101


def test_time_axis_and_sum_are_those_of_the_run_that_is_on_now():
    early = step("raw", duration_s=26.0)
    late = [step("clean", seconds=600, duration_s=2.0), step("fit", seconds=603, duration_s=4.0)]
    (section,) = sections([run(one, workflow=one.step_id, run_id=f"{one.step_id}@1") for one in (early, *late)])
    assert [row["start"] for row in section["steps"]] == [None, 0.0, 3.0]
    assert section["took"] == 6.0
    assert section["started"] == late[0].at.timestamp()
    assert "width" in run_html(run(*late))


def test_a_step_that_still_runs_is_never_followed_by_a_pause():
    slow = step("fit", state="running")
    inner = step("score", seconds=600, duration_s=1.0)
    (section,) = sections([run(one, workflow=one.step_id, run_id=f"{one.step_id}@1") for one in (slow, inner)])
    assert [row["start"] for row in section["steps"]] == [0.0, 600.0]
    assert section["started"] == slow.at.timestamp()


def test_an_estimate_comes_from_the_last_run_or_from_the_cache():
    before = run(step("fit", duration_s=7.0), run_id="r0")
    now = run(step("fit", "running"), status="running", seconds=1)
    assert sections([before, now])[0]["steps"][0]["est"] == 7.0
    kept = {("report", "fit"): 5.0}
    assert sections([now], took=lambda *step: kept.get(step))[0]["steps"][0]["est"] == 5.0


def test_bars_begin_where_the_step_began():
    (section,) = sections([run(step("a"), step("b", seconds=2.5))])
    assert [row["start"] for row in section["steps"]] == [0.0, 2.5]


def test_the_bar_of_a_hit_ends_when_it_was_loaded():
    def body(ctx):
        return ctx.step("load", lambda: list(range(1000)), key="load:1")

    workflow = aw.create_workflow("report")
    workflow.run_sync(body)
    told = []
    workflow.run_sync(body, on_event=told.append)
    (hit,) = filter(events.is_step_cache_hit, told)
    (step_,) = workflow.last_run.steps
    assert step_.at == hit.at - timedelta(seconds=hit.duration_s)
    assert step_.at < hit.at


def test_of_two_steps_with_one_name_each_says_its_key():
    twins = [step("fit", why) for why in ("computed", "failed")]
    twins = [replace(twin, step_key=f"fit:{i}", reason="first run") for i, twin in enumerate(twins)]
    html = run_html(run(*twins, step("load", reason="first run")))
    assert ">fit:0</div>" in html
    assert html.count("first run") == 1  # of the one that has its name for itself


def test_one_word_for_each_state_and_each_instant():
    at = datetime(2026, 11, 26, 4, 38).astimezone()
    assert show_when(at, at + timedelta(days=1)) == "26 Nov 04:38"
    assert show_when(at, at + timedelta(days=365)) == "26 Nov 2026"
    assert show_computed(at, 2.0, at) == "computed 26 Nov 04:38 in 2 s"
    assert show_computed(at, None, at) == "computed 26 Nov 04:38"
    assert [show_took(seconds) for seconds in (0.0, 0.0009, 0.001, 2.0)] == ["<1 ms", "<1 ms", "1 ms", "2 s"]


@pytest.mark.parametrize("length", [1, 59, 60, 61, 400])
def test_a_long_key_keeps_both_ends(length):
    key = "".join(chr(ord("a") + i % 26) for i in range(length))
    cut = middle_cut(key)
    assert len(cut) <= 60
    assert cut == key or (key.startswith(cut.split("…")[0]) and key.endswith(cut.split("…")[1]) and length > 60)


def apply(drawn, change):
    """Do with a change what the page does."""
    known = {section["id"]: section for section in drawn}
    for section in change["sections"]:
        old = known.get(section["id"], {"steps": []})["steps"][: section["n"]]
        rows = old + [None] * (section["n"] - len(old))
        for i, row in section["rows"]:
            rows[i] = row
        known[section["id"]] = {**{k: v for k, v in section.items() if k not in ("n", "rows")}, "steps": rows}
    return [known[name] for name in change["order"]]


def test_changes_turn_one_drawing_into_the_next():
    drawings = [
        sections(runs)
        for runs in (
            [],
            [run(step("a", "running"), status="running")],
            [run(step("a"), step("b", "running"), status="running")],
            [run(step("a"), step("b"))],
            [run(step("a"), step("b")), run(step("x", "hit"), workflow="other", seconds=3)],
            [run(step("x", "hit"), workflow="other", seconds=3)],
        )
    ]
    drawn: list = []
    for wanted in drawings:
        change = json.loads(json.dumps(changes(drawn, wanted)))
        drawn = apply(drawn, change)
        assert drawn == wanted
    assert changes(drawn, drawn)["sections"] == []


def test_a_step_among_thousands_is_sent_alone():
    many = [step(f"s{i}") for i in range(1000)]
    old = sections([run(*many, step("last", "running"), status="running")])
    new = sections([run(*many, step("last"), status="running")])
    assert [[i for i, _ in section["rows"]] for section in changes(old, new)["sections"]] == [[1000]]


def unpack(buffers):
    """Return what the page makes of the two buffers."""
    text, data = (zlib.decompress(buffer) for buffer in buffers)
    head, *keys = text.decode().split("\x1e")
    told = json.loads(head)
    count = told["rows"]

    def column(number, kind):
        planes = [data[(4 * number + plane) * count :][:count] for plane in range(4)]
        return struct.unpack(f"<{count}{kind}", bytes(byte for row in zip(*planes, strict=True) for byte in row))

    def summed(values):
        return [sum(values[: i + 1]) for i in range(len(values))]

    return {
        "id": summed(column(0, "i")),
        "at": summed(column(1, "i")),
        "namespace": [told["namespaces"][i] for i in column(2, "i")],
        "step": [told["steps"][i] for i in column(3, "i")],
        "hits": list(column(4, "i")),
        "size": list(column(5, "f")),
        "took": list(column(6, "f")),
        "ok": list(data[28 * count :]),
        "key": keys[:count],
        "bytes": told["bytes"],
    }


def test_keys_travel_as_columns():
    entries = [
        aw.Entry(key="a", namespace="x", step_id="s", size_bytes=10, created_at=NOW, duration_s=1.23456, hits=2),
        aw.Entry(key="b\ud800\x1e\n", namespace="y", ok=False),
        aw.Entry(key="f:" + "0123456789abcdef" * 2, namespace="x", size_bytes=12_345_678, created_at=NOW),
    ]
    columns = unpack(key_columns(Listing.of(entries), [1, 7, 5]))
    assert columns["id"] == [1, 7, 5]
    assert columns["namespace"] == ["x", "y", "x"]
    assert columns["step"] == ["s", "", ""]
    assert columns["key"] == ["a", "b?\N{REPLACEMENT CHARACTER}\n", "f:0123456789…"]
    assert columns["ok"] == [1, 0, 1]
    assert columns["hits"] == [2, 0, 0]
    assert columns["at"] == [int(NOW.timestamp()), -1, int(NOW.timestamp())]
    assert columns["took"] == [pytest.approx(1.23456, rel=1e-3), -1, -1]
    assert columns["size"] == [10, -1, pytest.approx(12_345_678, rel=1e-3)]
    assert columns["bytes"] == 12_345_688


def test_calls_travel_behind_the_keys_where_there_are_any():
    entries = [aw.Entry(key="user:1"), aw.Entry(key="score:1", call="score(fold=3) #1a2b3c4d")]
    text, _ = (zlib.decompress(buffer) for buffer in key_columns(Listing.of(entries), [1, 2]))
    told, *rest = text.decode().split("\x1e")
    assert json.loads(told)["calls"] is True
    assert rest == ["user:1", "score:1", "", "score(fold=3) #1a2b3c4d"]
    assert Listing.of(entries).entry(1).call == "score(fold=3) #1a2b3c4d"


def test_no_key_at_all_travels_too():
    assert unpack(key_columns(Listing(), []))["key"] == []


def test_what_a_person_reads_survives_exactly():
    """Whole numbers below 4,096, the usual durations: their digits are all there."""
    sizes = [*range(4096), 64_000, 86_400]
    entries = [aw.Entry(key=str(size), size_bytes=size, duration_s=float(size)) for size in sizes]
    columns = unpack(key_columns(Listing.of(entries), range(1, len(sizes) + 1)))
    assert columns["size"] == columns["took"] == sizes


# ---- keys


def fill(workflow="report", **values):
    for key, value in values.items():
        caches.open_default(workflow).set(key, value if isinstance(value, Ok | Err) else Ok(value))


def test_the_folder_lists_every_namespace_and_deletes_exactly_one_key():
    fill("one", a=1, b=2)
    fill("two", a=3)
    keys = KeyList(FolderKeys())
    keys.read()
    assert len(keys) == 3
    number = keys.number_of("one", "a")
    assert keys.delete([number]) == [number]
    assert caches.open_default("one").keys() == ["b"]
    assert caches.open_default("two").keys() == ["a"]
    assert keys.dropped("one", "a")
    assert not keys.dropped("two", "a")
    assert keys.number_of("one", "a") is None


def test_a_key_that_looks_like_a_glob_deletes_itself_only():
    fill("one", **{"*": 1, "a": 2, "[a]": 3})
    keys = KeyList(FolderKeys())
    keys.read()
    keys.delete([keys.number_of("one", "*"), keys.number_of("one", "[a]")])
    assert caches.open_default("one").keys() == ["a"]


def test_a_key_keeps_its_number_and_numbers_are_never_reused():
    fill("one", a=1)
    keys = KeyList(FolderKeys())
    keys.read()
    first = keys.number_of("one", "a")
    keys.delete([first])
    fill("one", b=1, a=2)
    keys.read()
    assert keys.number_of("one", "a") == first
    assert keys.number_of("one", "b") not in (None, first)
    assert not keys.dropped("one", "a")


def test_what_is_deleted_while_keys_are_read_stays_deleted():
    class Slow(FolderKeys):
        def listing(self):
            found = super().listing()
            if keys is not None:
                keys.delete([keys.number_of("one", "a")])
            return found

    keys = None
    fill("one", a=1, b=2)
    made = KeyList(Slow())
    made.read()
    keys = made
    listing, numbers, deleted = keys.read()
    assert len(listing) == 2
    assert deleted == [numbers[0]]
    assert keys.number_of("one", "a") is None
    assert keys.dropped("one", "a")
    assert len(keys) == 1


def test_counts_follow_every_change():
    fill("one", a=1, b=2)
    keys = KeyList(FolderKeys())
    keys.read()
    both = keys.size_bytes
    entry = keys.entry(keys.number_of("one", "a"))
    number = keys.put(aw.Entry(key="c", namespace="one", step_id="s", size_bytes=100, duration_s=2.0, created_at=NOW))
    assert (len(keys), keys.size_bytes) == (3, both + 100)
    assert keys.took("one", "s") == 2.0
    assert keys.took("two", "s") is None
    keys.put(aw.Entry(key="c", namespace="one", step_id="s", size_bytes=50, duration_s=3.0, created_at=NOW))
    assert (len(keys), keys.size_bytes) == (3, both + 50)
    assert keys.took("one", "s") == 3.0
    keys.delete([number, keys.number_of("one", "a")])
    assert (len(keys), keys.size_bytes) == (1, both - entry.size_bytes)
    keys.read()
    assert (len(keys), keys.size_bytes) == (1, both - entry.size_bytes)


def test_the_newest_are_the_newest_whatever_came_and_went():
    keys = KeyList(CacheKeys(caches.as_step_cache({})))
    keys.read()
    numbers = [keys.put(aw.Entry(key=str(i), created_at=NOW + timedelta(seconds=(i * 37) % 2000))) for i in range(2000)]

    def wanted():
        there = [i for i in range(2000) if keys.number_of("", str(i)) is not None]
        return [str(i) for i in sorted(there, key=lambda i: -((i * 37) % 2000))[:50]]

    assert [entry.key for entry in keys.newest(50)] == wanted()
    for _ in range(15):
        keys.delete([numbers[int(entry.key)] for entry in keys.newest(50)])
        assert [entry.key for entry in keys.newest(50)] == wanted()
    keys.put(aw.Entry(key="1999", created_at=NOW + timedelta(days=1)))
    assert [entry.key for entry in keys.newest(2)][0] == "1999"
    keys.put(aw.Entry(key="same second", created_at=NOW + timedelta(days=1)))
    assert [entry.key for entry in keys.newest(2)] == ["same second", "1999"]


def test_a_key_deleted_by_somebody_else_is_gone_all_the_same():
    fill("one", a=1)
    keys = KeyList(FolderKeys())
    keys.read()
    number = keys.number_of("one", "a")
    caches.open_default("one").delete("a")
    assert keys.delete([number, 999]) == [number, 999]


@pytest.mark.parametrize("make", [dict, aw.create_memory_cache])
def test_a_cache_of_ones_own_is_listed_too(make):
    cache = make()
    workflow = aw.create_workflow("own", cache=cache)
    workflow.run_sync(lambda ctx: ctx.step("load", lambda: 41, key="load:1"))
    keys = KeyList(CacheKeys(caches.as_step_cache(cache)))
    keys.read()
    number = keys.number_of(keys.namespace_of("own"), "load:1")
    assert keys.get(number).value == 41
    keys.delete([number])
    assert caches.as_step_cache(cache).keys() == []


# ---- pace


def test_many_pokes_make_few_drawings_and_the_last_is_never_lost():
    drawn, seen, state = [], threading.Event(), [0]

    def draw():
        drawn.append(state[0])
        if state[0] == 5000:
            seen.set()

    pace = Pace(draw, interval_s=0.02)
    for i in range(1, 5001):
        state[0] = i
        pace.poke()
    assert seen.wait(10)
    assert len(drawn) < 500
    pace.close()


def test_a_drawing_that_fails_is_tried_again_after_the_next_poke(caplog):
    calls, done = [], threading.Event()

    def draw():
        calls.append(1)
        if len(calls) == 1:
            raise OSError("the page is gone")
        done.set()

    pace = Pace(draw, interval_s=0.001)
    pace.poke()
    while not calls:
        threading.Event().wait(0.001)
    pace.poke()
    assert done.wait(10)
    assert "the page is gone" in caplog.text
    pace.close()


def test_the_thread_ends_when_there_is_nothing_to_draw_and_starts_again():
    drawn = threading.Semaphore(0)
    pace = Pace(drawn.release, interval_s=0.001)
    for _ in range(3):
        pace.poke()
        assert drawn.acquire(timeout=10)
        thread = pace._thread
        if thread is not None:
            thread.join(10)
            assert not thread.is_alive()
    pace.close()


def test_nothing_is_drawn_after_close():
    drawn = []
    pace = Pace(lambda: drawn.append(1), interval_s=0.001)
    pace.close()
    pace.poke()
    assert pace._thread is None
    assert drawn == []
