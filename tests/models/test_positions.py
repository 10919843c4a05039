import jax
import jax.numpy as jnp
import numpy as np
import pytest

from scaling.config import RopeScaling
from scaling.models.positions import alibi, alibi_slopes, relative_bias, relative_buckets, rope_rates, rotate, sinusoids

H = 8


@pytest.fixture(scope="module")
def vectors():
    return jax.random.normal(jax.random.key(0), (2, 1, 1, 1, H))


def scores(vectors, base=10_000.0):
    """q.k for one query and one key vector at every pair of 12 positions."""
    q, k = (rotate(np.tile(np.asarray(x), (1, 12, 1, 1)), base)[0, :, 0] for x in vectors)
    return np.asarray(q @ k.T)


def test_rotary_scores_depend_on_distance_alone(vectors):
    found = scores(vectors)
    for distance in range(12):
        diagonal = np.diagonal(found, -distance)
        np.testing.assert_allclose(diagonal, diagonal[0], rtol=1e-5, atol=1e-5)  # float32 sines


def test_rotary_scores_do_depend_on_distance(vectors):
    assert scores(vectors)[:, 0].std() > 0.01


def test_rotation_keeps_lengths_and_leaves_the_first_position(vectors):
    x = np.tile(np.asarray(vectors[0]), (1, 12, 1, 1))
    turned = np.asarray(rotate(x, 10_000.0))
    np.testing.assert_allclose(np.linalg.norm(turned, axis=-1), np.linalg.norm(x, axis=-1), rtol=1e-6)
    np.testing.assert_array_equal(turned[:, 0], x[:, 0])


def test_sinusoids_are_vaswanis():
    table = sinusoids(5, 6)
    assert table[3, 2] == pytest.approx(np.sin(3 / 10_000 ** (2 / 6)), rel=1e-6)
    assert table[3, 3] == pytest.approx(np.cos(3 / 10_000 ** (2 / 6)), rel=1e-6)


def test_a_stretched_rotation_is_the_same_rotation_further_out():
    plain, linear = rope_rates(H, 10_000.0), rope_rates(H, 10_000.0, RopeScaling(kind="linear", factor=4.0))
    np.testing.assert_allclose(4 * linear, plain)
    ntk = rope_rates(H, 10_000.0, RopeScaling(kind="ntk", factor=4.0))
    assert ntk[0] == plain[0]  # the fastest pair keeps its rate, the slowest is stretched by the whole factor
    assert ntk[-1] == pytest.approx(plain[-1] / 4)


def test_llama_3_keeps_short_wavelengths_and_stretches_long_ones():
    scaling = RopeScaling(kind="llama3", factor=8.0, original_context=8192)
    plain, found = rope_rates(128, 500_000.0), rope_rates(128, 500_000.0, scaling)
    wavelength = 2 * np.pi / plain
    np.testing.assert_allclose(found[wavelength < 8192 / 4], plain[wavelength < 8192 / 4])
    np.testing.assert_allclose(found[wavelength > 8192], plain[wavelength > 8192] / 8)
    between = (wavelength > 8192 / 4) & (wavelength < 8192)
    assert between.any()
    assert ((found < plain) & (found > plain / 8))[between].all()


def test_t5s_buckets_are_single_near_and_wide_afar():
    back = relative_buckets(-np.arange(200), buckets=32, distance=128, both_ways=False)
    assert back[:16].tolist() == list(range(16))
    assert (np.diff(back) >= 0).all()
    assert back[128] == back[199] == 31
    ahead = relative_buckets(np.arange(1, 5), buckets=32, distance=128, both_ways=False)
    assert ahead.tolist() == [0, 0, 0, 0]
    both = relative_buckets(np.array([-3, 0, 3]), buckets=32, distance=128, both_ways=True)
    assert both.tolist() == [3, 0, 19]  # keys ahead have the upper sixteen


def test_the_relative_bias_is_a_look_up_by_bucket():
    bias_RN = jax.random.normal(jax.random.key(0), (8, 3))
    found = relative_bias(bias_RN, 10, distance=12, both_ways=True)
    ahead = np.arange(10) - np.arange(10)[:, None]
    bucket = relative_buckets(ahead, buckets=8, distance=12, both_ways=True)
    np.testing.assert_allclose(found, np.asarray(bias_RN)[bucket].transpose(2, 0, 1), rtol=1e-6)


def test_the_gradient_of_the_relative_bias_sums_over_equal_distances():
    def total(bias_RN):
        return jnp.sum(relative_bias(bias_RN, 10, distance=12, both_ways=False))

    counted = relative_buckets(np.arange(10) - np.arange(10)[:, None], buckets=8, distance=12, both_ways=False)
    found = jax.grad(total)(jnp.zeros((8, 1)))[:, 0]
    np.testing.assert_array_equal(found, np.bincount(counted.reshape(-1), minlength=8))


def test_alibis_slopes_are_the_papers():
    np.testing.assert_allclose(alibi_slopes(8), [2.0**-power for power in range(1, 9)])
    # 12 heads: those of 8, then every second of 16's.
    np.testing.assert_allclose(alibi_slopes(12)[8:], [2.0 ** -(power / 2) for power in (1, 3, 5, 7)])
    np.testing.assert_allclose(alibi(2, 4)[1, 3], -np.array([3, 2, 1, 0]) * alibi_slopes(2)[1])
