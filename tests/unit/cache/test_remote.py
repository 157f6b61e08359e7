"""A remote behind the local cache: served where its signer is trusted, asked once, and never in the way."""

import contextlib
import json
import os
import subprocess
import sys
import threading
import time
import warnings

import numpy as np
import pytest

import awaitly_nb as aw
from awaitly_nb import config
from awaitly_nb.cache import create, export_entries, folder_delete, made_here, open_default, open_remote, recorded
from awaitly_nb.cache.folder import forget_folders
from awaitly_nb.codec import Identity, TrustedKeys, own_identity
from awaitly_nb.config import identity_path, trusted_keys_path
from awaitly_nb.errors import CacheUnusableWarning, ForeignSecretWarning, StoreError
from awaitly_nb.result import Mark, mark_of, with_mark

VALUES = {
    "small": {"n": 1},
    "text": "y" * 300_000,
    "array": np.arange(1_500_000.0),
    "frame": [np.arange(90_000), np.ones(70_000), "z" * 10],
}


class User:
    def __init__(self, home):
        self.home = home

    def __enter__(self):
        """Become this user, in a new process as far as the cache can tell."""
        forget_folders()
        create._defaults.clear()
        create._sources.clear()
        os.environ["XDG_CONFIG_HOME"] = str(self.home / "config")
        os.environ["AWAITLY_NB_CACHE_DIR"] = str(self.home / "cache")
        return open_default("w")

    def __exit__(self, *exc):
        forget_folders()

    @property
    def key(self):
        with self:
            return Identity.own(identity_path()).public

    def trust(self, other, name="other"):
        key = other.key
        with self:
            TrustedKeys(trusted_keys_path()).add(name, key)


@pytest.fixture(autouse=True)
def _places(tmp_path, monkeypatch):
    for name in ("XDG_CONFIG_HOME", "AWAITLY_NB_CACHE_DIR"):
        monkeypatch.setenv(name, str(tmp_path / "nobody"))
    monkeypatch.delenv("AWAITLY_NB_SECRET", raising=False)
    monkeypatch.setenv("AWAITLY_NB_REMOTE_WAIT", "60")  # but where a test is about waiting
    monkeypatch.setenv("AWAITLY_NB_REMOTE", str(tmp_path / "remote.db"))
    monkeypatch.setattr(create, "_defaults", {})
    monkeypatch.setattr(create, "_sources", {})


@pytest.fixture
def ci(tmp_path, monkeypatch):
    """CI has run, and published what it stored."""
    user = User(tmp_path / "ci")
    monkeypatch.setenv("AWAITLY_NB_REMOTE_WRITE", "always")
    with user as cache:
        for key, value in VALUES.items():
            cache.set(key, with_mark(aw.Ok(value), Mark(step_id=key, duration_s=60.0)))
        cache.set("failed", aw.err("FAILED"))
    monkeypatch.delenv("AWAITLY_NB_REMOTE_WRITE")
    return user


@pytest.fixture
def laptop(tmp_path, ci):
    user = User(tmp_path / "laptop")
    user.trust(ci, "ci")
    return user


def records(tmp_path):
    return sorted((record.name, record.version) for record in aw.open_store(tmp_path / "remote.db").records.scan())


def test_what_one_stored_the_other_is_served_and_has_then_without_the_remote(laptop, tmp_path, monkeypatch):
    before = records(tmp_path)
    with laptop as cache:
        assert cache.keys() == []
        assert cache.has("array")
        for key, value in VALUES.items():
            np.testing.assert_equal(cache.get(key).value, value)
        assert mark_of(cache.get("array")).duration_s == 60.0
        assert cache.get("failed") is None
        assert cache.get("other") is None
        cache.set("mine", aw.Ok(1))
    assert records(tmp_path) == before  # reading writes nothing, and neither does storing
    monkeypatch.delenv("AWAITLY_NB_REMOTE")
    with laptop as cache:
        np.testing.assert_equal(cache.get("array").value, VALUES["array"])
        assert sorted(cache.keys()) == sorted([*VALUES, "mine"])


def test_an_unknown_signer_gets_nothing_decoded_and_is_told_once_with_the_remedy(ci, tmp_path, monkeypatch):
    stranger = User(tmp_path / "stranger")
    monkeypatch.setattr("awaitly_nb.cache.published._parsed", None)
    with stranger as cache, pytest.warns(ForeignSecretWarning, match="awaitly-nb trust add") as told:
        found = [cache.get(key) for key in [*VALUES] * 2]
    assert found == [None] * 8
    assert len(told) == 1
    assert ci.key.words in str(told[0].message)


def test_a_large_value_is_stored_once(ci, tmp_path, monkeypatch):
    def pieces():
        return {name: version for name, version in records(tmp_path) if name.startswith("\x1epiece")}

    before = pieces()
    assert len(before) == 6  # three of the array, one of the text, two of the frame
    monkeypatch.setenv("AWAITLY_NB_REMOTE_WRITE", "always")
    with ci as cache:
        cache.set("again", aw.Ok([1, VALUES["array"], "and more"]))
    assert pieces() == before


