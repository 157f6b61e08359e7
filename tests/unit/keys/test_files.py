"""Files a step reads: seen through Python's open, or named in its code and arguments."""

# ruff: noqa: PTH116, PTH118, PTH123, PTH207, PTH208, SIM115

from __future__ import annotations

import asyncio
import contextvars
import functools
import gzip
import json
import os
import subprocess
import sys
import textwrap
import threading
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from awaitly_nb.keys import changed_files, literal_files, note_files, read_cell, track_files


@pytest.fixture(autouse=True)
def folder(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "data.csv").write_text("a,b\n1,2\n")
    return tmp_path


def paths(tracker):
    return [stamp["path"] for stamp in tracker.stamps()]


def settle(path, seconds=100):
    """Make a file look old, so that its times alone can be trusted."""
    found = os.stat(path)
    os.utime(path, ns=(found.st_atime_ns, found.st_mtime_ns - seconds * 10**9))


# -- what is noticed -------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "read",
    [
        lambda: open("data.csv").close(),
        lambda: Path("data.csv").read_text(),
        lambda: Path("data.csv").read_bytes(),
        lambda: os.close(os.open("data.csv", os.O_RDONLY)),
        lambda: open(b"data.csv").close(),
        lambda: __import__("pandas").read_csv("data.csv"),
        lambda: __import__("numpy").loadtxt("data.csv", delimiter=",", skiprows=1),
        lambda: __import__("csv").reader(open("data.csv", newline="")),
    ],
    ids=["open", "read_text", "read_bytes", "os.open", "bytes", "pandas", "numpy", "csv"],
)
@pytest.mark.filterwarnings("ignore::ResourceWarning")
def test_a_file_opened_for_reading_is_stamped(read):
    with track_files() as tracker:
        read()
    (stamp,) = tracker.stamps()
    assert stamp["path"] == "data.csv"
    assert stamp["size"] == 8
    assert len(stamp["digest"]) == 32
    assert json.loads(json.dumps(stamp)) == stamp


def test_each_file_is_stamped_once_and_absolute_paths_stay_absolute(folder):
    with track_files() as tracker:
        for _ in range(3):
            open("data.csv").close()
        open(folder / "data.csv").close()
    assert paths(tracker) == ["data.csv"]
    with track_files() as tracker:
        open(folder / "data.csv").close()
    assert paths(tracker) == [str(folder / "data.csv")]


def test_a_folder_changed_meanwhile_is_seen_through(folder, monkeypatch):
    (folder / "sub").mkdir()
    (folder / "sub" / "inner.txt").write_text("x")
    with track_files() as tracker:
        monkeypatch.chdir(folder / "sub")
        open("inner.txt").close()
        monkeypatch.chdir(folder)
    assert paths(tracker) == [str(folder / "sub" / "inner.txt")]
    assert changed_files(tracker.stamps()) == []


@pytest.mark.parametrize("mode", ["w", "a", "x", "r+", "w+", "wb"])
def test_a_file_opened_for_writing_is_an_output(mode):
    path = "new.txt" if mode == "x" else "data.csv"
    with track_files() as tracker:
        if mode != "x":
            open(path).close()
        open(path, mode).close()
        open(path).close()
    assert paths(tracker) == []


def test_outside_of_tracking_and_in_other_contexts_nothing_is_noticed():
    elsewhere = contextvars.copy_context()
    with track_files() as tracker:
        elsewhere.run(lambda: open("data.csv").close())
    open("data.csv").close()
    assert paths(tracker) == []


def test_threads_started_by_the_step_count():
    with track_files() as tracker:
        thread = threading.Thread(target=lambda: open("data.csv").close())
        thread.start()
        thread.join()
    assert paths(tracker) == ["data.csv"]
    with track_files() as tracker, ThreadPoolExecutor(1) as pool:
        pool.submit(lambda: open("data.csv").close()).result()
    assert paths(tracker) == ["data.csv"]


