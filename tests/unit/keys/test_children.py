"""The files that the command of a child process names."""

import subprocess
import sys

from awaitly_nb.keys import changed_files, track_files
from awaitly_nb.keys.children import named_in_command


def test_words_patterns_and_arrows(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "in.txt").write_text("1")
    (tmp_path / "data").mkdir()
    assert list(named_in_command("cat in.txt > out.txt", ".")) == [("in.txt", "read"), ("out.txt", "written")]
    assert ("data/*", "listed") in list(named_in_command(["cp", "-r", "data", "copy"], "."))
    assert list(named_in_command("wc -l *.txt", ".")) == [("*.txt", "listed")]
    assert list(named_in_command("ls", ".")) == [("*", "listed")]
    assert ("in.txt", "read") in list(named_in_command(["/bin/sh", "-c", "sort < in.txt"], "."))


def test_a_script_says_what_it_reads(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "work.py").write_text("import own_part\nprint(open('data.csv').read())")
    (tmp_path / "own_part.py").write_text("KNOWN = 'more.csv'")
    (tmp_path / "data.csv").write_text("1")
    (tmp_path / "more.csv").write_text("2")
    named = {path for path, use in named_in_command([sys.executable, "work.py"], ".") if use == "read"}
    assert named == {"work.py", "own_part.py", "data.csv", "more.csv"}


def test_a_run_that_starts_a_child_needs_its_files_as_they_were(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "sub").mkdir()
    (tmp_path / "sub" / "in.txt").write_text("one")
    with track_files() as files:
        subprocess.run("cat in.txt > out.txt", shell=True, cwd="sub", check=True)
    assert changed_files(files.stamps()) == []
    assert [stamp["path"] for stamp in files.effects()] == ["sub/out.txt"]
    (tmp_path / "sub" / "in.txt").write_text("another")
    assert changed_files(files.stamps()) == ["file sub/in.txt changed"]
