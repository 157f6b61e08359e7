"""A disk that is full, and a folder that cannot be written: the value goes to the user, and nothing is left behind."""

from __future__ import annotations

import os
import subprocess
import sys
import textwrap

import pytest

pytestmark = pytest.mark.skipif(
    sys.platform != "linux" or os.geteuid() != 0, reason="needs the right to mount a small tmpfs"
)


@pytest.fixture
def small_disk(tmp_path):
    """A disk of four megabytes."""
    place = tmp_path / "disk"
    place.mkdir()
    done = subprocess.run(["mount", "-t", "tmpfs", "-o", "size=4m", "tmpfs", place], capture_output=True, text=True)
    if done.returncode:
        pytest.skip(f"no leave to mount: {done.stderr.strip()}")
    yield place
    subprocess.run(["umount", "--lazy", place], check=True)


def run(script, *arguments):
    done = subprocess.run(
        [sys.executable, "-W", "error", "-c", textwrap.dedent(script), *map(os.fspath, arguments)],
        capture_output=True,
        text=True,
    )
    assert done.returncode == 0, done.stderr
    return done.stdout


def test_a_full_disk_refuses_the_value_leaves_no_file_and_recovers(small_disk):
    out = run(
        """
        import os, sys
        from pathlib import Path
        from awaitly_nb import cache as caches
        from awaitly_nb.errors import CacheError
        from awaitly_nb.result import Ok
        folder = Path(sys.argv[1]) / "cache"
        (Path(sys.argv[1]) / "filler").write_bytes(bytes(500_000))
        cache = caches.create_disk_cache(folder)
        cache.set("first", Ok(b"a" * 1_000_000))
        for _ in range(2):
            try:
                cache.set("too large", Ok(b"b" * 5_000_000))
            except CacheError as exc:
                print("refused", "space" in str(exc))
        # Fill what is left through rows, so that the database itself runs out of space at a commit.
        count = 0
        try:
            while True:
                cache.set(f"row {count}", Ok(os.urandom(20_000)))
                count += 1
        except CacheError as exc:
            print("full", count > 10)
        assert cache.get("too large") is None
        assert cache.get("first").value == b"a" * 1_000_000
        assert len(list(folder.glob("??/*.val"))) == 1
        assert cache.get("row 3") is not None
        # Space comes back: everything works again in the same process.
        (Path(sys.argv[1]) / "filler").unlink()
        assert cache.delete("first") is True
        cache.set("after", Ok(b"c" * 100_000))
        assert cache.get("after").value == b"c" * 100_000
        assert cache.get("row 0") is not None
        """,
        small_disk,
    )
    assert out == "refused True\nrefused True\nfull True\n"


def test_a_read_only_folder_is_served_and_not_written(small_disk):
    run(
        """
        import sys
        from awaitly_nb import cache as caches
        from awaitly_nb.result import Ok
        cache = caches.create_disk_cache(sys.argv[1] + "/cache")
        cache.set("small", Ok("kept"))
        cache.set("large", Ok("x" * 100_000))
        """,
        small_disk,
    )
    subprocess.run(["mount", "-o", "remount,ro", small_disk], check=True)
    out = run(
        """
        import sys, warnings
        from awaitly_nb import cache as caches
        from awaitly_nb.errors import CacheError
        from awaitly_nb.result import Ok
        cache = caches.create_disk_cache(sys.argv[1] + "/cache")
        print(cache.get("small").value, len(cache.get("large").value), cache.keys(), len(cache.entries()))
        try:
            cache.set("new", Ok(1))
        except CacheError:
            print("refused")
        empty = caches.create_disk_cache(sys.argv[1] + "/another")
        with warnings.catch_warnings(record=True) as told:
            warnings.simplefilter("always")
            print(empty.get("x"), empty.lookup("x").reason, empty.keys(), [w.category.__name__ for w in told])
        """,
        small_disk,
    )
    assert out == "kept 100000 ['small', 'large'] 2\nrefused\nNone unusable [] ['CacheUnusableWarning']\n"


def test_steps_go_on_when_the_disk_is_full_and_the_same_one_twice(small_disk):
    out = run(
        """
        import sys, warnings
        import awaitly_nb as aw
        warnings.simplefilter("ignore")
        workflow = aw.create_workflow("w", cache=aw.create_disk_cache(sys.argv[1] + "/cache"))
        def go(key):
            print(key, workflow.run_sync(lambda ctx: ctx.step("s", lambda: "v" * 50_000, key=key)).ok)
        go("first")
        try:
            open(sys.argv[1] + "/filler", "wb", buffering=0).write(bytes(8_000_000))
        except OSError:
            pass
        for key in ("second", "second", "third", "first"):
            go(key)
        """,
        small_disk,
    )
    assert out == "first True\nsecond True\nsecond True\nthird True\nfirst True\n"
