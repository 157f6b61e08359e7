"""`@aw.step`: functions whose calls are kept, keyed by their code and arguments, outside of any workflow."""

from __future__ import annotations

import asyncio
import functools
import inspect
import pickle
import threading
from concurrent.futures import ThreadPoolExecutor

import pytest

import awaitly_nb as aw
from awaitly_nb.engine import recent_runs


class Calls(list):
    """Notes of calls, which are no input of the function that makes them: a plain global list would be one."""

    def __awaitly_key__(self):
        return "calls"


CALLS = Calls()


@pytest.fixture(autouse=True)
def _no_calls():
    CALLS.clear()


@aw.step
def square(x, power=2):
    """Return x to a power."""
    CALLS.append(x)
    return x**power


@aw.step
async def square_later(x):
    CALLS.append(x)
    return x * x


class Model:
    """An object with a kept method."""

    def __init__(self, weight):
        self.weight = weight

    @aw.step
    def predict(self, x):
        CALLS.append(x)
        return self.weight * x


def test_the_second_call_hits():
    assert [square(3), square(3), square(4)] == [9, 9, 16]
    assert CALLS == [3, 4]


@pytest.mark.parametrize("again", [lambda: square(3, 2), lambda: square(x=3), lambda: square(power=2, x=3)])
def test_positional_keyword_and_default_forms_are_one_key(again):
    square(3)
    assert again() == 9
    assert CALLS == [3]


@pytest.mark.parametrize(("one", "other"), [(1, True), (1, 1.0), ("1", 1), ([1], (1,)), (0.0, -0.0)], ids=str)
def test_arguments_that_differ_never_share_a_key(one, other):
    @aw.step
    def echo(x):
        return repr(x)

    assert [echo(one), echo(other)] == [repr(one), repr(other)]
    assert echo.key(one) != echo.key(other)


def test_the_wrapper_looks_like_the_function():
    assert square.__name__ == "square"
    assert square.__doc__ == "Return x to a power."
    assert list(inspect.signature(square).parameters) == ["x", "power"]
    assert "square" in repr(square)


def test_an_async_function_stays_async_and_is_kept():
    async def cell():
        return [await square_later(3), await square_later(3)]

    assert asyncio.run(cell()) == [9, 9]
    assert CALLS == [3]
    if hasattr(inspect, "markcoroutinefunction"):
        assert inspect.iscoroutinefunction(square_later)


def test_a_method_that_is_a_step_looks_like_the_method():
    assert list(inspect.signature(Model(2).predict).parameters) == ["x"]


def test_methods_are_kept_by_the_fields_of_their_object():
    assert [Model(2).predict(3), Model(2).predict(3), Model(5).predict(3)] == [6, 6, 15]
    assert CALLS == [3, 3]


def test_key_is_cached_invalidate_and_result():
    assert square.key(3).startswith(square.name)
    assert square.key(3) == square.key(3, power=2) != square.key(4)
    assert square.is_cached(3) is False
    assert square.result(3) == aw.Ok(9)
    assert square.is_cached(3) is True
    assert square.invalidate(3) is True
    assert square.invalidate(3) is False
    assert square.is_cached(3) is False
    assert (square(3), CALLS) == (9, [3, 3])


def test_a_raised_exception_goes_to_the_caller_unchanged_and_is_not_kept():
    exc = ValueError("row 7")

    @aw.step
    def crash():
        CALLS.append("called")
        raise exc

    for _ in range(2):
        with pytest.raises(ValueError, match="row 7") as caught:
            crash()
        assert caught.value is exc
    assert CALLS == ["called", "called"]
    assert crash.result().cause is exc


@pytest.mark.parametrize("cause", [None, "why", ValueError("evidence")], ids=repr)
def test_a_returned_err_is_returned_and_kept_with_its_cause(cause):
    @aw.step
    def refuse():
        CALLS.append("called")
        return aw.err("NO", cause=cause)

    for _ in range(2):
        result = refuse()
        assert result == aw.Err("NO")
        assert repr(result.cause) == repr(cause)
    assert CALLS == ["called"]


def test_a_returned_ok_is_given_back_as_it_was():
    @aw.step
    def wrapped():
        CALLS.append("called")
        return aw.ok(1)

    assert wrapped() == wrapped() == aw.Ok(1)
    assert CALLS == ["called"]


def test_a_value_given_out_is_never_the_one_that_is_kept():
    @aw.step
    def rows():
        return [1, 2]

    first = rows()
    first.append(3)
    assert rows() == [1, 2]


def test_an_edited_function_runs_and_so_does_one_whose_helper_was_edited():
    def helper(x):
        return x + 1

    @aw.step(name="edited")
    def work(x):
        return helper(x)

    assert work(1) == 2

    def helper(x):  # noqa: F811 - the cell of the notebook is edited and run again
        return x + 100

    assert work(1) == 101

    @aw.step(name="edited")
    def work(x):
        return helper(x) * 2

    assert work(1) == 202


