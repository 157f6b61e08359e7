"""What a run uses of its process: names of the environment, and `sys.argv`."""

from __future__ import annotations

import argparse
import copy
import os
import pickle
import subprocess
import sys
import threading
import types
from contextlib import contextmanager

import pytest

from awaitly_nb import keys
from awaitly_nb.keys import apply_traces, begin_traces, changed_traces, end_traces, register_tracer


@contextmanager
def traced():
    used = {}
    begun = begin_traces()
    try:
        yield used
    finally:
        used.update(end_traces(begun) or {})


def installed(source, **names):
    """Run code as if it stood in an installed package."""
    folder = next(path for path in sys.path if path.endswith("site-packages"))
    namespace = {"os": os, "sys": sys, **names}
    exec(compile(source, f"{folder}/somepackage/part.py", "exec"), namespace)
    return namespace


@pytest.fixture(autouse=True)
def environment(monkeypatch):
    monkeypatch.setenv("MODE", "one")
    monkeypatch.delenv("LEVEL", raising=False)
    monkeypatch.setattr(sys, "argv", ["script.py", "--fast"])


READS = {
    "item": lambda: os.environ["MODE"],
    "get": lambda: os.environ.get("MODE"),
    "getenv": lambda: os.getenv("MODE", "-"),
    "in": lambda: "MODE" in os.environ,
    "bytes": lambda: os.environb[b"MODE"],
    "getenvb": lambda: os.getenvb(b"MODE"),
    "pop": lambda: os.environ.pop("MODE"),
    "expandvars": lambda: os.path.expandvars("$MODE/data"),
    "copy": lambda: os.environ.copy(),
    "dict": lambda: dict(os.environ),
    "items": lambda: list(os.environ.items()),
    "or": lambda: os.environ | {"A": "1"},
    "comprehension": lambda: {name.lower() for name in os.environ},
}


@pytest.mark.parametrize("read", READS.values(), ids=READS)
def test_a_name_that_was_read_must_not_have_changed(read, monkeypatch):
    with traced() as used:
        read()
    monkeypatch.setenv("MODE", "one")
    assert changed_traces(used) is None
    monkeypatch.setenv("OTHER_THAN_MODE", "1")
    monkeypatch.setenv("MODE", "two")
    assert changed_traces(used) == "environment MODE differs"
    monkeypatch.delenv("MODE")
    assert changed_traces(used) == "environment MODE differs"


@pytest.mark.parametrize(
    "read", [lambda: os.environ.get("LEVEL"), lambda: os.getenv("LEVEL"), lambda: "LEVEL" in os.environ]
)
def test_a_name_that_was_not_there_must_still_not_be_there(read, monkeypatch):
    with traced() as used:
        read()
    assert changed_traces(used) is None
    monkeypatch.setenv("LEVEL", "")
    assert changed_traces(used) == "environment LEVEL differs"


def test_other_names_do_not_count(monkeypatch):
    with traced() as used:
        os.environ.get("MODE")
    monkeypatch.setenv("LEVEL", "3")
    assert changed_traces(used) is None


def test_a_run_that_reads_nothing_has_no_trace():
    with traced() as used:
        sum(range(3))
    assert used == {}


def test_values_are_not_stored_and_differ_between_runs(monkeypatch):
    monkeypatch.setenv("DB_PASSWORD", "hunter2")
    with traced() as first:
        os.environ.get("DB_PASSWORD")
    with traced() as second:
        os.environ.get("DB_PASSWORD")
    assert "hunter2" not in repr(first)
    assert first != second  # salted
    (digest,) = first["environment"]["names"]["DB_PASSWORD"]
    assert len(digest) == 4  # two bytes do not tell which password it was
    assert changed_traces(first) is None


def test_what_the_run_set_itself_is_no_input(monkeypatch):
    with traced() as used:
        os.environ["LEVEL"] = "5"
        assert os.environ["LEVEL"] == "5"
        del os.environ["LEVEL"]
        os.environ.get("LEVEL")
    monkeypatch.setenv("LEVEL", "9")
    assert changed_traces(used) is None


def test_a_name_read_and_then_set_counts_as_it_was_read(monkeypatch):
    with traced() as used:
        os.environ["MODE"] = os.environ["MODE"] + "!"
    assert changed_traces(used) == "environment MODE differs"
    monkeypatch.setenv("MODE", "one")
    assert changed_traces(used) is None


