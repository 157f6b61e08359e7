"""What a run wrote is written again where running would, and only there."""

import os
import stat
from pathlib import Path

import pytest

from awaitly_nb.keys import changed_files, rewriting, track_files


@pytest.fixture(autouse=True)
def here(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    return tmp_path


def effects(run):
    with track_files() as files:
        run()
    return files.effects()


def put(text="first", path="out.txt"):
    Path(path).write_text(text)


def test_an_overwritten_file_may_hold_anything_meanwhile():
    put("old")
    stamps = effects(put)
    put("of somebody else")
    found = rewriting(stamps)
    assert found.paths == ["out.txt"]
    found.apply()
    assert Path("out.txt").read_text() == "first"
    assert changed_files(stamps) == []


def test_it_is_overwritten_where_it_lies():
    stamps = effects(put)
    put("a longer text")
    os.link("out.txt", "twin.txt")
    rewriting(stamps).apply()
    assert Path("twin.txt").read_text() == "first"


def test_a_replaced_file_leaves_its_twin():
    def replace():
        put("new", "out.tmp")
        Path("out.tmp").replace("out.txt")

    stamps = effects(replace)
    put("meanwhile")
    os.link("out.txt", "twin.txt")
    rewriting(stamps).apply()
    assert [Path(name).read_text() for name in ("out.txt", "twin.txt")] == ["new", "meanwhile"]
    assert not Path("out.tmp").exists()


def test_an_appended_file_has_to_be_what_it_was():
    put("one")

    def append():
        with Path("out.txt").open("a") as file:
            file.write(" two")

    stamps = effects(append)
    put("ten")
    assert rewriting(stamps) is None
    put("one")
    rewriting(stamps).apply()
    assert Path("out.txt").read_text() == "one two"


def test_what_came_of_another_file_of_the_run_needs_that_as_it_was():
    put("a", "in.txt")

    def move():
        put(Path("in.txt").read_text() + "b")
        put("", "in.txt")

    stamps = effects(move)
    put("other")
    assert rewriting(stamps) is None  # which has been emptied
    put("a", "in.txt")
    rewriting(stamps).apply()
    assert [Path(name).read_text() for name in ("in.txt", "out.txt")] == ["", "ab"]


def test_mode_is_that_of_the_run():
    def write():
        put()
        Path("out.txt").chmod(0o600)

    stamps = effects(write)
    Path("out.txt").chmod(0o640)
    assert changed_files(stamps) == ["file out.txt has another mode"]
    rewriting(stamps).apply()
    assert stat.S_IMODE(Path("out.txt").stat().st_mode) == 0o600


def test_a_folder_that_holds_other_files_stays():
    Path("made").mkdir()
    stamps = effects(lambda: Path("made").rmdir())
    Path("made").mkdir()
    put(path="made/other.txt")
    assert rewriting(stamps) is None
    Path("made/other.txt").unlink()
    rewriting(stamps).apply()
    assert not Path("made").exists()


def test_an_emptied_folder_has_to_be_as_empty():
    import shutil

    Path("made").mkdir()
    put(path="made/old.txt")

    def empty():
        shutil.rmtree("made")
        Path("made").mkdir()

    stamps = effects(empty)
    assert changed_files(stamps) == []
    put(path="made/new.txt")
    assert changed_files(stamps) == ["folder made holds other files"]
    assert rewriting(stamps) is None


def test_a_folder_is_made_with_what_lies_in_it():
    def make():
        Path("made/inner").mkdir(parents=True, exist_ok=True)
        put(path="made/inner/out.txt")

    stamps = effects(make)
    Path("made/inner/out.txt").unlink()
    rewriting(stamps).apply()
    Path("made/inner/out.txt").unlink()
    Path("made/inner").rmdir()
    Path("made").rmdir()
    rewriting(stamps).apply()
    assert Path("made/inner/out.txt").read_text() == "first"


def test_nothing_is_tried_where_one_may_not_write(here, monkeypatch):
    stamps = effects(put)
    Path("out.txt").unlink()
    assert rewriting(stamps) is not None
    monkeypatch.setattr(os, "access", lambda *_, **__: False)  # as the system says it of a folder of somebody else's
    assert rewriting(stamps) is None


def test_a_wrapped_open_is_not_asked(monkeypatch):
    import builtins

    def refuse(*args):
        raise AssertionError(args)

    with track_files() as files:
        put()
    monkeypatch.setattr(builtins, "open", refuse)
    stamps = files.effects()
    Path("out.txt").unlink()
    rewriting(stamps).apply()
    assert changed_files(stamps) == []


def test_a_full_disk_leaves_all_as_it_was(monkeypatch):
    import awaitly_nb.keys.written as written

    stamps = effects(lambda: (put(), put("second", "two.txt")))
    put("other")
    Path("two.txt").unlink()
    overwrite = written._overwrite

    def full(path, content):
        if content == b"second":
            raise OSError(28, "No space left on device")
        overwrite(path, content)

    monkeypatch.setattr(written, "_overwrite", full)
    with pytest.raises(OSError, match="No space"):
        rewriting(stamps).apply()
    assert {path.name: path.read_text() for path in Path().iterdir()} == {"out.txt": "other"}
