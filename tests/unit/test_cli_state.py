"""`awaitly-nb state`: what runs have finished, looked at without running a pickle, and removed when nobody needs it."""

import importlib
import json
import sqlite3
import subprocess
import sys
from contextlib import closing
from datetime import UTC, datetime

import pytest
from click.testing import CliRunner

import awaitly_nb as aw
from awaitly_nb.cli.app import app
from awaitly_nb.states import StepEntry

PASSWORD = "hunter2-of-ada"


class Bomb:
    """Leaves a file behind where it is unpickled."""

    def __init__(self, path):
        self.path = str(path)

    def __reduce__(self):
        return open, (self.path, "w")


@pytest.fixture
def path(tmp_path):
    return tmp_path / "runs.db"


@pytest.fixture
def states(path):
    store = aw.sqlite(path)
    yield store.blocking
    store.blocking.close()


def awaitly(*arguments, code=0, **env):
    done = CliRunner().invoke(app, ["state", *map(str, arguments)], catch_exceptions=False, env=env)
    assert done.exit_code == code, done.output
    return done.output


def data(*arguments):
    return json.loads(awaitly(*arguments, "--json"))


def test_list_is_newest_first_by_prefix_and_limit(states, path):
    for name in ("order-1", "order-2", "mail-1"):
        states.save(name, aw.ResumeState().with_value("a", 1))
    states.save("order-1", aw.ResumeState().with_value("b", 2))
    assert [one["id"] for one in data("list", "--store", path)] == ["order-1", "mail-1", "order-2"]
    assert [one["id"] for one in data("list", "--store", path, "--prefix", "order")] == ["order-1", "order-2"]
    assert [one["id"] for one in data("list", "--store", path, "--limit", 1)] == ["order-1"]
    shown = awaitly("list", "--store", path, "--limit", 1)
    assert "order-1" in shown
    assert "--limit" in shown
    assert "no such state" in awaitly("list", "--store", path, "--prefix", "x")


@pytest.mark.parametrize("form", ["{}", "sqlite:///{}", "file:{}"])
def test_a_file_by_path_or_url_or_from_the_environment(states, path, form):
    states.save("w", aw.ResumeState())
    address = form.format(path)
    assert len(data("list", "--store", address)) == 1
    assert "w" in awaitly("list", AWAITLY_NB_STORE=address)


def test_a_folder_of_objects_by_its_path(tmp_path):
    store = aw.objects(tmp_path / "team")
    store.blocking.save("w", aw.ResumeState().with_value("k", 1))
    store.blocking.close()
    assert [one["id"] for one in data("list", "--store", tmp_path / "team")] == ["w"]
    assert data("show", "w", "--store", tmp_path / "team")["steps"][0]["value"] == "1"
    awaitly("rm", "w", "--store", tmp_path / "team")
    assert data("list", "--store", tmp_path / "team") == []
    assert "no folder" in awaitly("list", "--store", tmp_path, code=1)


def test_show_tells_of_each_step_what_loading_would_find(states, path):
    at = datetime(2026, 1, 2, 3, 4, 5, tzinfo=UTC)
    states.add("w", "user:1", StepEntry(aw.Ok({"name": "Ada"}), "fetch_user", at, 0.5))
    states.add("w", "gone", StepEntry(aw.Ok(1), "gone", at, 0.5))
    states.save("w", states.load("w").without("gone"))
    states.add("w", "pay", StepEntry(aw.Err("DECLINED"), "pay", at, 0.5))
    states.add("w", "fit", StepEntry(aw.Err("FIRST"), "fit", at, 0.5))
    states.add("w", "fit", StepEntry(aw.Ok((1, {2: b"x"})), "fit", at, 1.5))
    states.add("w", "large", StepEntry(aw.Ok("x" * 3_000_000), "large", at, 2.5))

    told = data("show", "w", "--store", path)
    assert told["running"] is None
    assert [step["key"] for step in told["steps"]] == list(states.load("w").steps)
    user, pay, fit, large = told["steps"]
    assert user == {
        "key": "user:1",
        "step_id": "fetch_user",
        "ok": True,
        "at": at.isoformat(),
        "duration_s": 0.5,
        "size_bytes": len('{"name":"Ada"}'),
        "value": '{"name": "Ada"}',
    }
    assert (pay["ok"], pay["error"]) == (False, "DECLINED")
    assert (fit["ok"], fit["value"], fit["duration_s"]) == (True, '[1, {"2": "(bytes)"}]', 1.5)
    assert (large["value"], large["size_bytes"]) == ("a large value", 3_000_002)
    shown = awaitly("show", "w", "--store", path)
    for text in ("fetch_user", "DECLINED", "4 steps, 1 failed", "3.0 MB"):
        assert text in shown


