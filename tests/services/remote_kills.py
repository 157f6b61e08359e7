"""Push and pull, killed at random moments: `python remote_kills.py REMOTE KILLS SEED`.

Each life is a child of its own, ended by SIGKILL. Whatever the moment: what the remote offers is whole, what a folder
serves is what was computed, and what was computed stays. In the end all of it is where it should be.
"""

import os
import random
import signal
import sys
import tempfile
import time
import warnings
from pathlib import Path

import numpy as np

import awaitly_nb as aw
from awaitly_nb.cache import Intake, create_disk_cache, export_entries, made_here, open_remote
from awaitly_nb.cache.folder import forget_folders
from awaitly_nb.codec import Identity, PublicKey
from awaitly_nb.result import Mark, with_mark

REMOTE, KILLS, SEED = sys.argv[1], int(sys.argv[2]), int(sys.argv[3])
IDENTITY = Identity(bytes(range(32)))
VALUES = {f"k{number}": np.arange(number * 10_000.0) + number for number in range(1, 13)} | {"small": {"n": 1}}


def name_of(key: PublicKey):
    return "ci" if key == IDENTITY.public else None


def remote():
    published = open_remote(REMOTE)
    published._name_of = name_of
    return published


def push(folder):
    published = remote()
    for entry in export_entries(folder, [("w", key) for key in VALUES]):
        published.publish(entry, IDENTITY, made=made_here())


def pull(folder):
    published = remote()
    for offer in published.offers(["w"], print):
        if create_disk_cache(folder, namespace="w").head_of(offer.key) is None:
            Intake(folder).take(offer.namespace, offer.key, offer.head, published.body(offer))


def live(work, folder, seconds):
    """Do the work in a child, and kill it after so many seconds; tell whether it was killed."""
    child = os.fork()
    if child == 0:
        code = 1
        try:
            work(folder)
            code = 0
        finally:
            os._exit(code)
    deadline = time.monotonic() + seconds
    while time.monotonic() < deadline:
        done, status = os.waitpid(child, os.WNOHANG)
        if done:
            assert status == 0, f"a life ended with status {status}"
            return False
        time.sleep(0.002)
    os.kill(child, signal.SIGKILL)
    return os.waitpid(child, 0)[1] == signal.SIGKILL


def in_a_child(check, *arguments):
    """The parent opens neither folders nor connections, which its children would inherit."""
    child = os.fork()
    if child == 0:
        code = 1
        try:
            check(*arguments)
            code = 0
        except BaseException:
            import traceback

            traceback.print_exc()
        finally:
            os._exit(code)
    assert os.waitpid(child, 0)[1] == 0, check.__name__


def fill(folder):
    cache = create_disk_cache(folder, namespace="w")
    for key, value in VALUES.items():
        cache.set(key, with_mark(aw.Ok(value), Mark(duration_s=9.0)))
    forget_folders()


def check_remote(whole):
    published = remote()
    offers = {offer.key: offer for offer in published.offers(["w"], lambda name, exc: sys.exit(f"{name}: {exc}"))}
    for offer in offers.values():
        published.body(offer)
    assert not whole or set(offers) == set(VALUES), sorted(offers)


def check_folder(folder, whole):
    cache = create_disk_cache(folder, namespace="w", verify="strict")
    found = {key: cache.get(key) for key in VALUES}
    for key, result in found.items():
        assert result is not None or not whole, f"{key} is lost"
        if result is not None:
            np.testing.assert_equal(result.value, VALUES[key])


def empty():
    store = open_remote(REMOTE).store
    store.delete([record.name for record in store.scan("\x1ep")])
    store.close()


def load():
    """Load here what each child would load for itself."""
    import psycopg
    import redis
    import xxhash
    from cryptography.hazmat.primitives.asymmetric import ed25519
    from cryptography.hazmat.primitives.ciphers import aead

    return psycopg, redis, xxhash, ed25519, aead


def main():
    load()
    warnings.simplefilter("error")
    moments = random.Random(SEED)
    kills = lives = rounds = 0
    with tempfile.TemporaryDirectory() as place:
        ci = Path(place, "ci")
        in_a_child(fill, ci)
        began = time.monotonic()
        in_a_child(empty)
        in_a_child(push, ci)
        whole_s = 1.5 * (time.monotonic() - began)
        while kills < KILLS:
            rounds += 1
            laptop = Path(place, f"laptop {rounds}")
            in_a_child(empty)
            for work, folder in ((push, ci), (pull, laptop)):
                killed = True
                while killed:
                    killed = live(work, folder, moments.uniform(0, whole_s))
                    kills, lives = kills + killed, lives + 1
                    in_a_child(check_remote, not killed or work is pull)
                    in_a_child(check_folder, folder, not killed or work is push)
            print(f"{kills} kills so far", flush=True)
    print(f"{kills} kills in {lives} lives, {rounds} rounds: nothing lost")


main()