def test_a_global_that_is_read_counts_by_its_value():
    factor = 2

    @aw.step(name="scaled")
    def scaled(x):
        return x * factor

    assert scaled(3) == 6
    factor = 10
    assert scaled(3) == 30
    factor = 2
    assert scaled(3) == 6


def test_an_input_file_that_changed_makes_it_run_again(tmp_path):
    path = tmp_path / "data.csv"

    @aw.step(name="read")
    def read():
        CALLS.append("read")
        return path.read_text()

    path.write_text("one")
    assert [read(), read()] == ["one", "one"]
    path.write_text("another")
    assert read() == "another"
    assert CALLS == ["read", "read"]


def test_ignored_arguments_make_no_difference():
    @aw.step(ignore=("log",))
    def work(x, log=None):
        CALLS.append(x)
        return x

    assert work(1, log=threading.Lock()) == work(1, log=None) == 1
    assert CALLS == [1]


def test_one_name_may_be_ignored_without_a_tuple():
    @aw.step(ignore="df", cache={})
    def work(d, f, df=None):
        return d, f

    assert [work(1, 2, df=1), work(3, 4, df=1), work(1, 2, df=2)] == [(1, 2), (3, 4), (1, 2)]
    assert work.key(1, 2, df=1) == work.key(1, 2, df=2) != work.key(3, 4)


@pytest.mark.parametrize("ignore", ["fd", ("df", "fd"), ["fd"], (1,)])
def test_a_name_to_ignore_that_is_no_argument_is_refused_with_those_there_are(ignore):
    with pytest.raises(aw.MisuseError, match=r"'fd'|1") as caught:
        aw.step(ignore=ignore)(lambda df, log: df)
    assert "there are: df, log" in str(caught.value)


def test_a_name_that_a_wrapper_or_further_keywords_take_may_be_ignored():
    def inner(x, log=None):
        return x

    @functools.wraps(inner)
    def wrapper(*args, scale=1, **kwargs):
        return inner(*args, **kwargs)

    aw.step(ignore=("log", "scale"))(wrapper)
    aw.step(ignore="anything")(lambda **options: options)
    aw.step(ignore="*items")(lambda *items: items)
    aw.step(ignore="b")(max)  # a builtin does not say what it takes
    with pytest.raises(aw.MisuseError, match="there are: x, log"):
        aw.step(ignore="lgo")(wrapper)


def test_a_version_makes_a_new_key():
    keys = set()
    for version in (1, 2):

        @aw.step(version=version, name="versioned")
        def work():
            return 1

        keys.add(work.key())
    assert len(keys) == 2


def test_a_key_of_ones_own_is_a_template_over_the_arguments():
    @aw.step(key="raw:{path}:{limit}", name="load")
    def load(path, limit=10):
        CALLS.append(path)
        return path

    assert load.key("a.csv") == "raw:a.csv:10"
    assert [load("a.csv"), load(path="a.csv"), load("a.csv", 10)] == ["a.csv"] * 3
    assert CALLS == ["a.csv"]
    with pytest.raises(aw.MisuseError, match="pth"):
        aw.step(key="raw:{pth}")(lambda path: path)


@pytest.mark.parametrize(
    ("key", "said"),
    [
        (lambda x: x, r'such as "user:\{id\}", not a function'),
        (7, r'such as "user:\{id\}", not 7'),
        ("{", r"'\{' cannot be read: .*; a brace itself is written twice"),
    ],
)
def test_what_is_no_template_is_refused_where_the_function_is_defined(key, said):
    with pytest.raises(aw.MisuseError, match=said):
        aw.step(key=key)


@pytest.mark.parametrize(
    ("key", "fault"),
    [
        ("{y}", "names 'y', which is not there"),
        ("{}", "names '', which is not there"),
        ("{x:d}", "cannot be filled: Unknown format code 'd'"),
        ("{x.y}", "cannot be filled: 'str' object has no attribute 'y'"),
        ("{x[y]}", "cannot be filled: string indices must be integers"),
        ("{log:>8}", "cannot be filled: unsupported format string"),
    ],
)
def test_a_template_that_cannot_be_filled_is_quoted_with_the_fault_and_the_names_there_are(key, fault):
    with pytest.raises(aw.MisuseError) as caught:
        aw.step(key=key, name="load", cache={})(lambda x, log=None: x)("a")
    said = str(caught.value)
    assert f"the key template {key!r} of step 'load' {fault}" in said
    assert "there are: x, log" in said


@pytest.mark.parametrize("kind", [staticmethod, classmethod])
@pytest.mark.parametrize("options", [None, {"ttl": 1}])
def test_a_step_over_a_static_or_class_method_says_which_comes_first(kind, options):
    decorate = aw.step if options is None else aw.step(**options)
    with pytest.raises(aw.MisuseError, match=f"put @{kind.__name__} above @aw.step"):
        decorate(kind(lambda: 1))