def test_one_step_is_one_step(states, path):
    states.save("one", aw.ResumeState().with_value("a", 1))
    assert "1 step, 0 failed" in awaitly("show", "one", "--store", path)


def test_an_exception_is_told_by_its_type_and_message(states, path):
    states.save("w", aw.ResumeState().with_value("k", aw.Err("NO", cause=KeyError("x"))))
    states.save("v", aw.ResumeState().with_value("k", aw.Err(ZeroDivisionError("no way"))))
    assert data("show", "w", "--store", path)["steps"][0]["error"] == "NO"
    assert data("show", "v", "--store", path)["steps"][0]["error"] == "ZeroDivisionError: no way"


def test_no_pickle_runs_to_look_or_to_remove(states, path, tmp_path):
    bomb = tmp_path / "exploded"
    states.save("w", aw.ResumeState().with_value("k", [Bomb(bomb)]).with_value("e", aw.Err({"x": Bomb(bomb)})))
    told = data("show", "w", "--store", path)["steps"]
    assert [step.get("value", step.get("error")) for step in told] == ['["(pickled)"]', '{"x": "(pickled)"}']
    awaitly("list", "--store", path)
    awaitly("show", "w", "--store", path)
    awaitly("rm", "w", "--store", path)
    assert not bomb.exists()


def test_text_of_a_user_moves_no_cursor_and_is_no_markup(states, path):
    states.save("[bold]w\u202e", aw.ResumeState().with_value("\x1b[2Jk", "\x1b]0;title\x07"))
    shown = awaitly("list", "--store", path) + awaitly("show", "[bold]w\u202e", "--store", path)
    assert "[bold]w\\u202e" in shown
    assert "\\x1b[2Jk" in shown
    assert not set(shown) & {"\x1b", "\x07", "\u202e"}


def test_rm_forgets_one_id_and_dry_run_none(states, path):
    for name in ("w", "wx"):
        states.save(name, aw.ResumeState().with_value("k", 1))
    assert data("rm", "w", "--store", path, "--dry-run") == {
        "id": "w",
        "removed": False,
        "dry_run": True,
        "running": None,
    }
    assert "would remove w" in awaitly("rm", "w", "--store", path, "--dry-run")
    assert len(states.list()) == 2
    assert data("rm", "w", "--store", path)["removed"] is True
    assert [one.id for one in states.list()] == ["wx"]
    assert "no state 'w' is stored in" in awaitly("rm", "w", "--store", path, code=1)
    assert "state list" in awaitly("show", "w", "--store", path, code=1)
    assert states.acquire("w") is not None  # the command gave its lease back


def test_who_is_running_it_is_told_and_keeps_it(states, path):
    states.save("w", aw.ResumeState().with_value("k", 1))
    lease = states.acquire("w", "1h", owner="kernel 7 on [red]atlas")
    assert data("show", "w", "--store", path)["running"]["owner"] == "kernel 7 on [red]atlas"
    assert "running now: kernel 7 on [red]atlas" in awaitly("show", "w", "--store", path)
    for options in ((), ("--dry-run",)):
        said = awaitly("rm", "w", "--store", path, *options, code=4)
        assert "kernel 7 on [red]atlas" in said
        assert "--force" in said
        assert states.load("w").is_complete("k")
    assert "kernel 7" in awaitly("rm", "w", "--store", path, "--force", "--dry-run")
    assert states.load("w") is not None
    assert data("rm", "w", "--store", path, "--force")["running"]["owner"] == "kernel 7 on [red]atlas"
    assert states.load("w") is None
    assert states.renew("w", lease)  # whoever runs it still holds it, and will save what comes next


def test_the_lease_of_a_process_that_was_killed_is_no_obstacle(states, path):
    states.save("w", aw.ResumeState().with_value("k", 1))
    code = (
        "import os, signal, sys, awaitly_nb as aw; "
        "assert aw.sqlite(sys.argv[1]).blocking.acquire('w', '1h'); os.kill(os.getpid(), signal.SIGKILL)"
    )
    subprocess.run([sys.executable, "-c", code, path], check=False)
    assert states.holder("w") is not None
    awaitly("rm", "w", "--store", path)
    assert states.load("w") is None


