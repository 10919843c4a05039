import numpy as np
import pytest

from scaling.data.shuffle import BLOCK, permuted, shuffled


@pytest.mark.parametrize("n", [1, 2, 3, 7, 16, 17, 1000, 65_537])
def test_an_epoch_reads_everything_once(n):
    assert np.array_equal(np.sort(permuted(np.arange(n), n, seed=3, epoch=1)), np.arange(n))


def test_the_order_is_the_same_whichever_part_is_asked_for():
    n = 3 * BLOCK + 5
    whole = shuffled(np.arange(2 * n), n, seed=1)
    assert np.array_equal(whole[:n], permuted(np.arange(n), n, seed=1, epoch=0))
    assert np.array_equal(whole[n:], permuted(np.arange(n), n, seed=1, epoch=1))
    parts = np.array([n + 3, 0, BLOCK, 2 * n - 1, BLOCK - 1])
    assert np.array_equal(shuffled(parts, n, seed=1), whole[parts])


def test_a_block_is_the_same_when_it_is_asked_for_again():
    n, places = 2 * BLOCK, np.array([7, BLOCK - 1, BLOCK, 3])
    for _ in range(3):  # the second time it is computed whole, the third it is known
        assert np.array_equal(shuffled(places, n, seed=20), permuted(places, n, seed=20, epoch=0))


def test_orders_of_seeds_and_epochs_look_unrelated():
    n = 10_000
    orders = [permuted(np.arange(n), n, seed=seed, epoch=epoch) for seed in (0, 1) for epoch in (0, 1)]
    orders.append(np.arange(n))
    correlations = np.corrcoef(orders)[np.triu_indices(len(orders), k=1)]
    # Independent orders have a correlation of 0 +- 1/sqrt(n) = 0.01; ten pairs stay within 4 of that.
    np.testing.assert_allclose(correlations, 0, atol=0.04)
    shared = [np.mean(one == other) for one in orders for other in orders if one is not other]
    assert max(shared) < 20 / n  # one place in n by chance


def test_neighbours_are_spread_like_random_pairs():
    n = 10_000
    order = permuted(np.arange(n), n, seed=0, epoch=0)
    # |a - b| of two random places has mean n/3 and standard deviation n/sqrt(18), over n pairs: 0.3% of n.
    np.testing.assert_allclose(np.abs(np.diff(order)).mean() / n, 1 / 3, atol=0.01)
    # 10 x 10 cells of (place, value) hold 100 each, standard deviation about 10.
    cells = np.histogram2d(np.arange(n), order, bins=10)[0]
    assert np.abs(cells - 100).max() < 50


def test_it_reaches_beyond_32_bits():
    n = 10**12 + 39
    values = permuted(np.arange(n - 1000, n), n, seed=0, epoch=0)
    assert len(np.unique(values)) == 1000 and values.min() >= 0 and values.max() < n
