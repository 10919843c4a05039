import numpy as np
import pytest

from analysis import fit, laws
from analysis.recovery import recover, wilson


def test_the_interval_of_a_share_is_wilsons():
    # 81 of 263: Newcombe 1998, Statistics in Medicine 17, table I, method 3: 0.2553 to 0.3662.
    np.testing.assert_allclose(wilson(81, 263), (0.2553, 0.3662), atol=5e-5)
    low, high = wilson(20, 20)
    assert 0.8 < low < high <= 1.0


def test_intervals_of_fits_to_noise_that_they_assume_hold_the_truth_as_often_as_they_say():
    law, draw = laws.power_law("loss", "tokens"), np.random.default_rng(0)
    tokens = np.geomspace(1e3, 1e6, 10)
    noisy = [4 * tokens**-0.3 * np.exp(0.01 * draw.standard_normal(10)) for _ in range(12)]
    fits = [fit(law, {"tokens": tokens, "loss": loss}) for loss in noisy]
    true, wrong = recover(fits, {"b": [[-0.3] * 12, [-0.2] * 12]})["b"]
    for method in ("fisher", "profile", "bootstrap"):
        share, low, high = true.coverage(method)
        assert low <= 0.95 <= high, (method, share)
        assert wrong.held(method) == 0 and true.width(method) < 0.02
    assert abs(true.bias) < 4 * true.bias_se
    assert true.bias_se == pytest.approx(true.spread / np.sqrt(12))
    assert wrong.bias == pytest.approx(true.bias - 0.1)