def test_a_state_that_cannot_be_read_says_so_and_can_be_removed(states, path):
    states.save("w", aw.ResumeState().with_value("k", 1))
    with closing(sqlite3.connect(path)) as connection, connection:
        connection.execute("UPDATE awaitly SET body = x'00'")
    assert "unreadable" in awaitly("show", "w", "--store", path, code=1)
    awaitly("rm", "w", "--store", path)
    assert states.list() == []


def test_a_missing_large_value_is_told(states, path):
    states.save("w", aw.ResumeState().with_value("k", "x" * 3_000_000))
    with closing(sqlite3.connect(path)) as connection, connection:
        connection.execute("DELETE FROM awaitly WHERE instr(name, x'3d') > 0")  # "=" begins the name of a part
    assert "missing" in data("show", "w", "--store", path)["steps"][0]["value"]


def test_looking_makes_no_file_and_no_table(tmp_path):
    assert "no file" in awaitly("list", "--store", tmp_path / "none.db", code=1)
    assert not (tmp_path / "none.db").exists()
    with closing(sqlite3.connect(tmp_path / "other.db")) as connection, connection:
        connection.execute("CREATE TABLE mine (x)")
    before = (tmp_path / "other.db").read_bytes()
    assert "no table 'awaitly'" in awaitly("list", "--store", tmp_path / "other.db", code=1)
    assert (tmp_path / "other.db").read_bytes() == before
    (tmp_path / "text.db").write_text("no database at all, and long enough to tell")
    assert "cannot read" in awaitly("list", "--store", tmp_path / "text.db", code=1)


def test_another_table_is_named(path):
    store = aw.sqlite(path, table="billing")
    store.blocking.save("w", aw.ResumeState())
    store.blocking.close()
    assert "--table" in awaitly("list", "--store", path, code=1)
    assert len(data("list", "--store", path, "--table", "billing")) == 1


@pytest.mark.parametrize(
    "address",
    [
        f"postgresql://ada:{PASSWORD}@127.0.0.1:1/runs",
        pytest.param(f"mongodb://ada:{PASSWORD}@127.0.0.1:1/runs", marks=pytest.mark.slow),  # it waits for a server
        f"redis://:{PASSWORD}@127.0.0.1:1/0",
        f"libsql://127.0.0.1:1?authToken={PASSWORD}",
        f"http://127.0.0.1:1?authToken={PASSWORD}",
        f"mysql://ada:{PASSWORD}@127.0.0.1/runs",
        f"libsql://ada:{PASSWORD}@[broken/runs",
        f"libsql://ada:{PASSWORD}@host:{PASSWORD}/runs",
        f"redis://ada:{PASSWORD}/x@127.0.0.1:1/0",
        f"postgresql://ada:{PASSWORD}#x@127.0.0.1:1/0",
        f"mongodb://ada:{PASSWORD}:x/y@host/0",
    ],
)
def test_no_message_repeats_a_password(address):
    for command in (["list"], ["show", "w"], ["rm", "w"])[: 1 if address.startswith("mongodb") else 3]:
        said = awaitly(*command, code=1, AWAITLY_NB_STORE=address)
        assert said.startswith("Error: ")
        assert PASSWORD not in said


@pytest.mark.parametrize(
    ("address", "module", "extra"),
    [
        ("postgresql://host/runs", "psycopg", "postgres"),
        ("mongodb://host/runs", "pymongo", "mongo"),
        ("redis://host", "redis", "redis"),
        ("s3://bucket/runs", "s3fs", "objects"),
    ],
)
def test_a_missing_driver_names_what_to_install(monkeypatch, address, module, extra):
    monkeypatch.setitem(sys.modules, module, None)
    # Where an earlier test has left what it loaded; the package's own attribute of this name is another thing.
    monkeypatch.delitem(importlib.import_module("fsspec.registry")._registry, "s3", raising=False)
    assert f"pip install 'awaitly-nb[{extra}]'" in awaitly("list", "--store", address, code=1)


def test_a_store_must_be_named():
    assert "--store" in awaitly("list", code=2)


@pytest.mark.parametrize("address", ["no\x1b]0;evil\x07file", "sqlite:///\x1b[31mred", "\x9b31mno"])
def test_a_message_moves_no_cursor_whatever_the_address_is(address):
    shown = awaitly("list", "--store", address, code=1)
    assert "there is no file" in shown
    assert not any(char in shown for char in "\x1b\x07\x9b")
