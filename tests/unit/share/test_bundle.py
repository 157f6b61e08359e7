"""A bundle is refused whole when any byte of it is not what was signed."""

import gzip
import hashlib
import json
import os
import random
import tracemalloc
import zipfile

import pytest

from awaitly_nb.codec import Identity
from awaitly_nb.share import Bundle, BundleError, BundleWriter
from tests.faults.counts import count

IDENTITY = Identity(bytes(range(32)))
DAMAGES = count(sample=1_000, whole=10_000)
BLOBS = [b"notebook", b"", b"x" * 3000, os.urandom(70_000)]


def write(path, blobs=BLOBS, manifest=None):
    with BundleWriter(path, IDENTITY) as writer:
        for number, blob in enumerate(blobs):
            assert writer.add([blob[:10], memoryview(blob)[10:]]) == number
        writer.finish({"notebook": "n.ipynb"} if manifest is None else manifest)
    return path


def test_a_round_trip(tmp_path):
    path = write(tmp_path / "n.awaitly")
    with Bundle(path) as bundle:
        assert bundle.signer == IDENTITY.public
        assert bundle.manifest["notebook"] == "n.ipynb"
        assert [bundle.read(n) for n in range(4)] == BLOBS
        assert [bundle.size_of(n) for n in range(4)] == [len(b) for b in BLOBS]
        bundle.verify()
    assert [p.name for p in tmp_path.iterdir()] == ["n.awaitly"]


def test_every_flipped_byte_is_refused(tmp_path):
    path = write(tmp_path / "n.awaitly", [b"notebook", b"", os.urandom(2000)])
    whole = path.read_bytes()
    for position in range(len(whole)):
        altered = bytearray(whole)
        altered[position] ^= 1 << (position % 8)
        path.write_bytes(altered)
        with pytest.raises(BundleError), Bundle(path) as bundle:
            bundle.verify()


@pytest.mark.slow
def test_random_damages_are_refused(tmp_path):
    path = write(tmp_path / "n.awaitly", [b"notebook", os.urandom(500)])
    whole, rng = path.read_bytes(), random.Random(1)
    for _ in range(DAMAGES):
        altered = bytearray(whole)
        kind = rng.choice(["flip", "cut", "grow", "swap", "zero"])
        at = rng.randrange(len(whole))
        if kind == "flip":
            altered[at] ^= rng.randrange(1, 256)
        elif kind == "cut":
            del altered[at:]
        elif kind == "grow":
            altered[at:at] = bytes([rng.randrange(256)])
        elif kind == "swap":
            to = rng.randrange(len(whole))
            altered[at], altered[to] = altered[to], altered[at]
        else:
            altered[at : at + 8] = bytes(8)
        if altered == whole:
            continue
        path.write_bytes(altered)
        with pytest.raises(BundleError), Bundle(path) as bundle:
            bundle.verify()


@pytest.mark.parametrize(
    "blobs",
    [
        [[-1, "0"]],
        [[10**18, "0"]],
        [[True, "0"]],
        [["4", "0"]],
        [[4, 5]],
        [[1]],
        {"a": 1},
        None,
        [[4, "0"], [1 << 70, "0"]],
    ],
)
def test_a_manifest_that_its_signer_forged_is_refused(tmp_path, blobs):
    path = tmp_path / "n.awaitly"
    text = json.dumps({"format": 1, "blobs": blobs}).encode()
    signature = IDENTITY.sign(b"awaitly_nb bundle 1\0" + text)
    path.write_bytes(
        b"awbndl1\n" + b"blob" + text + signature + IDENTITY.public.raw + len(text).to_bytes(8, "big") + b"awbndl1\n"
    )
    with pytest.raises(BundleError):
        Bundle(path)


