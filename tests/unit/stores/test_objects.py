"""Records as objects: what lies in a folder, what becomes of damage, of clocks and of answers that are lost."""

import importlib
import os
import pickle
import sys

import pytest

import awaitly_nb as aw
from awaitly_nb.stores import ABSENT, DamagedRecordError
from awaitly_nb.stores.adapters import Address
from awaitly_nb.stores.objects import ObjectStore
from awaitly_nb.stores.objects.bucket_store import SUFFIX, object_name, object_prefix
from awaitly_nb.stores.objects.folder import FolderBucket


@pytest.fixture
def folder(tmp_path):
    return tmp_path / "awaitly"


@pytest.fixture
def records(tmp_path):
    return aw.objects(tmp_path).records


def files(folder):
    return sorted(path.name for path in folder.iterdir() if path.name.endswith(SUFFIX))


@pytest.mark.parametrize("name", ["", ".", "..", "CON", "a/b\\c", "Aa", "a\x00", "%41", "é" * 300, "x" * 1000])
def test_the_name_of_an_object_is_safe_everywhere(name):
    key = object_name(name)
    assert set(key) <= set("abcdefghijklmnopqrstuvwxyz0123456789-%.")
    assert len(key) <= 255
    assert key.endswith(SUFFIX)
    for length in (0, 1, len(name) // 2, len(name)):
        assert key.startswith(object_prefix(name[:length]))


def test_names_that_begin_alike_or_differ_in_case_are_different_objects():
    names = ["a", "A", "a.", "%61", "x" * 1000, "x" * 999, "x" * 999 + "y", "X" * 1000]
    assert len({object_name(name).lower() for name in names}) == len(names)


def test_a_head_of_any_length_is_listed_whole(records):
    lengths = [0, 1, 3_800, 4_000, 4_096, 4_200, 100_000]
    for length in lengths:
        records.swap(f"n{length}", "x" * length, [b"body"])
    assert [len(record.head) for record in records.scan()] == lengths
    assert [len(record.head) for record in records.scan(bodies=True)] == lengths


@pytest.mark.parametrize("body", [b"", b"body", bytes(10_000)])
@pytest.mark.parametrize("head", ["{}", "x" * 6_000])
def test_damage_is_told_wherever_it_is(records, folder, head, body):
    records.swap("name", head, [body])
    (path,) = (folder / name for name in files(folder))
    whole = path.read_bytes()
    for damaged in (
        b"",
        whole[:20],
        whole[:47],
        whole[: len(whole) - 1],
        whole + b"x",
        b"x" + whole,
        b"x" * len(whole),
    ):
        path.write_bytes(damaged)
        with pytest.raises(DamagedRecordError):
            records.read("name")
        assert records.swap("name", "new", [], expect=ABSENT) is None
    assert [record.head for record in records.scan("na", bodies=True)] == [""]
    assert records.swap("name", "new", []) is not None
    assert records.read("name").head == "new"
    path.write_bytes(whole)
    assert bytes(records.read("name").body) == body


def test_an_object_under_another_ones_name_is_not_served(records, folder):
    records.swap("a", "of a", [])
    (path,) = folder.glob(f"*{SUFFIX}")
    path.rename(folder / object_name("b"))
    with pytest.raises(DamagedRecordError, match="'b' holds 'a'"):
        records.read("b")


def test_a_damaged_entry_of_a_shared_cache_is_computed_again(tmp_path, folder):
    cache = aw.create_shared_cache(aw.objects(tmp_path))
    cache.set("key", aw.Ok(1))
    (path,) = (folder / name for name in files(folder))
    path.write_bytes(path.read_bytes()[:-1])
    with pytest.warns(aw.errors.DamagedEntryWarning, match="key"):
        assert cache.get("key") is None
    cache.set("key", aw.Ok(2))
    assert cache.get("key") == aw.Ok(2)


def test_what_others_put_into_the_folder_is_let_be(records, folder):
    records.swap("name", "{}", [])
    (folder / "README").write_text("ours")
    (folder / "name").mkdir()
    assert [record.name for record in records.scan()] == ["name"]
    assert records.delete(["README", "name"]) == 1
    assert (folder / "README").read_text() == "ours"


def test_a_write_leaves_nothing_beside_the_record(records, folder):
    version = records.swap("name", "1", [])
    assert records.swap("name", "2", [], expect=ABSENT) is None
    assert records.swap("name", "3", [], expect=version) is not None
    assert sorted(path.name for path in folder.iterdir()) == ["lock", object_name("name")]


def test_what_a_killed_writer_left_is_removed_a_day_later(tmp_path, folder):
    folder.mkdir()
    old, new = folder / "old.new", folder / "new.new"
    for staged in (old, new):
        staged.write_bytes(b"half")
    day_ago = new.stat().st_mtime - 90_000
    os.utime(old, (day_ago, day_ago))
    aw.objects(tmp_path).records.swap("name", "{}", [])
    assert not old.exists()
    assert new.exists()


@pytest.mark.skipif(sys.platform == "win32", reason="another kind of lock")
def test_a_folder_that_somebody_keeps_locked_is_told_after_the_timeout(tmp_path, folder):
    import fcntl

    records = aw.objects(tmp_path, timeout=0.05).records
    records.swap("name", "1", [])
    with (folder / "lock").open() as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        with pytest.raises(aw.errors.StoreError, match="another process"):
            records.swap("name", "2", [])
        assert records.read("name").head == "1"
    assert records.swap("name", "2", []) is not None
    assert len(files(folder)) == 1


class Odd(FolderBucket):
    """A folder with a clock that is wrong, and that can lose its answer after a write, or miss a write."""

    def __init__(self, folder, *, ahead_s=0.0):
        super().__init__(folder, timeout_s=10)
        self.ahead_s = ahead_s
        self.answers = []
        self.puts = 0

    def now(self):
        return super().now() + self.ahead_s

    def put(self, key, content, *, over):
        self.puts += 1
        what = self.answers.pop(0) if self.answers else "right"
        if what == "fails":
            return False
        return super().put(key, content, over=over) and what == "right"


def store_of(bucket):
    return ObjectStore(bucket, Address("s3://shelf"))


@pytest.mark.parametrize("expect", ["absent", "any", "version"])
def test_a_write_whose_answer_was_lost_was_made(folder, expect):
    bucket = Odd(folder)
    records = store_of(bucket)
    first = records.swap("name", "0", []) if expect == "version" else None
    bucket.answers = ["lost"]
    options = {"absent": {"expect": ABSENT}, "any": {}, "version": {"expect": first}}[expect]
    version = records.swap("name", "1", [b"one"], **options)
    assert version is not None
    assert (records.read("name").version, records.read("name").head) == (version, "1")
    assert bucket.puts == (2 if expect == "version" else 1)  # nothing is written twice


def test_a_write_that_was_refused_for_no_reason_is_made_again(folder):
    bucket = Odd(folder)
    records = store_of(bucket)
    bucket.answers = ["fails", "fails"]
    assert records.swap("name", "1", [], expect=ABSENT) is not None
    assert records.read("name").head == "1"
    bucket.answers = ["fails"] * 1000
    with pytest.raises(aw.errors.StoreError, match="others write 'name' all the time"):
        records.swap("name", "2", [])
    assert records.read("name").head == "1"


def test_what_was_written_after_reading_comes_after_it_whatever_the_clocks_say(folder):
    ahead, behind = store_of(Odd(folder, ahead_s=3600)), store_of(Odd(folder))
    ahead.swap("first", "{}", [])
    assert [record.name for record in behind.scan()] == ["first"]
    behind.swap("second", "{}", [])
    ahead.swap("third", "{}", [])
    found = list(ahead.scan())
    assert [record.name for record in found] == ["first", "second", "third"]
    assert [record.written_at for record in found] == sorted(record.written_at for record in found)


def test_a_folder_may_be_given_as_a_path_as_text_and_as_a_url(tmp_path, monkeypatch):
    folder = tmp_path / "Ein Regal 100%"
    aw.objects(folder).blocking.save("wf", aw.ResumeState())
    for same in (str(folder), folder.as_uri(), f"{folder}/"):
        assert aw.objects(same).blocking.load("wf") == aw.ResumeState()
    monkeypatch.chdir(tmp_path)
    relative = aw.objects("Ein Regal 100%")
    monkeypatch.chdir("/")
    assert relative.blocking.load("wf") == aw.ResumeState()


@pytest.mark.parametrize(
    "url",
    [
        "s3:/bucket",
        "s3:bucket",
        "s3://",
        "s3:///prefix",
        "file://folder",
        "simplecache::s3://bucket",
        "s3://bucket/prefix?key=hunter2",
        "nosuch://bucket",
        "s3://[bucket",
    ],
)
def test_what_is_no_place_for_objects_is_refused_at_once(url, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    with pytest.raises(aw.errors.InvalidOptionError) as caught:
        aw.objects(url)
    assert "hunter2" not in str(caught.value)
    assert list(tmp_path.iterdir()) == []


def test_e70_a_table_that_is_no_name_and_options_of_a_folder_are_refused(tmp_path):
    with pytest.raises(aw.errors.InvalidOptionError, match="table"):
        aw.objects("s3://bucket", table="a/b")
    with pytest.raises(aw.errors.InvalidOptionError, match="storage_options"):
        aw.objects(tmp_path, storage_options={"key": "x"})


@pytest.mark.parametrize(
    ("url", "package", "extra"),
    [
        ("s3://bucket", "s3fs", "objects"),
        ("gcs://bucket", "gcsfs", "gcs"),
        ("az://container", "adlfs", "azure"),
        ("memory://bucket", "fsspec", "objects"),
    ],
)
def test_e80_a_missing_driver_names_its_extra(url, package, extra, monkeypatch):
    # What another test has asked fsspec for before, it has at hand.
    classes = importlib.import_module("fsspec.registry")._registry
    monkeypatch.delitem(classes, url.partition("://")[0], raising=False)
    monkeypatch.setitem(sys.modules, package, None)
    with pytest.raises(aw.errors.MissingExtraError, match=rf"{package} .*pip install 'awaitly-nb\[{extra}\]'"):
        aw.objects(url)


def test_a_folder_needs_no_package(tmp_path, monkeypatch):
    for package in ("fsspec", "s3fs"):
        monkeypatch.setitem(sys.modules, package, None)
    aw.objects(tmp_path).blocking.save("wf", aw.ResumeState())


def test_e78_a_store_that_cannot_connect_tells_no_secret():
    options = {
        "endpoint_url": "http://127.0.0.1:1",
        "key": "ada-the-first",
        "secret": "hunter2",
        "client_kwargs": {"aws_session_token": "hunter3"},
        "config_kwargs": {"proxies": {"https": "http://proxy:hunter4@127.0.0.1:2"}},
    }
    store = aw.objects("s3://shelf/team", storage_options=options, timeout=0.5)
    with pytest.raises(aw.errors.StoreError, match=r"s3://shelf/team: .*127\.0\.0\.1:1") as caught:
        store.blocking.load("wf")
    scrubbed = store.records._address.error("use", ValueError(str(options)))
    for text in (repr(store), repr(store.records), str(caught.value), str(pickle.dumps(caught.value)), str(scrubbed)):
        assert "hunter" not in text
        assert "ada-the-first" not in text
    assert caught.value.__cause__ is None
    assert caught.value.__suppress_context__
    store.blocking.close()
