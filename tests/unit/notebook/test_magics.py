"""`%awaitly`: each word, its function, and what it says to words it does not know."""

from __future__ import annotations

import threading
import warnings

import pytest

import awaitly_nb as aw
from awaitly_nb import manage
from awaitly_nb.cli.app import app
from awaitly_nb.notebook.commands import COMMANDS


@pytest.fixture
def filled(shell):
    """A folder with a cell, a workflow's steps of both kinds, and a failure."""
    manage.TRASH.clear()
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
    assert column(listing, "in") == ["flow", "flow", "raw"]  # the newest first
    assert column(listing, "result") == ["failed", "ok", "ok"]
    assert listing.title.startswith("3 keys")
    assert str(listing).splitlines()[1].split() == ["key", "in", "result", "size", "took", "age", "hits"]


@pytest.mark.parametrize(
    ("glob", "count"), [("user:*", 1), ("USER:*", 0), ("rows:[[]1]", 1), ("rows:[1]", 0), ("*", 3)]
)
def test_globs_match_whole_keys_and_case_counts(filled, glob, count):
    assert len(magic(filled, f"keys {glob}").rows) == count


def test_rm_removes_what_matches(filled):
    assert repr(magic(filled, "rm user:*")).startswith("removed user:9; %awaitly undo brings back")
    assert len(magic(filled, "keys").rows) == 2
    assert repr(magic(filled, "rm *")).startswith("removed 2 keys")
    assert magic(filled, "keys").rows == ()


def test_undo_brings_back_what_was_removed_last(filled):
    magic(filled, "rm user:*")
    magic(filled, "rm *")
    assert repr(magic(filled, "undo")) == "restored 2 keys"
    assert repr(magic(filled, "undo")) == "restored 1 key"
    assert repr(magic(filled, "undo")) == "nothing was removed in the last minute"
    assert len(magic(filled, "keys").rows) == 3
    filled.run("%%awaitly raw\nx = a + 1")
    assert filled.badge.startswith("from cache")


def test_rm_only_says_what_it_would_remove(filled):
    assert magic(filled, "rm user:* --dry-run").title == "would remove 1 key"
    assert magic(filled, "rm --errors --dry-run").title == "would remove 1 key"
    assert magic(filled, "rm --older-than 7d --dry-run").__repr__() == "no such key is cached"
    assert len(magic(filled, "keys").rows) == 3


def test_rm_makes_a_cell_run_again(filled):
    magic(filled, "rm raw:*")
    filled.run("%%awaitly raw\nx = a + 1")
    assert filled.badge.startswith("computed in")


def test_a_plain_word_lists_what_belongs_to_it(filled):
    assert column(magic(filled, "keys flow"), "key") == ["user:9", "rows:[1]"]
    assert column(magic(filled, "keys ser:9"), "key") == ["user:9"]
    assert magic(filled, "keys fl*").rows == ()
    assert str(magic(filled, "keys fow")) == "no key matches 'fow'; did you mean 'flow'?"


def test_the_first_letters_of_a_key_are_enough_to_remove_it(filled):
    (key,) = column(magic(filled, "keys raw --all"), "key")
    assert repr(magic(filled, f"rm {key[:7]}")).startswith("no key matches")
    assert repr(magic(filled, f"rm {key[:12]}")).startswith(f"removed {key[:14]}…")
    assert magic(filled, "keys raw").rows == ()


def test_first_letters_that_many_keys_share_remove_none(filled):
    workflow = aw.create_workflow("flow", {"fail": lambda: aw.err("NO")})
    workflow.run_sync(lambda ctx: [ctx.attempt("fail", ctx.deps.fail, key=f"failures:{n}") for n in (2021, 2022)])
    for word in ("rm", "retry"):
        assert not filled.attempt(f"%awaitly {word} failures:").success
        assert "2 keys begin with 'failures:'" in filled.err
    assert len(magic(filled, "keys failures").rows) == 2
    assert repr(magic(filled, "retry failures:2021")).startswith("removed failures:2021")


