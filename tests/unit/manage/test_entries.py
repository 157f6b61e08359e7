"""Entries as people manage them: one meaning for a glob, removals that can be undone, values in a few lines."""

from __future__ import annotations

import time

import numpy as np
import pytest

import awaitly_nb as aw
from awaitly_nb import config, manage
from awaitly_nb.cache import open_default
from awaitly_nb.errors import MisuseError, NotCachedError
from awaitly_nb.manage import Trash


@pytest.fixture(autouse=True)
def _folder(tmp_path, monkeypatch):
    monkeypatch.setenv("AWAITLY_NB_CACHE_DIR", str(tmp_path / "cache"))
    manage.TRASH.clear()


def put(namespace="report", **values):
    for key, value in values.items():
        open_default(namespace).set(key, value if isinstance(value, aw.Ok | aw.Err) else aw.Ok(value))


def keys():
    return [entry.key for entry in manage.find()]


def test_looking_and_removing_make_no_folder():
    assert manage.find() == []
    assert manage.names() == []
    assert not manage.remove("*").entries
    assert not manage.retry().entries
    assert not config.cache_directory().exists()


def test_a_removal_is_undone_with_value_and_time_of_expiry():
    open_default("report").set("price", aw.Ok(3), ttl="1h")
    put(other=np.arange(10_000))
    (before,) = manage.find("price")
    done = manage.remove("*")
    assert (done.removed, done.undo) == (2, True)
    assert keys() == []
    assert manage.undo() == 2
    (after,) = manage.find("price")
    assert after.expires_at == before.expires_at
    assert open_default("report").get("price") == aw.Ok(3)
    assert open_default("report").get("other").value.sum() == 49_995_000


def test_a_large_value_is_held_for_the_undo_without_a_copy_in_memory():
    put(large=np.zeros(2**21))  # 16 MB, read back through a map
    manage.remove("large")
    assert manage.undo() == 1
    assert open_default("report").get("large").value.nbytes == 2**24


def test_what_was_computed_again_meanwhile_is_not_replaced_by_an_undo():
    put(price=1)
    manage.remove("price")
    put(price=2)
    manage.undo()
    assert open_default("report").get("price") == aw.Ok(2)


def test_an_undo_is_possible_for_a_while_only():
    trash = Trash(seconds=0.001)
    done = []
    trash.put([lambda: done.append(1)])
    deadline = time.monotonic() + 10
    while trash._batches and time.monotonic() < deadline:
        pass
    assert trash.restore() == 0
    assert done == []


def test_too_much_to_hold_is_removed_without_an_undo(monkeypatch):
    monkeypatch.setattr("awaitly_nb.manage.entries._MOST_UNDONE", 1)
    put(a=1, b=2)
    assert manage.remove("*").undo is False
    assert manage.undo() == 0
    assert keys() == []


def test_a_removal_asks_first_where_it_is_told_to():
    put(a=1)
    asked = []
    manage.remove("a", confirm=lambda removal: asked.append(removal.entries[0].key) or False)
    assert asked == ["a"]
    assert keys() == ["a"]


def test_the_first_letters_of_one_key_are_enough_and_those_of_two_are_not():
    put(**{"features-2021": 1, "features-2022": 2})
    with pytest.raises(MisuseError, match="2 keys begin with 'features'"):
        manage.remove("features")
    with pytest.raises(MisuseError, match="2 keys begin with 'features'"):
        manage.show("features")
    assert manage.show("features-2022")[0].entry.key == "features-2022"
    assert manage.remove("features-2021").removed == 1
    assert keys() == ["features-2022"]


def test_a_key_that_looks_like_a_glob_is_removed_alone():
    put(**{"rows:[1]": 1, "rows:1": 2})
    assert manage.remove("rows:[1]").entries[0].key == "rows:1"  # a glob first
    assert manage.remove("rows:[1]").entries[0].key == "rows:[1]"


def test_one_entry_is_removed_and_brought_back_by_exact_name():
    put(**{"a*": 1, "ab": 2})
    there, restore = manage.remove_one("report", "a*")
    assert there
    assert keys() == ["ab"]
    assert restore is not None
    restore()
    assert sorted(keys()) == ["a*", "ab"]
    assert manage.remove_one("report", "nothing") == (False, None)


def test_what_is_not_there_names_what_is_near():
    put(price=1)
    assert str(manage.remove("prise")) == "no key matches 'prise'; did you mean 'price'?"
    with pytest.raises(NotCachedError, match="did you mean 'price'"):
        manage.show("prise")


def test_show_tells_parts_in_words():
    @aw.step
    def double(number, rows):
        return number * 2

    double(21, [1, 2])
    (details,) = manage.show(double.key(21, [1, 2]))
    told = {name: shown for kind, name, shown in details.parts if kind == "argument"}
    assert told == {"number": "21", "rows": "list 2 items"}
    assert details.preview.text == "42"


@aw.step
def score(params, fold, *more, password=None):
    return fold


def test_an_automatic_key_shows_and_is_found_as_its_call():
    score({"depth": 3}, 3)
    score({"depth": 4}, 4, "é", password="hush")
    found = manage.find()
    assert [manage.shown_key(entry) for entry in found] == [
        "score(params={...}, fold=3, password=***)",
        "score(params={...}, fold=4, password=***, *more=(...))",
    ]
    assert manage.listed("fold=3") == found[:1]
    assert manage.listed("score(*fold=4*") == found[1:]
    assert manage.listed("*fold=3*") == found[:1]
    assert manage.show("score(params={...}, fold=3, password=***)")[0].entry == found[0]
    assert manage.remove("score(*fold=3*").entries == (found[0],)
    assert manage.find() == found[1:]


def test_calls_with_other_arguments_differ_even_where_they_show_alike():
    score({"depth": 3}, 3)
    score({"depth": 4}, 3)
    first, second = manage.find()
    assert manage.shown_key(first) == manage.shown_key(second)
    assert first.call != second.call
    assert manage.find(superseded=True) == []


def test_superseded_are_older_answers_to_the_same_call():
    open_default("flow").set("explicit", aw.Ok(1))
    names = {"a": 1}
    for a in (1, 2, 3):
        names["a"] = a
        exec(compile("def score(x):\n    return x + a", "<score>", "exec"), names)
        aw.step(names["score"])(10)
    aw.step(names["score"])(20)
    assert len(manage.find()) == 5
    old = manage.find(superseded=True)
    assert [entry.step_id for entry in old] == ["score", "score"]
    manage.remove(superseded=True)
    assert aw.step(names["score"]).is_cached(10)
    assert aw.step(names["score"]).is_cached(20)
    assert len(manage.find()) == 3
