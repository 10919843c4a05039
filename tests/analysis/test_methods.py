import numpy as np
import pytest

from analysis.methods import NAMES, compare
from analysis.tables.table import canonical
from analysis.words import Estimate

TRUE = 0.28 / 0.62


def optimum(flops):
    return (0.34 * 400 / (0.28 * 410)) ** (1 / 0.62) * (flops / 6) ** TRUE


def runs(noise=0.001, sizes=9, seed=0):
    flops = np.repeat(np.geomspace(1e17, 1e20, 7), sizes)
    params = optimum(flops) * np.tile(np.geomspace(1 / 6, 6, sizes), 7)
    tokens = flops / 6 / params
    error = np.exp(noise * np.random.default_rng(seed).standard_normal(len(flops)))
    loss = (1.7 + 400 / params**0.34 + 410 / tokens**0.28) * error
    return canonical({"params": params, "tokens": tokens, "flops": flops, "loss": loss}, "test")


def exactly(value):
    return Estimate(value=value, low=0.9 * value, high=1.1 * value)


@pytest.fixture(scope="module")
def compared():
    surface = tuple(exactly(value) for value in (TRUE, optimum(1e20), optimum(1e21)))
    return compare(runs(noise=0.004), approach3=surface, draws=300)


def test_four_methods_agree_on_centred_runs_and_hold_the_truth(compared):
    assert tuple(result.name for result in compared) == NAMES
    for result in compared:
        assert result.exponent.low < TRUE < result.exponent.high, result.name
        assert result.params_at_largest.low < optimum(1e20) < result.params_at_largest.high, result.name
        assert result.params_at_target.low < optimum(1e21) < result.params_at_target.high, result.name
        assert (result.budgets, result.tried, result.reason) == (7, 7, "")


def test_the_parabolas_bias_shows_where_the_noise_is_small():
    """Sizes over a factor 36, so the parabola is not the curve: its interval is sure of a size that is 2% too large."""
    found = compare(runs(noise=0.0005), draws=300)[1].params_at_largest
    assert found.low > optimum(1e20)
    assert 1.01 < found.value / optimum(1e20) < 1.04


def test_each_method_says_its_bias(compared):
    said = {result.name: result.bias for result in compared}
    assert "winner's curse" in said["envelope"] and "here the losses" in said["envelope"]
    assert "0.3 to 4%" in said["isoflop"] and "from the middle to an end" in said["isoflop"]
    assert "right form" in said["surface"] and "Huber" in said["surface"]
    assert "dense sizes" in said["interpolation"]


def test_the_target_is_ten_times_the_largest_budget_when_none_is_given(compared):
    given = compare(runs(noise=0.004), target_flops=1e21, draws=300)
    assert given[1].params_at_target == compared[1].params_at_target


def test_what_cannot_be_done_says_why_and_hides_nothing_else():
    found = {result.name: result for result in compare(runs(sizes=4), draws=50)}
    assert "do not determine the surface" in found["surface"].reason
    assert "no budget has 5 sizes" in found["interpolation"].reason
    assert found["interpolation"].exponent is None
    assert found["isoflop"].exponent is not None
    assert "not done" in found["surface"].describe()
    assert "7 of 7 budgets" in found["isoflop"].describe()


def test_one_budget_is_no_power_law():
    table = runs().slice(0, 9)
    found = {result.name: result for result in compare(table, noise=0.001, draws=50)}
    for name in ("envelope", "isoflop", "interpolation"):
        assert "1 usable budget; a power law needs 2" in found[name].reason


def test_the_same_seed_gives_the_same_numbers():
    first, second = (compare(runs(), seed=5, draws=50) for _ in range(2))
    assert first == second
