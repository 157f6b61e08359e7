"""What the battery cannot show of library values: memory, refusals with a column, panics, arrays of other libraries."""

import copyreg
import subprocess
import sys
import threading

import numpy as np
import pandas as pd
import pytest

from awaitly_nb.errors import UnkeyableError
from awaitly_nb.keys import fingerprint
from tests.unit.counted_calls import calls_of


def test_no_library_is_imported_to_read_what_is_not_of_it():
    code = (
        "import sys; from awaitly_nb.keys import fingerprint; fingerprint({'a': [1, (2.5, b'x')], 'b': {3}});"
        "print([m for m in ('numpy', 'pandas', 'pyarrow', 'polars', 'scipy', 'matplotlib', 'pickle', 'asyncio')"
        " if m in sys.modules])"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() in ("[]", "['pickle']")  # pickle comes with the standard library's own modules


def test_an_array_is_read_where_it_lies():
    import psutil

    array = np.zeros((2048, 8192))  # 128 MB
    array[0, 0] = 1
    fingerprint(np.zeros((4, 4)).T)
    before, peak, done = psutil.Process().memory_info().rss, 0, threading.Event()

    def watch():
        nonlocal peak
        while not done.wait(0.0005):
            peak = max(peak, psutil.Process().memory_info().rss)

    watcher = threading.Thread(target=watch)
    watcher.start()
    try:
        for view in (array, array.T, array[:, ::2], array[::-1]):
            fingerprint(view)
    finally:
        done.set()
        watcher.join()
    # The pages of zeros are touched for the first time by the reading itself, hence the array's own size.
    assert peak - before < array.nbytes + 64 * 2**20


def test_a_panic_of_rust_is_a_refusal():
    class PanicException(BaseException):
        pass

    class Panics:
        def __reduce_ex__(self, protocol):
            raise PanicException("unreachable code")

    with pytest.raises(UnkeyableError, match="PanicException"):
        fingerprint([Panics()])


def test_an_extension_array_of_another_library_is_read_by_its_state():
    from pandas.tests.extension.decimal import DecimalArray, to_decimal

    one, two = pd.Series(to_decimal([1, 2])), pd.Series(to_decimal([1, 3]))
    assert isinstance(one.array, DecimalArray)
    assert fingerprint(one) == fingerprint(one.copy()) != fingerprint(two)


def test_a_subclass_of_a_frame_counts_its_class_and_its_metadata():
    class Survey(pd.DataFrame):
        _metadata = ["unit"]

        @property
        def _constructor(self):
            return Survey

    plain, survey, other = pd.DataFrame({"a": [1]}), Survey({"a": [1]}), Survey({"a": [1]})
    survey.unit, other.unit = "m", "km"
    assert len({fingerprint(plain), fingerprint(survey), fingerprint(other)}) == 3
    assert fingerprint(survey) == fingerprint(survey.copy())


def test_a_subclass_of_an_array_counts_its_class_and_its_attributes():
    class Signal(np.ndarray):
        pass

    one, two = np.zeros(3).view(Signal), np.zeros(3).view(Signal)
    one.rate, two.rate = 1, 2
    assert len({fingerprint(np.zeros(3)), fingerprint(one), fingerprint(two)}) == 3


def test_a_ufunc_made_at_run_time_is_refused_and_one_of_scipy_is_not():
    special = pytest.importorskip("scipy.special")
    with pytest.raises(UnkeyableError, match="ufunc"):
        fingerprint(np.frompyfunc(lambda x: x, 1, 1))
    assert fingerprint(special.expit) != fingerprint(special.logit)


def test_a_hard_mask_counts():
    soft = np.ma.array([1, 2], mask=[0, 1])
    hard = np.ma.array([1, 2], mask=[0, 1], hard_mask=True)
    assert fingerprint(soft) != fingerprint(hard)


def test_rows_that_are_refused_are_named_in_every_library():
    lock = threading.Lock()
    frame = pd.DataFrame({"ok": [1, 2], "bad": pd.Series([0, lock], dtype=object)})
    with pytest.raises(UnkeyableError) as caught:
        fingerprint({"raw": frame}, path="cfg")
    assert caught.value.path == "cfg['raw']['bad'][1]"
    with pytest.raises(UnkeyableError) as caught:
        fingerprint(np.array([[1, 2], [3, lock]], dtype=object), path="a")
    assert caught.value.path == "a[1, 1]"
    polars = pytest.importorskip("polars")
    with pytest.raises(UnkeyableError) as caught:
        fingerprint(polars.DataFrame({"bad": polars.Series([lock], dtype=polars.Object)}), path="p")
    assert caught.value.path == "p['bad'][0]"


@pytest.mark.parametrize(
    "values",
    [
        ["a", None, "c"],
        [1, None, 3],
        [[1], None, []],
        [{"a": 1}, None, {"a": None}],
        [b"x", None, b""],
        [True, None, False],
        [1.5, None, float("nan")],
    ],
)
def test_neither_chunks_nor_slices_count_beyond_one_window(values):
    arrow = pytest.importorskip("pyarrow")
    many = arrow.array(values * 30_000)  # more rows than one window holds
    pieces = arrow.chunked_array([many[:1], many[1:7], many[7:70_001], many[70_001:]])
    whole = arrow.chunked_array([many])
    assert fingerprint(pieces) == fingerprint(whole)
    assert fingerprint(arrow.concat_arrays([many, many])[len(many) :]) == fingerprint(many)
    other = arrow.array([*(values * 30_000)[:-1], values[0]])
    assert fingerprint(other) != fingerprint(many)


def test_polars_chunks_do_not_count_beyond_one_window():
    polars = pytest.importorskip("polars")
    for values in (["a", None, "c"], [1, None, 3], [[1], None, []], [{"a": 1}, None, {"a": 2}]):
        many = polars.Series(values * 30_000)
        pieces = polars.concat([many[:5], many[5:70_001], many[70_001:]], rechunk=False)
        assert fingerprint(pieces) == fingerprint(many)
        assert fingerprint(polars.Series([*(values * 30_000)[:-1], values[0]])) != fingerprint(many)


def test_an_exception_has_one_key_whether_or_not_a_library_pickles_its_traceback(monkeypatch):
    error = ValueError("a")
    before = fingerprint(error)
    monkeypatch.setitem(copyreg.dispatch_table, ValueError, lambda exc: (ValueError, ("and a traceback",)))
    assert fingerprint(error) == before


def test_texts_of_polars_are_read_without_an_object_for_each(monkeypatch):
    polars = pytest.importorskip("polars")
    texts = polars.Series(["a", None, "", "ä\U0001f600", "item"] * 20_000)
    code = "15e7f7b7c6231550697a6e798672e3ea"
    monkeypatch.setattr(polars.Series, "to_list", None)
    assert fingerprint(texts) == code


def test_polars_is_asked_for_many_windows_of_texts_at_once():
    polars = pytest.importorskip("polars")
    few, more = (polars.Series(["text"] * (n << 16)) for n in (2, 12))
    assert calls_of(lambda: fingerprint(more)) - calls_of(lambda: fingerprint(few)) < 10 * 60