@contextlib.contextmanager
def damaged(tmp_path, prefix, change):
    store = aw.open_store(tmp_path / "remote.db").records
    for record in list(store.scan(prefix, bodies=True)):
        store.swap(record.name, *change(record))
    yield
    store.close()


@pytest.mark.parametrize("prefix", ["\x1epiece", "\x1epublished"])
def test_a_damaged_entry_is_a_miss_and_the_next_one_stored_replaces_it(laptop, ci, tmp_path, prefix, monkeypatch):
    def flip(record):
        body = bytearray(record.body)
        if not body:
            return record.head.replace('"signature":"', '"signature":"00'), []
        body[len(body) // 2] ^= 1
        return record.head, [body]

    with damaged(tmp_path, prefix, flip):
        with laptop as cache, pytest.warns(CacheUnusableWarning, match="'array' in .* is not used"):
            assert cache.get("array") is None
        monkeypatch.setenv("AWAITLY_NB_REMOTE_WRITE", "always")
        with ci as cache:
            cache.delete("array")
            folder_delete("array")
        fresh = User(tmp_path / "ci again")
        fresh.trust(ci, "ci")
        with fresh as cache:
            with pytest.warns(CacheUnusableWarning):
                assert cache.get("array") is None
            cache.set("array", with_mark(aw.Ok(VALUES["array"]), Mark(duration_s=60.0)))
        monkeypatch.setenv("AWAITLY_NB_REMOTE_WRITE", "never")
        laptop.trust(fresh, "fresh")
        with laptop as cache:
            np.testing.assert_equal(cache.get("array").value, VALUES["array"])


def test_swapped_and_forged_entries_are_misses(laptop, tmp_path):
    store = aw.open_store(tmp_path / "remote.db").records
    found = {record.name: record for record in store.scan("\x1epublished", bodies=True)}
    one, other = (found[f"\x1epublished\x1fw\x1f{key}"] for key in ("small", "array"))
    store.swap(one.name, other.head, [other.body])
    store.swap(other.name, other.head.replace("pieces", "Pieces"), [other.body])
    store.close()
    with laptop as cache, warnings.catch_warnings():
        warnings.simplefilter("ignore", CacheUnusableWarning)
        assert [cache.get(key) for key in ("small", "array")] == [None, None]
        assert cache.get("text") is not None


@pytest.mark.parametrize("size", [5 << 20, 1 << 40, 1 << 62, 10**30])
def test_a_piece_of_a_size_that_nobody_writes_is_refused_before_there_is_memory_for_it(ci, laptop, tmp_path, size):
    with ci:
        identity = own_identity()
    store = aw.open_store(tmp_path / "remote.db").records
    record = next(found for found in store.scan("\x1epublished", bodies=True) if found.name.endswith("array"))
    head = json.loads(record.head)
    told = json.loads(head["told"])
    told["pieces"] = [[size, digest] if digest else [was, ""] for was, digest in told["pieces"]]
    text = json.dumps(told)
    signature = identity.sign(b"awaitly_nb published entry 1\0" + text.encode()).hex()
    store.swap(record.name, json.dumps({**head, "told": text, "signature": signature}), [record.body])
    store.close()
    with laptop as cache, pytest.warns(CacheUnusableWarning, match="makes no sense"):
        assert cache.get("array") is None


def test_what_was_removed_here_is_not_fetched_again_by_any_kernel(laptop):
    with laptop as cache:
        assert cache.get("small").ok
        assert folder_delete("small") == 1
        assert cache.get("small") is None
    with laptop as cache:
        assert cache.get("small") is None
        assert not cache.has("small")
        cache.set("small", aw.Ok("mine"))
    with laptop as cache:
        assert cache.get("small").value == "mine"


class Slow:
    """A store that answers late, or not at all, and counts the questions."""

    def __init__(self, store, how):
        self.store, self.how, self.asked = store, how, []
        self.go = threading.Event()

    def __getattr__(self, name):
        return getattr(self.store, name)

    def read(self, name):
        self.asked.append(name)
        if self.how == "hangs":
            self.go.wait(60)
        if self.how == "fails":
            raise StoreError("it is on fire")
        return self.store.read(name)


def slow(cache, how):
    source = cache.store.source
    source.published.store = Slow(source.published.store, how)
    return source.published.store


@pytest.mark.parametrize("how", ["hangs", "fails"])
def test_a_remote_that_is_slow_or_gone_costs_half_a_second_once_and_is_tried_again_later(laptop, how):
    with laptop as cache:
        store, now = slow(cache, how), [0.0]
        cache.store.source.wait_s = 0.5
        cache.store.source._clock = lambda: now[0]
        started = time.monotonic()
        with pytest.warns(CacheUnusableWarning, match="left alone") as told:
            found = [cache.get(key) for key in [*VALUES] * 3]
        assert found == [None] * 12
        took_s = time.monotonic() - started
        assert len(told) == 1
        assert len(store.asked) == 1
        assert took_s < 5.0  # half a second, and what twelve look-ups of a busy machine take
        now[0] = 20.0
        assert cache.get("small") is None
        assert len(store.asked) == 1
        store.how = "answers"
        cache.store.source.wait_s = 60.0
        now[0] = 40.0
        assert cache.get("small").value == {"n": 1}
        store.go.set()


def test_an_answer_that_comes_late_ends_the_rest(laptop):
    with laptop as cache:
        store = slow(cache, "hangs")
        cache.store.source.wait_s = 0.5
        with pytest.warns(CacheUnusableWarning, match="left alone"):
            assert cache.get("small") is None
        store.how = "answers"
        store.go.set()
        while cache.store.source.rests:
            time.sleep(0.001)
        cache.store.source.wait_s = 60.0
        assert cache.get("small").value == {"n": 1}


def test_that_something_is_not_there_is_remembered_for_a_while(laptop):
    with laptop as cache:
        store, now = slow(cache, "answers"), [0.0]
        cache.store.source._clock = lambda: now[0]
        for at, asked in ((0.0, 1), (59.0, 1), (61.0, 2)):
            now[0] = at
            assert cache.get("none") is None
            assert len(store.asked) == asked


def test_a_transfer_that_stops_ends_and_nothing_of_it_is_stored(laptop, monkeypatch):
    class Stops(Slow):
        def read(self, name):
            self.asked.append(name)
            if name.startswith("\x1epiece") and len(self.asked) > 2:
                self.go.wait(60)
            return self.store.read(name)

    with laptop as cache:
        source = cache.store.source
        source.published.store = store = Stops(source.published.store, "")
        # Of a value that took a minute, six seconds without a piece are enough to give up; here less.
        monkeypatch.setattr("awaitly_nb.cache.remote._LONGEST_STALL_S", 0.2)
        with pytest.warns(CacheUnusableWarning, match="take longer to fetch than to compute"):
            assert cache.get("array") is None
        monkeypatch.setattr("awaitly_nb.cache.remote._LONGEST_STALL_S", 60.0)
        assert cache.keys() == []
        store.go.set()
        source._rest_until = 0.0
        np.testing.assert_equal(cache.get("array").value, VALUES["array"])


GET = """
import sys, warnings
warnings.simplefilter("error")
from awaitly_nb.cache import open_default
cache = open_default("w")
store = cache.store.source.published.store
read, asked = store.read, []
store.read = lambda name: asked.append(name) or read(name)
print("ready", flush=True)
sys.stdin.readline()
assert cache.get("array").value[-1] == 1_499_999
print(len(asked))
"""


def test_one_missing_key_that_eight_kernels_want_is_fetched_once(laptop):
    with laptop:
        pass
    kernels = [
        subprocess.Popen([sys.executable, "-c", GET], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)
        for _ in range(8)
    ]
    with contextlib.ExitStack() as stack:
        for one in kernels:
            stack.enter_context(one)
        for one in kernels:
            assert one.stdout.readline() == "ready\n"
        for one in kernels:
            one.stdin.write("go\n")
            one.stdin.flush()
        asked = sorted(int(one.communicate(timeout=60)[0]) for one in kernels)
    assert asked == [0] * 7 + [4]  # the entry and its three pieces, by one of them


def test_threads_of_one_kernel_fetch_once(laptop):
    with laptop as cache:
        store = slow(cache, "answers")
        found = []
        threads = [threading.Thread(target=lambda: found.append(cache.get("array").value[-1])) for _ in range(8)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        assert found == [1_499_999] * 8
        assert len(store.asked) == 4


def test_a_bound_holds_for_what_is_fetched(laptop, monkeypatch):
    monkeypatch.setenv("AWAITLY_NB_SIZE_LIMIT", "5 MB")
    with laptop as cache:
        with pytest.warns(CacheUnusableWarning, match="more than the whole size_limit"):
            assert cache.get("array") is None
        assert cache.get("small").ok


def test_publishing_says_what_was_there_and_a_trusted_entry_stays(ci, laptop, tmp_path):
    with ci:
        identity = Identity.own(identity_path())
        published = open_remote(str(tmp_path / "remote.db"))
        directory = config.cache_directory()
        for entry in export_entries(directory, [("w", key) for key in VALUES]):
            assert published.publish(entry, identity, made=made_here()) is False
        assert [(row.name, row.entries) for row in published.signers()] == [("you", 4)]
    with laptop:
        assert [(row.name, row.entries) for row in published.signers()] == [("ci", 4)]
        refused = []
        offers = {offer.key: offer for offer in published.offers(["w"], lambda *told: refused.append(told))}
        assert set(offers) == set(VALUES)
        assert offers["array"].size_bytes > 12_000_000
        assert refused == []
        assert list(recorded(config.cache_directory(), "w")) == []


def test_a_remote_that_cannot_be_opened_is_told_and_is_in_nobodys_way(laptop, monkeypatch):
    monkeypatch.setenv("AWAITLY_NB_REMOTE", "gopher://host/prefix")
    with pytest.warns(CacheUnusableWarning, match="gopher"):
        cache = laptop.__enter__()
    assert cache.get("small") is None
    cache.set("small", aw.Ok(1))
    assert cache.get("small").value == 1
