"""`%awaitly`: each word, its function, and what it says to words it does not know."""

from __future__ import annotations

import warnings

import pytest

import awaitly_nb as aw
from awaitly_nb.notebook import commands
from awaitly_nb.notebook.options import COMMANDS


@pytest.fixture
def filled(shell):
    """A folder with a cell, a workflow's steps of both kinds, and a failure."""
    shell.run("a = 1")
    shell.run("%%awaitly raw\nx = a + 1")
    workflow = aw.create_workflow("flow", {"load": lambda: [1, 2], "fail": lambda: aw.err("NOT_FOUND")})

    def body(ctx):
        ctx.step("load", ctx.deps.load, key="rows:[1]")
        return ctx.step("fail", ctx.deps.fail, key="user:9")

    workflow.run_sync(body)
    return shell


def magic(shell, line):
    return shell.ip.run_line_magic("awaitly", line)


def column(listing, name):
    return [row[listing.columns.index(name)] for row in listing.rows]


def test_keys_of_every_namespace(filled):
    listing = magic(filled, "keys")
    assert column(listing, "in") == ["raw", "flow", "flow"]
    assert column(listing, "result") == ["ok", "ok", "failed"]
    assert listing.title.startswith("3 keys")
    assert str(listing).splitlines()[1].split() == ["key", "in", "result", "size", "took", "age", "hits"]


@pytest.mark.parametrize(
    ("glob", "count"), [("user:*", 1), ("USER:*", 0), ("rows:[[]1]", 1), ("rows:[1]", 0), ("*", 3)]
)
def test_globs_match_whole_keys_and_case_counts(filled, glob, count):
    assert len(commands.keys(glob).rows) == count


def test_rm_removes_what_matches(filled):
    assert repr(magic(filled, "rm user:*")) == "removed 1 key that match 'user:*'"
    assert len(commands.keys().rows) == 2
    assert commands.rm("*").removed == 2
    assert commands.keys().rows == ()


def test_rm_makes_a_cell_run_again(filled):
    commands.rm("raw:*")
    filled.run("%%awaitly raw\nx = a + 1")
    assert filled.badge.startswith("computed in")


def test_a_plain_word_lists_what_belongs_to_it(filled):
    assert column(commands.keys("flow"), "key") == ["rows:[1]", "user:9"]
    assert column(commands.keys("ser:9"), "key") == ["user:9"]
    assert commands.keys("fl*").rows == ()


def test_the_first_letters_of_a_key_are_enough_to_remove_it(filled):
    (key,) = column(commands.keys("raw"), "key")
    assert commands.rm(key[:7]).removed == 0
    assert repr(magic(filled, f"rm {key[:12]}")) == f"removed 1 key that match {key!r}"
    assert commands.keys("raw").rows == ()


def test_first_letters_that_many_keys_share_remove_none(filled):
    workflow = aw.create_workflow("flow", {"fail": lambda: aw.err("NO")})
    workflow.run_sync(lambda ctx: [ctx.attempt("fail", ctx.deps.fail, key=f"failures:{n}") for n in (2021, 2022)])
    for word in ("rm", "retry"):
        assert not filled.attempt(f"%awaitly {word} failures:").success
        assert "2 keys begin with 'failures:'" in filled.err
    assert len(commands.keys("failures").rows) == 2
    assert magic(filled, "retry failures:2021").removed == 1


def test_retry_removes_failures_only(filled):
    assert magic(filled, "retry rows:[1]").removed == 0
    assert magic(filled, "retry user:9").removed == 1
    assert commands.retry().removed == 0
    assert repr(commands.retry()) == "no failure is kept"
    assert repr(commands.retry("user:9")) == "no failure is kept under 'user:9'"
    assert len(commands.keys().rows) == 2


def test_status_tells_the_last_steps(filled):
    filled.run("%%awaitly raw\nx = a + 1")
    listing = magic(filled, "status")
    told = dict(zip(column(listing, "step"), column(listing, "state"), strict=True))
    assert told["raw"] == "from cache"
    assert told["flow / load"] == "computed"
    assert told["flow / fail"] == "failed"


def test_without_a_word_it_tells_the_status(filled):
    filled.run("shown = %awaitly")
    assert filled.ns["shown"] == commands.status()


def test_without_a_word_and_before_anything_ran_it_helps(shell, monkeypatch):
    monkeypatch.setattr("awaitly_nb.notebook.commands.recent_runs", list)
    assert str(magic(shell, "")).startswith("nothing has run in this kernel yet: begin a cell with %%awaitly NAME")