def test_two_steps_in_two_tasks_do_not_mix(folder):
    (folder / "other.csv").write_text("x")

    async def read(name, first, second):
        with track_files() as tracker:
            first.set()
            await second.wait()
            open(name).close()
            await asyncio.to_thread(lambda: open(name).close())
        return paths(tracker)

    async def both():
        one, two = asyncio.Event(), asyncio.Event()
        return await asyncio.gather(read("data.csv", one, two), read("other.csv", two, one))

    assert asyncio.run(both()) == [["data.csv"], ["other.csv"]]


def test_what_an_inner_step_read_counts_for_the_outer_and_what_it_wrote_is_no_input(folder):
    with track_files() as outer:
        with track_files() as inner:
            open("data.csv").close()
            open("made.txt", "w").close()
        open("made.txt").close()
    assert paths(inner) == ["data.csv"]
    assert paths(outer) == ["data.csv"]


def test_files_of_a_cached_result_count_for_the_step_around_it():
    with track_files() as first:
        open("data.csv").close()
    with track_files() as outer:
        note_files(first.stamps())
    assert outer.stamps() == first.stamps()
    note_files(first.stamps())


def test_a_temporary_file_that_a_tool_made_and_the_step_removed_is_no_input(folder):
    with track_files() as tracker:
        subprocess.run([sys.executable, "-c", "open('temporary', 'w').close()"], check=True)
        Path("temporary").read_text()
        Path("temporary").unlink()
    assert paths(tracker) == []


def test_imports_do_not_count(project):
    project("fresh_module", "x = 1\n")
    with track_files() as tracker:
        import fresh_module  # type: ignore[import-not-found]

        json.loads("1")
    assert fresh_module.x == 1
    assert paths(tracker) == []


def test_a_python_file_read_as_data_counts(folder):
    (folder / "script.py").write_text("x = 1\n")
    with track_files() as tracker:
        Path("script.py").read_text()
    assert paths(tracker) == ["script.py"]


def test_an_exception_leaves_nothing_tracking():
    def fails():
        open("data.csv").close()
        raise ZeroDivisionError

    tracker = track_files()
    with pytest.raises(ZeroDivisionError), tracker:
        fails()
    open("data.csv").close()
    assert paths(tracker) == ["data.csv"]


def test_what_this_package_opens_itself_does_not_count(folder):
    import diskcache  # type: ignore[import-untyped]

    import awaitly_nb

    source = """
def store(folder):
    with diskcache.Cache(folder, disk_min_file_size=1) as cache:
        cache["key"] = b"x" * 1000
        return cache["key"]
"""
    ours = Path(awaitly_nb.__file__).with_name("stores") / "some.py"
    for filename, expected in [(str(ours), 0), ("/home/me/mine.py", 1)]:
        namespace = {"diskcache": diskcache}
        exec(compile(source, filename, "exec"), namespace)
        namespace["store"](str(folder / "store"))
        with track_files() as tracker:
            with diskcache.Cache(str(folder / "store")) as cache:
                exec(compile("cache['key']", filename, "eval"), {"cache": cache})
        assert len(paths(tracker)) == expected


# -- what counts as changed ------------------------------------------------------------------------------------------


def read_data():
    with track_files() as tracker:
        open("data.csv").close()
    return tracker.stamps()


def test_an_unchanged_file_is_no_change_and_an_edited_or_lost_one_is(folder):
    settle("data.csv")
    stamps = read_data()
    assert changed_files(stamps) == []
    Path("data.csv").write_text("a,b\n1,3\n")
    assert changed_files(stamps) == ["file data.csv changed"]
    Path("data.csv").write_text("longer\n" * 9)
    assert changed_files(stamps) == ["file data.csv changed"]
    Path("data.csv").unlink()
    assert changed_files(stamps) == ["file data.csv is gone"]
    assert changed_files([]) == []


