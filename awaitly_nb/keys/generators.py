"""The process's generators of random numbers: which a run drew from, and in which state it found them and left them.

A run that drew depends on the state that it found, if somebody seeded the generator in this session. Nobody can repeat
the draws of one that was never seeded: such a run hits, and the hit leaves the generator where the run left it.

Seeding has to be noticed, because a run that seeds first does not depend on what it found. No function is replaced for
that, as code may hold one already: `random`'s instance and numpy's bit generator get a class that tells when they are
seeded or set, and draws as before. Only torch, whose generator cannot be exchanged, has functions wrapped.
"""

from __future__ import annotations

import ctypes
import functools
import struct
import sys
from base64 import b64decode, b64encode
from hashlib import blake2b
from importlib import import_module
from json import dumps, loads
from typing import Any, Final

from awaitly_nb.keys.imports import ImportWatch
from awaitly_nb.keys.traces import register_tracer

__all__ = ["GENERATORS", "GlobalGenerator", "generator_states", "seeded_as"]

# Any, throughout: states, which only the generator's own library can read, and plain JSON data.

_UNSEEDED: Final = "unseeded"


class _FoundState:
    """How one run found a generator, and whether it drew before it seeded; None while it has not seeded."""

    __slots__ = ("drew", "seeded", "state")

    def __init__(self, state: Any, seeded: bool) -> None:  # noqa: FBT001 - a state goes with whether it was seeded
        self.state = state
        self.seeded = seeded
        self.drew: bool | None = None


class GlobalGenerator:
    """One generator of the process; made once for each.

    Attributes
    ----------
    name
        The module that has to be loaded for the generator to exist.
    seeded
        Whether somebody seeded it in this session.
    seedings
        How many times it was seeded or set since it is watched.
    """

    name: str

    def __init__(self) -> None:
        self.seeded = False
        self.seedings = 0
        self._runs: list[_FoundState] = []
        self._is_ours = False

    @property
    def is_loaded(self) -> bool:
        """Whether its library is imported."""
        return self.name in sys.modules

    def watch(self) -> None:
        """Notice seeding from now on, if that is not so already."""
        raise NotImplementedError

    def state(self) -> Any:
        """Return its state, in a form that is cheap to take and to compare."""
        raise NotImplementedError

    def to_text(self, state: Any) -> str:
        """Return a state as text."""
        raise NotImplementedError

    def set_text(self, text: str) -> None:
        """Set it to a state that `to_text` told."""
        raise NotImplementedError

    def begin(self) -> _FoundState:
        """Begin to notice what a run does with it."""
        self.watch()
        found = _FoundState(self.state(), self.seeded)
        self._runs.append(found)
        return found

    def end(self, found: _FoundState) -> dict[str, Any] | None:
        """Return what the run did with it, as JSON data; None where it did nothing."""
        self._runs.remove(found)
        now = self.state()
        drew = now != found.state if found.drew is None else found.drew
        if not drew and found.drew is None:
            return None
        used = {"after": self.to_text(now), "seeded": self.seeded}
        if drew:
            used["before"] = self.digest_of(found.state) if found.seeded else _UNSEEDED
        return used

    def difference(self, used: dict[str, Any]) -> str | None:
        """Return why a run that drew would draw other numbers now; None where it would not."""
        if "before" not in used:
            return None
        if self.is_loaded:
            self.watch()
        now = self.digest_of(self.state()) if self.is_loaded and self.seeded else _UNSEEDED
        return None if now == used["before"] else f"generator {self.name} differs (other seed, or other draws before)"

    def apply(self, used: dict[str, Any]) -> None:
        """Leave it as a run left it, importing its library where that is not done yet."""
        import_module(self.name)
        self.watch()
        for found in self._runs:
            if found.drew is None:
                found.drew = "before" in used or self.state() != found.state
        self._is_ours = True
        try:
            self.set_text(used["after"])
        finally:
            self._is_ours = False
        self.seeded = used["seeded"]
        self.seedings += 1

    def note_seeding(self, *, seeded: bool) -> None:
        """Take notice that it is about to be seeded, or set to a state."""
        if self._is_ours:
            return
        for found in self._runs:
            if found.drew is None:
                found.drew = self.state() != found.state
        self.seeded = seeded
        self.seedings += 1

    def digest(self) -> str:
        """Return the digest of its state, as a run that draws from it records it."""
        return self.digest_of(self.state())

    def digest_of(self, state: Any) -> str:
        """Return the digest of a state."""
        return blake2b(self.to_text(state).encode(), digest_size=16).hexdigest()