def test_a_default_that_is_set_counts_as_absent_or_the_same(monkeypatch):
    with traced() as used:
        os.environ.setdefault("LEVEL", "5")
    assert changed_traces(used) is None  # as the run left it
    monkeypatch.delenv("LEVEL")
    assert changed_traces(used) is None
    monkeypatch.setenv("LEVEL", "6")
    assert changed_traces(used) == "environment LEVEL differs"
    with traced() as used:
        os.environ.setdefault("LEVEL", "5")
    monkeypatch.delenv("LEVEL")
    assert changed_traces(used) == "environment LEVEL differs"


def test_a_new_name_counts_where_all_were_read(monkeypatch):
    with traced() as used:
        dict(os.environ)
    for name in ("JPY_PARENT_PID", "SSH_TTY", "PWD"):
        monkeypatch.setenv(name, "other")
    assert changed_traces(used) is None
    monkeypatch.setenv("LEVEL", "1")
    assert changed_traces(used) == "environment LEVEL is new"


def test_own_names_do_not_count_where_all_were_read():
    with traced() as used:
        os.environ["LEVEL"] = "1"
        dict(os.environ)
    assert changed_traces(used) is None
    del os.environ["LEVEL"]
    assert changed_traces(used) is None


def test_a_helper_of_an_installed_package_counts(monkeypatch):
    package = installed("def mode(): return os.environ.get('MODE')")
    with traced() as used:
        package["mode"]()
    monkeypatch.setenv("MODE", "two")
    assert changed_traces(used) == "environment MODE differs"


@pytest.mark.parametrize("name", ["COLUMNS", "HOME", "OMP_NUM_THREADS", "JPY_PARENT_PID", "MPLBACKEND"])
def test_the_machinery_of_an_installed_package_does_not_count(name, monkeypatch):
    package = installed(f"def read(): return os.environ.get('{name}')")
    with traced() as used:
        package["read"]()
    assert used == {}
    with traced() as used:
        os.environ.get(name)  # the user's own question does
    assert list(used["environment"]["names"]) == [name]


def test_a_package_that_copies_the_environment_does_not_count():
    package = installed("def spawn(): return dict(os.environ), os.environ.copy()")
    with traced() as used:
        package["spawn"]()
    assert used == {}


def test_a_child_process_needs_no_name_of_the_search_path():
    with traced() as used:
        subprocess.run([sys.executable, "-c", ""], check=True)
    assert "PATH" not in used.get("environment", {}).get("names", {})


def test_reading_while_a_package_is_imported_does_not_count(tmp_path, monkeypatch):
    folder = tmp_path / "site-packages"
    folder.mkdir()
    (folder / "reads_on_import.py").write_text("import os\nMODE = os.environ.get('MODE')\n")
    (tmp_path / "own_settings.py").write_text("import os\nMODE = os.environ.get('MODE')\n")
    monkeypatch.syspath_prepend(str(folder))
    monkeypatch.syspath_prepend(str(tmp_path))
    for name in ("reads_on_import", "own_settings"):
        monkeypatch.delitem(sys.modules, name, raising=False)
    with traced() as used:
        __import__("reads_on_import")
    assert used == {}
    with traced() as used:
        __import__("own_settings")  # the user's own module is the user's
    assert list(used["environment"]["names"]) == ["MODE"]


def test_own_settings_do_not_count():
    from awaitly_nb.config import settings

    with traced() as used:
        settings()
    assert used == {}


def test_a_thread_of_the_run_is_traced(monkeypatch):
    with traced() as used:
        thread = threading.Thread(target=os.getenv, args=("MODE",))
        thread.start()
        thread.join()
    monkeypatch.setenv("MODE", "two")
    assert changed_traces(used) == "environment MODE differs"


def test_runs_inside_each_other_both_count(monkeypatch):
    with traced() as outer:
        os.environ.get("LEVEL")
        with traced() as inner:
            os.environ.get("MODE")
    assert list(inner["environment"]["names"]) == ["MODE"]
    assert list(outer["environment"]["names"]) == ["LEVEL", "MODE"]
    assert changed_traces(outer) is None