def test_a_static_and_a_class_method_may_be_steps_below():
    class Both:
        @staticmethod
        @aw.step(cache={})
        def static(x):
            return x

        @classmethod
        @aw.step(cache={})
        def of_class(cls, x):
            return cls.__name__, x

    assert (Both.static(1), Both().static(1), Both.of_class(1)) == (1, 1, ("Both", 1))


def test_an_argument_without_a_fingerprint_runs_uncached_with_a_warning_that_names_it():
    @aw.step
    def work(config):
        CALLS.append("called")
        return 1

    for _ in range(2):
        with pytest.warns(aw.errors.UncachedWarning, match=r"config\['lock'\]") as caught:
            assert work({"lock": threading.Lock()}) == 1
        assert len(caught) == 1
    assert CALLS == ["called", "called"]
    with pytest.raises(aw.UnkeyableError, match=r"config\['lock'\]"):
        work.key({"lock": threading.Lock()})
    with pytest.raises(aw.UnkeyableError):
        work.why({"lock": threading.Lock()})


def test_why_says_hit_or_which_part_of_the_key_is_new():
    assert "first" in str(square.why(3)).lower()
    square(3)
    assert "hit" in str(square.why(3)).lower()
    text = str(square.why(4))
    assert "x" in text
    assert "3" in text
    assert "4" in text


def test_wrong_arguments_are_the_functions_own_type_error():
    with pytest.raises(TypeError, match="x"):
        square()
    with pytest.raises(TypeError, match="colour"):
        square(1, colour="red")


def test_it_pickles_by_name():
    again = pickle.loads(pickle.dumps(square))
    assert again is square


def test_threads_that_call_at_once_compute_once():
    start = threading.Barrier(4)

    @aw.step
    def slow(x):
        CALLS.append(x)
        return x

    def call(_):
        start.wait(30)
        return slow(1)

    with ThreadPoolExecutor(4) as pool:
        assert list(pool.map(call, range(4))) == [1] * 4
    assert CALLS == [1]


def test_a_recursive_step_keeps_each_level():
    @aw.step(name="fib")
    def fib(n):
        CALLS.append(n)
        return n if n < 2 else fib(n - 1) + fib(n - 2)

    assert fib(12) == 144
    assert sorted(CALLS) == list(range(13))
    assert fib(12) == 144
    assert len(CALLS) == 13


def test_the_default_cache_is_resolved_at_call_time(tmp_path, monkeypatch):
    square(3)
    monkeypatch.setenv("AWAITLY_NB_CACHE_DIR", str(tmp_path / "elsewhere"))
    square(3)
    assert CALLS == [3, 3]
    assert (tmp_path / "elsewhere").is_dir()


def test_a_step_may_be_a_workflows_step_and_is_kept_by_both():
    workflow = aw.create_workflow("w", {"square": square}, cache={})
    body = lambda ctx: ctx.step("square", ctx.deps.square, 3, key="k")  # noqa: E731
    assert workflow.run_sync(body) == workflow.run_sync(body) == aw.Ok(9)
    assert (square(3), CALLS) == (9, [3])


@pytest.mark.parametrize("exc", [KeyboardInterrupt, SystemExit])
def test_an_interrupt_goes_through(exc):
    @aw.step
    def stop():
        raise exc

    with pytest.raises(exc):
        stop()

    @aw.step
    async def stop_later():
        raise exc

    async def cell():
        with pytest.raises(exc):
            await stop_later()

    asyncio.run(cell())


@pytest.mark.parametrize("options", [{"ttl": 0}, {"ttl": "soon"}, {"cache_errors": "sometimes"}], ids=str)
def test_options_out_of_range_are_refused_where_the_function_is_defined(options):
    with pytest.raises(aw.errors.InvalidOptionError):
        aw.step(**options)


def test_something_that_is_no_function_is_misuse():
    with pytest.raises(aw.MisuseError, match="@aw.step"):
        aw.step(42)
    with pytest.raises(aw.MisuseError, match="@aw.step"):
        aw.step(ttl=1)(42)


@pytest.mark.parametrize("is_async", [False, True])
def test_a_call_that_is_interrupted_does_not_stay_running(is_async):
    def stopped():
        raise KeyboardInterrupt

    async def cancelled():
        await asyncio.sleep(0)
        raise asyncio.CancelledError

    decorated = aw.step(cancelled if is_async else stopped, cache={})
    with pytest.raises(asyncio.CancelledError if is_async else KeyboardInterrupt):
        asyncio.run(decorated()) if is_async else decorated()
    (run,) = [run for run in recent_runs() if run.workflow == decorated.name]
    assert [step.state for step in run.steps] == ["interrupted"]
    assert run.status == "ok"