# -- random --------------------------------------------------------------------------------------------------------

_N: Final = 624
_M: Final = 397


class PythonGenerator(GlobalGenerator):
    """The generator behind the functions of `random`."""

    name = "random"
    _watched: Any = None
    _memory: Any = None

    def watch(self) -> None:
        """Give `random`'s own instance a class that tells of `seed` and `setstate`."""
        instance = sys.modules["random"]._inst  # noqa: SLF001 - what its functions are bound to
        if self._watched is not instance:
            self._watched = instance
            self.seeded = _is_of_short_seed(instance.getstate())
            instance.__class__ = _telling_random(self)
            self._memory = _memory_of(instance)

    def state(self) -> Any:
        """Return it as `random.getstate()` does, or as the bytes in memory: that makes no number of each word."""
        instance = sys.modules["random"]._inst  # noqa: SLF001 - as above
        if self._memory is None or instance is not self._watched:
            return instance.getstate()
        return self._memory.raw, instance.gauss_next

    def to_text(self, state: Any) -> str:
        """Return it as text: its words, and the half of a pair of normal numbers that waits."""
        *_, words, waiting = state
        if isinstance(words, bytes):
            words = _words_in(words)
        return f"{b64encode(struct.pack(f'<{_N + 1}I', *words)).decode()} {dumps(waiting)}"

    def set_text(self, text: str) -> None:
        """Set it."""
        words, waiting = text.split(" ")
        sys.modules["random"].setstate((3, struct.unpack(f"<{_N + 1}I", b64decode(words)), loads(waiting)))


def _memory_of(instance: Any) -> Any:
    """Return an object whose `raw` is the state of an instance at that moment; None where it does not lie as expected.

    CPython keeps the number of words that are used up, and then the words, right after what every object begins with.
    """
    if sys.implementation.name != "cpython" or type(instance).__basicsize__ < object.__basicsize__ + _STATE_BYTES:
        return None
    memory = (ctypes.c_char * _STATE_BYTES).from_address(id(instance) + object.__basicsize__)
    return memory if _words_in(memory.raw) == instance.getstate()[1] else None


_STATE_BYTES: Final = 4 * (_N + 1)


def _words_in(raw: bytes) -> tuple[int, ...]:
    used_up, *words = struct.unpack(f"={_N + 1}I", raw)
    return *words, used_up


def _telling_random(generator: GlobalGenerator) -> type:
    import _random
    import random

    class TellingRandom(_random.Random):
        """Comes between `Random` and that class: where `Random.seed` and `Random.setstate` call on."""

        __slots__ = ()

        def seed(self, *args: Any) -> None:
            generator.note_seeding(seeded=bool(args) and args[0] is not None)
            super().seed(*args)

        def setstate(self, *args: Any) -> None:
            generator.note_seeding(seeded=True)
            super().setstate(*args)

    # Named as what it stands for, and pickled by its name: `from random import choice` is bound to it.
    members = {"__slots__": (), "__module__": "random", "__reduce__": lambda self: "_inst"}  # noqa: ARG005
    return type("Random", (random.Random, TellingRandom), members)


def _is_of_short_seed(state: Any) -> bool:
    """Tell whether the state is that of a generator which was seeded with a number or text, a short while ago.

    Whoever seeded before anything was watched left no other mark. Seeding mixes the words of the seed, over and over,
    into a fixed array. Taken back, that gives the words: of a number or text they repeat, of the system's entropy not.
    """
    words = list(state[1][:_N])
    for _ in range(_TAKEN_BACK if state[1][_N] < _N else 2):
        # Seeding sets this bit of the first word, and of what precedes its result no other bit can be told.
        if words[0] & _UPPER and _repeats(_seed_words(words)):
            return True
        words = _taken_back(words)
    return False


_TAKEN_BACK: Final = 12  # times 624 draws; each takes a millisecond, once in a process
_LONGEST_SEED: Final = 160
_UPPER: Final = 0x80000000
_LOWER: Final = 0x7FFFFFFF
_MASK: Final = 0xFFFFFFFF


def _taken_back(words: list[int]) -> list[int]:
    """Return the state from which the generator made this one when its words were used up."""
    words = list(words)
    for at in range(_N - 1, -1, -1):
        mixed = words[at] ^ words[(at + _M) % _N]
        if mixed & _UPPER:
            mixed ^= 0x9908B0DF
        word = (mixed << 1) & _UPPER
        mixed = words[at - 1] ^ words[(at + _M - 1) % _N]
        if mixed & _UPPER:
            mixed ^= 0x9908B0DF
            word |= 1
        words[at] = word | ((mixed << 1) & _LOWER)
    return words