def test_a_file_touched_or_rewritten_with_the_same_content_is_no_change(folder):
    stamps = read_data()
    os.utime("data.csv")
    assert changed_files(stamps) == []
    Path("data.csv").write_text("a,b\n1,2\n")
    assert changed_files(stamps) == []


def test_an_edit_that_keeps_size_and_time_of_modification_is_noticed(folder):
    settle("data.csv")
    stamps = read_data()
    found = os.stat("data.csv")
    Path("data.csv").write_text("a,b\n9,9\n")
    os.utime("data.csv", ns=(found.st_atime_ns, found.st_mtime_ns))
    assert changed_files(stamps) == ["file data.csv changed"]


def test_a_file_written_a_moment_ago_is_compared_by_content(folder, monkeypatch):
    stamps = read_data()
    (stamp,) = stamps
    assert stamp["fresh"] is True
    # Times too coarse to tell two writings apart, as on FAT and network shares.
    Path("data.csv").write_text("a,b\n9,9\n")
    found = os.stat("data.csv")
    same_times = {**stamp, "mtime_ns": found.st_mtime_ns, "ctime_ns": found.st_ctime_ns}
    assert changed_files([same_times]) == ["file data.csv changed"]


def test_a_file_changed_after_it_was_read_never_counts_as_unchanged(folder):
    with track_files() as tracker:
        open("data.csv").close()
        subprocess.run([sys.executable, "-c", "open('data.csv', 'w').write('a,b\\n7,7\\n')"], check=True)
    assert changed_files(tracker.stamps()) == ["file data.csv changed"]


# -- literals --------------------------------------------------------------------------------------------------------


def named(fn_or_source, args=(), namespace=None):
    if isinstance(fn_or_source, str):
        fn_or_source = reads(fn_or_source, namespace)
    return [stamp["path"] for stamp in literal_files(fn_or_source, args)]


def reads(source, namespace=None):
    return read_cell(source, namespace or {}, name="cell").graph


def test_text_and_paths_in_arguments_that_name_files_count(folder):
    def f(*args):
        return args

    assert named(f, ("data.csv", "nothing.csv", 3, None)) == ["data.csv"]
    assert named(f, (Path("data.csv"),)) == ["data.csv"]
    assert named(f, ({"in": [Path(folder / "data.csv")]},)) == [str(folder / "data.csv")]
    assert named(f, ("", "\0", "x" * 100_000, "a\nb", ".", str(folder))) == []


def test_files_that_sql_text_quotes_count(kernel, folder):
    (folder / "b.parquet").write_bytes(b"PAR1")
    for query in (
        "select * from 'data.csv'",
        "select *\nfrom read_parquet(['b.parquet'])\nwhere name = 'x'",
        'from "data.csv" join "b.parquet" on true',
    ):
        expected = [name for name in ("data.csv", "b.parquet") if name in query]
        assert named(f"out = sql({query!r})") == expected
        ns = kernel.run(f"def f():\n    return sql({query!r})\n")
        assert named(ns["f"]) == expected
        assert named("out = sql(query)", (), {"query": query}) == expected
        assert named(lambda text: text, (query,)) == expected
    assert named("out = 'it is not in \\'data.csv\\' any more'") == []


def test_literals_in_the_function_and_its_helpers_count(kernel, folder):
    (folder / "b.parquet").write_bytes(b"PAR1")
    ns = kernel.run(
        """
        from pathlib import Path
        SOURCE = Path("data.csv")
        def load():
            return "b.parquet"
        def f(x):
            return load(), SOURCE, "missing.bin"
        """
    )
    assert sorted(named(ns["f"], (1,))) == ["b.parquet", "data.csv"]


def test_a_folder_and_a_name_beside_it_count_together(kernel, folder):
    (folder / "in").mkdir()
    (folder / "in" / "b.parquet").write_bytes(b"PAR1")
    (folder / "in" / "other.parquet").write_bytes(b"PAR1")
    for path in ("DIR / 'b.parquet'", "f'{DIR}/b.parquet'", "os.path.join(DIR, 'b.parquet')"):
        ns = kernel.run(f"import os\nfrom pathlib import Path\nDIR = Path('in')\ndef f():\n    return {path}\n")
        assert named(ns["f"]) == [os.path.join("in", "b.parquet")]


