"""Hyper-parameter laws: published values, recovery, and Step Law's released runs."""

import numpy as np
import pytest
from recovery import at, coverage, grid

from analysis import fit, laws
from analysis.losses import squared


def test_step_laws_published_optimum():
    found = at(laws.step_law_lr, {"params": 1e9, "tokens": 1e11}, c=1.79, p_params=-0.713, p_tokens=0.307)
    assert found == pytest.approx(1.79 * 1e9**-0.713 * 1e11**0.307, rel=1e-12)
    found = at(laws.step_law_batch, {"tokens": 1e11}, c=0.58, p_tokens=0.571)
    assert found == pytest.approx(0.58 * 1e11**0.571, rel=1e-12)


def test_deepseeks_published_optimum():
    assert at(laws.deepseek_lr, {"flops": 1e20}, c=0.3118, p_flops=-0.125) == pytest.approx(
        0.3118 * 10**-2.5, rel=1e-12
    )
    assert at(laws.deepseek_batch, {"flops": 1e20}, c=0.292, p_flops=0.3271) == pytest.approx(
        0.292 * 10**6.542, rel=1e-12
    )


def test_a_product_of_one_column_is_a_power_law():
    x = {"flops": np.geomspace(1e15, 1e22, 9)}
    product, plain = laws.product_law("lr", ("flops",)), laws.power_law("lr", "flops")
    np.testing.assert_allclose(at(product, x, c=0.3, p_flops=-0.1), at(plain, x, a=0.3, b=-0.1), rtol=1e-12)


def test_a_product_law_names_its_columns_and_is_made_once():
    law = laws.product_law("lr", ("params", "tokens"))
    assert law.formula == "lr = c params^p_params tokens^p_tokens"
    assert law is laws.product_law("lr", ("params", "tokens"))
    assert laws.step_law_lr.form == law.form
    with pytest.raises(ValueError, match="at least one column"):
        laws.product_law("lr", ())


def test_intervals_hold_the_truth():
    truth = dict(c=1.79, p_params=-0.713, p_tokens=0.307)
    found = coverage(laws.step_law_lr, truth, grid(), noise=0.05, own_starts=False)
    assert not found.outside(), (found.hits, found.band)


@pytest.mark.slow
def test_step_laws_released_runs_give_what_they_are_known_to_give_and_not_what_was_published(published):
    """published/steplaw.md, second list: the published coefficients do not come out of the released runs."""
    runs = published.raw("steplaw")
    data = {
        name: runs[name].to_numpy() for name in ("params_no_embed", "tokens", "lr", "batch_sequences", "smooth_loss")
    }
    cells = np.unique(np.stack([data["params_no_embed"], data["tokens"]]), axis=1, return_inverse=True)[1].ravel()
    best = np.array([data["smooth_loss"][cells == cell].min() for cell in range(cells.max() + 1)])[cells]
    near = data["smooth_loss"] / best - 1 < 0.0025
    table = {
        "params": data["params_no_embed"][near], "tokens": data["tokens"][near], "lr": data["lr"][near],
        "batch": data["batch_sequences"][near] * 2048,
    }  # fmt: skip
    rate = fit(laws.step_law_lr, table, squared()).params
    batch = fit(laws.step_law_batch, table, squared()).params
    # 0.5%, and half a unit of the last digit that is written down.
    assert (rate["c"], rate["p_params"], rate["p_tokens"]) == pytest.approx((77.7, -0.766, 0.197), rel=5e-3)
    assert (batch["c"], batch["p_tokens"]) == pytest.approx((0.2085, 0.6125), rel=5e-3)
