"""Generators of random numbers: what a run found, what it left, and whether that counts."""

from __future__ import annotations

import pickle
import random
import subprocess
import sys
import textwrap
import types
from random import seed as seed_early

import numpy as np
import pytest
from numpy.random import seed as numpy_seed_early

from awaitly_nb.keys import GENERATORS, apply_traces, begin_traces, changed_traces, end_traces

PYTHON, NUMPY, TORCH = GENERATORS


class Library:
    """One generator under its usual functions."""

    def __init__(self, generator, seed, seed_early, draw):
        self.generator, self.seed, self.seed_early, self.draw = generator, seed, seed_early, draw

    def __repr__(self):
        return self.generator.name


LIBRARIES = [
    Library(PYTHON, lambda *a: random.seed(*a), seed_early, lambda: random.random()),
    Library(PYTHON, lambda *a: random.seed(*a), seed_early, lambda: random.gauss(0, 1)),
    Library(NUMPY, lambda *a: np.random.seed(*a), numpy_seed_early, lambda: float(np.random.rand())),
    Library(NUMPY, lambda *a: np.random.seed(*a), numpy_seed_early, lambda: float(np.random.randn())),
]


@pytest.fixture(params=LIBRARIES, ids=["random", "random-gauss", "numpy", "numpy-normal"])
def library(request):
    request.param.generator.watch()
    request.param.seed()  # from the system's entropy: as a session begins
    return request.param


def used_by(act):
    begun = begin_traces()
    act()
    found = end_traces(begun) or {}
    return {name: used for name, used in found.items() if name == "generators"} or None


def test_a_run_that_does_not_draw_uses_nothing(library):
    assert used_by(lambda: None) is None


def test_draws_of_a_generator_that_nobody_seeded_hit_whatever_its_state(library):
    used = used_by(library.draw)
    library.draw()
    assert changed_traces(used) is None


def test_a_hit_leaves_the_generator_where_the_run_left_it(library):
    used = used_by(lambda: [library.draw() for _ in range(3)])
    left = [library.draw() for _ in range(5)]
    library.seed()
    apply_traces(used)
    assert [library.draw() for _ in range(5)] == left


def test_draws_of_a_seeded_generator_hit_in_the_same_state_only(library):
    library.seed(1)
    used = used_by(library.draw)
    library.seed(1)
    assert changed_traces(used) is None
    library.draw()
    assert "other draws before" in changed_traces(used)
    library.seed(2)
    assert f"generator {library} differs" in changed_traces(used)


def test_draws_that_nobody_had_seeded_do_not_hit_once_somebody_has(library):
    used = used_by(library.draw)
    library.seed(1)
    assert changed_traces(used) is not None


def test_draws_after_a_seed_do_not_hit_when_the_seed_is_taken_out(library):
    library.seed(1)
    used = used_by(library.draw)
    library.seed()
    assert changed_traces(used) is not None


@pytest.mark.parametrize("early", [False, True], ids=["by module", "imported before"])
def test_a_run_that_seeds_first_does_not_depend_on_what_it_found(library, early):
    seed = library.seed_early if early else library.seed

    def run():
        seed(1)
        library.draw()

    used = used_by(run)
    library.seed(7)
    assert changed_traces(used) is None
    apply_traces(used)
    after = library.draw()
    run()
    assert library.draw() == after


def test_seeding_to_the_state_that_is_there_is_still_seeding(library):
    library.seed(1)
    used = used_by(lambda: library.seed(1))
    library.seed(2)
    apply_traces(used)
    after = library.draw()
    library.seed(1)
    assert library.draw() == after


def test_a_run_that_draws_and_then_seeds_depends_on_what_it_found(library):
    library.seed(1)

    def run():
        library.draw()
        library.seed(3)

    used = used_by(run)
    library.seed(2)
    assert changed_traces(used) is not None


def test_a_chain_draws_what_a_plain_run_draws_whichever_of_them_hits(library):
    def chain(hits):
        library.seed(5)
        drawn = []
        for number in range(3):
            if number in hits:
                assert changed_traces(stored[number]) is None
                apply_traces(stored[number])
            else:
                stored[number] = used_by(lambda: drawn.append(library.draw()))
        return library.draw()

    stored = {}
    plain = chain(hits=())
    assert [chain(hits=hits) for hits in [(0,), (1,), (0, 2), (0, 1, 2)]] == [plain] * 4


def test_a_normal_number_that_waits_is_a_part_of_the_state(library):
    library.seed(1)
    library.draw()
    used = used_by(library.draw)
    library.seed(1)
    assert changed_traces(used) is not None
    library.draw()
    assert changed_traces(used) is None


def test_a_hit_counts_for_the_run_around_it(library):
    library.seed(1)
    used = used_by(library.draw)
    library.seed(1)
    outer = used_by(lambda: apply_traces(used))
    library.seed(2)
    assert changed_traces(outer) is not None


def test_a_session_that_is_left_seeded_counts_as_seeded(library):
    seeding = used_by(lambda: library.seed(1))
    drawing = used_by(library.draw)
    library.seed()
    apply_traces(seeding)
    assert library.generator.seeded
    assert changed_traces(drawing) is None


def test_what_is_exchanged_looks_and_pickles_as_it_did():
    PYTHON.watch()
    NUMPY.watch()
    assert isinstance(random._inst, random.Random)
    assert pickle.loads(pickle.dumps(random.choice)).__self__ is random._inst
    random.setstate(random.getstate())
    state = np.random.get_state(legacy=False)
    assert state["bit_generator"] == "MT19937"
    np.random.set_state(state)
    twin = pickle.loads(pickle.dumps(np.random.mtrand._rand))
    assert type(twin._bit_generator) is np.random.MT19937
    assert twin.rand() == np.random.rand()