def test_literals_of_a_cell_and_of_the_variables_it_reads_count(kernel, folder):
    (folder / "b.parquet").write_bytes(b"PAR1")
    ns = kernel.run("def load():\n    return 'b.parquet'\n\nname = 'data.csv'\nunread = 'b.parquet'\n")
    assert named("x = open(name)", (), ns) == ["data.csv"]
    assert named("x = load()", (), ns) == ["b.parquet"]
    assert named("x = read('data.csv')") == ["data.csv"]


@pytest.mark.parametrize(
    ("files", "named_as"),
    [
        (["t/a.parquet", "t/b.parquet"], "t"),
        (["t/y=1/a.parquet", "t/y=2/b.parquet"], "t"),
        (["t/a.csv", "t/b.csv"], "t/*.csv"),
        (["a.json", "b.json"], "*.json"),
    ],
)
def test_a_folder_of_data_files_and_a_pattern_count_by_their_files(folder, files, named_as):
    for name in files:
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / name).write_text("1")
    stamps = literal_files(reads(f"read({named_as!r})"))
    assert sorted(stamp["path"] for stamp in stamps if "path" in stamp) == files
    assert changed_files(stamps) == []
    (folder / files[0]).write_text("22")
    assert changed_files(stamps) == [f"file {files[0]} changed"]
    (folder / files[0]).write_text("1")
    (folder / files[0]).with_stem("c").write_text("1")
    (line,) = changed_files(stamps)
    assert line.endswith("some came or went")


def test_text_that_only_looks_like_a_pattern_matches_nothing(folder):
    for text in ("*", "**", "?", "a*b", "x.*y", "[a-z]+", ".", "..", "/"):
        assert literal_files(reads(f"f({text!r})")) == (), text


def test_a_literal_that_the_step_writes_is_an_output(folder):
    settle("data.csv")
    known = literal_files(reads("x = 'data.csv'"))
    with track_files(known) as tracker:
        pass
    assert paths(tracker) == ["data.csv"]
    with track_files(known) as tracker:
        Path("data.csv").write_text("new")
    assert paths(tracker) == []


@pytest.mark.filterwarnings("ignore::ResourceWarning")
def test_a_literal_that_a_writer_without_events_changes_is_an_output(folder):
    known = literal_files(reads("x = 'data.csv'"))
    with track_files(known) as tracker:
        subprocess.run([sys.executable, "-c", "open('data.csv', 'w').write('of another size')"], check=True)
    assert paths(tracker) == []


def test_a_parquet_file_that_cpp_code_reads_is_found_by_its_literal(kernel, folder):
    pd = pytest.importorskip("pandas")
    pytest.importorskip("pyarrow")
    pd.DataFrame({"a": [1, 2]}).to_parquet("t.parquet")
    f = kernel.run("import pyarrow.parquet as pq\ndef f():\n    return pq.read_table('t.parquet')\n")["f"]
    with track_files(literal_files(f)) as tracker:
        f()
    assert "t.parquet" in paths(tracker)
    pd.DataFrame({"a": [1, 3]}).to_parquet("t.parquet")
    assert changed_files(tracker.stamps()) == ["file t.parquet changed"]


def test_compressed_files_are_seen(folder):
    with gzip.open("d.gz", "wb") as stream:
        stream.write(b"x")
    with track_files() as tracker, gzip.open("d.gz") as stream:
        stream.read()
    assert paths(tracker) == ["d.gz"]


# -- the hook --------------------------------------------------------------------------------------------------------


