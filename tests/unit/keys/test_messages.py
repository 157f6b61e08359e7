"""What a run's messages depend on: filters of warnings, and loggers as the run found them."""

import logging
import re
import warnings

import pytest

from awaitly_nb.keys import begin_traces, changed_traces, end_traces


@pytest.fixture(autouse=True)
def _loggers_as_they_were():
    root = logging.root
    level, handlers = root.level, root.handlers[:]
    yield
    root.setLevel(level)
    root.handlers[:] = handlers
    logging.getLogger("awaitly test").setLevel(logging.NOTSET)


def used_by(run):
    begun = begin_traces()
    try:
        run()
    finally:
        found = end_traces(begun) or {}
    return found


def warn_late():
    warnings.warn("old", DeprecationWarning, stacklevel=1)


@pytest.mark.parametrize("module", [__name__, re.compile(re.escape(__name__)), None], ids=["text", "pattern", "any"])
def test_a_filter_of_plain_text_as_the_interpreter_begins_with_is_one_more_filter(module):
    with warnings.catch_warnings():
        warnings.filters[:] = [("ignore", None, DeprecationWarning, None, 0), ("default", None, Warning, module, 0)]
        used = used_by(warn_late)
        assert changed_traces(used) is None
        warnings.filters[:] = [("default", None, DeprecationWarning, module, 0)]
        assert changed_traces(used) == "the filters of warnings differ for DeprecationWarning"


def test_a_filter_of_plain_text_matches_that_module_alone():
    with warnings.catch_warnings():
        warnings.filters[:] = [("ignore", None, DeprecationWarning, __name__, 0), ("always", None, Warning, None, 0)]
        used = used_by(warn_late)
        warnings.filters[:] = [("ignore", None, DeprecationWarning, "__main__", 0), ("always", None, Warning, None, 0)]
        assert changed_traces(used) == "the filters of warnings differ for DeprecationWarning"


def test_what_a_run_sets_before_it_logs_is_no_input():
    logging.root.handlers[:] = []

    def run():
        logging.root.addHandler(logging.NullHandler())
        logging.root.setLevel(logging.INFO)
        logging.getLogger("awaitly test").info("ready")

    used = used_by(run)
    logging.root.handlers[:] = []
    logging.root.setLevel(logging.WARNING)
    assert changed_traces(used) is None


def test_a_level_that_was_set_before_the_run_is_an_input():
    logging.getLogger("awaitly test").setLevel(logging.INFO)
    used = used_by(lambda: logging.getLogger("awaitly test").info("ready"))
    assert changed_traces(used) is None
    logging.getLogger("awaitly test").setLevel(logging.ERROR)
    assert changed_traces(used) == "the level or the handlers of logger awaitly test differ"
