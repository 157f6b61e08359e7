"""Turns at writing are a hint: who cannot take one writes all the same."""

import os
import signal
import subprocess
import sys

import pytest

from awaitly_nb.stores.disk import DiskStore
from awaitly_nb.stores.disk.database import WriterQueue

pytestmark = pytest.mark.skipif(sys.platform == "win32", reason="Windows has no record locks of this kind")

HOLD = """
import sys, time
from awaitly_nb.stores.disk.database import WriterQueue
WriterQueue(sys.argv[1]).enter()
print("held", flush=True)
time.sleep(600)
"""


@pytest.fixture
def holder(tmp_path):
    """A process whose turn it is."""
    process = subprocess.Popen([sys.executable, "-c", HOLD, tmp_path / "cache.db-queue"], stdout=subprocess.PIPE)
    assert process.stdout.readline() == b"held\n"
    yield process
    process.kill()
    process.communicate()


def is_free(path):
    asked = "import fcntl, os, sys\nfcntl.lockf(os.open(sys.argv[1], os.O_RDWR), fcntl.LOCK_EX | fcntl.LOCK_NB)"
    return subprocess.run([sys.executable, "-c", asked, path], stderr=subprocess.DEVNULL).returncode == 0


@pytest.mark.parametrize("stopped", [False, True])
def test_a_process_that_does_not_go_on_holds_up_nobody(tmp_path, holder, stopped):
    if stopped:
        os.kill(holder.pid, signal.SIGSTOP)
    store = DiskStore(tmp_path)
    assert store.swap("k", "{}", [b"value"]) is not None
    assert store.read("k").body == b"value"
    store.close()


def test_a_turn_ends_with_the_write_and_with_the_process(tmp_path, holder):
    queue, path = WriterQueue(str(tmp_path / "cache.db-queue")), tmp_path / "cache.db-queue"
    assert not is_free(path)
    holder.kill()
    holder.wait()
    queue.enter()
    assert not is_free(path)
    queue.leave()
    assert is_free(path)
    queue.enter()
    queue.close()
    assert is_free(path)


def test_where_there_can_be_no_queue_nobody_waits(tmp_path):
    queue = WriterQueue(str(tmp_path / "no folder" / "cache.db-queue"))
    queue.enter()
    queue.leave()
    queue.close()
    assert list(tmp_path.iterdir()) == []
