"""A listing says the same as the entries do, whatever heads look like."""

from __future__ import annotations

import sqlite3
import time
from datetime import UTC, datetime

import pytest

import awaitly_nb as aw
from awaitly_nb import cache as caches
from awaitly_nb.cache import Listing, folder_entries, folder_listing
from awaitly_nb.cache.folder import forget_folders
from awaitly_nb.codec.envelope import write_head
from awaitly_nb.config import cache_directory
from awaitly_nb.result import Mark, with_mark


def keep(namespace, key, result=None, *, ttl=None, **mark):
    result = aw.Ok(key) if result is None else result
    caches.open_default(namespace).set(key, with_mark(result, Mark(workflow=namespace, **mark)), ttl=ttl)


def told(entry):
    at = entry.created_at
    facts = (entry.namespace, entry.key, entry.step_id, entry.ok, entry.size_bytes, entry.duration_s, entry.hits)
    return (*facts, None if at is None else int(at.timestamp()))


def listed(listing):
    return [told(listing.entry(row)) for row in range(len(listing))]


def test_it_tells_what_entries_tell():
    keep("one", "a", step_id="load", duration_s=1.5, at=datetime(2026, 1, 2, 3, 4, 5, 600_000, tzinfo=UTC))
    keep("one", "b:*?", aw.err("DOWN"), step_id="fetch", duration_s=1e-7)
    keep("", "no namespace")
    keep("two", 'quote " and \\ and ,"ok":false', step_id='"ok"')
    keep("zwei", "größe:日本", step_id="日本", duration_s=12345678.9)
    keep("ttl", "stays", ttl="1d", step_id="load")
    keep("ttl", "goes", ttl=0.001)
    for _ in range(3):
        caches.open_default("one").get("a")
    while caches.open_default("ttl").has("goes"):
        pass
    assert len(folder_entries()) == 6
    assert listed(folder_listing()) == [told(entry) for entry in folder_entries()]
    assert listed(folder_listing("one")) == [told(entry) for entry in caches.open_default("one").entries()]
    assert [facts[1] for facts in listed(folder_listing("ttl"))] == ["stays"]


def test_a_batch_that_is_all_regular_and_one_with_an_odd_head_tell_the_same():
    for i in range(450):
        keep(
            "many", f"k{i}", step_id="日本" if i == 222 else f"s{i % 5}", ttl="1d" if i % 3 else None, duration_s=i / 7
        )
    assert listed(folder_listing()) == [told(entry) for entry in folder_entries()]


ODD = [
    "",
    "no json",
    "{}",
    "[]",
    '{"schema":1}',
    '{"ok":true,"size_bytes":"many","duration_s":[1],"created_at":"never","step_id":7}',
    '{"ok":true,"size_bytes":' + "9" * 400 + ',"duration_s":' + "9" * 400 + ',"created_at":1e300}',
    '{"schema":2,"secret":"s","name":"n","created_at":1.5,"stored_at":1.5,"expires_at":9e9,"size_bytes":21,'
    '"step_id":"x","workflow":"n","duration_s":2.5,"signature":"0"}',
]
REGULAR = write_head(
    {"schema": 3, "secret": "0" * 16, "name": "n", "created_at": 1.5, "stored_at": 1.5, "expires_at": 9e9}
    | {"size_bytes": 21, "step_id": "x", "workflow": "n", "duration_s": 2.5, "signature": "0" * 22}
)


@pytest.mark.parametrize(
    "head",
    [*ODD, REGULAR, REGULAR[:-30], REGULAR.replace("\t21\t", f"\t{'9' * 30}\t"), REGULAR.replace("2.5", "2.5.5")],
)
@pytest.mark.parametrize("hits", [0, "many"])
def test_a_planted_head_is_shown_as_far_as_it_makes_sense_and_breaks_nothing(head, hits):
    for i in range(5):
        keep("one", f"k{i}", step_id="load")
    forget_folders()
    database = sqlite3.connect(cache_directory() / "cache.db")
    with database:
        planted = "UPDATE Cache SET tag = ?, access_count = ? WHERE key LIKE '%k2'"
        database.execute(planted, (head, hits))
    database.close()
    found = folder_listing()
    columns = [len(getattr(found, name)) for name in Listing.__slots__]
    assert set(columns) == {len(found)}
    assert [row[1] for row in listed(found) if row[1] != "k2"] == ["k0", "k1", "k3", "k4"]
    assert len(found) == len(folder_entries())


def test_entries_become_a_listing_and_entries_again():
    entries = [
        aw.Entry(key="a", namespace="n", step_id="s", size_bytes=3, duration_s=1.25, hits=2, ok=False),
        aw.Entry(key="b\x1fc", created_at=datetime.fromtimestamp(int(time.time()), UTC)),
    ]
    assert [Listing.of(entries).entry(row) for row in range(2)] == entries
