"""Automatic mode: plain cells are cached where that is worth it, and nobody changes one."""

import asyncio
import re
import socket
from threading import Event
from types import SimpleNamespace

import pytest

from awaitly_nb import config, create_disk_cache
from awaitly_nb.notebook.cell import Cell
from awaitly_nb.notebook.magics import mode_of
from awaitly_nb.notebook.session import Watched
from awaitly_nb.notebook.totals import Tally, Totals
from awaitly_nb.plans import plan


@pytest.fixture
def auto(shell, tmp_path, monkeypatch):
    """A shell in automatic mode, in which a fraction of a second is worth storing."""
    monkeypatch.setenv("AWAITLY_NB_CACHE_DIR", str(tmp_path / "cache"))
    monkeypatch.setenv("AWAITLY_NB_AUTO_MIN", "0.15")
    shell.run("import time\nfrom threading import Event")
    shell.run("%awaitly auto on")
    shell.run("# awaitly: cache\nwarm = sum([1])")  # what is loaded at the first key takes longer than these cells
    create_disk_cache(config.cache_directory(), namespace="auto").clear()
    mode_of(shell.ip).tally.session = Totals()
    return shell


def slow(source, seconds=0.7):
    """A cell that takes its time; waiting for an event that never comes is no sleep of the test."""
    return f"Event().wait({seconds}); {source}"


def keys():
    return create_disk_cache(config.cache_directory(), namespace="auto").keys()


def badge(shell):
    return shell.badge if shell.displayed else ""


def test_a_slow_cell_is_stored_and_hits_after_a_restart(auto):
    auto.run(slow("x = [1, 2]\nprint('made')"))
    assert badge(auto).startswith("x: computed in ")
    assert "stored" in badge(auto)
    assert len(keys()) == 1
    auto.forget()
    auto.run("import time\nfrom threading import Event")
    auto.run(slow("x = [1, 2]\nprint('made')"))
    assert badge(auto).startswith("x: from cache")
    assert auto.ns["x"] == [1, 2]
    assert auto.out == "made\n"


@pytest.mark.parametrize(
    "source",
    [
        "import math",
        "n = 3",
        "def f():\n    return 1",
        "import os\nos.environ['QQ_AUTO'] = '1'",
        "# awaitly: live\nEvent().wait(0.1); x = 1",
        "%time x = 1",
        "!true",
        "%%capture\nx = 1",
    ],
)
def test_what_always_runs_is_left_alone(auto, source):
    auto.run(source)
    assert keys() == []
    assert not any("computed" in str(shown) for shown in auto.displayed)
    assert mode_of(auto.ip).tally.session.computed == 0


def test_a_fast_cell_is_remembered_and_not_looked_up_again(auto):
    auto.run("x = sum([1, 2])")
    assert keys() == []
    assert auto.displayed == []
    assert mode_of(auto.ip).tally.session.computed == 1
    auto.run("x = sum([1, 2])")
    assert mode_of(auto.ip).tally.session.computed == 1  # it ran as a plain cell


def test_a_comment_asks_for_the_cache(auto):
    auto.run("# awaitly: cache\nx = sum([1, 2])")
    auto.run("# awaitly: cache\nx = sum([1, 2])")
    assert "from cache" in badge(auto)
    auto.run("# awaitly: ttl 1h\ny = sum([1, 3])")
    (entry,) = [e for e in create_disk_cache(config.cache_directory(), namespace="auto").entries() if e.expires_at]
    assert 3600 <= (entry.expires_at - entry.created_at).total_seconds() < 3660
    auto.attempt("# awaitly: often\nz = 1")
    assert "awaitly: often" in auto.err


def test_moved_copied_commented_and_renamed_cells_hit(auto):
    auto.run(slow("x = [1, 2]"))
    auto.run("unrelated = 1")
    auto.run("# a note\n" + slow("x = [1, 2]") + "  # and another")
    assert "from cache" in badge(auto)
    assert all(key.startswith("auto:") for key in keys())


def test_cells_that_were_split_off_into_another_notebook_hit(auto, tmp_path, monkeypatch):
    rows, total, other = slow("rows = list(range(n))"), slow("total = [sum(rows)]"), slow("other = [n]")
    for source in ("n = 3", rows, total, other):
        auto.run(source)
    stored = set(keys())
    assert len(stored) == 3
    (tmp_path / "elsewhere").mkdir()
    monkeypatch.chdir(tmp_path / "elsewhere")
    auto.forget()
    auto.run("from threading import Event\nn = 3")
    for source in (other, rows, total):  # two in their order, and one before them that was behind them
        auto.run(source)
        assert "from cache" in badge(auto)
    assert (auto.ns["total"], auto.ns["other"]) == ([3], [3])
    assert set(keys()) == stored


