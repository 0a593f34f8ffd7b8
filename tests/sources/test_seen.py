from __future__ import annotations

import hashlib
from collections import Counter

import numpy as np
import pytest

from showwork.sources.identity import RowIds
from showwork.sources.seen import Seen


def digest(number: int) -> bytes:
    return hashlib.sha256(str(number).encode()).digest()[:16]


def test_what_was_added_is_in_it_and_nothing_else():
    seen = Seen()
    assert digest(0) not in seen
    for begin in range(0, 5000, 500):
        seen.add([digest(i) for i in range(begin, begin + 500)])
    assert all(digest(i) in seen for i in range(5000))
    assert not any(digest(i) in seen for i in range(5000, 15_000))


@pytest.mark.parametrize("byte", range(13))
def test_digests_that_differ_in_one_byte_are_told_apart(byte):
    one = bytes(16)
    other = one[:byte] + b"\x01" + one[byte + 1 :]
    seen = Seen()
    seen.add([one])
    assert one in seen
    assert other not in seen
    seen.add([other])
    assert one in seen
    assert other in seen


@pytest.mark.parametrize("lately", [1, 7, 1000])
def test_ids_do_not_depend_on_when_digests_are_packed(lately):
    """1,500 rows of 400 kinds: every repeat has an id of its own, counted from the first."""
    kinds = np.random.Generator(np.random.PCG64(1)).integers(0, 400, 1500).tolist()
    usual, packed = RowIds(), RowIds(lately)
    ids = [packed.of_digest(digest(kind)) for kind in kinds]
    assert ids == [usual.of_digest(digest(kind)) for kind in kinds]
    assert len(set(ids)) == len(ids)
    count: Counter[int] = Counter()
    for kind, found in zip(kinds, ids, strict=True):
        expected = hashlib.blake2b(digest(kind) + count[kind].to_bytes(8, "little"), digest_size=16).hexdigest()
        assert found == expected
        count[kind] += 1
