"""The shell: what each command shows and does, on a real cache folder."""

import json
import linecache
import os
import stat
import subprocess
import sys
import time
import warnings
from datetime import UTC, datetime, timedelta

import pytest
from click.testing import CliRunner
from rich.console import Console

import awaitly_nb as aw
from awaitly_nb import config, manage
from awaitly_nb.cli.app import app
from awaitly_nb.result import Mark, with_mark
from awaitly_nb.testing import FakeClock


@pytest.fixture(autouse=True)
def _folder(tmp_path, monkeypatch):
    monkeypatch.setenv("AWAITLY_NB_CACHE_DIR", str(tmp_path / "cache"))
    monkeypatch.setenv("XDG_CONFIG_HOME", str(tmp_path / "user"))
    monkeypatch.delenv("AWAITLY_NB_SECRET", raising=False)
    monkeypatch.setattr("awaitly_nb.manage.steps.recent_runs", list)  # as in a shell, where nothing has run


def awaitly(*arguments, ok=True, stdin=None, **options):
    done = CliRunner().invoke(app, [str(a) for a in arguments], input=stdin, catch_exceptions=False, **options)
    assert (done.exit_code == 0) is ok, done.output
    return done.output


def data(*arguments, ok=True):
    told = json.loads(awaitly(*arguments, "--json", ok=ok))
    return told[told["kind"]] if "kind" in told and told["kind"] in told else told


@pytest.fixture
def filled():
    """Three results of two workflows: one old, one failed."""
    now = datetime.now(UTC)
    for namespace, key, result, age in (
        ("report", "user:1", aw.Ok({"name": "Ada"}), timedelta(days=9)),
        ("report", "posts:1", aw.Err("NOT_FOUND"), timedelta(hours=1)),
        ("model", "fit:[bold]x", aw.Ok([1, 2, 3]), timedelta(seconds=5)),
    ):
        mark = Mark(step_id=key.partition(":")[0], workflow=namespace, at=now - age, duration_s=2.0)
        aw.create_disk_cache(config.cache_directory(), namespace=namespace).set(key, with_mark(result, mark))


def names(found):
    return [entry["key"] for entry in found]


def test_looking_makes_no_folder():
    assert data("keys") == []
    assert "no such key" in awaitly("keys")
    assert data("status") == []
    assert "none yet" in awaitly("doctor")
    assert not config.cache_directory().exists()


def test_keys_of_every_namespace_by_glob(filled):
    found = data("keys")
    assert [(e["namespace"], e["key"], e["ok"]) for e in found] == [
        ("report", "user:1", True),
        ("report", "posts:1", False),
        ("model", "fit:[bold]x", True),
    ]
    assert found[0]["duration_s"] == 2.0
    assert names(data("keys", "*:1")) == ["user:1", "posts:1"]
    assert names(data("keys", "USER*")) == []


@pytest.mark.parametrize(
    ("word", "found"),
    [
        ("report", ["user:1", "posts:1"]),
        ("user:1", ["user:1"]),
        ("user", ["user:1"]),
        ("1", ["user:1", "posts:1"]),
        ("rep*", []),
        ("rep", []),
        ("User", []),
    ],
)
def test_a_plain_word_lists_a_workflow_or_what_has_it_in_its_key(filled, word, found):
    assert names(data("keys", word)) == found


def test_what_removes_takes_whole_keys_and_globs_only(filled):
    assert data("rm", "report")["keys"] == []
    assert data("rm", "user")["keys"] == []


def test_a_key_is_shown_as_it_is_and_never_as_markup(filled):
    shown = awaitly("keys", "fit*")
    assert "fit:[bold]x" in shown
    assert "1 key," in shown


def test_show_tells_value_error_and_what_the_key_is_made_of(filled):
    assert "{'name': 'Ada'}" in awaitly("show", "user:1")
    assert "NOT_FOUND" in awaitly("show", "posts:1")
    assert "no key 'nope'" in awaitly("show", "nope", ok=False)

    @aw.step
    def double(number):
        return number * 2

    double(21)
    (told,) = data("show", double.key(21))
    assert told["value"] == "42"
    assert ("argument", "number") in {(part["kind"], part["name"]) for part in told["parts"]}
    assert "argument number" in awaitly("show", double.key(21))