def _seed_words(words: list[int]) -> list[int]:
    """Return what seeding added at each place of the array, in the order of the places."""
    first = list(words)
    first[0] = words[_N - 1]
    first[1] = ((words[1] + 1) & _MASK) ^ ((first[0] ^ first[0] >> 30) * 1566083941 & _MASK)
    for at, before in enumerate([first[1], *words[2 : _N - 1]], start=2):
        first[at] = ((words[at] + at) & _MASK) ^ ((before ^ before >> 30) * 1566083941 & _MASK)
    start = [19650218]
    for at in range(1, _N):
        start.append((1812433253 * (start[-1] ^ start[-1] >> 30) + at) & _MASK)
    return [
        (first[at] - (start[at] ^ ((first[at - 1] ^ first[at - 1] >> 30) * 1664525 & _MASK))) & _MASK
        for at in range(3, _N)
    ]


def _repeats(added: list[int]) -> bool:
    """Tell whether these are the words of a short seed, each with its number in the seed added."""
    lengths = (length for length in range(1, _LONGEST_SEED) if added[length] == added[0])
    return any(added[length:] == added[:-length] for length in lengths)


# -- numpy ---------------------------------------------------------------------------------------------------------


class NumpyGenerator(GlobalGenerator):
    """The generator behind the functions of `numpy.random`."""

    name = "numpy.random"
    _watched: Any = None

    def __init__(self) -> None:
        super().__init__()
        self._last: tuple[bytes, Any] = (b"", None)

    def watch(self) -> None:
        """Put a bit generator in the place of the one that is there, which tells when it is seeded or set."""
        numpy_random = sys.modules["numpy.random"]
        bits = numpy_random.mtrand._rand._bit_generator  # noqa: SLF001 - there is no public way
        if bits is self._watched:
            return
        # Seeding drops the sequence that the system's entropy made; another bit generator is one that somebody chose.
        self.seeded = self._watched is not None or getattr(bits, "_seed_seq", None) is None
        if type(bits) is numpy_random.MT19937 and hasattr(numpy_random, "set_bit_generator"):
            state = numpy_random.get_state()
            bits = _telling_bits(self)()
            self._is_ours = True
            numpy_random.set_bit_generator(bits)
            numpy_random.set_state(state)
            self._is_ours = False
        self._watched = bits

    def state(self) -> Any:
        """Return it; read anew only where the memory of the bit generator changed: to look takes a fiftieth."""
        numpy_random = sys.modules["numpy.random"]
        bits = self._watched
        if not hasattr(bits, "memory") or numpy_random.mtrand._rand._bit_generator is not bits:  # noqa: SLF001
            return dumps(numpy_random.get_state(legacy=False), default=lambda array: array.tolist())
        raw = bits.memory.raw
        # A normal number that waits may be drawn without any other trace.
        if raw != self._last[0] or self._last[1][1]:
            self._last = (raw, (raw, *numpy_random.get_state()[3:]))
        return self._last[1]

    def to_text(self, state: Any) -> str:
        """Return it as text."""
        if isinstance(state, str):
            return state
        raw, waits, number = state
        return f"{b64encode(raw).decode()} {waits} {dumps(number)}"

    def set_text(self, text: str) -> None:
        """Set it."""
        numpy_random: Any = sys.modules["numpy.random"]
        if text.startswith("{"):
            numpy_random.set_state(loads(text))
        else:
            raw, waits, number = text.split(" ")
            *words, position = struct.unpack(f"={_N}Ii", b64decode(raw))
            numpy_random.set_state(("MT19937", words, position, int(waits), loads(number)))


def _telling_bits(generator: GlobalGenerator) -> Any:
    bits: Any = sys.modules["numpy.random"].MT19937

    class TellingBits(bits):  # type: ignore[misc] # as above
        """Draws as numpy's own, and tells when it is seeded or set."""

        def __init__(self) -> None:
            super().__init__()
            self.memory = (ctypes.c_char * _STATE_BYTES).from_address(self.ctypes.state_address)

        def _legacy_seeding(self, seed: Any) -> None:
            generator.note_seeding(seeded=seed is not None)
            super()._legacy_seeding(seed)

        @property
        def state(self) -> Any:
            return bits.state.__get__(self)

        @state.setter
        def state(self, value: Any) -> None:
            generator.note_seeding(seeded=True)
            bits.state.__set__(self, value)

        def __reduce__(self) -> Any:
            plain = bits()
            plain.state = self.state
            return plain.__reduce__()

    # States and pickles name the class.
    TellingBits.__name__, TellingBits.__qualname__, TellingBits.__module__ = (
        "MT19937",
        bits.__qualname__,
        bits.__module__,
    )
    return TellingBits


