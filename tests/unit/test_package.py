"""The package as a whole: exactly the public names, and an import that is light."""

from __future__ import annotations

import statistics
import subprocess
import sys

import pytest

import awaitly_nb as aw

PUBLIC = {
    # results
    *("Ok", "Err", "Result", "ok", "err"),
    # workflows and steps
    *("create_workflow", "Workflow", "step", "Retry", "recent_runs"),
    # caches, settings, keys
    *("create_disk_cache", "create_memory_cache", "create_shared_cache", "StepCache", "Entry", "Stored"),
    *("configure", "file", "register_key", "register_state"),
    # resume state and stores
    *("ResumeState", "StepEntry", "StateStore", "create_resume_state_collector"),
    *("open_store", "sqlite", "postgres", "mongo", "libsql", "redis", "objects"),
    # guards of events
    *("is_workflow_start", "is_workflow_success", "is_workflow_error", "is_workflow_cancelled"),
    *("is_step_start", "is_step_success", "is_step_error", "is_step_complete", "is_step_retry"),
    *("is_step_cache_hit", "is_step_cache_miss", "is_step_waiting", "is_persist_error"),
    # notebook
    *("panel", "plan", "load_ipython_extension", "unload_ipython_extension"),
}


def fresh(code):
    """Run `code` in a new interpreter, and return what it prints."""
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, timeout=120, check=True)
    return done.stdout.strip()


def test_all_is_exactly_the_public_surface():
    from awaitly_nb import errors

    assert set(aw.__all__) - set(errors.__all__) == PUBLIC
    assert set(errors.__all__) <= set(aw.__all__)
    assert len(aw.__all__) == len(set(aw.__all__))
    assert list(aw.__all__) == sorted(aw.__all__)


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