def test_a_hit_inside_a_run_hands_on_what_was_used(monkeypatch):
    with traced() as inner:
        os.environ.get("MODE")
        len(sys.argv)
    with traced() as outer:
        assert changed_traces(inner) is None
        apply_traces(inner)
    assert changed_traces(outer) is None
    monkeypatch.setenv("MODE", "two")
    assert changed_traces(outer) == "environment MODE differs"
    monkeypatch.setenv("MODE", "one")
    monkeypatch.setattr(sys, "argv", ["script.py"])
    assert changed_traces(outer) == "sys.argv differs"


ARGV_READS = {
    "slice": lambda: sys.argv[1:],
    "iteration": lambda: list(sys.argv),
    "length": lambda: len(sys.argv),
    "in": lambda: "--fast" in sys.argv,
    "join": lambda: " ".join(sys.argv),
    "unpacked": lambda: (*sys.argv,),
    "equal": lambda: sys.argv == [],
    "repr": lambda: repr(sys.argv),
    "added": lambda: sys.argv + [],  # noqa: RUF005 - this way of reading is what is tested
    "copy": lambda: sys.argv.copy(),
    "argparse": lambda: argparse.ArgumentParser().parse_known_args(),
}


@pytest.mark.parametrize("read", ARGV_READS.values(), ids=ARGV_READS)
def test_arguments_that_were_read_must_be_the_same(read, monkeypatch):
    with traced() as used:
        read()
    assert changed_traces(used) is None
    monkeypatch.setattr(sys, "argv", ["script.py", "--slow"])
    assert changed_traces(used) == "sys.argv differs"


def test_arguments_that_the_run_set_are_no_input(monkeypatch):
    with traced() as used:
        sys.argv = ["x"]
        len(sys.argv)
    assert "argv" not in used
    monkeypatch.setattr(sys, "argv", ["script.py"])
    with traced() as used:
        sys.argv[:] = ["x", "y"]
        len(sys.argv)
    assert "argv" not in used
    assert sys.argv == ["x", "y"]


def test_arguments_of_a_kernel_are_the_same_in_each_session(monkeypatch):
    monkeypatch.setattr(sys, "argv", ["ipykernel_launcher.py", "-f", "/run/kernel-1.json"])
    with traced() as used:
        list(sys.argv)
    monkeypatch.setattr(sys, "argv", ["ipykernel_launcher.py", "-f", "/run/kernel-2.json"])
    assert changed_traces(used) is None


def test_nothing_is_watched_outside_of_a_run():
    plain, before = type(os.environ), sys.argv
    with traced():
        assert type(os.environ) is not plain
        held = sys.argv
        assert type(pickle.loads(pickle.dumps(held))) is list
        assert type(copy.copy(held)) is list
        assert type(pickle.loads(pickle.dumps(os.environ))) is dict
    assert type(os.environ) is plain
    assert sys.argv is before


def test_damaged_and_foreign_traces_are_a_reason():
    assert changed_traces(None) is None
    assert changed_traces({}) is None
    assert changed_traces({"nobody knows": 1}) == "it used nobody knows, which nothing here can compare"
    assert "cannot be compared" in (changed_traces({"environment": {"names": 3}}) or "")


class Broken:
    name = "broken"

    def __init__(self, *failing):
        self.failing = failing

    def begin(self):
        if "begin" in self.failing:
            raise ValueError("no begin")

    def end(self, begun):
        if "end" in self.failing:
            raise ValueError("no end")
        return 1

    def difference(self, used):
        raise ValueError("no difference")

    def apply(self, used):
        raise ValueError("no apply")


@pytest.mark.parametrize("failing", ["begin", "end", "difference"])
def test_a_tracer_that_raises_makes_the_run_compute_next_time(failing, monkeypatch):
    from awaitly_nb.keys import traces

    monkeypatch.setattr(traces, "_tracers", dict(traces._tracers))
    register_tracer(Broken(failing))
    with traced() as used:
        pass
    assert f"no {failing}" in (changed_traces(used) or "")
    with pytest.raises(ValueError, match="no apply"):
        apply_traces({"broken": 1})


def test_the_door_names_it_all():
    assert isinstance(keys, types.ModuleType)
    assert keys.Tracer.__name__ == "Tracer"
