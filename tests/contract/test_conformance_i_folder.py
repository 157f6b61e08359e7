"""Section I of the behaviours, second half: the cache folder, other notebooks on it, and a crash in the middle."""

from __future__ import annotations

import shutil
import signal
import stat
import subprocess
import sys

import pytest

import awaitly_nb as aw


@pytest.fixture
def fetch(mode):
    return mode.counted(lambda: "computed")


def body(ctx):
    value = yield ctx.step("fetch", ctx.deps.fetch, key="k")
    return value


def test_i110_equal_keys_of_two_namespaces_in_one_folder_do_not_collide(tmp_path):
    one = aw.create_disk_cache(tmp_path, namespace="one")
    two = aw.create_disk_cache(tmp_path, namespace="two")
    one.set("k", aw.Ok(1))
    assert two.get("k") is None
    two.set("k", aw.Ok(2))
    assert (one.get("k"), two.get("k")) == (aw.Ok(1), aw.Ok(2))
    assert one.keys() == two.keys() == ["k"]
    assert one.delete("k") is True
    assert one.delete("k") is False
    assert two.get("k") == aw.Ok(2)
    one.clear()
    assert two.keys() == ["k"]


def test_i110_one_namespace_shares(tmp_path):
    aw.create_disk_cache(tmp_path, namespace="same").set("k", aw.Ok(1))
    assert aw.create_disk_cache(tmp_path, namespace="same").get("k") == aw.Ok(1)


def test_i110_the_default_cache_is_a_namespace_for_each_workflow_name(mode, fetch):
    for name in ("one", "two", "one", "two"):
        assert mode.run(aw.create_workflow(name, {"fetch": fetch}), body) == aw.Ok("computed")
    assert len(fetch.calls) == 2


def test_i112_deleting_the_folder_under_a_living_cache_means_misses(mode, fetch, tmp_path):
    folder = tmp_path / "cache"
    workflow = aw.create_workflow("w", {"fetch": fetch}, cache=aw.create_disk_cache(folder))
    for calls in (1, 2, 3):
        assert mode.run(workflow, body) == aw.Ok("computed")
        assert mode.run(workflow, body) == aw.Ok("computed")
        assert len(fetch.calls) == calls
        shutil.rmtree(folder)


def test_i112_deleting_the_default_folder_likewise(mode, fetch):
    workflow = aw.create_workflow("w", {"fetch": fetch})
    from awaitly_nb.config import cache_directory

    for calls in (1, 2):
        assert mode.run(workflow, body) == aw.Ok("computed")
        assert mode.run(workflow, body) == aw.Ok("computed")
        assert len(fetch.calls) == calls
        shutil.rmtree(cache_directory())


@pytest.mark.skipif(sys.platform == "win32", reason="Windows has no modes")
def test_i113_the_folder_is_the_users_own(tmp_path):
    folder = tmp_path / "cache"
    aw.create_disk_cache(folder).set("k", aw.Ok(b"x" * 100_000))
    assert stat.S_IMODE(folder.stat().st_mode) == 0o700


_KERNEL = """
import sys
import awaitly_nb as aw

cache = aw.create_disk_cache(sys.argv[1])
for n in range(20):
    cache.set(f"{sys.argv[2]}:{n}", aw.Ok(n))
assert all(cache.get(f"{sys.argv[2]}:{n}") == aw.Ok(n) for n in range(20))
"""


def test_i113_kernels_that_open_it_at_the_same_moment_all_succeed(tmp_path):
    folder = tmp_path / "cache"
    kernels = [subprocess.Popen([sys.executable, "-W", "error", "-c", _KERNEL, str(folder), str(n)]) for n in range(4)]
    assert [kernel.wait(120) for kernel in kernels] == [0] * 4
    assert len(aw.create_disk_cache(folder).keys()) == 80


_CRASH = """
import os, signal, sys
import awaitly_nb as aw

folder, log, crash = sys.argv[1:]

def charge():
    with open(log, "a") as lines:
        lines.write("charged\\n")
    if crash == "between effect and record":
        os.kill(os.getpid(), signal.SIGKILL)
    return "receipt"

def body(ctx):
    before = ctx.step("before", lambda: open(log, "a").write("before\\n"), key="before")
    receipt = ctx.step("charge", charge, key="charge")
    if crash == "after record":
        os.kill(os.getpid(), signal.SIGKILL)
    return receipt

result = aw.create_workflow("w", None, cache=aw.create_disk_cache(folder)).run_sync(body)
assert result == aw.Ok("receipt"), result
"""


@pytest.mark.skipif(sys.platform == "win32", reason="Windows has no SIGKILL")
def test_i114_a_crash_between_effect_and_record_reruns_the_step_once_and_no_other(tmp_path):
    log = tmp_path / "log"

    def kernel(crash):
        command = [sys.executable, "-W", "error", "-c", _CRASH, str(tmp_path / "cache"), str(log), crash]
        return subprocess.run(command, timeout=60).returncode

    assert kernel("between effect and record") == -signal.SIGKILL
    assert log.read_text().split() == ["before", "charged"]
    assert kernel("after record") == -signal.SIGKILL
    assert log.read_text().split() == ["before", "charged", "charged"]
    assert kernel("never") == 0
    assert log.read_text().split() == ["before", "charged", "charged"]
