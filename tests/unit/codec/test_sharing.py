"""What shares memory goes on sharing it, or is refused: by addresses, whatever the library."""

import array
import cProfile
import pickle

import numpy as np
import pandas as pd
import pytest

from awaitly_nb.codec import EntangledError, bare, pack, unpack
from awaitly_nb.errors import EncodeError


def packed(value, live=(), *, protected=(), outside=None):
    numbers = {id(one): number for number, one in enumerate(live)}
    return pack(
        value,
        live,
        numbers=numbers,
        changed=(),
        is_new=lambda cls: False,
        protected=set(map(id, protected)),
        outside=outside or {},
    )


def restored(value, live=(), *, now=None, **more):
    """Pack beside live objects, and unpack beside those that are there then."""
    found = packed(value, live, **more)
    buffers = [bytearray(view) for view in found.buffers]
    return unpack(found.stream, buffers, found.shapes, live=(live if now is None else now).__getitem__)


@pytest.mark.parametrize("size", [3, 3000])
@pytest.mark.parametrize("make", ["array", "chunked_array", "table", "record_batch", "py_buffer"])
def test_arrow_looks_at_the_array_that_lives_then(size, make):
    pa = pytest.importorskip("pyarrow")
    makers = {
        "array": pa.array,
        "chunked_array": lambda a: pa.chunked_array([pa.array(a[:1]), pa.array(a[1:])]),
        "table": lambda a: pa.table({"a": a}),
        "record_batch": lambda a: pa.record_batch({"a": pa.array(a)}),
        "py_buffer": pa.py_buffer,
    }
    a, now = np.arange(float(size)), np.arange(float(size))
    found = packed(makers[make](a), [a])
    assert sum(view.nbytes for view in found.buffers) == 0
    value = restored(makers[make](a), [a], now=[now])
    before = value.to_pybytes() if make == "py_buffer" else value.to_pylist()
    now[0] = 5
    assert (value.to_pybytes() if make == "py_buffer" else value.to_pylist()) != before


def test_arrow_and_its_array_share_their_memory_when_both_are_stored():
    pa = pytest.importorskip("pyarrow")
    a = np.arange(3000.0)
    a, t = restored([a, pa.table({"a": a[10:]})])
    a[10] = -1
    assert t["a"][0].as_py() == -1


@pytest.mark.parametrize(
    "make", [lambda a: pd.DataFrame(a[1:, ::2], copy=False), lambda a: pd.Series(a[:, 1], copy=False)]
)
@pytest.mark.parametrize("lives", [True, False])
def test_a_frame_goes_on_looking_at_the_users_array(make, lives):
    a = np.zeros((3, 4))
    if lives:
        now = np.zeros((3, 4))
        frame = restored(make(a), [a], now=[now])
    else:
        now, frame = restored([a, make(a)])
    now[:] = 7
    assert (frame.to_numpy() == 7).all()


def test_a_frame_of_dates_and_one_with_a_mask_go_on_looking_at_the_users_arrays():
    days, now = np.array(["2020", "2021"], "M8[ns]"), np.array(["2020", "2021"], "M8[ns]")
    series = restored(pd.Series(days, copy=False), [days], now=[now])
    now[0] = now[1]
    assert series[0] == series[1]


def test_frames_copy_what_only_frames_have():
    one = pd.DataFrame({"a": [1.0, 2.0]})
    block = one._mgr.blocks[0].values
    other = restored(one[["a"]], [block], protected=[block])
    other.iloc[0, 0] = 9
    assert one.iloc[0, 0] == 1


def test_rows_of_a_frame_on_an_array_are_refused():
    a = np.zeros((4, 2))
    frame = pd.DataFrame(a, copy=False)
    with pytest.raises(EntangledError, match="its columns with another one, and its memory with an array"):
        packed(frame.iloc[:2], [a])
    assert frame is not None


@pytest.mark.parametrize("of", ["Series", "DataFrame", "nulls"])
def test_polars_on_an_array_is_refused_and_else_stored(of):
    pl = pytest.importorskip("polars")
    a = np.array([1.0, np.nan, 3.0])
    value = pl.DataFrame({"a": a}) if of == "DataFrame" else pl.Series("a", a, nan_to_null=of == "nulls")
    with pytest.raises(EntangledError, match="shares its memory with an array"):
        packed(value, [a])
    with pytest.raises(EntangledError):
        packed([a, value])
    with pytest.raises(EntangledError, match="shares its memory with x"):
        packed(value, outside={"x": a})
    assert restored(value, [np.zeros(3)]).equals(value)


def test_what_an_object_holds_beside_its_pickle_is_compared():
    spatial = pytest.importorskip("scipy.spatial")
    a = np.arange(6.0).reshape(3, 2)
    tree = spatial.cKDTree(a)
    with pytest.raises(EntangledError, match="a cKDTree shares its memory with an array"):
        packed(tree, [a])
    with pytest.raises(EntangledError):
        packed([a, tree])
    assert restored(spatial.cKDTree(a.copy()), [a]).n == 3


