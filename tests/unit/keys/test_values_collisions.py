"""The public battery: all green, the same keys in every process, hash seed and Python, and fit to judge others."""

import json
import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from awaitly_nb.keys import fingerprint
from awaitly_nb.testing.collisions import Verdict, check, groups
from awaitly_nb.testing.collisions.__main__ import main, table
from tests.benchmarks.known_faults import FOOLS, SOURCES

GOLDEN = Path(__file__).parents[2] / "golden" / "keys.json"
# Groups whose keys rest on nothing that changes but by a new encoding.
FROZEN = (
    "numbers",
    "text",
    "times",
    "names and patterns",
    "sequences and sets",
    "mappings",
    "long lists",
    "shared parts",
    "array dtypes",
    "array shapes and layout",
    "array contents",
    "kinds of arrays and scalars",
)


@pytest.fixture(scope="module")
def outcomes():
    return list(check(fingerprint))


def test_every_pair_is_right(outcomes):
    assert [o for o in outcomes if not o.passed] == []


def test_the_battery_is_as_large_as_it_says():
    everything = groups()
    assert sum(len(group.differ) for group in everything) >= 250
    assert sum(len(group.agree) for group in everything) >= 80
    assert all(group.differ and group.agree for group in everything)
    names = [(group.name, case[0]) for group in everything for case in (*group.differ, *group.agree)]
    assert len(names) == len(set(names))


def test_what_a_pair_is_said_to_fool_exists_and_is_documented():
    names = {f"{group.name}: {case[0]}" for group in groups() for case in (*group.differ, *group.agree)}
    assert set(FOOLS) <= names
    assert {system for systems in FOOLS.values() for system in systems.split()} <= set(SOURCES)
    assert all(version and source.startswith("https://") for version, source in SOURCES.values())


def test_a_careless_fingerprint_fails_it():
    # By the hash where there is one: text differs with each seed, and 1 is True.
    wrong = [o for o in check(lambda value: str(hash(value))) if not o.passed]
    assert {o.agree for o in wrong} == {True, False}
    assert "1 and True" in {o.name for o in wrong}


def test_a_fingerprint_that_raises_is_a_failure_with_its_reason():
    def broken(value):
        raise ValueError("not today")

    first = next(check(broken))
    assert not first.passed
    assert first.error == "ValueError: not today"


def test_the_table_names_every_pair_and_the_sums(outcomes):
    lines = table(outcomes)
    assert sum(line.startswith(("  ok ", "  FAIL")) for line in lines) == len(outcomes)
    assert f"must differ: {sum(not o.agree for o in outcomes)} of {sum(not o.agree for o in outcomes)} do" in lines
    wrong = table([Verdict("numbers", "made up", False, "x", "x")])
    assert "  FAIL # made up" in wrong


def test_the_command_prints_the_table_and_returns_the_verdict(capsys):
    assert main([]) == 0
    assert "must agree:" in capsys.readouterr().out


def test_keys_are_those_that_were_frozen(outcomes):
    frozen = json.loads(GOLDEN.read_text())
    now = {f"{o.group}: {o.name}": [o.left, o.right] for o in outcomes if o.group in FROZEN and not o.versioned}
    assert {name: keys for name, keys in now.items() if frozen.get(name, keys) != keys} == {}
    assert len(frozen.keys() & now.keys()) > 200


def keys_in(python, seed):
    env = {**os.environ, "PYTHONHASHSEED": seed, "PYTHONPATH": str(Path(__file__).parents[3])}
    command = [python, "-m", "awaitly_nb.testing.collisions", "--keys"]
    done = subprocess.run(command, env=env, capture_output=True, text=True, check=False, timeout=250)
    assert done.stderr == ""
    return json.loads(done.stdout)


@pytest.mark.slow
def test_five_processes_with_five_hash_seeds_have_equal_keys():
    first, *others = [keys_in(sys.executable, seed) for seed in ("0", "1", "2", "3", "random")]
    assert len(first) > 330
    for other in others:
        assert {name for name in first if other[name] != first[name]} == set()


LIBRARIES = ("attrs", "click", "cloudpickle", "numpy", "pandas", "platformdirs", "polars", "pyarrow", "xxhash")


def other_pythons():
    """Yield the interpreters of other minor versions that are here, each in an environment with the libraries."""
    named = os.environ.get("AWAITLY_NB_TEST_PYTHONS", "").split(os.pathsep)
    for minor in (11, 12, 13):
        if minor == sys.version_info.minor:
            continue
        beside = sorted(Path(sys.base_prefix).parent.glob(f"3.{minor}.*/bin/python"))
        found = [python for python in (*named, shutil.which(f"python3.{minor}"), *beside) if python]
        for python in found:
            asked = [python, "-c", "import sys, ensurepip; print(sys.version_info.minor)"]
            if subprocess.run(asked, capture_output=True, text=True, check=False).stdout.strip() == str(minor):
                yield environment_of(str(python), minor)
                break


def environment_of(python, minor):
    """Return the interpreter of a virtual environment with the libraries, made once for each user."""
    folder = Path.home() / ".cache" / "awaitly_nb-tests" / f"python3.{minor}"
    made = folder / "bin" / "python"
    if not (folder / "complete").exists():
        subprocess.run([python, "-m", "venv", "--clear", folder], check=True, capture_output=True)
        subprocess.run([made, "-m", "pip", "install", "--quiet", *LIBRARIES], check=True, capture_output=True)
        (folder / "complete").touch()
    return made


@pytest.mark.slow
@pytest.mark.timeout(900)
def test_other_pythons_have_equal_keys():
    """Where other Pythons are present; the frozen keys above hold for each by itself."""
    here = keys_in(sys.executable, "0")
    for python in other_pythons():
        there = keys_in(python, "random")
        shared = [name for name, (_, _, versioned) in here.items() if name in there and not versioned]
        assert len(shared) > 150
        assert [name for name in shared if there[name] != here[name]] == [], python
