"""An edited input file never gives the old answer, wherever the step that read it ran and its result is kept."""

from __future__ import annotations

import sqlite3
import threading
from concurrent.futures import ProcessPoolExecutor, ThreadPoolExecutor
from contextlib import closing
from pathlib import Path

import pytest

import awaitly_nb as aw
from awaitly_nb.keys import changed_files, note_files, track_files, tracked_from


@pytest.fixture(autouse=True)
def folder(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    return tmp_path


def read_day(folder, day):
    return Path(folder, f"data-{day}.txt").read_text()


def refuse_day(folder, day):
    raise LookupError(read_day(folder, day))


def run(workflow, body, **options):
    result = workflow.run_sync(body, **options)
    return result.value if result.ok else str(result.error)


# -- in another process ----------------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def pool():
    with ProcessPoolExecutor(1) as made:
        yield made


@pytest.fixture(params=["inline", "thread", "process", "pool"])
def executor(request):
    return request.getfixturevalue("pool") if request.param == "pool" else request.param


BODIES = {
    "steps": lambda place: lambda ctx: ctx.steps.read(place, 1),
    "map": lambda place: lambda ctx: ctx.map("read", read_day, [place], 1)[0],
}


@pytest.mark.parametrize("call", BODIES.values(), ids=BODIES)
def test_a_file_that_a_worker_read_is_an_input(folder, executor, call):
    workflow = aw.create_workflow("w", {"read": read_day}, cache={}, executor=executor)
    body = call(str(folder))
    (folder / "data-1.txt").write_text("old")
    assert [run(workflow, body) for _ in range(2)] == ["old", "old"]
    assert workflow.last_run.steps[0].state == "hit"
    (folder / "data-1.txt").write_text("new")
    assert run(workflow, body) == "new"
    assert workflow.last_run.steps[0].reason == f"file {folder / 'data-1.txt'} changed"


def test_a_failure_from_a_worker_is_replayed_while_its_file_is_unchanged(folder):
    workflow = aw.create_workflow("w", {"read": refuse_day}, cache={}, executor="process", cache_errors="all")
    body = BODIES["steps"](str(folder))
    (folder / "data-1.txt").write_text("old")
    assert "old" in run(workflow, body)
    (folder / "data-1.txt").write_text("new")
    assert "new" in run(workflow, body)


def test_a_step_around_a_worker_depends_on_what_the_worker_read(folder):
    inner = aw.create_workflow("inner", {"read": read_day}, cache={}, executor="process")
    outer = aw.create_workflow("outer", {"all": lambda: run(inner, BODIES["steps"](str(folder)))}, cache={})
    body = lambda ctx: ctx.steps.all()  # noqa: E731
    (folder / "data-1.txt").write_text("old")
    assert run(outer, body) == "old"
    (folder / "data-1.txt").write_text("new")
    assert run(outer, body) == "new"


def test_a_file_of_another_machine_is_compared_with_what_lies_here(folder):
    (folder / "here.txt").write_text("another content")
    there = {"path": str(folder / "here.txt"), "size": 3, "mtime_ns": 1, "ctime_ns": 1, "digest": "0" * 32}
    gone = {**there, "path": str(folder / "there.txt")}
    names = {"pattern": str(folder / "*.txt"), "names": "0" * 32}
    with track_files() as outer, track_files():
        note_files([there, gone, names], elsewhere=True)
    assert len(changed_files(outer.stamps())) == 3


def test_a_worker_in_another_folder_names_its_files_in_full(folder, monkeypatch):
    (folder / "sub").mkdir()
    (folder / "sub" / "data.txt").write_text("1")
    monkeypatch.chdir(folder / "sub")
    with track_files(home=str(folder)) as elsewhere:
        Path("data.txt").read_text()
        assert tracked_from() == str(folder)
    assert [stamp["path"] for stamp in elsewhere.stamps()] == [str(folder / "sub" / "data.txt")]
    assert tracked_from() is None


# -- in a plain thread -----------------------------------------------------------------------------------------------


def in_pool(fn):
    with ThreadPoolExecutor(1) as pool:
        return pool.submit(fn).result()


def in_thread(fn):
    answers = []
    thread = threading.Thread(target=lambda: answers.append(fn()))
    thread.start()
    thread.join()
    return answers[0]


@pytest.mark.parametrize("nested", [False, True])
@pytest.mark.parametrize("call", [in_pool, in_thread])
@pytest.mark.parametrize("kept", [False, True], ids=["computed", "kept"])
def test_a_step_called_through_a_plain_thread_is_a_part_of_the_one_around_it(folder, call, kept, nested):
    day = aw.step(name="day", cache={})(lambda: read_day(".", 1))
    outer = aw.step(name="outer", cache={})(lambda: call(lambda: call(day)) if nested else call(day))
    (folder / "data-1.txt").write_text("old")
    if kept:
        assert day() == "old"
    assert [outer(), outer()] == ["old", "old"]
    (folder / "data-1.txt").write_text("new")
    assert [day(), outer()] == ["new", "new"]


def test_a_pool_that_is_older_than_the_step_still_works_for_it(folder):
    day = aw.step(name="day", cache={})(lambda: read_day(".", 1))
    with ThreadPoolExecutor(1) as pool:
        pool.submit(int).result()
        outer = aw.step(name="outer", cache={}, ignore=("pool",))(lambda pool: pool.submit(day).result())
        (folder / "data-1.txt").write_text("old")
        assert outer(pool) == "old"
        (folder / "data-1.txt").write_text("new")
        assert outer(pool) == "new"


def test_steps_that_a_pool_runs_side_by_side_are_no_part_of_each_other(folder):
    meet = threading.Barrier(2)
    seen = {}

    def work(name):
        with track_files() as tracker:
            meet.wait()
            with track_files():
                Path(name).read_text()
            meet.wait()
        seen[name] = [stamp["path"] for stamp in tracker.stamps()]

    names = ["a.txt", "b.txt"]
    for name in names:
        (folder / name).write_text(name)
    with ThreadPoolExecutor(2) as pool:
        list(pool.map(work, names))
    assert seen == {"a.txt": ["a.txt"], "b.txt": ["b.txt"]}


# -- in a resume state -----------------------------------------------------------------------------------------------


def test_a_resumed_step_runs_again_when_its_file_changed(folder):
    workflow = aw.create_workflow("w", {"read": read_day}, cache=None)
    body = BODIES["steps"](str(folder))
    (folder / "data-1.txt").write_text("old")
    store = aw.sqlite(folder / "states.db")
    with closing(store.blocking):
        assert [run(workflow, body, store=store, id="x") for _ in range(2)] == ["old", "old"]
        assert workflow.last_run.steps[0].state == "hit"
        (folder / "data-1.txt").write_text("new")
        assert [run(workflow, body, store=store, id="x") for _ in range(2)] == ["new", "new"]


def test_a_state_from_text_knows_its_files_too(folder):
    workflow = aw.create_workflow("w", {"read": read_day}, cache=None)
    collector = aw.create_resume_state_collector()
    body = BODIES["steps"](str(folder))
    (folder / "data-1.txt").write_text("old")
    run(workflow, body, on_event=collector.handle_event)
    state = aw.ResumeState.from_json(collector.get_resume_state().to_json())
    assert run(workflow, body, resume_state=state) == "old"
    (folder / "data-1.txt").write_text("new")
    assert run(workflow, body, resume_state=state) == "new"


# -- files that are not there, and databases ---------------------------------------------------------------------------


def settings():
    try:
        return Path("settings.txt").read_text()
    except FileNotFoundError:
        return "defaults"


def test_a_file_that_was_missing_is_missed_no_more(folder):
    step = aw.step(name="settings", cache={})(lambda: settings())
    assert [step(), step()] == ["defaults", "defaults"]
    assert step.why().hit
    (folder / "settings.txt").write_text("mine")
    assert str(step.why()) == "miss: file settings.txt is there now"
    assert step() == "mine"


def test_a_missing_file_that_the_step_then_made_is_an_output(folder):
    def make():
        with track_files() as tracker:
            assert settings() == "defaults"
            Path("new.txt").write_text("made")
            Path("new.txt").rename("settings.txt")
        return tracker.stamps()

    assert make() == ()


def test_a_kept_result_that_missed_a_file_counts_for_the_step_around_it(folder):
    with track_files() as inner:
        settings()
    with track_files() as outer:
        note_files(inner.stamps())
    assert [stamp["path"] for stamp in outer.stamps()] == ["settings.txt"]
    (folder / "settings.txt").write_text("mine")
    assert changed_files(outer.stamps()) == ["file settings.txt is there now"]


def rows(name, **options):
    with closing(sqlite3.connect(name, **options)) as connection:
        return [row[0] for row in connection.execute("SELECT value FROM t")]


def write_row(value, journal="DELETE"):
    connection = sqlite3.connect("data.db")
    with connection:
        connection.execute(f"PRAGMA journal_mode={journal}")
        connection.execute("CREATE TABLE IF NOT EXISTS t (value)")
        connection.execute("DELETE FROM t")
        connection.execute("INSERT INTO t VALUES (?)", [value])
    return connection


@pytest.mark.parametrize(
    "look", [lambda name: rows(name), lambda name: rows(f"file:{name}?mode=ro", uri=True)], ids=["path", "uri"]
)
@pytest.mark.parametrize("journal", ["DELETE", "WAL"])
def test_a_database_that_the_step_read_is_an_input(look, journal):
    write_row("old", journal).close()
    step = aw.step(name="rows", cache={})(lambda name: look(f"{name}.db"))
    assert [step("data"), step("data")] == [["old"], ["old"]]
    assert step.why("data").hit
    with closing(write_row("new", journal)):  # in its log, while the connection is open
        assert step("data") == ["new"]


def test_a_database_that_the_step_wrote_is_an_output():
    with track_files() as tracker:
        write_row("mine").close()
        write_row("mine", "WAL").close()
        sqlite3.connect(":memory:").close()
    assert tracker.stamps() == ()