def test_retry_removes_failures_only(filled):
    assert repr(magic(filled, "retry rows:[1]")) == "no failure is cached under 'rows:[1]'"
    assert magic(filled, "retry --dry-run").title == "would remove 1 key"
    assert repr(magic(filled, "retry user:9")).startswith("removed user:9")
    assert repr(magic(filled, "retry")) == "no failure is cached"
    assert len(magic(filled, "keys").rows) == 2


def test_status_tells_the_last_steps(filled):
    filled.run("%%awaitly raw\nx = a + 1")
    listing = magic(filled, "status")
    told = dict(zip(column(listing, "step"), column(listing, "state"), strict=True))
    assert told["raw"] == "from cache"
    assert told["flow / load"] == "computed"
    assert told["flow / fail"] == "failed"
    assert listing.rows[-1][1] == "raw"  # the latest last, and one row for each name
    assert len(set(column(listing, "step"))) == len(listing.rows)
    sizes = dict(zip(column(listing, "step"), column(listing, "size"), strict=True))
    assert all(sizes[name].endswith("B") for name in ("raw", "flow / load", "flow / fail"))


def test_status_tells_the_size_of_a_hit_and_what_is_not_cached(filled):
    aw.create_workflow("plain").run_sync(lambda ctx: ctx.step("free", lambda: 1))
    filled.run("%%awaitly raw\nx = a + 1")
    listing = magic(filled, "status")
    sizes = dict(zip(column(listing, "step"), column(listing, "size"), strict=True))
    assert sizes["raw"].endswith("B")
    assert sizes["flow / load"].endswith("B")
    why = dict(zip(column(listing, "step"), column(listing, "why"), strict=True))
    assert why["plain / free"] == "not cached: no key"


def test_without_a_word_it_tells_the_status(filled):
    filled.run("shown = %awaitly")
    assert filled.ns["shown"].title == magic(filled, "status").title


def test_without_a_word_and_before_anything_ran_it_helps(shell, monkeypatch):
    monkeypatch.setattr("awaitly_nb.manage.steps.recent_runs", list)
    assert str(magic(shell, "")).startswith("nothing has run in this kernel yet: begin a cell with %%awaitly NAME")


def test_why_tells_of_the_crash(filled):
    assert not filled.attempt("%%awaitly boom\nraise RuntimeError('no disk')").success
    assert manage.why("boom").line.endswith(": first run; step 'boom' raised RuntimeError: no disk")
    assert manage.why("boom").line.startswith("failed just now in ")
    assert not filled.attempt("%%awaitly boom\nraise RuntimeError('no disk')").success
    assert ": failed last time; exceptions are not " in manage.why("boom").line


def test_why_names_the_part_that_is_new(filled):
    filled.run("a = 2")
    filled.run("%%awaitly raw\nx = a + 1")
    why = magic(filled, "why raw")
    assert why.line.startswith("computed just now in ")
    assert why.line.endswith(": global a: 1 -> 2")
    assert [change.part for change in why.changes] == ["global a"]
    filled.run("%%awaitly raw\nx = a + 1")
    assert magic(filled, "why raw").line.startswith("from cache, computed just now in ")


def test_why_shows_the_difference_of_the_source(filled):
    filled.run("%%awaitly raw\nx = a + 100")
    (change,) = magic(filled, "why raw").changes
    assert "-x = a + 1\n" in change.detail
    assert "+x = a + 100\n" in change.detail
    assert "+x = a + 100" in str(magic(filled, "why raw"))
    html = magic(filled, "why raw")._repr_html_()
    assert 'color: #2e7d32">+x = a + 100' in html
    assert 'color: #c62828">-x = a + 1\n' in html


