"""Settings of libraries: which a run used, noticed where it read them, and compared before a hit."""

from __future__ import annotations

import decimal
import json
import pickle
import subprocess
import sys
import textwrap

import matplotlib as mpl
import numpy as np
import pandas as pd
import polars as pl
import pytest
import sklearn
from sklearn.preprocessing import StandardScaler

from awaitly_nb.keys import LIBRARY_SETTINGS, apply_traces, begin_traces, changed_traces, end_traces
from awaitly_nb.keys.settings import LibrarySettings, SklearnSettings


def used_by(act):
    begun = begin_traces()
    try:
        act()
    finally:
        found = end_traces(begun) or {}
    assert json.loads(json.dumps(found)) == found
    return {"settings": found["settings"]} if "settings" in found else None


def all_settings():
    return [(settings, settings.read()) for settings in LIBRARY_SETTINGS]


def restore(before):
    for settings, values in before:
        now = settings.read()
        settings.write({name: value for name, value in values.items() if now[name] != value})


@pytest.fixture(autouse=True)
def as_found():
    """Leave every setting as it was, and begin without marks of earlier decimals."""
    before = all_settings()
    decimal.getcontext().clear_flags()
    yield
    restore(before)


def draw_figure():
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.figure import Figure

    figure = Figure()
    figure.subplots().plot([1, 2])
    FigureCanvasAgg(figure).draw()


def fit():
    StandardScaler().fit_transform(pd.DataFrame({"a": [1.0, 2.0]}))


FRAME = pd.DataFrame({"a": [1.5]})

# What uses settings, a change that it notices, and one that it does not.
USES = {
    "figure": (
        draw_figure,
        lambda: mpl.rcParams.update({"figure.figsize": [3, 2]}),
        lambda: mpl.rcParams.update({"savefig.bbox": "tight"}),
    ),
    "one parameter": (
        lambda: mpl.rcParams["lines.color"],
        lambda: mpl.rcParams.update({"lines.color": "red"}),
        lambda: mpl.rcParams.update({"lines.linewidth": 7}),
    ),
    "frame as text": (
        lambda: repr(FRAME),
        lambda: pd.set_option("display.precision", 2),
        lambda: pd.set_option("styler.format.precision", 2),
    ),
    "frame as HTML": (
        lambda: FRAME._repr_html_(),
        lambda: pd.set_option("display.max_rows", 2),
        lambda: pd.set_option("plotting.backend", "matplotlib"),
    ),
    "array as text": (
        lambda: str(np.array([1.5])),
        lambda: np.set_printoptions(precision=2),
        lambda: pd.set_option("display.precision", 2),
    ),
    "array with a formatter": (
        lambda: repr(np.array([1])),
        lambda: np.set_printoptions(formatter={"int": hex}),
        lambda: np.set_printoptions(formatter=None),
    ),
    "polars as text": (
        lambda: str(pl.DataFrame({"a": [1]})),
        lambda: pl.Config.set_tbl_rows(2),
        lambda: pd.set_option("display.precision", 2),
    ),
    "polars series": (
        lambda: repr(pl.Series([1.5])),
        lambda: pl.Config.set_float_precision(2),
        lambda: np.set_printoptions(precision=2),
    ),
    "estimator": (
        fit,
        lambda: sklearn.set_config(transform_output="pandas"),
        lambda: np.set_printoptions(precision=2),
    ),
    "rounded decimal": (
        lambda: decimal.Decimal(1) / 3,
        lambda: setattr(decimal.getcontext(), "prec", 5),
        lambda: np.set_printoptions(precision=2),
    ),
}


@pytest.mark.parametrize("use", USES)
def test_a_setting_that_was_used_is_compared_and_no_other(use):
    act, noticed, unnoticed = USES[use]
    used = used_by(act)
    assert changed_traces(used) is None
    unnoticed()
    assert changed_traces(used) is None
    noticed()
    assert "differs" in changed_traces(used)


@pytest.mark.parametrize("use", USES)
def test_a_setting_that_differs_from_the_default_is_compared_too(use):
    act, noticed, _ = USES[use]
    before = all_settings()
    noticed()
    used = used_by(act)
    assert changed_traces(used) is None
    restore(before)
    assert "differs" in changed_traces(used)


@pytest.mark.parametrize("use", USES)
def test_setting_is_not_using(use):
    _, noticed, _ = USES[use]
    assert used_by(noticed) is None


def test_what_the_run_sets_before_it_uses_it_is_no_input():
    def run():
        pd.set_option("display.precision", 3)
        mpl.rcParams["lines.color"] = "green"
        mpl.rcParams["lines.color"]
        pd.get_option("display.precision")

    assert used_by(run) is None