def test_show_says_why_an_entry_cannot_be_served(filled, tmp_path, monkeypatch):
    monkeypatch.setenv("AWAITLY_NB_SECRET", "somebody else")
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", aw.AwaitlyWarning)
        (told,) = data("show", "user:1")
    assert told["value"].startswith("cannot be served")


def test_looking_at_a_value_is_no_hit(filled):
    before = data("status")
    data("show", "user:1")
    awaitly("show", "user:1")
    assert data("keys", "user:1")[0]["hits"] == 0
    assert data("status") == before


def test_rm_also_removes_what_has_expired(filled):
    clock = FakeClock(at=time.time() - 3600)
    cache = aw.create_disk_cache(config.cache_directory(), namespace="report", clock=clock)
    cache.set("price:1", aw.Ok(1), ttl="1m")
    assert "price:1" not in names(data("keys"))
    assert names(data("rm", "price*", "--dry-run")["keys"]) == ["price:1"]
    assert data("rm", "price*")["removed"] == 1
    assert data("rm", "price*")["removed"] == 0


def test_rm_by_glob(filled):
    assert data("rm", "user:*", "--dry-run")["removed"] == 0
    assert len(data("keys")) == 3
    assert data("rm", "user:*")["removed"] == 1
    assert names(data("keys")) == ["posts:1", "fit:[bold]x"]
    assert "removed 2 keys (4 s of work)" in awaitly("rm", "*")


def test_rm_of_failures_and_of_what_is_old(filled):
    assert names(data("rm", "--errors", "--dry-run")["keys"]) == ["posts:1"]
    assert names(data("rm", "--older-than", "7d", "--dry-run")["keys"]) == ["user:1"]
    assert names(data("rm", "fit*", "--older-than", "7d")["keys"]) == []
    assert data("rm", "--older-than", "7d")["removed"] == 1
    assert data("rm", "--errors")["removed"] == 1
    assert names(data("keys")) == ["fit:[bold]x"]


def test_rm_wants_to_know_which(filled):
    assert "say which" in awaitly("rm", ok=False)
    assert "--older-than" in awaitly("rm", "--older-than", "yesterday", ok=False)
    assert len(data("keys")) == 3


def test_retry_removes_failures(filled):
    assert names(data("retry", "--dry-run")["keys"]) == ["posts:1"]
    assert data("retry", "user:1")["removed"] == 0
    assert "no failure is cached under 'user:1'" in awaitly("retry", "user:1")
    assert "removed posts:1" in awaitly("retry")
    assert "no failure is cached" in awaitly("retry")
    assert len(data("keys")) == 2


def test_why_tells_which_part_was_new_and_its_difference_in_colour(monkeypatch):
    names = {"a": 1}
    for code in ("return x + a", "return x - a"):
        # Each version in a file of its own, as two states of one notebook.
        source = f"def score(x):\n    {code}\n"
        monkeypatch.setitem(linecache.cache, f"<{code}>", (len(source), None, source.splitlines(True), f"<{code}>"))
        exec(compile(source, f"<{code}>", "exec"), names)  # noqa: S102
        aw.step(names["score"])(2)
    told = data("why", "score")
    assert told["line"].startswith("computed ")
    assert told["line"].endswith(": code of score edited")
    assert "did you mean 'score'?" in awaitly("why", "scrore", ok=False)
    assert "score: computed" in awaitly("why", "score")
    monkeypatch.setattr("awaitly_nb.cli.show.console", lambda: Console(force_terminal=True, color_system="standard"))
    lines = awaitly("why", "score", color=True).splitlines()
    assert "\x1b[31m-    return x + a\x1b[0m" in lines
    assert "\x1b[32m+    return x - a\x1b[0m" in lines


def test_much_work_is_asked_for_on_a_terminal_only(filled, monkeypatch):
    asked = []
    monkeypatch.setattr("awaitly_nb.cli.app._confirm", lambda removal: asked.append(removal) or False)
    awaitly("rm", "user:*")
    assert [one.work_s for one in asked] == [2.0]
    assert len(data("keys")) == 3
    awaitly("rm", "user:*", "--yes")
    assert len(data("keys")) == 2


