"""The package as a whole: exactly the public names, and an import that is light."""

from __future__ import annotations

import statistics
import subprocess
import sys

import pytest

import awaitly_nb as aw

PUBLIC = {
    # steps and workflows
    *(
        "step",
        "create_workflow",
        "Workflow",
        "panel",
        "plan",
        "configure",
        "file",
        "register_key",
        "register_state",
        "Retry",
    ),
    *("Stored", "recent_runs"),
    # results
    *("Ok", "Err", "Result", "ok", "err"),
    # caches
    *("create_disk_cache", "create_memory_cache", "create_shared_cache", "StepCache", "Entry"),
    # resume state and stores
    *("create_resume_state_collector", "ResumeState", "StateStore", "StepEntry", "is_step_complete"),
    *("open_store", "sqlite", "postgres", "mongo", "libsql", "redis", "objects"),
    # what people catch
    *("AwaitlyError", "AwaitlyWarning", "MisuseError", "UnexpectedError", "UnkeyableError", "StepTimeoutError"),
    "LeaseHeldError",
    # modules
    *("errors", "events"),
    # notebook
    *("load_ipython_extension", "unload_ipython_extension"),
}


def fresh(code):
    """Run `code` in a new interpreter, and return what it prints."""
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, timeout=120, check=True)
    return done.stdout.strip()


def test_all_is_exactly_the_public_surface_and_small():
    assert set(aw.__all__) == PUBLIC
    assert len(aw.__all__) == len(set(aw.__all__)) <= 45
    assert list(aw.__all__) == sorted(aw.__all__)


@pytest.mark.parametrize("module", ["errors", "events"])
def test_errors_and_events_are_modules_of_the_root_on_first_use(module):
    assert fresh(f"import awaitly_nb as aw, types; print(isinstance(aw.{module}, types.ModuleType))") == "True"


def test_every_error_and_warning_is_in_the_errors_module_and_says_so_at_the_root():
    tree = {cls for cls in vars(aw.errors).values() if isinstance(cls, type) and not cls.__name__.startswith("_")}
    tree = {cls for cls in tree if issubclass(cls, aw.AwaitlyError | aw.AwaitlyWarning)}
    assert {cls.__name__ for cls in tree} == set(aw.errors.__all__)
    with pytest.raises(AttributeError, match="it is in awaitly_nb.errors"):
        aw.UncachedWarning  # noqa: B018


def test_events_match_by_their_class_names():
    heard = []
    workflow = aw.create_workflow("w", cache={}, on_event=heard.append)
    for _ in range(2):
        workflow.run_sync(lambda ctx: ctx.step("a", lambda: 1, key="a"))
    told = []
    for event in heard:
        match event:
            case aw.events.StepCacheHit(step_key=key) | aw.events.StepCacheMiss(step_key=key):
                told.append((event.type, key))
    assert told == [("step_cache_miss", "a"), ("step_cache_hit", "a")]


@pytest.mark.parametrize("name", sorted(PUBLIC))
def test_every_public_name_is_there_and_documented(name):
    value = getattr(aw, name)
    assert name == "Result" or value.__doc__  # an alias of a union has none
    assert name in dir(aw)


def test_a_name_that_is_not_there_is_an_attribute_error():
    with pytest.raises(AttributeError, match="no_such_name"):
        aw.no_such_name  # noqa: B018


def test_star_import_gives_every_public_name():
    names = fresh("from awaitly_nb import *; print(*[n for n in dir()])").split()
    assert set(names) >= PUBLIC


@pytest.mark.parametrize("heavy", ["IPython", "ipywidgets", "anywidget", "numpy", "pandas", "pyarrow", "asyncio"])
def test_importing_the_package_loads_nothing_heavy(heavy):
    code = f"import sys; before = {heavy!r} in sys.modules; import awaitly_nb; print(before, {heavy!r} in sys.modules)"
    assert fresh(code) == "False False"


def test_importing_takes_at_most_three_times_as_long_as_importing_diskcache():
    code = "import time; t = time.perf_counter(); import {}; print(time.perf_counter() - t)"
    times = {"awaitly_nb": [], "diskcache": []}
    for _ in range(9):  # interleaved, so that whatever slows the machine slows both
        for name, seconds in times.items():
            seconds.append(float(fresh(code.format(name))))
    ours, theirs = (statistics.median(seconds) for seconds in times.values())
    assert ours <= 3 * theirs, times


def test_the_version_is_the_distributions():
    from importlib.metadata import version

    assert aw.__version__ == version("awaitly-nb")


def test_the_testing_package_has_every_suite_and_loads_none_of_them_unasked():
    from awaitly_nb import testing

    assert all(getattr(testing, name).__doc__ for name in testing.__all__)
    with pytest.raises(AttributeError, match="no_such_suite"):
        testing.no_such_suite  # noqa: B018
    assert fresh("import sys, awaitly_nb.testing; print('pytest' in sys.modules)") == "False"
