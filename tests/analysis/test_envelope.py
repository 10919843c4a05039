import numpy as np
import pyarrow as pa
import pytest

from analysis.envelope import envelope
from analysis.tables.table import canonical

BUDGETS = np.geomspace(1e17, 1e20, 7)


def loss_at(params, tokens):
    return 1.7 + 400 / params**0.34 + 410 / tokens**0.28


def optimum(flops=BUDGETS):
    """N* = G (C/6)^a and D* of the closed form."""
    params = (0.34 * 400 / (0.28 * 410)) ** (1 / 0.62) * (flops / 6) ** (0.28 / 0.62)
    return params, flops / 6 / params


def runs(sizes=9, noise=0.0, seed=0, width=8.0, clusters=None):
    """IsoFLOP budgets about the optimum of `loss_at`, whose exponent is 0.28 / 0.62."""
    flops = np.repeat(BUDGETS, sizes)
    params = optimum(flops)[0] * np.tile(np.geomspace(1 / width, width, sizes), len(BUDGETS))
    tokens = flops / 6 / params
    loss = loss_at(params, tokens) * np.exp(noise * np.random.default_rng(seed).standard_normal(len(flops)))
    table = {"params": params, "tokens": tokens, "flops": flops, "loss": loss}
    return canonical(table | ({"cluster": clusters} if clusters else {}), "test")


def test_exact_runs_give_the_exponent_of_the_law():
    found = envelope(runs(), draws=200)
    assert len(found.usable) == len(BUDGETS)
    # The sizes are centred on the optimum, so each winner is the optimum itself.
    assert found.params.exponent.value == pytest.approx(0.28 / 0.62, abs=1e-6)
    assert found.tokens.exponent.value == pytest.approx(0.34 / 0.62, abs=1e-6)
    assert found.params.exponent.low < 0.28 / 0.62 < found.params.exponent.high


def test_the_interval_holds_the_exponent_when_the_runs_are_noisy():
    found = [envelope(runs(sizes=8, noise=0.003, seed=seed), draws=200).params.exponent for seed in range(40)]
    # 8 sizes: none lies on the optimum. 95% less three binomial standard errors of 40.
    assert np.mean([e.low < 0.28 / 0.62 < e.high for e in found]) > 0.84


def test_the_lowest_of_noisy_losses_is_too_low_and_more_so_among_more_runs():
    """The winner's curse, and what the envelope says of it."""
    truth = np.log(loss_at(*optimum()))
    below, said = {}, {}
    for sizes in (5, 17):
        found = [envelope(runs(sizes, noise=0.01, seed=s, width=2.0), noise=0.01, draws=100) for s in range(40)]
        below[sizes] = np.mean([np.log([w.loss for w in f.winners]) - truth for f in found])
        said[sizes] = np.mean([f.curse for f in found if np.isfinite(f.curse)])
    # Exact minima of 5 and 17 normal draws lie 1.16 and 1.79 standard deviations down; curvature takes some of it.
    assert -0.012 < below[5] < -0.005
    assert -0.019 < below[17] < -0.010
    assert said[17] > said[5] > 0.002


def test_a_run_that_a_cheaper_one_matches_is_not_on_the_envelope():
    table = canonical(
        {
            "params": [1e7, 2e7, 3e7, 4e7, 5e7],
            "tokens": [1e9, 1e9, 1e9, 1e9, 1e9],
            "loss": [4.0, 3.5, 3.6, 3.2, 3.0],
        },
        "test",
    )
    found = envelope(table, noise=0.001, draws=20)
    assert [winner.reason for winner in found.winners] == ["edge_below", "", "dominated", "", "edge_above"]
    assert [winner.run_id for winner in found.usable] == ["row 2", "row 4"]


def test_a_winner_at_the_edge_of_its_sizes_is_left_out_with_its_reason():
    table = runs()
    small = table.filter(pa.array(np.tile(np.arange(9) < 4, len(BUDGETS))))  # the optimum is the fifth size
    found = envelope(small, draws=20)
    assert {winner.reason for winner in found.winners} == {"edge_above"}
    assert "add larger ones" in found.winners[0].rejected
    assert found.params is None and found.loss is None and np.isnan(found.curse)


def test_training_curves_are_read_between_their_rows():
    sizes, steps = np.geomspace(1e7, 1e9, 13), np.geomspace(1e8, 1e11, 60)
    params, tokens = (grid.ravel() for grid in np.meshgrid(sizes, steps, indexing="ij"))
    names = [f"run {size:.3g}" for size in params]
    table = canonical({"params": params, "tokens": tokens, "loss": loss_at(params, tokens), "cluster": names}, "test")
    found = envelope(table, draws=100)
    assert len(found.winners) == 40
    # Sizes are a factor 1.5 apart; over 40 levels that averages out.
    assert found.params.exponent.value == pytest.approx(0.28 / 0.62, abs=0.03)
    assert found.method == "noise"  # 13 clusters are too few to draw from


def test_clusters_are_drawn_where_there_are_many():
    assert envelope(runs(), draws=20).method == "clusters"
    few = envelope(runs(clusters=[f"{i % 9}" for i in range(9 * len(BUDGETS))]), draws=20)
    assert few.method == "noise"


def test_the_same_seed_gives_the_same_numbers():
    first, second = (envelope(runs(noise=0.01), draws=50, seed=3) for _ in range(2))
    assert first.params.exponent == second.params.exponent


def test_one_run_is_refused():
    with pytest.raises(ValueError, match="needs at least 2"):
        envelope(canonical({"params": [1e6], "tokens": [1e8], "loss": [3.0]}, "test"))