def test_a_terminal_asks_before_ten_seconds_of_work_are_removed(filled, monkeypatch):
    from awaitly_nb.cli.app import _confirm

    entry = aw.Entry(key="fit:1", duration_s=26.0)
    questions = []
    monkeypatch.setattr("sys.stdin", type("Terminal", (), {"isatty": lambda self: True})())
    monkeypatch.setattr("click.confirm", lambda text, **_: questions.append(text) or True)
    assert _confirm(manage.Removal(entries=(entry,)))
    assert questions == ["Remove this key? 26 s of work"]
    assert _confirm(manage.Removal(entries=(aw.Entry(key="fit:1", duration_s=9.0),)))
    assert len(questions) == 1


def test_prune_removes_superseded_results():
    names_ = {"a": 1}
    for a in (1, 2):
        names_["a"] = a
        exec(compile("def score(x):\n    return x + a", "<score>", "exec"), names_)  # noqa: S102
        for x in (1, 2):
            aw.step(names_["score"])(x)
    assert len(data("keys", "score")) == 4
    assert "say what" in awaitly("prune", ok=False)
    assert len(data("prune", "--superseded", "--dry-run")["keys"]) == 2
    assert data("prune", "--superseded")["removed"] == 2
    assert len(data("keys", "score")) == 2
    assert aw.step(names_["score"]).is_cached(1)  # the newest of each call stays
    assert data("prune", "--superseded")["removed"] == 0


def test_a_word_that_is_not_known_names_the_next(filled):
    assert "unknown command 'statsu'; did you mean 'status'?" in awaitly("statsu", ok=False)
    assert "--dry-run" in awaitly("rm", "x", "--dry-rum", ok=False)
    assert "did you mean 'user:1'?" in awaitly("show", "usr:1", ok=False)
    assert "did you mean 'list'?" in awaitly("trust", "lst", ok=False)


def test_help_is_a_word_too():
    assert "Commands:" in awaitly("help")
    assert "--older-than" in awaitly("help", "rm")
    assert awaitly("help", "rm") == awaitly("rm", "--help")
    assert "did you mean 'rm'?" in awaitly("help", "rmm", ok=False)


def test_config_tells_where_each_setting_comes_from(monkeypatch):
    monkeypatch.setenv("AWAITLY_NB_TTL", "7d")
    told = {one["name"]: one for one in data("config")}
    assert told["ttl"] == {"name": "ttl", "value": 604800.0, "source": "AWAITLY_NB_TTL"}
    assert "AWAITLY_NB_TTL" in awaitly("config")


def test_many_keys_fit_a_terminal_of_eighty_columns(monkeypatch):
    monkeypatch.setenv("COLUMNS", "80")
    name = "a_workflow_with_a_name_of_forty_letters_"
    cache = aw.create_disk_cache(config.cache_directory(), namespace=name)
    for n in range(60):
        cache.set(f"a-key-that-is-somewhat-longer-than-others:{n}", aw.Ok(n))
    monkeypatch.setattr("awaitly_nb.cli.show.console", lambda: Console(width=80))
    lines = awaitly("keys").splitlines()
    assert len(lines) == 52
    assert max(map(len, lines)) <= 80
    assert lines[-1].endswith("; 10 keys more with --all")
    assert ":59 " in lines[1]
    assert len(awaitly("keys", "--all").splitlines()) == 62


def test_a_removed_key_is_gone_for_a_cache_that_is_open(filled):
    cache = aw.create_disk_cache(config.cache_directory(), namespace="report")
    assert cache.get("user:1") == aw.Ok({"name": "Ada"})
    awaitly("rm", "user:1")
    assert cache.get("user:1") is None


def test_status_has_one_line_for_each_name(filled):
    aw.create_disk_cache(config.cache_directory(), namespace="model").get("fit:[bold]x")
    found = {one["name"]: one for one in data("status")}
    assert [found[name]["state"] for name in ("report / user", "report / posts", "model / fit")] == [
        "stored",
        "failed",
        "stored",
    ]
    assert found["model / fit"]["saved_s"] == 2.0
    assert all(one["size_bytes"] > 0 for one in found.values())
    said = awaitly("status")
    assert "report / user" in said
    assert "3 names, 3 keys, " in said
    assert "2 s saved" in said