def test_on_a_terminal_the_difference_has_colours(filled, monkeypatch):
    filled.run("%%awaitly raw\nx = a + 100")
    told = magic(filled, "why raw")
    monkeypatch.setattr("sys.stdout", type("Terminal", (), {"isatty": lambda self: True})())
    lines = filled.ip.display_formatter.formatters["text/plain"](told).split("\n")
    assert "\x1b[31m-x = a + 1\x1b[0m" in lines
    assert "\x1b[32m+x = a + 100\x1b[0m" in lines
    monkeypatch.undo()
    assert "\x1b" not in filled.ip.display_formatter.formatters["text/plain"](told)


def test_why_after_a_success_tells_when_and_not_a_miss(filled):
    assert str(magic(filled, "why raw")).startswith("raw: computed just now in ")
    assert str(magic(filled, "why raw")).endswith(": first run")


def test_config_says_where_each_value_comes_from(shell, monkeypatch):
    monkeypatch.setenv("AWAITLY_NB_TTL", "7d")
    listing = magic(shell, "config")
    told = dict(zip(column(listing, "setting"), column(listing, "from"), strict=True))
    assert "AWAITLY_NB_TTL" in told["ttl"]
    assert any("cache" in row[0] for row in listing.rows)


def test_doctor_looks_around(filled):
    listing = magic(filled, "doctor")
    told = dict(zip(column(listing, "what"), column(listing, "state"), strict=True))
    assert told["cached"].startswith("3 keys, ")
    assert told["failures"].startswith("1 are replayed")
    assert listing.title == "nothing is wrong"
    assert column(listing, "what").index("python") == 0


def test_an_empty_folder_is_said_in_words(shell):
    assert str(magic(shell, "keys x*")) == "no key matches 'x*'"