def test_of_a_cell_that_is_split_the_parts_run_and_what_reads_them_hits(auto):
    whole, reader = slow("a = [1]\nb = [2]"), slow("c = a + b")
    auto.run(whole)
    auto.run(reader)
    auto.forget()
    auto.run("from threading import Event")
    for part in whole.split("\n"):
        auto.run(part)
    auto.run(reader)
    assert "from cache" in badge(auto)
    assert auto.ns["c"] == [1, 2]


def test_an_edited_input_is_named(auto):
    auto.run("n = 3")
    auto.run(slow("x = list(range(n))"))
    auto.run("n = 4")
    auto.run(slow("x = list(range(n))"))
    assert "(global n: 3 -> 4)" in badge(auto)
    assert auto.ns["x"] == [0, 1, 2, 3]


def test_an_edited_helper_of_an_imported_module_is_named(auto, tmp_path, monkeypatch):
    module = tmp_path / "qq_prices.py"
    module.write_text("def net(price):\n    return price * 0.8\n")
    monkeypatch.syspath_prepend(tmp_path)
    cell = slow("price = qq_prices.net(10)", 0.4)
    auto.run("import qq_prices")
    auto.run(cell)
    assert "stored" in badge(auto)
    module.write_text("def net(price):\n    return price * 0.75  # as of May\n")
    auto.forget()
    auto.run("import time\nfrom threading import Event")
    auto.run("import importlib, qq_prices\nimportlib.reload(qq_prices) and None")
    auto.run(cell)
    assert auto.ns["price"] == 7.5
    assert "stored" in badge(auto)
    assert "net" in badge(auto).partition("stored")[2], badge(auto)
    auto.run(cell)
    assert badge(auto).startswith("price: from cache")


def test_an_error_is_never_cached(auto):
    for _ in range(2):
        result = auto.attempt(slow("1 / 0"))
        assert isinstance(result.error_in_exec, ZeroDivisionError)
    assert keys() == []


def test_an_input_without_a_fingerprint_makes_it_run_and_says_so(auto):
    auto.run("gen = (i for i in [1, 2])")
    auto.run("y = next(gen)")
    assert auto.displayed == [], "it is fast, and would not have been stored in any case"
    auto.run(slow("x = list(gen)"))
    assert auto.ns["x"] == [2]
    assert auto.err == ""
    assert re.match(r"x: computed in .*, not stored: .*gen", badge(auto))
    assert "not cached" in mode_of(auto.ip).status()


def test_a_cell_that_awaits(auto):
    source = "import asyncio\nawait asyncio.sleep(0.7)\nz = [5]"
    auto.run(source)
    auto.forget()
    auto.run(source)
    assert "from cache" in badge(auto)
    assert auto.ns["z"] == [5]


def test_what_reads_the_network_is_not_stored_unless_asked(auto, monkeypatch):
    monkeypatch.setattr("awaitly_nb.notebook.auto._LOCAL", ())  # there is no other network here
    server = socket.create_server(("127.0.0.1", 0))
    source = slow(f"import socket\nsocket.create_connection(('127.0.0.1', {server.getsockname()[1]})).close()\nv = [1]")
    auto.run(source)
    assert "not stored: it read the network at" in badge(auto)
    assert keys() == []
    auto.run("# awaitly: cache\n" + source)
    assert len(keys()) == 1
    server.close()


def test_what_reads_the_network_is_served_for_as_long_as_the_setting_says(auto, monkeypatch):
    monkeypatch.setattr("awaitly_nb.notebook.auto._LOCAL", ())
    server = socket.create_server(("127.0.0.1", 0))
    source = slow(f"import socket\nsocket.create_connection(('127.0.0.1', {server.getsockname()[1]})).close()\nv = [1]")
    monkeypatch.setenv("AWAITLY_NB_AUTO_NETWORK", "1h")
    auto.run(source)
    assert "stored; it read the network at" in badge(auto)
    auto.run(source)
    assert "from cache" in badge(auto)
    assert "(read the network at" in badge(auto)
    monkeypatch.setenv("AWAITLY_NB_AUTO_NETWORK", "0.001")
    auto.run(source)
    assert "it read the network at" in badge(auto)
    assert "and that holds for" in badge(auto)
    monkeypatch.delenv("AWAITLY_NB_AUTO_NETWORK")
    auto.run(source)
    assert "auto_network" in badge(auto)
    server.close()


def test_a_program_is_an_effect_and_a_pool_of_workers_is_none(auto):
    auto.run(slow("import subprocess, sys\nout = subprocess.run(['true']).returncode"))
    assert "it started a program" in badge(auto)
    pool = "from concurrent.futures import ProcessPoolExecutor\n"
    pool += "with ProcessPoolExecutor(1) as p:\n    r = list(p.map(abs, [-1]))"
    auto.run(slow(pool))
    assert "stored" in badge(auto)
    assert "not stored" not in badge(auto)