def test_cache_dir_chooses_the_folder(filled, tmp_path, monkeypatch):
    monkeypatch.setattr(os, "environ", dict(os.environ))  # the option is told to kernels by the environment
    assert data("--cache-dir", tmp_path / "other", "keys") == []


def test_doctor_finds_what_should_be_done(filled, monkeypatch):
    assert all(one["ok"] for one in data("doctor"))
    if os.name == "posix":
        config.cache_directory().chmod(0o777)
        config.secret_path().chmod(0o644)
        found = {one["what"]: one for one in data("doctor", ok=False)}
        assert "write" in found["problem"]["state"]
        assert "chmod 600" in found["secret"]["state"]
        config.secret_path().chmod(0o600)
        assert {one["what"] for one in data("doctor", "--fix")} >= {"fixed"}
        assert all(one["what"] != "problem" for one in data("doctor"))
    monkeypatch.setenv("AWAITLY_NB_VERIFY", "off")
    found = {one["what"]: one for one in data("doctor", ok=False)}
    assert not found["verification"]["ok"]


def test_what_is_wrong_with_a_setting_is_a_message_and_no_traceback(monkeypatch):
    monkeypatch.setenv("AWAITLY_NB_TTL", "soon")
    assert "Error: AWAITLY_NB_TTL" in awaitly("keys", ok=False)


# --- trust -----------------------------------------------------------------------------------------------------------


def test_a_secret_of_somebody_else_is_added_listed_and_removed(filled):
    other = "ab" * 32
    before = data("trust", "list")
    assert [one["note"] for one in before] == ["your own"]
    said = awaitly("trust", "add", "--name", "the cluster", stdin=other + "\n")
    assert other not in said
    added = data("trust", "list")[1]
    assert added["note"] == "the cluster"
    assert added["id"] in said
    assert "the cluster" in awaitly("trust", "list")
    if os.name == "posix":
        assert stat.S_IMODE(config.trusted_secrets_path().stat().st_mode) == 0o600
    awaitly("trust", "add", stdin=other)
    assert len(data("trust", "list")) == 2
    awaitly("trust", "remove", added["id"])
    assert data("trust", "list") == before
    assert "no secret" in awaitly("trust", "remove", added["id"], ok=False)


def test_only_a_whole_secret_is_trusted():
    for text in ("", "ab", "zz" * 32, "ab" * 33):
        with pytest.raises(aw.AwaitlyError, match="no secret"):
            manage.trust_secret(text)
    with pytest.raises(aw.AwaitlyError, match="single line"):
        manage.trust_secret("ab" * 32, "two\nlines")


def test_what_one_user_exports_lets_another_serve_their_entries(filled, tmp_path, monkeypatch):
    secret = awaitly("trust", "export")
    monkeypatch.setenv("XDG_CONFIG_HOME", str(tmp_path / "another user"))
    assert awaitly("trust", "export") != secret
    awaitly("trust", "add", stdin=secret)
    (told,) = manage.show("user:1")
    assert told.result == aw.Ok({"name": "Ada"})


# --- the shell itself ------------------------------------------------------------------------------------------------


def commands(group=app, path=()):
    for name, command in group.commands.items():
        if hasattr(command, "commands"):
            yield from commands(command, (*path, name))
        if not hasattr(command, "commands") or command.invoke_without_command:
            yield (*path, name), command


def test_every_command_has_json_but_scripts_and_what_is_for_programs_anyway():
    without = [path for path, command in commands() if "as_json" not in {p.name for p in command.params}]
    assert without == [("schema",), ("mcp",), ("help",), ("completion",)]


def test_every_command_says_what_it_does():
    listing = awaitly("--help")
    for name, command in app.commands.items():
        assert name in listing
        assert command.help


def test_a_kernel_that_keeps_a_journal_loads_no_command_line():
    code = "import sys, awaitly_nb.cli.headless; print({'click', 'rich'} & set(sys.modules))"
    assert subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True).stdout == "set()\n"
