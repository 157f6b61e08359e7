"""Fixtures for every test: a home of its own, caches of each kind, and bodies that run as `async def` and as `def`.

A case is written once, as a generator that yields what `ctx.step` returns::

    def body(ctx):
        user = yield ctx.step("fetch_user", ctx.deps.fetch_user, "1", key="user:1")
        return user

`mode.run` awaits what is yielded in an `async def` body, and hands it straight back in a plain one.
"""

from __future__ import annotations

import asyncio
import contextlib
import functools
import inspect
import os
import threading
import time
import warnings
from datetime import timedelta
from pathlib import Path

import pytest

import awaitly_nb as aw
from awaitly_nb import config
from awaitly_nb.frozen import replace
from awaitly_nb.result import mark_of, with_mark
from awaitly_nb.testing import FakeClock


class _Module(pytest.Module):
    """A module of tests that is skipped, and not an error, where a package of an extra is not installed."""

    def collect(self):
        try:
            return super().collect()
        except self.CollectError as exc:
            missing = getattr(exc.__cause__, "name", None) or ""
            if missing.partition(".")[0] in {"", "awaitly_nb", "tests"}:
                raise
            pytest.skip(f"needs {missing}: pip install -e '.[all,test]'", allow_module_level=True)


def pytest_pycollect_makemodule(module_path, parent):
    """Collect each module so that what is not installed is told in one line."""
    return _Module.from_parent(parent, path=module_path)


@pytest.fixture(scope="session", autouse=True)
def _own_home(tmp_path_factory):
    """Give the whole session, and each process it starts, a home and configuration that are not the user's."""
    home = tmp_path_factory.mktemp("home")
    with pytest.MonkeyPatch.context() as patch:
        # Matplotlib takes seconds to list the fonts, so it keeps its list where it was.
        patch.setenv("MPLCONFIGDIR", os.environ.get("MPLCONFIGDIR", str(Path("~/.cache/matplotlib").expanduser())))
        for name in [name for name in os.environ if name.startswith(("AWAITLY_NB_", "XDG_", "JUPYTER_", "IPYTHON"))]:
            patch.delenv(name)
        for name, folder in {"HOME": home, "USERPROFILE": home, "IPYTHONDIR": home / ".ipython"}.items():
            patch.setenv(name, str(folder))
        yield


@pytest.fixture(autouse=True)
def _own_settings(tmp_path_factory, monkeypatch, _own_home):
    """Give each test settings of its own, and a default cache folder outside its `tmp_path`."""
    monkeypatch.setattr(config, "_configured", {})
    folder = tmp_path_factory.mktemp("default-cache") / ".awaitly"
    monkeypatch.setenv("AWAITLY_NB_CACHE_DIR", str(folder))


class Calls(list):
    """Notes of calls. They are no input of the function that makes them; under an automatic key a list would be one."""

    def __awaitly_key__(self):
        return "calls"


class Mode:
    """Runs a case as an `async def` body under `asyncio.run`, or as a plain body under `run_sync`."""

    def __init__(self, name):
        self.name = name
        self.is_async = name == "async"

    def __repr__(self):
        return self.name

    def body(self, steps):
        """Return a body of this mode that takes the steps that the generator function `steps` yields."""
        return _async_body(steps) if self.is_async else _plain_body(steps)

    def run(self, workflow, steps, **options):
        if self.is_async:
            return asyncio.run(workflow.run(self.body(steps), **options))
        return workflow.run_sync(self.body(steps), **options)

    def run_with_state(self, workflow, steps, **options):
        return asyncio.run(workflow.run_with_state(self.body(steps), **options))

    def counted(self, fn):
        """Return `fn` as a function of this mode that notes the arguments of each call in `.calls`."""
        calls = Calls()
        if self.is_async:

            @functools.wraps(fn)
            async def wrapper(*args, **kwargs):
                calls.append(args)
                return fn(*args, **kwargs)
        else:

            @functools.wraps(fn)
            def wrapper(*args, **kwargs):
                calls.append(args)
                return fn(*args, **kwargs)

        wrapper.calls = calls
        return wrapper


