"""What stands behind the magics, and what a cell's code says of itself."""

from __future__ import annotations

import asyncio
import signal

import pytest

from awaitly_nb.errors import InvalidOptionError, MisuseError
from awaitly_nb.notebook.body import awaits, read_body, register_lines, stoppable, wake_on_stop
from awaitly_nb.notebook.outputs import without_widgets
from awaitly_nb.plans.cell_line import CELL_USAGE, parse_cell_line


def test_every_option_of_a_cell():
    options = parse_cell_line(
        "'two words' --key=k --vars a,b --ignore c --ttl 2h --force --no-output --dry-run --allow-shell"
    )
    assert (options.name, options.key, options.variables, options.ignore) == ("two words", "k", ("a", "b"), ("c",))
    assert options.ttl_s == 7200
    assert (options.force, options.read, options.output, options.dry_run, options.allow_shell) == (
        True,
        False,
        False,
        True,
        True,
    )


def test_a_bad_cell_line_ends_with_the_usage():
    with pytest.raises(MisuseError) as caught:
        parse_cell_line("raw --nope")
    assert str(caught.value).endswith(CELL_USAGE)
    with pytest.raises(InvalidOptionError, match="--ttl"):
        parse_cell_line("raw --ttl -3s")


@pytest.mark.parametrize(
    ("source", "waits"),
    [
        ("await f()", True),
        ("async with a: pass", True),
        ("[x async for x in y]", True),
        ("async def f():\n    await g()", False),
        ("x = 'await'", False),
        ("await (", None),
    ],
)
def test_which_code_awaits(source, waits):
    assert awaits(source) is waits


def body(shell, source):
    return read_body(shell.ip, "raw", source)


def test_a_body_says_what_it_binds_imports_and_sets(bare_shell):
    read = body(bare_shell, "import a.b\nfrom c import d as e\n%matplotlib inline\n%time y = z\nclass K: pass\n")
    assert read.stores == {"a", "e", "y", "K"}
    assert read.imports == ("a.b",)
    assert read.settings == (("matplotlib", "inline"),)
    assert not read.is_async


def test_line_numbers_count_from_the_magic_itself(bare_shell):
    read = body(bare_shell, "x = 1\n1 / 0\n")
    assert read.tree.body[1].lineno == 3
    assert read.lines.splitlines()[2] == "1 / 0"


def test_what_magics_hide_is_spelt_out_in_the_key(bare_shell):
    read = body(bare_shell, "%time y = z\n!ls {folder}\n")
    spelt = read.key_source({"folder": 1, "unrelated": 2})
    assert spelt.splitlines()[0] == "y = z"
    assert "(folder,)" in spelt
    assert "unrelated" not in spelt


@pytest.mark.parametrize(
    ("setting", "shown"),
    [("last_expr", ["2"]), ("all", ["1", "2"]), ("none", []), ("last", ["2"]), ("last_expr_or_assign", ["2"])],
)
def test_the_users_display_setting_holds(bare_shell, capsys, setting, shown):
    bare_shell.ip.ast_node_interactivity = setting
    with bare_shell.ip.display_trap:
        body(bare_shell, "1\n2\n").run(bare_shell.ip)
    assert [word for word in capsys.readouterr().out.split() if word.isdigit()] == shown


def test_an_assignment_is_shown_where_the_user_wants_that(bare_shell, capsys):
    bare_shell.ip.ast_node_interactivity = "last_expr_or_assign"
    with bare_shell.ip.display_trap:
        body(bare_shell, "x = 41 + 1\n").run(bare_shell.ip)
    assert capsys.readouterr().out.endswith("42\n")


def test_registered_lines_are_found_and_never_replaced_and_have_the_number_of_now(bare_shell):
    import linecache

    compiler = bare_shell.ip.compile
    for number, source in enumerate(["a = 1\n", "b = 2\n"], 3):
        now = compiler.cache(source, number)
        register_lines(compiler, "<cell of another kernel>", source, like=now)
    linecache.checkcache("<cell of another kernel>")
    assert linecache.getlines("<cell of another kernel>") == ["a = 1\n"]
    assert compiler.format_code_name("<cell of another kernel>") == ("Cell", "In[4]")


def test_stoppable_passes_values_and_errors_through():
    async def inner(value):
        await asyncio.sleep(0)
        if value is None:
            raise KeyError("none")
        return value

    async def outer(value):
        return await stoppable(inner(value))

    assert asyncio.run(outer(3)) == 3
    with pytest.raises(KeyError):
        asyncio.run(outer(None))


def test_stoppable_hands_a_cancellation_on():
    seen = []

    async def inner():
        try:
            await asyncio.Event().wait()
        except asyncio.CancelledError:
            seen.append("cancelled")
            raise

    async def main():
        task = asyncio.ensure_future(stoppable(inner()))
        await asyncio.sleep(0)
        task.cancel()
        with pytest.raises(asyncio.CancelledError):
            await task

    asyncio.run(main())
    assert seen == ["cancelled"]


def test_stop_breaks_into_blocking_code_of_a_stoppable():
    async def inner():
        await asyncio.sleep(0)
        signal.raise_signal(signal.SIGINT)
        return "not reached"

    async def main():
        with pytest.raises(KeyboardInterrupt):
            await stoppable(inner())

    before = signal.signal(signal.SIGINT, lambda signum, frame: None)  # as ipykernel's: it does not raise
    try:
        asyncio.run(main())
    finally:
        signal.signal(signal.SIGINT, before)


def test_waking_leaves_other_handlers_alone():
    before = signal.getsignal(signal.SIGINT)
    wake_on_stop()
    assert signal.getsignal(signal.SIGINT) is before


def test_a_bundle_without_a_widget_stays_itself():
    data = {"text/plain": "x"}
    assert without_widgets(data) is data


def test_a_widget_that_is_gone_shows_its_text():
    view = {"application/vnd.jupyter.widget-view+json": {"model_id": "gone"}, "text/plain": "Box(<b>)"}
    assert without_widgets(view) == {"text/plain": "Box(<b>)", "text/html": "Box(&lt;b&gt;)"}