def test_another_bit_generator_of_numpy_is_followed():
    NUMPY.watch()
    before = np.random.get_bit_generator()
    try:
        np.random.set_bit_generator(np.random.PCG64(3))
        used = used_by(np.random.rand)
        after = np.random.rand()
        assert changed_traces(used) is not None
        apply_traces(used)
        assert np.random.rand() == after
    finally:
        np.random.set_bit_generator(before)


class FakeTensor(bytes):
    """What torch's functions pass around, as far as they are used."""

    def numpy(self):
        return self

    def tobytes(self):
        return bytes(self)


@pytest.fixture
def torch(monkeypatch):
    """A module with torch's functions over a generator of our own."""
    module = types.ModuleType("torch")
    own = random.Random(67280421310721)
    module.manual_seed = own.seed
    module.seed = own.seed
    module.get_rng_state = lambda: FakeTensor(repr(own.getstate()).encode())
    module.set_rng_state = lambda data: own.setstate(eval(data))
    module.frombuffer = lambda data, dtype: FakeTensor(data)
    module.uint8 = "uint8"
    module.rand = own.random
    module.random = types.SimpleNamespace(manual_seed=module.manual_seed)
    monkeypatch.setitem(sys.modules, "torch", module)
    return module


def test_torch_is_the_same_in_each_process_and_counts_as_seeded(torch):
    used = used_by(torch.rand)
    assert changed_traces(used) is not None
    after = torch.rand()
    apply_traces(used)
    assert torch.rand() == after


def test_torch_seeded_first_does_not_depend_on_what_was_found(torch):
    used = used_by(lambda: (torch.manual_seed(1), torch.rand()))
    torch.rand()
    assert changed_traces(used) is None
    assert "before" in used_by(torch.rand)["generators"]["torch"]


def child(code):
    done = subprocess.run([sys.executable, "-c", textwrap.dedent(code)], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    return done.stdout.split()


@pytest.mark.parametrize("seed", ["1", "2**40", "'text'", "b'bytes'", "1.5", "-3"])
@pytest.mark.parametrize("draws", [0, 1, 700, 3000])
def test_a_seed_from_before_anything_was_watched_is_recognised(seed, draws):
    from awaitly_nb.keys.generators import _is_of_short_seed

    own = random.Random(eval(seed))
    for _ in range(draws):
        own.getrandbits(32)
    assert _is_of_short_seed(own.getstate())
    other = random.Random()
    for _ in range(draws):
        other.getrandbits(32)
    assert not _is_of_short_seed(other.getstate())


@pytest.mark.parametrize("library", ["random", "numpy.random"])
def test_a_script_that_seeds_before_its_first_step_is_seeded(library):
    code = f"""
        import {library} as r
        r.seed(4)
        from awaitly_nb.keys import GENERATORS, begin_traces, end_traces
        begun = begin_traces()
        r.random()
        print(len(end_traces(begun)["generators"]["{library}"]["before"]))
    """
    assert child(code) == ["32"]


@pytest.mark.parametrize("seeded", [False, True])
def test_a_library_that_the_run_itself_imports_is_as_its_import_leaves_it(seeded):
    code = f"""
        import sys
        from awaitly_nb.keys import begin_traces, changed_traces, end_traces
        assert "numpy" not in sys.modules
        begun = begin_traces()
        import numpy as np
        if {seeded}: np.random.seed(1)
        np.random.rand()
        used = end_traces(begun)
        assert changed_traces(used) is None
        np.random.seed(2)
        print(changed_traces(used) is None)
    """
    assert child(code) == [str(seeded)]


def test_importing_numpy_is_no_draw():
    code = """
        from awaitly_nb.keys import begin_traces, end_traces
        begun = begin_traces()
        import numpy as np
        np.random
        print(end_traces(begun))
    """
    assert child(code) == ["None"]


STEP = """
    import sys
    import numpy as np
    import random
    import awaitly_nb as aw
    aw.configure(cache_dir=sys.argv[1])
    @aw.step
    def draw(name):
        print("ran", file=sys.stderr)
        return name, random.random(), float(np.random.rand())
    if sys.argv[2] != "-":
        random.seed(int(sys.argv[2])); np.random.seed(int(sys.argv[2]))
    print([draw("a"), draw("b")])
"""


def test_steps_of_a_script_hit_with_the_same_seed_and_run_with_another(tmp_path):
    def run(seed):
        code = textwrap.dedent(STEP)
        done = subprocess.run(
            [sys.executable, "-c", code, str(tmp_path), seed], capture_output=True, text=True, check=False, cwd=tmp_path
        )
        assert done.returncode == 0, done.stderr
        return eval(done.stdout), done.stderr.count("ran")

    first, runs = run("1")
    assert runs == 2
    assert run("1") == (first, 0)
    other, runs = run("2")
    assert runs == 2
    assert other != first
    unseeded, runs = run("-")
    assert runs == 2
    assert run("-") == (unseeded, 0)


@pytest.mark.parametrize("draws", [0, 1, 624, 3000])
@pytest.mark.parametrize("waits", [False, True], ids=["", "half a pair waits"])
def test_a_state_in_memory_is_the_one_that_random_tells(draws, waits):
    PYTHON.watch()
    random.seed(draws)
    for _ in range(draws):
        random.random()
    if waits:
        random.gauss(0, 1)
    assert len(PYTHON.state()) == 2  # the bytes; otherwise this test shows nothing
    assert PYTHON.to_text(PYTHON.state()) == PYTHON.to_text(random.getstate())
    before = PYTHON.state()
    random.random()
    assert PYTHON.state() != before
