import math

import jax.numpy as jnp
import numpy as np
import pytest

from analysis.losses import Loss, absolute, huber, squared


def rho(loss, residuals):
    return np.asarray(loss.rho(jnp.asarray(residuals), min(loss.delta, 1e30)))


def test_huber_is_quadratic_to_delta_and_linear_beyond():
    np.testing.assert_allclose(rho(huber(0.5), [0.1, -0.5, 2.0]), [0.005, 0.125, 0.5 * (2.0 - 0.25)], rtol=1e-6)


def test_least_squares_is_half_the_square_and_least_deviations_the_size():
    np.testing.assert_allclose(rho(squared(), [0.1, -3.0]), [0.005, 4.5], rtol=1e-6)
    np.testing.assert_allclose(rho(absolute(), [0.1, -3.0]), [0.1, 3.0], rtol=1e-5)  # rounded within 1e-7


def test_the_variance_factor_has_its_known_limits():
    assert squared().variance_factor(0.01) == pytest.approx(1e-4)
    assert huber(10.0).variance_factor(0.01) == pytest.approx(1e-4, rel=1e-6)
    # Least absolute deviations: pi / 2. The sum over a grid of residuals is right to a thousandth.
    assert huber(1e-7).variance_factor(0.01) == pytest.approx(math.pi / 2 * 1e-4, rel=3e-3)


def test_the_variance_factor_of_huber_is_the_closed_form():
    corner, scale = 1.345, 0.02
    within = math.erf(corner / math.sqrt(2))
    density = math.exp(-(corner**2) / 2) / math.sqrt(2 * math.pi)
    square = within - 2 * corner * density + corner**2 * (1 - within)
    expected = scale**2 * square / within**2
    assert huber(corner * scale).variance_factor(scale) == pytest.approx(expected, rel=1e-4)


def test_a_loss_of_ones_own_gets_its_slope_from_jax():
    cosh = Loss("log-cosh", lambda r, delta: delta**2 * jnp.log(jnp.cosh(r / delta)), delta=10.0)
    assert cosh.variance_factor(0.01) == pytest.approx(1e-4, rel=1e-3)  # quadratic so near to zero
    assert cosh.describe() == "log-cosh, delta 10"


def test_a_delta_that_is_not_positive_is_refused():
    with pytest.raises(ValueError, match="must be positive"):
        huber(0.0)
