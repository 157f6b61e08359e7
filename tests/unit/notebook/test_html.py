"""The static forms: inert, complete, and readable where styles are gone."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from html.parser import HTMLParser

import numpy as np
import pandas as pd
import polars as pl
import pytest

import awaitly_nb as aw
from awaitly_nb.cache import as_step_cache
from awaitly_nb.engine.listeners import RunSummary, StepSummary
from awaitly_nb.manage import preview
from awaitly_nb.notebook.commands import TextTable
from awaitly_nb.notebook.html import (
    Html,
    cache_html,
    cell,
    panel_html,
    result_html,
    run_html,
    state_html,
    table,
    tag,
    text,
)
from awaitly_nb.notebook.panel_rows import sections
from awaitly_nb.result import Err, Mark, Ok
from awaitly_nb.units import show_computed

NOW = datetime(2026, 11, 22, 12, tzinfo=UTC)
EVIL = "<script>alert(1)</script><img src=x onerror=alert(1)>\"'&"


class Reader(HTMLParser):
    """Collects what a browser would see of a document."""

    def __init__(self, html: str) -> None:
        super().__init__()
        self.tags: list[str] = []
        self.attributes: list[tuple[str, str | None]] = []
        self.shown: list[str] = []
        self.feed(html)
        self.close()

    def handle_starttag(self, tag, attrs):
        self.tags.append(tag)
        self.attributes += attrs

    def handle_data(self, data):
        self.shown.append(data)

    @property
    def text(self) -> str:
        return "".join(self.shown)


def step(step_id="load", state="hit", **fields):
    return StepSummary(step_id=step_id, step_key=f"{step_id}:1", state=state, **({"at": NOW} | fields))


def run(*steps, status="ok", **fields):
    return RunSummary(
        run_id="r1", workflow="report", status=status, **({"started_at": NOW, "duration_s": 9.0} | fields), steps=steps
    )


class Odd:
    def __repr__(self):
        raise ValueError(EVIL)


class Odder(list):
    def __len__(self):
        raise TypeError("no length today")


def evil_frame():
    return pd.DataFrame({EVIL: [EVIL]}, index=[EVIL])


@pytest.mark.parametrize(
    "html",
    [
        lambda: result_html(Ok(EVIL)),
        lambda: result_html(Ok({EVIL: EVIL})),
        lambda: result_html(Ok(evil_frame())),
        lambda: result_html(Err(EVIL)),
        lambda: result_html(Err(ValueError(EVIL), ValueError(EVIL))),
        lambda: result_html(Err(aw.errors.RemoteError(EVIL, traceback_text=EVIL))),
        lambda: run_html(run(step(EVIL, "failed", error_text=EVIL, reason=EVIL), status="failed", error_text=EVIL)),
        lambda: panel_html(
            sections([run(step(EVIL))]), [aw.Entry(key=EVIL, namespace=EVIL, step_id=EVIL, workflow=EVIL)], now=NOW
        ),
        lambda: state_html(aw.ResumeState({EVIL: aw.StepEntry(Ok(1), EVIL, NOW, 1.0)}), now=NOW),
        lambda: cache_html(cache_of(aw.Entry(key=EVIL, step_id=EVIL)), now=NOW),
    ],
)
def test_whatever_a_user_wrote_is_shown_as_text(html):
    seen = Reader(html())
    assert "script" not in seen.tags
    assert "img" not in seen.tags
    assert not [name for name, _ in seen.attributes if name.startswith("on")]
    assert "alert(1)" in seen.text


def cache_of(*entries):
    class Cache:
        def entries(self):
            return list(entries)

    return Cache()


def test_characters_that_reorder_or_hide_text_are_made_visible():
    assert text("a\u202eb\x1b[31m\x00c\n") == "a\ufffdb\ufffd[31m\ufffdc\n"


def test_markup_is_kept_only_when_it_was_made_here():
    assert tag("b", Html("<i>x</i>"), "<i>") == "<b><i>x</i>&lt;i&gt;</b>"
    assert isinstance(tag("b", "x"), Html)


def test_a_table_names_its_columns_and_rows():
    seen = Reader(table([("Key", "k"), ("Size", "n")], [("a", 1), (cell("b", title="whole b", heads=True), 2)]))
    assert seen.tags.count("tr") == 3
    assert [value for name, value in seen.attributes if name == "scope"] == ["col", "col", "row", "row"]
    assert ("style", "text-align: right; white-space: nowrap") in seen.attributes  # "0.9 ms" is one word
    assert ("title", "whole b") in seen.attributes


def test_a_run_says_each_step_and_what_was_saved():
    html = run_html(
        run(
            step("load", "hit", saved_s=41.0, size_bytes=12_300_000, duration_s=0.01),
            step("fit", "computed", duration_s=8.0, reason='argument raw: column "price" int64 -> float64'),
            step("score", "replayed failure", error_text="NO_DATA"),
        )
    )
    words = Reader(html).text
    for shown in (
        *("report", "done", "9 s", "load", "✓ from cache", "41 s", "12.3 MB", "fit", "● computed", "8 s"),
        *('argument raw: column "price" int64 -> float64', "✕ failed, from cache", "NO_DATA", "saved 41 s"),
    ):
        assert shown in words


def test_states_are_words_so_that_nothing_is_lost_without_styles():
    html = run_html(run(step("a", "hit"), step("b", "computed"), step("c", "failed"), step("d", "running")))
    plain = Reader(html.replace(html[html.index("<style>") : html.index("</style>") + 8], ""))
    for word in ("from cache", "computed", "failed", "running"):
        assert word in plain.text


def test_bars_stand_where_and_as_long_as_the_steps_ran():
    html = run_html(
        run(
            step("a", "computed", duration_s=2.0),
            step("b", "computed", at=NOW + timedelta(seconds=2), duration_s=6.0),
            duration_s=8.0,
        )
    )
    styles = [value for name, value in Reader(html).attributes if name == "style" and "margin-left" in value]
    assert [style.split(";")[:2] for style in styles] == [
        ["margin-left: 0.0%", " width: 25.0%"],
        ["margin-left: 25.0%", " width: 75.0%"],
    ]


def test_no_script_no_network_no_widget():
    html = panel_html(sections([run(step())]), [aw.Entry(key="k")], token="abc", now=NOW)
    for word in ("<script", "http", "src=", "@import", "url(", "widget"):
        assert word not in html
    assert 'class="awn-static awn-at-abc"' in html


def test_a_result_shows_the_head_of_its_value_and_where_it_came_from():
    mark = Mark(at=NOW - timedelta(hours=3), duration_s=41.0)
    html = result_html(Ok(pd.DataFrame({"carrier": ["UA"] * 100, "delay": range(100)}), _mark=mark), now=NOW)
    seen = Reader(html)
    for shown in (
        "100 rows",
        "2 columns",
        "carrier",
        "delay",
        "UA",
        show_computed(NOW - timedelta(hours=3), 41.0, NOW),
    ):
        assert shown in seen.text
    assert seen.tags.count("tr") == 1 + 8


def test_a_failure_folds_its_original_traceback():
    try:
        int("x")
    except ValueError as exc:
        failure = Err("NO_NUMBER", exc)
    seen = Reader(result_html(failure))
    assert "NO_NUMBER" in seen.text
    assert "details" in seen.tags
    assert 'int("x")' in seen.text
    assert "invalid literal" in seen.text
    assert "open" not in dict(seen.attributes)


def test_a_failure_without_an_exception_has_no_traceback():
    assert "details" not in Reader(result_html(Err("NOT_FOUND"))).tags


def test_a_rebuilt_exception_shows_the_traceback_that_was_written_down():
    assert "line 7, in fit" in result_html(Err("X", aw.errors.RemoteError("x", traceback_text="line 7, in fit")))


def test_a_long_list_says_how_much_it_leaves_out():
    entries = [aw.Entry(key=f"k:{i}", created_at=NOW - timedelta(seconds=i), size_bytes=1000) for i in range(1234)]
    seen = Reader(cache_html(cache_of(*entries), now=NOW))
    assert "1,234 keys" in seen.text
    assert "1.2 MB" in seen.text
    assert "and 1,184 more" in seen.text
    assert "k:0" in seen.text
    assert "k:1233" not in seen.text


def test_automatic_keys_are_cut_and_their_whole_is_the_title():
    key = "features:" + "0123456789abcdef" * 2
    html = panel_html([], [aw.Entry(key=key, namespace="features")], now=NOW)
    assert "features:0123456789…" in Reader(html).text
    assert ("title", key) in Reader(html).attributes


def test_a_long_key_leaves_room_for_the_other_columns():
    key = "k" * 150
    listing = TextTable("1 key", ("key", "in", "took"), ((key, "report", "0.9 ms"),))
    for html in (panel_html([], [aw.Entry(key=key, size_bytes=1)], now=NOW), listing._repr_html_()):
        assert key not in Reader(html).text
        assert ("title", key) in Reader(html).attributes
    assert max(map(len, str(listing).splitlines())) <= 80
    whole = TextTable(listing.title, listing.columns, listing.rows, flexible=())
    assert key in str(whole)  # where it can be copied from: `%awaitly keys --all`


def test_a_namespace_is_said_where_the_key_does_not_say_it():
    assert "report user:1" in Reader(panel_html([], [aw.Entry(key="user:1", namespace="report")], now=NOW)).text


@pytest.mark.parametrize("kind", ["memory", "disk"])
def test_caches_and_states_of_the_package(kind, tmp_path):
    cache = aw.create_memory_cache() if kind == "memory" else aw.create_disk_cache(tmp_path)
    cache.set("user:1", Ok({"id": 1}))
    assert "user:1" in Reader(cache_html(cache)).text
    state = aw.ResumeState({"user:1": aw.StepEntry(Ok(1), "fetch", NOW, 2.0)})
    assert "fetch" in Reader(state_html(state, now=NOW)).text


# ---- previews


@pytest.mark.parametrize(
    ("value", "facts", "shown"),
    [
        (3, ("int",), "3"),
        ("abc", ("str", "3 characters"), "abc"),
        (b"ab", ("bytes", "2 bytes"), "b'ab'"),
        ([1], ("list", "1 item"), "[1]"),
        ({"a": (1, 2)}, ("dict", "1 item"), "{'a': (1, 2)}"),
        (np.arange(6).reshape(2, 3), ("ndarray", "shape (2, 3)", "int64"), "0, 1, 2, 3, 4, 5"),
        (np.float32(1.5), ("float32",), "1.5"),
        (Err("NO"), ("failure", "str"), "'NO'"),
        (Ok(3), ("int",), "3"),
    ],
)
def test_preview_of_small_values(value, facts, shown):
    seen = preview(value)
    assert seen.facts == facts
    assert shown in seen.text


def test_preview_of_frames():
    frame = pd.DataFrame({"day": pd.date_range("2013-01-01", periods=20), "delay": np.arange(20) / 3})
    seen = preview(frame)
    assert seen.facts == ("DataFrame", "20 rows", "2 columns")
    assert seen.columns == ("", "day", "delay")
    assert len(seen.rows) == 8
    assert seen.rows[1] == ("1", "2013-01-02 00:00:00", "0.333333")
    assert preview(frame["delay"]).columns == ("", "delay")
    wide = preview(pd.DataFrame(np.zeros((1, 300))))
    assert len(wide.columns) == len(wide.rows[0]) == 16
    assert wide.columns[-1] == "…"
    polars = preview(pl.DataFrame({"a": [1, 2]}))
    assert polars.facts == ("polars DataFrame", "2 rows", "1 columns")
    assert polars.rows == (("1",), ("2",))


def test_preview_never_raises_and_never_draws_a_large_value_whole():
    assert "Odd instance" in preview(Odd()).text
    assert preview(Odder()).text == "<cannot be shown: TypeError: no length today>"
    for large in ("x" * 10**7, list(range(10**6)), {i: i for i in range(10**5)}, np.zeros(10**7), [[["x"] * 10**5]]):
        seen = preview(large)
        assert len(seen.text) < 5_000


def test_preview_of_an_empty_frame():
    assert preview(pd.DataFrame({"a": []})).facts == ("DataFrame", "0 rows", "1 columns")


def test_a_loop_is_one_line_with_a_bar_for_each_turn():
    steps = [
        StepSummary(
            step_id="score",
            step_key=f"score:{i}",
            state="hit" if i < 20 else "computed",
            at=NOW + timedelta(seconds=i),
            duration_s=1.0,
            saved_s=2.0 if i < 20 else 0.0,
        )
        for i in range(25)
    ]
    html = run_html(run(step("load"), *steps, duration_s=25.0))
    seen = Reader(html)
    assert seen.tags.count("tr") == 1 + 2
    assert "score × 25" in seen.text
    assert "5 computed · 20 from cache" in seen.text
    assert "saved 40 s" in seen.text
    widths = [value for name, value in seen.attributes if name == "style" and "margin-left" in value]
    assert len(widths) == 1 + 25
    assert html.count("background-color: #2e9e4f") == 1 + 20


def test_the_objects_show_themselves_in_a_notebook(tmp_path):
    for made in (Ok([1, 2]), Err("NOT_FOUND")):
        assert "awn-static" in made._repr_html_()
    for kept in (aw.create_memory_cache(), aw.create_disk_cache(tmp_path), as_step_cache({})):
        kept.set("user:1", Ok(1))
        assert "user:1" in kept._repr_html_()