def _plain_body(steps):
    def body(ctx):
        generator = steps(ctx)
        if not inspect.isgenerator(generator):
            return generator
        value = None
        while True:
            try:
                value = generator.send(value)
            except StopIteration as stop:
                return stop.value

    return body


def _async_body(steps):
    async def body(ctx):
        generator = steps(ctx)
        if not inspect.isgenerator(generator):
            return generator
        resume = functools.partial(next, generator)
        while True:
            try:
                pending = resume()
            except StopIteration as stop:
                return stop.value
            try:
                value = await pending
            except BaseException as exc:  # the case under test decides what becomes of it
                resume = functools.partial(generator.throw, exc)
            else:
                resume = functools.partial(generator.send, value)

    return body


@pytest.fixture(params=["async", "plain"])
def mode(request):
    """The two kinds of body: `async def` and `def`."""
    return Mode(request.param)


@pytest.fixture
def plain():
    """Bodies that are plain functions, for the cases that only they have."""
    return Mode("plain")


@pytest.fixture(params=["dict", "memory", "disk"])
def cache_kind(request):
    """The three kinds of cache that every case about caches runs on."""
    return request.param


@pytest.fixture
def new_cache(cache_kind, tmp_path):
    """A factory of empty caches of this kind, independent of each other."""
    count = iter(range(1000))

    def new():
        match cache_kind:
            case "dict":
                return {}
            case "memory":
                return aw.create_memory_cache()
            case _:
                return aw.create_disk_cache(tmp_path / f"cache-{next(count)}")

    return new


@pytest.fixture
def cache(new_cache):
    """An empty cache of each kind in turn."""
    return new_cache()


def _forget(cache, key):
    if isinstance(cache, dict):
        del cache[key]
    else:
        assert cache.delete(key) is True


@pytest.fixture
def forget():
    """`forget(cache, key)` removes a key that is there, whatever kind of cache it is in."""
    return _forget


class AgingCache:
    """A cache of each kind whose entries get older when they are told to."""

    def __init__(self, kind, folder, clock):
        self._clock = clock
        match kind:
            case "dict":
                self.cache = {}
            case "memory":
                self.cache = aw.create_memory_cache(clock=clock)
            case _:
                self.cache = aw.create_disk_cache(folder, clock=clock)

    def wait(self, seconds):
        """Let `seconds` pass. A mapping has no clock of its own, so there each entry's birth is moved back."""
        self._clock.advance(seconds)
        if isinstance(self.cache, dict):
            for key, kept in self.cache.items():
                mark = mark_of(kept)
                self.cache[key] = with_mark(kept, replace(mark, at=mark.at - timedelta(seconds=seconds)))


@pytest.fixture
def aging(cache_kind, tmp_path, clock):
    """A cache of each kind in turn, as `aging.cache`, and `aging.wait(seconds)` to let time pass."""
    return AgingCache(cache_kind, tmp_path / "aging", clock)


class Recorder:
    """A listener that keeps every event."""

    def __init__(self):
        self.events = []
        self._lock = threading.Lock()

    def __call__(self, event):
        with self._lock:
            self.events.append(event)

    def types(self, step_id=None):
        """Types of all events in order, or of one step's."""
        return [e.type for e in self.events if step_id is None or getattr(e, "step_id", None) == step_id]

    def of(self, kind):
        """The events of one type."""
        return [e for e in self.events if e.type == kind]

    def clear(self):
        self.events.clear()


@pytest.fixture
def recorder():
    """A listener that keeps every event."""
    return Recorder()


@pytest.fixture
def clock():
    """A clock to turn by hand, which starts at the present."""
    return FakeClock(at=time.time())


@pytest.fixture
def tolerate():
    """`with tolerate(SomeWarning):` for warnings that may come but are not what the test is about."""

    @contextlib.contextmanager
    def tolerating(*categories):
        with warnings.catch_warnings():
            for category in categories:
                warnings.simplefilter("ignore", category)
            yield

    return tolerating


@pytest.fixture
def turns():
    """`await turns(n)` lets every other task of the loop run `n` times."""

    async def let_others_run(count=20):
        loop = asyncio.get_running_loop()
        for _ in range(count):
            turn = loop.create_future()
            loop.call_soon(turn.set_result, None)
            await turn

    return let_others_run