# -- torch ---------------------------------------------------------------------------------------------------------


class TorchGenerator(GlobalGenerator):
    """The generator of torch for the processor; it is made with the same seed in every process."""

    name = "torch"
    _watched: Any = None

    def watch(self) -> None:
        """Wrap the functions that seed."""
        torch = sys.modules["torch"]
        if self._watched is torch:
            return
        self._watched = torch
        self.seeded = True
        for name in ("manual_seed", "seed", "set_rng_state"):
            for owner in (torch, getattr(torch, "random", None)):
                if owner is not None and hasattr(owner, name):
                    setattr(owner, name, self._telling(getattr(owner, name), seeded=name != "seed"))

    def _telling(self, function: Any, *, seeded: bool) -> Any:
        if hasattr(function, "__wrapped__"):
            return function

        @functools.wraps(function)
        def telling(*args: Any, **kwargs: Any) -> Any:
            self.note_seeding(seeded=seeded)
            return function(*args, **kwargs)

        return telling

    def state(self) -> Any:
        """Return it as bytes."""
        torch: Any = sys.modules["torch"]
        return torch.get_rng_state().numpy().tobytes()

    def to_text(self, state: Any) -> str:
        """Return it as text."""
        return b64encode(state).decode()

    def set_text(self, text: str) -> None:
        """Set it."""
        torch: Any = sys.modules["torch"]
        torch.set_rng_state(torch.frombuffer(bytearray(b64decode(text)), dtype=torch.uint8))


# -- the tracer ----------------------------------------------------------------------------------------------------

GENERATORS: Final[tuple[GlobalGenerator, ...]] = (PythonGenerator(), NumpyGenerator(), TorchGenerator())
"""The generators of the process."""

_BY_NAME: Final = {generator.name: generator for generator in GENERATORS}


class _Generators:
    """The tracer of the process's generators."""

    name = "generators"

    def begin(self) -> tuple[dict[str, _FoundState], ImportWatch]:
        begun: dict[str, _FoundState] = {}
        late = [generator.name for generator in GENERATORS if not generator.is_loaded]

        def start(name: str) -> None:
            begun[name] = _BY_NAME[name].begin()

        for generator in GENERATORS:
            if generator.is_loaded:
                start(generator.name)
        return begun, ImportWatch(late, start)

    def end(self, begun: tuple[dict[str, _FoundState], ImportWatch], /) -> dict[str, Any] | None:
        runs, imports = begun
        imports.close()
        ended = {name: _BY_NAME[name].end(found) for name, found in runs.items()}
        return {name: used for name, used in ended.items() if used is not None} or None

    def difference(self, used: dict[str, Any], /) -> str | None:
        reasons = (_BY_NAME[name].difference(data) for name, data in used.items())
        return next((reason for reason in reasons if reason is not None), None)

    def apply(self, used: dict[str, Any], /) -> None:
        for name, data in used.items():
            _BY_NAME[name].apply(data)


def generator_states() -> dict[str, tuple[int, str]]:
    """Return how often each generator was seeded, and the digest of its state, or that nobody seeded it."""
    states: dict[str, tuple[int, str]] = {}
    for name, generator in _BY_NAME.items():
        if generator.is_loaded:
            generator.watch()
            states[name] = generator.seedings, generator.digest() if generator.seeded else _UNSEEDED
    return states


def seeded_as(name: str, seed: object) -> str | None:
    """Return what a generator would be met as right after `seed`, without touching it or importing its library.

    Parameters
    ----------
    name
        The generator: `random` or `numpy.random`.
    seed
        What it is seeded with.

    Returns
    -------
    str or None
        None for a generator whose seeding only its library can tell, or a seed that it would refuse.
    """
    if name == "random" and isinstance(seed, int | float | str | bytes):
        import random

        return PythonGenerator().digest_of(random.Random(seed).getstate())  # noqa: S311 - a state to compare with
    if name == "numpy.random" and isinstance(seed, int) and 0 <= seed <= _MASK:
        words = [int(seed)]
        for at in range(1, _N):  # as Matsumoto's `init_genrand`
            words.append((1812433253 * (words[-1] ^ words[-1] >> 30) + at) & _MASK)
        return NumpyGenerator().digest_of((struct.pack(f"={_N}Ii", *words, _N), 0, 0.0))
    return None


register_tracer(_Generators())
