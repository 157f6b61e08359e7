"""An interrupt at each place of a run where the interpreter takes one: no lock, no lease and no flight stays behind.

CPython looks for signals when a function begins and when a call has returned. A run is made once to count these places
in this package, then again and again with a SIGINT at one of them.
"""

from __future__ import annotations

import inspect
import signal
import sys
import threading
from pathlib import Path

import pytest

import awaitly_nb as aw
from awaitly_nb.cache.folder import forget_folders
from awaitly_nb.locks import FLIGHTS
from tests.faults.counts import count

pytestmark = [
    pytest.mark.skipif(sys.platform == "win32", reason="sends SIGINT"),
    pytest.mark.skipif(sys.gettrace() is not None, reason="measures coverage with the same hook"),
    pytest.mark.slow,
]

PLACES = count(sample=25, whole=1_000_000)
PACKAGE = str(Path(aw.__file__).parent)
EVENTS = {"call", "return", "c_return"}


class Places:
    """Counts places, and interrupts at one of them."""

    def __init__(self, at=0):
        self.seen = 0
        self.at = at

    def __enter__(self):
        sys.setprofile(self._note)
        return self

    def __exit__(self, *_):
        sys.setprofile(None)

    def _note(self, frame, event, _arg):
        yields = event == "return" and frame.f_code.co_flags & inspect.CO_GENERATOR  # no place for a signal
        if event in EVENTS and frame.f_code.co_filename.startswith(PACKAGE) and not yields:
            self.seen += 1
            if self.seen == self.at:
                sys.setprofile(None)
                signal.raise_signal(signal.SIGINT)


def in_folder(folder):
    cache = aw.create_disk_cache(folder / "cache", namespace="w")
    workflow = aw.create_workflow("w", cache=cache)

    def run(key):
        return workflow.run_sync(lambda ctx: ctx.step("s", lambda: key, key=key)).unwrap()

    def is_free(key):
        flight = cache.single_flight(key)
        assert flight.try_acquire(), f"{key} is still held by {flight.holder()}"
        flight.release()

    return run, is_free


def decorated(folder):
    cache = aw.create_disk_cache(folder / "cache", namespace="w")
    _, is_free = in_folder(folder)

    @aw.step(key="{key}", cache=cache)
    def s(key):
        return key

    return s, is_free


def shared(folder):
    before = set(threading.enumerate())  # other tests leave theirs
    cache = aw.create_shared_cache(aw.sqlite(folder / "shared.db"))
    workflow = aw.create_workflow("w", cache=cache)

    def run(key):
        return workflow.run_sync(lambda ctx: ctx.step("s", lambda: key, key=key)).unwrap()

    def is_free(key):
        for thread in set(threading.enumerate()) - before:
            if thread.name == "awaitly_nb lease":
                thread.join(20)
                assert not thread.is_alive(), "a lease is renewed for ever"
        flight = cache.single_flight(key)
        assert flight.try_acquire(), f"{key} is still held by {flight.holder()}"
        flight.release()

    return run, is_free


def stored(folder):
    store = aw.sqlite(folder / "runs.db")
    workflow = aw.create_workflow("w", cache=None)

    def run(key):
        return workflow.run_sync(lambda ctx: ctx.step("s", lambda: key, key=key), store=store, id=key).unwrap()

    def is_free(key):
        assert store.blocking.holder(key) is None

    return run, is_free


@pytest.mark.timeout(900)
@pytest.mark.parametrize("kind", [in_folder, decorated, shared, stored], ids=lambda kind: kind.__name__)
def test_nothing_stays_held(tmp_path, kind):
    run, is_free = kind(tmp_path)
    run("warm")
    with Places() as places:
        run("counted")
    assert places.seen > 100
    step = max(1, places.seen // PLACES)
    previous = signal.signal(signal.SIGINT, signal.default_int_handler)
    interrupted = 0
    try:
        for at in range(1, places.seen + 1, step):
            key = f"key {at}"
            try:
                with Places(at):
                    run(key)
            except KeyboardInterrupt:
                interrupted += 1
            assert not FLIGHTS._flights, f"at {at}"
            is_free(key)
            assert run(key) == key
            # The handler is the one of before, so that the next interrupt comes through.
            assert signal.getsignal(signal.SIGINT) is signal.default_int_handler
    finally:
        signal.signal(signal.SIGINT, previous)
        forget_folders()
    print(kind.__name__, interrupted, "interrupts at", places.seen, "places")
    assert interrupted > places.seen // step // 2