def test_why_tells_of_the_crash(filled):
    assert not filled.attempt("%%awaitly boom\nraise RuntimeError('no disk')").success
    assert commands.why("boom").reason == "first run; it failed: step 'boom' raised RuntimeError: no disk"
    assert not filled.attempt("%%awaitly boom\nraise RuntimeError('no disk')").success
    assert commands.why("boom").reason.startswith("failed last time; exceptions are not kept; it failed: ")


def test_why_names_the_part_that_is_new(filled):
    filled.run("a = 2")
    filled.run("%%awaitly raw\nx = a + 1")
    why = magic(filled, "why raw")
    assert not why.hit
    assert "1 -> 2" in why.reason
    assert [change.part for change in why.changes] == ["global a"]
    filled.run("%%awaitly raw\nx = a + 1")
    assert magic(filled, "why raw").hit


def test_why_shows_the_difference_of_the_source(filled):
    filled.run("%%awaitly raw\nx = a + 100")
    (change,) = commands.why("raw").changes
    assert "-x = a + 1\n" in change.detail
    assert "+x = a + 100\n" in change.detail


def test_config_says_where_each_value_comes_from(shell, monkeypatch):
    monkeypatch.setenv("AWAITLY_NB_TTL", "7d")
    listing = magic(shell, "config")
    told = dict(zip(column(listing, "setting"), column(listing, "from"), strict=True))
    assert "AWAITLY_NB_TTL" in told["ttl"]
    assert "cache" in listing.title


def test_doctor_looks_around(filled):
    listing = magic(filled, "doctor")
    told = dict(zip(column(listing, "what"), column(listing, "state"), strict=True))
    assert told["entries"] == "3"
    assert told["failures kept"] == "1"
    assert told["cache folder"] == "there"


def test_an_empty_folder_is_said_in_words(shell):
    assert str(commands.keys("x*")) == "no key matches 'x*'"


@pytest.mark.parametrize(
    ("line", "said"),
    [
        ("nonsense", "'nonsense' is no command"),
        ("nonsense", "usage: %awaitly status | keys [GLOB]"),
        ("rm", "usage: %awaitly rm GLOB"),
        ("keys a b", "usage: %awaitly keys [GLOB]"),
        ("status --all", "usage: %awaitly status"),
        ("keys 'open", "cannot read"),
        ("why nobody", "nothing called 'nobody'"),
    ],
)
def test_what_it_does_not_know_answers_with_usage(shell, line, said):
    result = shell.attempt(f"%awaitly {line}")
    assert not result.success
    assert shell.err.startswith("UsageError: ")
    assert said in shell.err
    assert "Traceback" not in shell.out + shell.err


def test_listings_show_user_text_inert(filled):
    cache = aw.create_workflow("<script>alert(1)</script>", cache=None)
    assert cache is not None
    filled.run("%%awaitly raw --key '<img src=x>'\ny = 1")
    html = commands.keys()._repr_html_()
    assert "<img" not in html
    assert "&lt;img src=x&gt;" in html


def completions(shell, text):
    _, found = shell.ip.complete("", text, len(text))
    return {word.strip() for word in found}


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("%awaitly ", set(COMMANDS)),
        ("%awaitly st", {"status"}),
        ("%awaitly rm us", {"user:9"}),
        ("%awaitly retry ", {"user:9"}),
        ("%awaitly why lo", {"load"}),
        ("%%awaitly ra", {"raw"}),
        ("%%awaitly raw --fo", {"--force"}),
        ("%%awaitly raw --", {"--key", "--vars", "--ignore", "--ttl", "--force", "--read", "--no-output", "--dry-run"}),
    ],
)
def test_tab_completion(filled, text, expected):
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # IPython's own completer, on Jedi's behalf
        assert expected <= completions(filled, text)


def test_help_tells_every_option_and_word(shell):
    cell = shell.ip.find_cell_magic("awaitly").__doc__
    for word in (
        "--key",
        "--vars",
        "--ignore",
        "--ttl",
        "--force",
        "--read",
        "--no-output",
        "--dry-run",
        "--allow-shell",
    ):
        assert word in cell
    line = shell.ip.find_line_magic("awaitly").__doc__
    for word in COMMANDS:
        assert f"%awaitly {word}" in line


def test_unloading_takes_everything_out(bare_shell):
    from awaitly_nb import load_ipython_extension, unload_ipython_extension

    before = list(bare_shell.ip.input_transformers_cleanup)
    load_ipython_extension(bare_shell.ip)
    load_ipython_extension(bare_shell.ip)
    assert len(bare_shell.ip.input_transformers_cleanup) == len(before) + 1
    unload_ipython_extension(bare_shell.ip)
    assert bare_shell.ip.input_transformers_cleanup == before
    assert bare_shell.ip.find_cell_magic("awaitly") is None
    assert bare_shell.ip.find_line_magic("awaitly") is None