def test_no_hook_is_added_before_somebody_tracks_and_one_only():
    code = """
        import sys
        added = []
        sys.addaudithook(lambda event, args: added.append(event) if event == "sys.addaudithook" else None)
        import awaitly_nb.keys as keys
        keys.changed_files([]); keys.literal_files(len)
        assert not added, added
        for _ in range(3):
            with keys.track_files():
                pass
        assert added == ["sys.addaudithook"], added
    """
    subprocess.run([sys.executable, "-c", textwrap.dedent(code)], check=True)


def test_a_broken_look_at_a_file_never_reaches_the_user(monkeypatch):
    import awaitly_nb.keys.files as files

    def broken(*args):
        raise RuntimeError("broken")

    monkeypatch.setattr(files, "_on_event", broken)
    with track_files() as tracker:
        assert Path("data.csv").read_text()
    assert paths(tracker) == []


def test_idle_the_hook_looks_at_nothing(monkeypatch):
    import awaitly_nb.keys.files as files

    with track_files():
        pass
    seen = []
    monkeypatch.setattr(files, "_on_event", functools.partial(seen.append))
    open("data.csv").close()
    assert seen == []


# -- lists of files --------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "look",
    [
        lambda: __import__("glob").glob("in/*.csv"),
        lambda: list(__import__("glob").iglob("in/*.csv")),
        lambda: list(Path("in").glob("*.csv")),
        lambda: list(Path("in").rglob("*.csv")),
        lambda: os.listdir("in"),
        lambda: os.listdir(b"in"),
        lambda: list(Path("in").iterdir()),
        lambda: [entry.name for entry in os.scandir("in")],
        lambda: list(os.walk("in")),
    ],
    ids=["glob", "iglob", "Path.glob", "Path.rglob", "listdir", "bytes", "iterdir", "scandir", "walk"],
)
@pytest.mark.filterwarnings("ignore::ResourceWarning")
def test_a_file_that_joins_a_list_the_step_looked_at_is_noticed(folder, look):
    (folder / "in").mkdir()
    (folder / "in" / "a.csv").write_text("1")
    with track_files() as tracker:
        look()
    stamps = json.loads(json.dumps(tracker.stamps()))
    assert changed_files(stamps) == []
    (folder / "in" / ".hidden").write_text("1")
    (folder / "elsewhere.csv").write_text("1")
    assert changed_files(stamps) == []
    (folder / "in" / "b.csv").write_text("1")
    (line,) = changed_files(stamps)
    assert line.endswith("some came or went")
    (folder / "in" / "b.csv").unlink()
    assert changed_files(stamps) == []


def test_a_pattern_does_not_count_names_that_it_does_not_match(folder):
    import glob

    with track_files() as tracker:
        glob.glob("*.csv")
        list(Path().glob("*.csv"))
    (folder / "note.txt").write_text("1")
    assert changed_files(tracker.stamps()) == []


def test_looking_for_packages_along_the_path_is_no_list_of_files(folder, monkeypatch):
    import importlib.metadata
    import pkgutil

    monkeypatch.syspath_prepend("")  # as in a kernel: the notebook's folder, by its relative name
    importlib.invalidate_caches()
    with track_files() as tracker:
        importlib.metadata.version("pytest")
        list(pkgutil.iter_modules([""]))
    stamps = tracker.stamps()
    (folder / "new.csv").touch()
    assert changed_files(stamps) == []


def test_what_the_step_itself_adds_to_a_folder_it_lists_is_no_change(folder):
    with track_files() as tracker:
        os.listdir(folder)
        Path("made.csv").write_text("1")
    assert changed_files(tracker.stamps()) == []


def test_a_list_counts_for_the_step_around_too(folder):
    with track_files() as outer, track_files():
        os.listdir(folder)
    (folder / "new.csv").write_text("1")
    assert len(changed_files(outer.stamps())) == 1


def test_imports_look_into_folders_without_being_noticed(project):
    project("another_fresh_module", "x = 1\n")
    with track_files() as tracker:
        import another_fresh_module  # type: ignore[import-not-found]  # noqa: F401
    assert tracker.stamps() == ()
