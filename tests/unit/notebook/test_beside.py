"""Threads and interrupts: what happens beside a cell while it runs is no part of it, so the cell is not stored."""

import signal
import threading
from multiprocessing.pool import ThreadPool

import pytest

from awaitly_nb.cache.folder import forget_folders
from awaitly_nb.interrupts import noticed
from awaitly_nb.notebook.ledger import running_beside


@pytest.fixture
def going():
    """An event that ends the threads of a test."""
    import builtins

    builtins.going = event = threading.Event()
    yield event
    event.set()
    del builtins.going


START = "import threading\ndef work():\n    going.wait(60)\n    seen.append(1)\n"


def test_a_cell_that_leaves_a_thread_running_is_not_stored(shell, going):
    shell.run("seen = []")
    shell.run(f"%%awaitly a\n{START}threading.Thread(target=work, name='own').start()")
    assert "not stored: the thread own runs beside it" in shell.badge
    going.set()
    shell.run("for t in threading.enumerate():\n    if t.name == 'own': t.join()")
    shell.run("%%awaitly b\nn = len(seen)")
    assert (shell.ns["n"], "stored" in shell.badge) == (1, True)


@pytest.mark.parametrize(
    "start",
    [
        "t = threading.Thread(target=work)",
        "t = threading.Thread(target=work, daemon=True)",
        "t = threading.Timer(60, print)\nt.daemon = True",
        "class Own(threading.Thread):\n    def run(self): going.wait(60)\nt = Own()",
        "t = threading.Thread(target=lambda: work())",
    ],
)
def test_beside_a_thread_of_the_users_no_cell_is_stored_and_none_is_served(shell, going, start):
    shell.run(f"seen = []\n{START}{start}")
    shell.run("%%awaitly a\nx = 1")
    shell.forget()
    shell.run(f"seen = []\n{START}{start}\nt.start()")
    shell.run("%%awaitly a\nx = 1")
    assert "runs beside it" in shell.badge
    assert not shell.badge.startswith("from cache")
    going.set()
    shell.run("t.cancel() if hasattr(t, 'cancel') else None\nt.join()")
    shell.run("%%awaitly a\nx = 1")
    assert shell.badge.startswith("from cache")


def test_to_look_at_threads_holds_nothing_of_the_cell(shell, going):
    shell.run(f"import gc, weakref\ngc.disable()\nclass K: pass\nk = K()\nw = weakref.ref(k)\nseen = []\n{START}")
    shell.run("t = threading.Thread(target=work)\nt.start()")
    shell.run("%%awaitly a\ndel k")
    shell.run("gone = w() is None\ngc.enable()\ngoing.set()\nt.join()")
    assert shell.ns["gone"]


def test_a_pool_that_waits_for_work_is_nobodys(shell, going):
    shell.run(
        "from concurrent.futures import ThreadPoolExecutor\npool = ThreadPoolExecutor(1)\n_ = pool.submit(abs, 1)"
    )
    shell.run("%%awaitly a\nx = 1")
    assert ", stored" in shell.badge
    shell.run("def work(): going.wait(60)\nf = pool.submit(work)")
    while not running_beside():
        pass  # until the worker has taken it
    shell.run("%%awaitly b\nx = 2")
    assert "not stored" in shell.badge
    going.set()
    shell.run("f.result()")
    while running_beside():
        pass
    going.clear()
    shell.run("fs = [pool.submit(going.wait, 60) for _ in range(2)]")  # one runs, in code of a library, and one waits
    shell.run("%%awaitly c\nx = 3")
    assert "not stored" in shell.badge
    going.set()
    shell.run("pool.shutdown()")


def test_a_cell_that_was_interrupted_and_went_on_is_not_stored(shell):
    for _ in range(2):
        shell.run(
            "%%awaitly a\nimport signal\ntry:\n    signal.raise_signal(signal.SIGINT)\n    n = 2\n"
            "except KeyboardInterrupt:\n    n = 1"
        )
        assert shell.ns["n"] == 1
        assert "not stored: it was interrupted, and went on" in shell.badge


def test_an_interrupt_is_noticed_where_it_is_caught_and_the_handler_is_as_it_was():
    before = signal.getsignal(signal.SIGINT)
    with noticed() as stop:
        assert signal.getsignal(signal.SIGINT) is before
        with pytest.raises(KeyboardInterrupt):
            signal.raise_signal(signal.SIGINT)
    assert stop.pressed
    with noticed() as stop:
        pass
    assert not stop.pressed
    assert signal.set_wakeup_fd(-1) == -1


def test_no_interrupt_is_noticed_outside_of_the_main_thread():
    found = []

    def work():
        with noticed() as stop:
            found.append(stop.pressed)

    thread = threading.Thread(target=work)
    thread.start()
    thread.join()
    assert found == [False]


def test_a_timer_of_this_package_and_the_threads_of_an_idle_pool_are_nobodys():
    before = set(threading.enumerate())
    ours, theirs = threading.Timer(60, forget_folders), threading.Timer(60, print)
    try:
        with ThreadPool(1):  # it is seen to by threads that call its private functions
            ours.start()
            assert running_beside(before) == ""
            theirs.start()
            assert "runs beside it" in running_beside(before)
    finally:
        for timer in (ours, theirs):
            timer.cancel()
            timer.join()
