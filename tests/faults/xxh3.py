"""Second preimages of xxh3: why a checksum of buffers proves nothing.

Within a block of 1,024 bytes xxh3 adds up, lane by lane, and what it adds is known to everybody: for a lane with data
`d` and key `k`, `d` goes to the neighbour's sum, and the product of the two halves of `d ^ k` to its own. So 14 of the
16 stripes of a block can be anything, and the other two are solved for.
"""

from __future__ import annotations

import struct

BLOCK = 1024
STRIPE = 64
_HALF = (1 << 32) - 1
_WHOLE = (1 << 64) - 1
_SECRET = bytes.fromhex(
    "b8fe6c3923a44bbe7c01812cf721ad1cded46de9839097db7240a4a4b7b3671fcb79e64eccc0e578825ad07dccff7221b8084674f743248e"
    "e03590e6813a264c3c2852bb91c300cb88d0658b1b532ea371644897a20df94e3819ef46a9deacd8a8fa763fe39c343ff9dcbbc7c70b4f1d"
    "8a51e04bcdb45931c89f7ec9d9787364eac5ac8334d3ebc3c581a0fffa1363eb170ddd51b7f0da49d316552629d4689e2b16be587d47a1fc"
    "8ff8b8d17ad031ce45cb3a8f95160428afd7fbcabb4b407e"
)


def second_preimage(data: bytes, wanted: bytes) -> bytes:
    """Return `data` with 896 bytes replaced by those of `wanted`, and 128 more so that its xxh3 is the same."""
    assert len(data) > BLOCK
    free = BLOCK - 2 * STRIPE
    forged = bytearray(wanted[:free] + data[free:])
    for lane in range(0, 8, 2):
        pair = (lane, lane + 1)
        goal = [_sum(data, side) for side in pair]
        # The last stripe but one makes the lower halves fit by its products, the last one the upper halves by its data.
        words = {}
        for side in pair:
            words[14, side] = _key(14, side) & _HALF ^ 1
            words[15, side] = _key(15, side) & _HALF
        _put(forged, words)
        for mine in pair:
            missing = goal[mine - lane] - _sum(forged, mine)
            # With a lower half of `d ^ k` that is 1, the product is the upper half, which can be chosen.
            product = (missing + _product(forged, 14, mine)) & _HALF
            words[14, mine] = (words[14, mine] & _HALF) | (product ^ _key(14, mine) >> 32) << 32
            _put(forged, words)
        for mine, other in (pair, pair[::-1]):
            missing = (goal[mine - lane] - _sum(forged, mine)) & _WHOLE
            assert missing & _HALF == 0
            words[15, other] = (words[15, other] + missing) & _WHOLE
            _put(forged, words)
    return bytes(forged)


def _key(stripe: int, lane: int) -> int:
    return int(struct.unpack_from("<Q", _SECRET, 8 * (stripe + lane))[0])


def _word(data: bytes | bytearray, stripe: int, lane: int) -> int:
    return int(struct.unpack_from("<Q", data, STRIPE * stripe + 8 * lane)[0])


def _product(data: bytes | bytearray, stripe: int, lane: int) -> int:
    mixed = _word(data, stripe, lane) ^ _key(stripe, lane)
    return (mixed & _HALF) * (mixed >> 32)


def _sum(data: bytes | bytearray, lane: int) -> int:
    """Return what the first block adds to the sum of a lane."""
    return sum(_product(data, stripe, lane) + _word(data, stripe, lane ^ 1) for stripe in range(16)) & _WHOLE


def _put(data: bytearray, words: dict[tuple[int, int], int]) -> None:
    for (stripe, lane), word in words.items():
        struct.pack_into("<Q", data, STRIPE * stripe + 8 * lane, word)