@pytest.mark.parametrize(
    ("line", "said"),
    [
        ("nonsense", "unknown command 'nonsense'"),
        ("statsu", "unknown command 'statsu'; did you mean 'status'?"),
        ("rm --dry", "unknown option '--dry'; did you mean '--dry-run'?"),
        ("rm --older-than", "--older-than needs a value"),
        ("rm --older-than yesterday", "--older-than"),
        ("show nothing", "no key 'nothing' is cached"),
        ("help keis", "unknown command 'keis'; did you mean 'keys'?"),
        ("nonsense", "usage: %awaitly status | keys [GLOB]"),
        ("rm", "usage: %awaitly rm [GLOB]"),
        ("keys a b", "usage: %awaitly keys [GLOB]"),
        ("status --all", "usage: %awaitly status"),
        ("prune", "usage: %awaitly prune [--superseded] [--dry-run]"),
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
    html = magic(filled, "keys")._repr_html_()
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
        ("%awaitly show us", {"user:9"}),
        ("%awaitly help pr", {"prune"}),
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


@pytest.mark.parametrize(
    ("text", "flags"),
    [
        ("%awaitly rm --", {"--older-than", "--errors", "--dry-run"}),
        ("%awaitly keys --", {"--all"}),
        ("%%awaitly raw --no", {"--no-output"}),
    ],
)
def test_after_two_dashes_only_flags_are_offered(filled, text, flags):
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # IPython's own completer, on Jedi's behalf
        assert completions(filled, text) == flags


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


@pytest.mark.parametrize("line", ["help", "--help", "-h"])
def test_help_lists_every_word_with_its_options(shell, line):
    listing = magic(shell, line)
    told = str(listing)
    for word, command in COMMANDS.items():
        assert f"%awaitly {word}" in told
        for flag in command.flags:
            assert flag.rstrip("=") in told
    assert repr(magic(shell, "rm --help")) == repr(magic(shell, "help rm"))
    assert "--older-than" in repr(magic(shell, "help rm"))


def test_the_shell_and_the_magic_have_the_same_words_and_options():
    own_notebook = {"audit", "graph", "plan"}  # a kernel belongs to a notebook, a shell does not
    notebook_only = {"panel", "undo", "auto"}  # what was removed lies in the memory of the kernel
    for word, command in COMMANDS.items():
        if word in notebook_only:
            continue
        options = {option for param in app.commands[word].params for option in param.opts if option.startswith("--")}
        assert {flag.rstrip("=") for flag in command.flags} <= options, word
        takes = [param for param in app.commands[word].params if param.param_type_name == "argument"]
        assert len(takes) == bool(command.argument), word
        if word not in own_notebook:
            assert all(param.required is not command.argument.startswith("[") for param in takes), word
        in_shell = {"--json", "--yes", "--output"} | ({"--auto"} if word in own_notebook else set())
        assert options - {flag.rstrip("=") for flag in command.flags} <= in_shell, word


def test_show_tells_the_variables_and_what_was_printed(filled):
    filled.run("%%awaitly shown\nrows = [1, 2]\nprint('two rows')")
    (key,) = column(magic(filled, "keys shown --all"), "key")
    view = magic(filled, f"show {key}")
    assert "rows: list, 2 items [1, 2]" in str(view)
    assert "printed: two rows" in str(view)
    assert "base64" not in str(view)
    assert "two rows" in view._repr_html_()


def test_of_many_keys_the_first_fifty_are_listed_in_eighty_columns(shell):
    name = "a_workflow_with_a_name_of_forty_letters_"
    workflow = aw.create_workflow(name)

    def body(ctx):
        for n in range(60):
            ctx.step("step", lambda: 1, key=f"a-key-that-is-somewhat-longer-than-others:{n}")

    workflow.run_sync(body)
    listing = magic(shell, "keys")
    assert len(listing.rows) == 50
    lines = str(listing).splitlines()
    assert lines[-1] == "and 10 more: %awaitly keys '*' --all"
    assert max(map(len, lines)) <= 80
    assert ":59" in lines[2].split("  ")[0]  # of a key both ends show
    assert len(magic(shell, "keys --all").rows) == 60


@pytest.mark.parametrize(
    ("first", "body", "name"),
    [
        ("%%awaitly", "total = 3", "total"),
        ("%%awaitly --ttl 1d", "model, scores = 1, 2", "model, scores"),
        ("%%awaitly", "# The residuals\nprint(1)", "The residuals"),
        ("%%awaitly", "import math\nroot = await later()", "root"),
    ],
)
def test_a_bare_cell_is_named_by_what_it_makes(shell, first, body, name):
    shell.run("async def later(): return 1")
    shell.run(f"{first}\n{body}")
    assert shell.badge.startswith("computed in ")
    assert manage.find()[-1].namespace == name
    shell.run(f"{first}\n{body}")
    assert shell.badge.startswith("from cache")


def test_a_misspelt_option_of_a_cell_names_the_next(shell):
    assert not shell.attempt("%%awaitly raw --forse\nx = 1").success
    assert "unknown option '--forse' of %%awaitly; did you mean '--force'?" in shell.err
    assert "Traceback" not in shell.out + shell.err


def test_status_says_what_was_computed_and_not_stored(filled):
    with pytest.warns(aw.AwaitlyWarning):
        aw.create_workflow("open").run_sync(lambda ctx: ctx.step("lock", threading.Lock, key="lock:1"))
    listing = magic(filled, "status")
    why = dict(zip(column(listing, "step"), column(listing, "why"), strict=True))
    assert why["open / lock"].startswith("not stored")


def test_unloading_takes_everything_out(bare_shell):
    from awaitly_nb import load_ipython_extension, unload_ipython_extension

    before = list(bare_shell.ip.input_transformers_cleanup)
    load_ipython_extension(bare_shell.ip)
    once = len(bare_shell.ip.input_transformers_cleanup)
    load_ipython_extension(bare_shell.ip)
    assert len(bare_shell.ip.input_transformers_cleanup) == once
    unload_ipython_extension(bare_shell.ip)
    assert bare_shell.ip.input_transformers_cleanup == before
    assert bare_shell.ip.find_cell_magic("awaitly") is None
    assert bare_shell.ip.find_line_magic("awaitly") is None
    assert "structured_traceback" not in vars(bare_shell.ip.InteractiveTB)