def test_what_is_used_under_a_context_and_again_without_it_is_an_input():
    def run():
        with mpl.rc_context({"lines.color": "green"}):
            mpl.rcParams["lines.color"]
        mpl.rcParams["lines.color"]

    used = used_by(run)
    mpl.rcParams["lines.color"] = "red"
    assert changed_traces(used) == "plot settings: lines.color differs"


def test_a_list_that_was_changed_in_place_differs():
    used = used_by(lambda: mpl.rcParams["font.sans-serif"])
    mpl.rcParams["font.sans-serif"].insert(0, "Mine")
    try:
        assert changed_traces(used) == "plot settings: font.sans-serif differs"
    finally:
        mpl.rcParams["font.sans-serif"].remove("Mine")


def test_an_exact_decimal_uses_nothing():
    assert used_by(lambda: decimal.Decimal(1) + 2) is None


def test_a_run_reads_the_marks_of_the_context_as_they_are_and_they_stay():
    context = decimal.getcontext()
    context.flags[decimal.Inexact] = True
    seen = []
    # A mark that is set is not set again, so a result may have been rounded.
    assert used_by(lambda: seen.append(context.flags[decimal.Inexact])) is not None
    assert seen == [True]
    assert context.flags[decimal.Inexact]
    context.clear_flags()
    used_by(lambda: decimal.Decimal(1) / 3)
    assert context.flags[decimal.Inexact]


def test_a_hit_counts_for_the_run_around_it():
    used = used_by(lambda: repr(FRAME))
    outer = used_by(lambda: apply_traces(used))
    pd.set_option("display.precision", 2)
    assert "display.precision differs" in changed_traces(outer)


def test_a_run_inside_another_counts_for_both():
    inner = []
    outer = used_by(lambda: inner.append(used_by(lambda: repr(FRAME))))
    assert outer == inner[0]


def test_nothing_is_left_behind_after_a_run():
    plain, function = type(mpl.rcParams), np._core.arrayprint._array2string
    text = pl.DataFrame.__str__
    used_by(draw_figure)
    assert type(mpl.rcParams) is plain
    assert np._core.arrayprint._array2string is function
    assert pl.DataFrame.__str__ is text


def test_parameters_are_plain_for_whoever_copies_or_pickles_them_in_a_run():
    kinds = []

    def run():
        kinds.append(type(mpl.rcParams).__name__)
        kinds.append(type(pickle.loads(pickle.dumps(mpl.rcParams))))

    used_by(run)
    assert kinds == ["RcParams", dict]


def test_the_options_of_pandas_work_as_before():
    used_by(lambda: repr(FRAME))
    with pd.option_context("display.precision", 1):
        assert pd.options.display.precision == 1
        assert pd.get_option("display.precision") == 1
    assert pd.options.display.precision == 6


def test_importing_a_library_is_not_using_settings():
    code = """
        from awaitly_nb.keys import begin_traces, end_traces
        begun = begin_traces()
        import matplotlib.pyplot, pandas, scipy.stats, sklearn.linear_model
        print("settings" in (end_traces(begun) or {}))
    """
    done = subprocess.run(
        [sys.executable, "-c", textwrap.dedent(code)], capture_output=True, text=True, check=False, cwd="/"
    )
    assert done.stdout == "False\n", done.stderr


def test_a_library_that_the_run_imports_is_noticed_from_then_on():
    code = """
        from awaitly_nb.keys import begin_traces, changed_traces, end_traces
        begun = begin_traces()
        import pandas as pd
        repr(pd.DataFrame({"a": [1.5]}))
        used = {"settings": end_traces(begun)["settings"]}
        assert changed_traces(used) is None
        pd.set_option("display.precision", 2)
        print(changed_traces(used))
    """
    done = subprocess.run([sys.executable, "-c", textwrap.dedent(code)], capture_output=True, text=True, check=False)
    assert done.stdout == "pandas options: display.precision differs\n", done.stderr


def test_a_library_that_asks_for_all_its_settings_again_and_again_is_heard_once_a_run(monkeypatch):
    settings, heard = SklearnSettings(), []

    def note(self, names=None):
        heard.append(names)
        LibrarySettings.note(self, names)

    monkeypatch.setattr(SklearnSettings, "note", note)
    for _ in range(2):
        run = settings.begin()
        sklearn.get_config()
        sklearn.get_config()
        used = settings.end(run)
        assert used is not None
        assert settings.difference(used) is None
    assert heard == [None, None]


def test_a_mark_of_the_decimal_context_that_was_set_is_to_be_set_again():
    context = decimal.getcontext()
    before = context.copy()
    try:
        context.clear_flags()
        first = used_by(lambda: decimal.Decimal(1) / 3)
        context.flags[decimal.Rounded] = True
        assert changed_traces(first) is None, "what it found unset it leaves set, whoever has set it before"
        again = used_by(lambda: decimal.Decimal(1) / 3)
        assert changed_traces(again) is None
        context.clear_flags()
        assert "mark" in changed_traces(again)
    finally:
        decimal.setcontext(before)
