import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from scaling.parallel.zigzag import check_divisible, unzigzag, zigzag

SHARDS, CHUNK = st.integers(1, 16), st.integers(1, 9)


def test_each_shard_holds_one_early_and_one_late_chunk():
    np.testing.assert_array_equal(zigzag(12, 3), [0, 1, 10, 11, 2, 3, 8, 9, 4, 5, 6, 7])


@given(SHARDS, CHUNK)
def test_every_position_is_held_once_and_found_again(shards, chunk):
    length = 2 * shards * chunk
    order = zigzag(length, shards)
    np.testing.assert_array_equal(np.sort(order), np.arange(length))
    np.testing.assert_array_equal(order[unzigzag(length, shards)], np.arange(length))


@given(SHARDS, CHUNK)
def test_causal_attention_is_the_same_work_for_every_shard(shards, chunk):
    seen = 1 + zigzag(2 * shards * chunk, shards)  # keys that each query sees
    assert len(set(seen.reshape(shards, -1).sum(axis=1).tolist())) == 1


@given(st.integers(1, 200), SHARDS)
def test_a_length_is_refused_or_cut_into_equal_chunks(length, shards):
    if length % (2 * shards) == 0:
        check_divisible(length, shards)
    else:
        with pytest.raises(ValueError, match=f"{length} positions cannot be cut into {2 * shards} equal chunks"):
            check_divisible(length, shards)


@pytest.mark.parametrize(("length", "nearest"), [(30, "24 and 32"), (3, "8"), (0, "8")])
def test_a_refusal_names_the_nearest_lengths(length, nearest):
    with pytest.raises(ValueError, match=f"two for each of 4 shards.*can are {nearest}$"):
        check_divisible(length, 4)