class Own:
    """Gives its memory to the pickle itself."""

    def __init__(self, memory):
        self.memory = memory

    def __reduce_ex__(self, protocol):
        return bytes, (pickle.PickleBuffer(self.memory),)


def test_memory_that_a_class_gives_to_its_pickle_is_compared():
    a, raw = np.zeros(3), array.array("d", [1.0, 2.0])
    assert restored(Own(raw), [a]) == raw.tobytes()
    with pytest.raises(EntangledError, match="shares its memory with an array"):
        packed(Own(a[1:]), [a])
    with pytest.raises(EntangledError, match="shares its memory with raw"):
        packed(Own(memoryview(raw)), outside={"raw": np.frombuffer(raw)})


@pytest.mark.parametrize("writeable", [True, False])
def test_what_the_cell_does_not_read_counts_where_it_can_be_written(writeable):
    a = np.zeros(3)
    view = a[1:]
    a.flags.writeable = writeable
    if writeable:
        with pytest.raises(EntangledError, match="an array shares its memory with x"):
            packed(view, outside={"x": a})
    else:
        assert restored(view, outside={"x": a}).tolist() == [0, 0]


def test_contents_of_a_live_array_are_stored_in_any_order():
    a = np.asfortranarray(np.arange(6000.0).reshape(2, 3000))
    assert (restored(bare(a), [a]) == a).all()


def test_thousands_of_arrays_are_compared_in_the_order_of_memory():
    class Tree:
        """Has a pickle of its own, which may leave out what it holds."""

        def __init__(self, nodes):
            self.nodes = nodes

        def __reduce__(self):
            return dict, ((("nodes", self.nodes.copy()),),)

    def calls(count):
        """Return how many functions are called while that many are packed."""
        arrays = [np.arange(8.0) for _ in range(count)]
        live = [np.arange(8.0) for _ in range(count)]
        trees = [Tree(np.arange(8.0)) for _ in range(count)]
        profile = cProfile.Profile()
        profile.runcall(packed, [arrays, trees], live)
        return sum(entry.callcount for entry in profile.getstats())

    assert calls(800) < 6 * calls(200)


class Text:
    """Is stored as a text, and holds the lines that it makes of it."""

    def __init__(self, text):
        self.lines = [[line] for line in text.split()]

    def __getstate__(self):
        return {"text": " ".join(line for (line,) in self.lines)}

    def __setstate__(self, state):
        self.__init__(state["text"])


class Whole(Text):
    """Is stored with the lines that it holds."""

    def __getstate__(self):
        return dict(self.__dict__)

    def __setstate__(self, state):
        self.__dict__.update(state)


def test_what_an_object_holds_beside_its_pickle_is_not_stored_apart_from_it():
    text = Text("a b")
    with pytest.raises(EntangledError, match="a Text holds a list, and is stored without it"):
        pack({"text": text, "line": text.lines[1]}, [], numbers={}, changed=(), is_new=lambda _: False)
    assert pack({"text": text}, [], numbers={}, changed=(), is_new=lambda _: False)
    whole = Whole("a b")
    assert pack({"whole": whole, "line": whole.lines[1]}, [], numbers={}, changed=(), is_new=lambda _: False)
    many = Whole(" ".join(map(str, range(20_000))))
    assert pack({"many": many, "line": many.lines[-1]}, [], numbers={}, changed=(), is_new=lambda _: False)


class Observed:
    """Leaves out of its pickle whom it calls, as widgets do."""

    def __init__(self, *observers):
        self.observers = {"value": {"change": list(observers)}}

    def __getstate__(self):
        return {"observers": {}}


def test_an_object_is_not_stored_without_the_functions_of_the_notebook_that_it_calls():
    def of_the_notebook():
        pass

    of_the_notebook.__module__ = "__main__"
    with pytest.raises(EncodeError, match="an? Observed is stored without the functions that it is to call"):
        pack({"o": Observed(of_the_notebook)}, [], numbers={}, changed=(), is_new=lambda _: False)
    assert pack({"o": Observed(len)}, [], numbers={}, changed=(), is_new=lambda _: False)
    whole = Whole("a")
    with pytest.raises(EncodeError, match="is to call"):
        pack({"o": Observed(whole.__setstate__), "w": whole}, [], numbers={}, changed=(), is_new=lambda _: False)


@pytest.mark.parametrize(
    "index", ["pd.date_range('2023', periods=9, tz='Europe/Berlin')", "pd.CategoricalIndex(['a', 'b'] * 4)"]
)
def test_what_a_part_of_a_pickle_holds_comes_with_that_part(index):
    series = pd.Series(1.0, index=eval(index, {"pd": pd}))
    assert series.index.dtype is not None  # which it remembers
    assert pack([series, series.head(3)], [], numbers={}, changed=(), is_new=lambda cls: False)