def test_input_asks_the_user_each_time(auto, monkeypatch):
    monkeypatch.setattr("builtins.input", "yes".format)  # as a front end has one of its own
    auto.run(slow("answer = input('? ')"))
    assert auto.ns["answer"] == "yes"
    assert "it asked you something" in badge(auto)
    assert keys() == []


def test_a_function_of_the_cell_that_answers_in_the_user_s_place_stays(auto, monkeypatch):
    monkeypatch.setattr("builtins.input", "yes".format)
    cells = ["# awaitly: cache\nimport builtins\nbuiltins.input = lambda prompt='': 'no'", slow("answer = input('? ')")]
    for _ in range(2):
        for source in cells:
            auto.run(source)
        assert auto.ns["answer"] == "no"
        assert "it asked you something" not in badge(auto)
        monkeypatch.setattr("builtins.input", "yes".format)
    assert "from cache" in badge(auto)


def test_the_cheapest_seconds_per_byte_go_beyond_the_budget(auto, monkeypatch):
    monkeypatch.setenv("AWAITLY_NB_AUTO_BUDGET", "300kB")
    auto.run(slow("a = b'x' * 200_000"))
    auto.run(slow("b = b'y' * 200_000", seconds=1.4))
    (entry,) = create_disk_cache(config.cache_directory(), namespace="auto").entries()
    assert entry.step_id == "b"


def test_without_a_setting_the_budget_is_a_fifth_of_what_is_free(auto, monkeypatch):
    monkeypatch.setattr("shutil.disk_usage", lambda _: SimpleNamespace(free=1_500_000))
    auto.run(slow("a = b'x' * 200_000"))
    auto.run(slow("b = b'y' * 200_000", seconds=1.4))
    (entry,) = create_disk_cache(config.cache_directory(), namespace="auto").entries()
    assert entry.step_id == "b"


def test_what_is_slower_from_the_cache_runs_from_then_on(auto, monkeypatch):
    monkeypatch.setattr("awaitly_nb.notebook.auto._WORTH", 1e6)
    auto.run(slow("x = [1]", seconds=0.3))
    assert keys() == []
    assert "so it runs from now on" in badge(auto)
    auto.run(slow("x = [1]", seconds=0.3))
    assert mode_of(auto.ip).tally.session.computed == 1
    assert auto.displayed == []


def test_what_the_first_cell_of_a_process_waits_for_is_no_cost_of_its_own(auto, monkeypatch):
    mode, told = mode_of(auto.ip), Watched.told

    def slow_once(*arguments):  # as the folder is made, and modules are loaded
        monkeypatch.setattr(Watched, "told", told)
        Event().wait(0.4)
        return told(*arguments)

    monkeypatch.setattr(Watched, "told", slow_once)
    mode._cold = True
    auto.run(slow("x = [1]"))
    assert "stored" in badge(auto)
    monkeypatch.setattr(Watched, "told", slow_once)
    auto.run(slow("y = [1]"))
    assert "so it runs from now on" in badge(auto)
    told = plan(["import time\nfrom threading import Event", slow("x = [1]"), slow("y = [1]"), "z = sum(y)"], auto=True)
    assert [cell.state for cell in told.cells] == ["live", "hit", "live", "new"], told


def test_what_takes_as_long_to_load_as_to_run_runs_from_then_on(auto, monkeypatch):
    auto.run(slow("x = [1]"))
    accept = Cell._accept

    def slow_accept(*arguments):
        Event().wait(0.4)
        return accept(*arguments)

    monkeypatch.setattr(Cell, "_accept", slow_accept)
    auto.run(slow("x = [1]"))
    assert "from cache" in badge(auto)
    assert "so it runs from now on" in badge(auto)
    assert keys() == []
    for _ in range(2):
        auto.run(slow("x = [1]"))
        assert auto.displayed == []


def test_a_named_cell_keeps_its_own_word(auto):
    auto.run("%%awaitly mine\nx = sum([1, 2])")
    assert keys() == []
    auto.run("%%awaitly mine\nx = sum([1, 2])")
    assert badge(auto).startswith("from cache")


def test_off_is_off_and_the_status_sums_up(auto):
    auto.run(slow("x = [1, 2]"))
    auto.run(slow("x = [1, 2]"))
    status = mode_of(auto.ip).status()
    assert status.startswith("automatic mode is on: 1 from cache, 1 computed, ")
    auto.run("%awaitly auto off")
    auto.run(slow("y = [1, 2]"))
    assert len(keys()) == 1
    auto.attempt("%awaitly auto of")
    assert "did you mean" in auto.err


