"""Forecasts from curves that are made, whose ends are known."""

import numpy as np
import pytest

from launch import end_in_sight
from launch.end_in_sight import LEAST_FREEDOM, Curve, Ended, follow, outlook, trend

TOKENS = 100_000
AT = np.arange(1, 1001) * TOKENS / 1000


def curve(level=4.0, slope=0.1, lr=1e-2, noise=0.0, seed=0):
    """level (tokens / TOKENS)^-slope, with noise of a step."""
    scatter = np.random.default_rng(seed).normal(0, noise, len(AT))
    return Curve(tokens=AT, losses=level * (AT / TOKENS) ** -slope * np.exp(scatter), lr=lr)


def ended(level, gain=0.05, **kind):
    """One whose held-out loss lies below its curve's end by a share: what its decay gained."""
    return Ended(curve=curve(level, **kind), loss=level * (1 - gain), loss_se=0.0)


def test_a_power_law_goes_on_as_it_was_whatever_share_is_seen():
    for share in (0.2, 0.5, 0.9):
        assert trend(curve(), share=share, tokens=TOKENS) == pytest.approx(np.log(4.0), rel=1e-9)


def test_what_comes_after_the_share_and_what_is_no_number_is_not_looked_at():
    losses = curve().losses.copy()
    losses[600:] = 99.0
    losses[450:460] = np.nan
    seen = Curve(tokens=AT, losses=losses, lr=1e-2)
    assert trend(seen, share=0.6, tokens=TOKENS) == pytest.approx(np.log(4.0), rel=1e-9)


def test_a_curve_of_few_rows_has_no_trend():
    short = Curve(tokens=AT[:10], losses=curve().losses[:10], lr=1e-2)
    assert trend(short, share=0.01, tokens=TOKENS) is None


def test_a_run_is_expected_to_gain_from_its_decay_what_its_group_gained():
    group = [ended(level, noise=0.01, seed=seed) for seed, level in enumerate((4.0, 4.1, 4.2, 4.3))]
    found = outlook(curve(5.0, noise=0.01, seed=9), group, share=0.5, tokens=TOKENS, confidence=0.99)
    # A line through 250 rows with noise of 1%, continued to twice as far, errs by about 0.3%.
    assert found.loss == pytest.approx(5.0 * 0.95, rel=0.01)
    assert 4.0 < found.low < found.loss


def test_higher_rates_are_expected_to_gain_more_where_those_that_ended_did():
    def gain(lr):
        return 0.02 * (1 + np.log(lr / 1e-3))

    group = [ended(4.0, gain=gain(lr), lr=lr, noise=0.002, seed=k) for k, lr in enumerate((1e-3, 2e-3, 4e-3, 8e-3))]
    found = outlook(curve(4.0, lr=1.6e-2, noise=0.002, seed=9), group, share=0.5, tokens=TOKENS, confidence=0.99)
    # ln(1 - gain) is a straight line in ln lr up to the square of the gain.
    assert found.loss == pytest.approx(4.0 * (1 - gain(1.6e-2)), rel=0.01)


def test_the_interval_widens_with_the_distance_from_the_rates_that_ended():
    group = [ended(4.0, lr=lr, noise=0.01, seed=k) for k, lr in enumerate((1e-3, 2e-3, 4e-3, 8e-3))]
    near, far = (
        outlook(curve(4.0, lr=lr, seed=9), group, share=0.5, tokens=TOKENS, confidence=0.99) for lr in (3e-3, 3e-1)
    )
    assert near.loss / near.low < 0.5 * (far.loss / far.low - 1) + 1


def lagging(lr, seed=0):
    """5.5 (1 + lr tokens / 2)^-0.15: a plateau that low rates leave late, and the same fall for all."""
    scatter = np.random.default_rng(seed).normal(0, 0.003, len(AT))
    return Curve(tokens=AT, losses=5.5 * (1 + lr * AT / 2) ** -0.15 * np.exp(scatter), lr=lr)


def fallen(lr, seed=0):
    return Ended(curve=lagging(lr, seed), loss=5.5 * (1 + lr * TOKENS / 2) ** -0.15, loss_se=0.0)


@pytest.mark.parametrize("share", [0.2, 0.4])
def test_a_low_rate_that_is_still_on_its_plateau_may_fall_as_the_others_fell(share, monkeypatch):
    group = [fallen(lr, seed=k) for k, lr in enumerate((2e-3, 4e-3, 8e-3, 1.6e-2))]
    asked = {"share": share, "tokens": TOKENS, "confidence": 0.98}
    ends = fallen(5e-5).loss
    assert outlook(lagging(5e-5, seed=9), group, **asked).low <= ends
    # The straight lines alone promise that it cannot come so far.
    monkeypatch.setattr(end_in_sight, "follow", lambda *_, **__: np.inf)
    assert outlook(lagging(5e-5, seed=9), group, **asked).low > ends


def test_a_run_follows_another_from_where_that_was_at_its_level_over_as_many_times_the_tokens():
    fast = Ended(curve=curve(2.0, 0.2), loss=1.9, loss_se=0.0)
    slow = curve(3.0, 0.2)  # at its level fast was at (2/3)^5 of its tokens
    # Means over the last fifth lie 2% above the curve, for both alike; rows are 0.1% of the tokens.
    assert follow(slow, fast, share=0.5, tokens=TOKENS) == pytest.approx(np.log(3.0 * 1.022), abs=0.01)
    assert follow(fast.curve, fast, share=0.5, tokens=TOKENS) == pytest.approx(np.log(1.9))
    worse = Ended(curve=curve(4.0, 0.2), loss=3.9, loss_se=0.0)  # never came to where it is: its end
    assert follow(curve(2.0), worse, share=0.5, tokens=TOKENS) == pytest.approx(np.log(3.9))


def test_too_few_runs_that_ended_say_nothing():
    same = [ended(4.0, noise=0.01, seed=k) for k in range(LEAST_FREEDOM + 1)]
    assert outlook(curve(), same, share=0.5, tokens=TOKENS, confidence=0.99) is not None
    assert outlook(curve(), same[1:], share=0.5, tokens=TOKENS, confidence=0.99) is None
    differing = [ended(4.0, lr=1e-3 * (1 + k), noise=0.01, seed=k) for k in range(LEAST_FREEDOM + 1)]
    assert outlook(curve(), differing, share=0.5, tokens=TOKENS, confidence=0.99) is None


def test_runs_end_below_the_bound_as_rarely_as_the_confidence_says():
    draw = np.random.default_rng(7)
    below, trials = 0, 400
    for trial in range(trials):
        gains = draw.normal(0.05, 0.01, 6)
        group = [ended(4.0, gain=gain, noise=0.01, seed=10 * trial + k) for k, gain in enumerate(gains[:5])]
        found = outlook(curve(4.0, noise=0.01, seed=10 * trial + 9), group, share=0.5, tokens=TOKENS, confidence=0.9)
        below += 4.0 * (1 - gains[5]) < found.low
    # Binomial: 40 expected, standard deviation 6; three of them either way.
    assert 22 <= below <= 58
