"""Large variables of a hit are not read before a cell reads them, and are what was stored all the same."""

import mmap

import numpy as np
import pytest

from awaitly_nb import config, create_disk_cache
from awaitly_nb.codec import envelope
from awaitly_nb.errors import DamagedEntryWarning
from awaitly_nb.keys import fingerprint, noted_digests, remember_digest

LARGE = 3_000_000
"""Floats that take 24 MB."""
MAKE = f"%%awaitly big\nimport numpy as np\nx = np.arange({LARGE}, dtype=float); n = 3"


@pytest.fixture
def session(shell, tmp_path, monkeypatch):
    """A shell that has stored a large variable and has forgotten it."""
    monkeypatch.setenv("AWAITLY_NB_CACHE_DIR", str(tmp_path / "cache"))
    shell.run(MAKE)
    shell.run("%%awaitly total\nt = float(x.sum()); y = x * 2")
    shell.forget()
    shell.run("import numpy as np")
    return shell


@pytest.fixture
def checked(monkeypatch):
    """How many buffers were authenticated so far."""
    sizes, macs = [], envelope._macs

    def counting(key, buffers):
        sizes.extend(buffer.nbytes for buffer in buffers)
        return macs(key, buffers)

    monkeypatch.setattr(envelope, "_macs", counting)
    return sizes


def damage(tmp_path):
    """Flip a byte in the middle of each large value file."""
    for path in (tmp_path / "cache").rglob("*.val"):
        with path.open("r+b") as file:
            file.seek(path.stat().st_size // 2)
            byte = file.read(1)
            file.seek(-1, 1)
            file.write(bytes([byte[0] ^ 255]))


def test_hits_read_nothing_of_what_is_large(session, checked):
    for source in (MAKE, "%%awaitly total\nt = float(x.sum()); y = x * 2"):
        session.run(source)
        assert session.badge.startswith("from cache")
    assert checked == []
    session.run("unrelated = n + 1")
    assert checked == []
    assert type(session.ns["x"]) is np.ndarray
    session.run("print(x[5], x.sum() == t)")
    assert session.out == "5.0 True\n"
    assert checked == [8 * LARGE]
    session.run("print(x[6])")
    assert len(checked) == 1
    session.run("def last(): return y[-1]")
    session.run("print(last())")
    assert len(checked) == 2


def test_a_list_of_the_variables_tells_type_and_size(session, checked):
    session.run(MAKE)
    assert checked == []
    session.run("%whos")
    (line,) = [line for line in session.out.splitlines() if line.startswith("x ")]
    assert "ndarray" in line
    assert str(8 * LARGE) in line


@pytest.mark.parametrize("reader", ["globals()['x'][0]", "eval('x[0]')", "get_ipython().user_ns['x'][0]"])
def test_what_may_read_anything_reads_it(session, checked, reader):
    session.run(MAKE)
    session.run(f"first = {reader}")
    assert checked == [8 * LARGE]


def test_what_was_changed_has_another_key(session):
    session.run(MAKE)
    session.run("x[7] = -1")
    session.run("%%awaitly total\nt = float(x.sum()); y = x * 2")
    assert "computed" in session.badge
    assert session.ns["y"][7] == -2


def test_a_change_that_no_cell_makes_is_seen_too(session):
    session.run(MAKE)
    session.ns["x"][LARGE // 2] = -1  # as a callback does
    session.run("%%awaitly total\nt = float(x.sum()); y = x * 2")
    assert "computed" in session.badge
    assert session.ns["y"][LARGE // 2] == -2


def test_what_is_damaged_is_made_anew_by_who_reads_it(session, tmp_path):
    damage(tmp_path)
    session.run(MAKE)
    assert session.badge.startswith("from cache")
    with (
        pytest.warns(DamagedEntryWarning, match="counts as absent"),
        pytest.warns(DamagedEntryWarning, match="x: what was stored is damaged"),
    ):
        session.run("print(float(x.sum()))")
    assert session.out == f"{LARGE * (LARGE - 1) / 2}\n"


def test_what_shares_memory_with_it_is_read_first(shell, tmp_path, monkeypatch, checked):
    monkeypatch.setenv("AWAITLY_NB_CACHE_DIR", str(tmp_path / "cache"))
    view = "%%awaitly view\nv = x[10:]; box = [x]"
    for _ in range(2):
        shell.forget()
        checked.clear()
        shell.run(MAKE)
        shell.run(view)
    assert shell.badge.startswith("from cache")
    assert checked == [8 * LARGE]
    assert shell.ns["box"][0] is shell.ns["x"]
    assert np.shares_memory(shell.ns["v"], shell.ns["x"])


def test_a_frame_keeps_its_digest_until_a_column_changes(shell, tmp_path, monkeypatch, checked):
    monkeypatch.setenv("AWAITLY_NB_CACHE_DIR", str(tmp_path / "cache"))
    frame = f"%%awaitly frame\nimport pandas as pd\ndf = pd.DataFrame({{'a': range({LARGE}), 'b': 1.5}})"
    total = "%%awaitly total\nt = int(df.a.sum())"
    for source in (frame, total):
        shell.run(source)
    shell.forget()
    checked.clear()
    for source in (frame, total):
        shell.run(source)
        assert shell.badge.startswith("from cache")
    assert checked == []
    shell.run("df.loc[3, 'a'] = 0")
    shell.run(total)
    assert "computed" in shell.badge


@pytest.mark.skipif(not hasattr(mmap, "MAP_PRIVATE"), reason="Windows has no private maps")
def test_a_known_digest_holds_while_nobody_has_written(tmp_path):
    data = np.arange(LARGE)
    (tmp_path / "f").write_bytes(data.tobytes())
    with (tmp_path / "f").open("rb") as file:
        owner = mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_COPY)
    array = np.frombuffer(owner, data.dtype)
    with noted_digests() as noted:
        wanted = fingerprint(array)
    ((place, digest),) = noted.items()
    remember_digest(owner, *place, bytes(reversed(digest)))
    assert fingerprint(array) != wanted  # so it was not read
    float(array.sum())
    assert fingerprint(array) != wanted  # reading is not writing
    array[LARGE - 1] = LARGE - 1  # equal, but written
    assert fingerprint(array) == wanted
    remember_digest(owner, *place, b"")
    del array, owner
    from awaitly_nb.keys import untouched

    assert place not in untouched._known


def test_entries_are_listed_as_before(session):
    assert {
        entry.key.partition(":")[0] for entry in create_disk_cache(config.cache_directory(), namespace="big").entries()
    }