def test_reading_a_cell_is_not_running_it(auto):
    from awaitly_nb.notebook.body import transformed

    assert auto.ip.transform_cell("x = sum([1])") != "x = sum([1])\n"
    assert transformed(auto.ip, "x = sum([1])") == "x = sum([1])\n"


def test_a_plan_of_plain_cells(auto, tmp_path):
    cells = ["n = 3", slow("x = list(range(n))"), "y = sum(x)", slow("z = [y]")]
    for source in cells:
        auto.run(source)
    told = plan(["import time\nfrom threading import Event", *cells], auto=True)
    assert [cell.state for cell in told.cells] == ["live", "live", "hit", "live", "hit"], told
    assert "not worth it" in told.cells[3].reason
    assert [cell.state for cell in plan(["%awaitly auto", "!true"], auto=True).cells] == ["live", "live"]
    edited = plan(["import time\nfrom threading import Event", "n = 4", *cells[1:]], auto=True)
    assert [cell.state for cell in edited.cells] == ["live", "live", "run", "live", "depends"], edited


def test_a_traceback_names_the_cell_s_own_lines(auto):
    result = auto.attempt("a = sum([1])\nb = 2\n1 / 0")
    frames = []
    tb = result.error_in_exec.__traceback__
    while tb is not None:
        frames.append(tb)
        tb = tb.tb_next
    assert frames[-1].tb_lineno == 3


def test_the_totals_of_a_run_of_all_cells_are_shown_once_nothing_follows():
    shown = []

    async def run_all(cells):
        tally = Tally(shown.append)
        for hit in cells:
            tally.begin()
            if hit is not None:
                tally.looked_after(hit=hit, took_s=0.0, would_s=60.0)
            tally.end()
        began = asyncio.get_running_loop().time()
        while not shown and asyncio.get_running_loop().time() < began + 1.5:
            await asyncio.sleep(0.05)

    asyncio.run(run_all([True, True, False, None]))
    (totals,) = shown
    assert str(totals).startswith("2 from cache, 1 computed, 1 live: ")
    assert str(totals).endswith(" instead of 3 min")
    shown.clear()
    asyncio.run(run_all([True, None]))  # two cells are no run of all
    asyncio.run(run_all([None, None, None, None]))  # of which nothing is to be told
    assert shown == []


def test_the_history_holds_cells_as_they_were_typed(auto, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    auto.run("# awaitly: cache\nv = [1]")
    auto.run("# awaitly: cache\nw = In[-2]")
    assert auto.ns["w"] == "# awaitly: cache\nv = [1]"
    auto.run("%save -f typed.py 1-9999")
    assert "# awaitly: cache\nv = [1]\n" in (tmp_path / "typed.py").read_text()
    assert "run_cell_magic" not in (tmp_path / "typed.py").read_text()
    history = auto.ip.history_manager
    assert not [parsed for _, parsed, _ in history.db_input_cache if "run_cell_magic('awaitly'" in parsed]


@pytest.mark.parametrize(
    ("live", "edited", "read", "ends"),
    [
        ("import json; json.own_opt = 1", "import json; json.own_opt = 2", "x = json.own_opt * 10", (10, 20)),
        (
            "import json; json.JSONDecoder.own_n = 1",
            "import json; json.JSONDecoder.own_n = 2",
            "x = json.JSONDecoder().own_n",
            (1, 2),
        ),
        ("import json; setup(1)", "import json; setup(2)", "x = json.own_level", (1, 2)),
    ],
)
def test_what_a_live_cell_sets_on_a_library_is_an_input_of_those_after_it(auto, live, edited, read, ends):
    auto.run("import json\ndef setup(n): json.own_level = n")
    for source, end in zip((live, live, edited, live), (ends[0], *ends, ends[0]), strict=True):
        auto.run(f"# awaitly: live\n{source}")
        auto.run(f"# awaitly: cache\n{read}")
        assert auto.ns["x"] == end
    auto.run(f"# awaitly: live\n{live}")
    auto.run(f"# awaitly: cache\n{read}")
    assert badge(auto).startswith("x: from cache")
    auto.run("# awaitly: live\nfor name in ('own_opt', 'own_level'): vars(json).pop(name, None)")


def test_what_a_fast_cell_sets_on_a_library_is_an_input_too(auto):
    for n in (1, 1, 2, 1):
        auto.run(f"import json\nlog = []; json.own_fast = {n}")
        auto.run("# awaitly: cache\nx = json.own_fast * 10")
        assert auto.ns["x"] == n * 10
    auto.run("# awaitly: live\ndel json.own_fast")


def test_a_value_is_shown_as_the_live_cell_before_says(auto):
    for digits, text in (("2", "3.14"), ("2", "3.14"), ("4", "3.1416"), ("2", "3.14")):
        auto.run(f"%precision {digits}")
        auto.run("# awaitly: cache\n3.14159265")
        assert text in auto.out.split()
    auto.run("%precision")