def sealed(path, text, *, blobs=b"", holes=0, length=None):
    """Write a file that is signed as it should be, whatever its manifest says; `holes` bytes of it are nowhere."""
    tail = IDENTITY.sign(b"awaitly_nb bundle 1\0" + text) + IDENTITY.public.raw
    with path.open("wb") as file:
        file.write(b"awbndl1\n" + blobs)
        file.seek(holes, os.SEEK_CUR)
        file.write(text + tail + (len(text) if length is None else length).to_bytes(8, "big") + b"awbndl1\n")


def bombs():
    zeros = hashlib.sha256(bytes(100)).hexdigest()
    manifest = json.dumps({"format": 1, "blobs": [[64 << 20, zeros]]}).encode()
    yield "a blob of zeros that lie nowhere", lambda path: sealed(path, manifest, holes=64 << 20)
    for size in (1 << 40, 1 << 62, 10**30):
        text = json.dumps({"format": 1, "blobs": [[size, zeros]]}).encode()
        yield f"a blob of {size} bytes", lambda path, text=text: sealed(path, text, blobs=b"x" * 100)
    for length in (65 << 20, 1 << 40, (1 << 64) - 1):
        yield f"a manifest of {length} bytes", lambda path, length=length: sealed(path, b"{}", length=length)
    yield "a hole and a manifest of its size", lambda path: sealed(path, b"{}", holes=1 << 40, length=1 << 40)
    yield "a manifest of brackets", lambda path: sealed(path, b"[" * (1 << 20))
    yield "gzip", lambda path: path.write_bytes(gzip.compress(bytes(32 << 20)))
    yield "a zip file", zip_of_zeros
    yield "a bundle in gzip", lambda path: path.write_bytes(gzip.compress(write(path).read_bytes()))


def zip_of_zeros(path):
    with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as file:
        file.writestr("n.ipynb", bytes(32 << 20))


@pytest.mark.parametrize("make", [make for _, make in bombs()], ids=[name for name, _ in bombs()])
def test_a_bomb_is_refused_and_takes_no_memory(tmp_path, make):
    path = tmp_path / "n.awaitly"
    make(path)
    tracemalloc.start()
    try:
        with pytest.raises(BundleError), Bundle(path) as bundle:
            bundle.verify()
        assert tracemalloc.get_traced_memory()[1] < 8 << 20
    finally:
        tracemalloc.stop()


def test_of_who_is_not_admitted_nothing_is_parsed(tmp_path):
    class UnknownError(Exception):
        pass

    def admit(signer):
        assert signer == IDENTITY.public
        raise UnknownError

    sealed(tmp_path / "n.awaitly", b"[" * (1 << 20))
    with pytest.raises(UnknownError):
        Bundle(tmp_path / "n.awaitly", admit)


def test_a_fifo_a_folder_and_a_missing_file_are_refused(tmp_path):
    os.mkfifo(tmp_path / "fifo")
    for path in (tmp_path / "fifo", tmp_path, tmp_path / "none"):
        with pytest.raises(BundleError):
            Bundle(path)


def test_another_format_is_told(tmp_path):
    path = tmp_path / "n.awaitly"
    text = json.dumps({"format": 2, "blobs": []}).encode()
    tail = IDENTITY.sign(b"awaitly_nb bundle 1\0" + text) + IDENTITY.public.raw + len(text).to_bytes(8, "big")
    path.write_bytes(b"awbndl1\n" + text + tail + b"awbndl1\n")
    with pytest.raises(BundleError, match="format 2"):
        Bundle(path)


def test_what_is_not_finished_leaves_nothing(tmp_path):
    def interrupted():
        yield b"x"
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt), BundleWriter(tmp_path / "n.awaitly", IDENTITY) as writer:
        writer.add(interrupted())
    assert list(tmp_path.iterdir()) == []


def test_memory_is_flat(tmp_path):
    slices = [os.urandom(1 << 20)] * 64
    tracemalloc.start()
    with BundleWriter(tmp_path / "n.awaitly", IDENTITY) as writer:
        writer.add(slices)
        writer.finish({})
    with Bundle(tmp_path / "n.awaitly") as bundle:
        bundle.verify()
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert peak < 8 << 20
