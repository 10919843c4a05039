import numpy as np
import pyarrow.compute as pc
import pytest

from analysis import fit, laws
from analysis.bootstrap import bootstrap, percentiles
from analysis.frontier import exponent, measure_kappa, optimum


@pytest.mark.slow  # a fit of each of ten studies, and a hundred of each of those; of a power law it is tested always
def test_intervals_hold_the_truth_as_often_as_they_say(synthetic):
    """10 studies of 9 trunks, 100 draws each: enough to see an interval that is half as wide as it should be.

    150 studies with 250 draws, run once, gave 95% to 99% for every quantity with
    half of the noise shared in a trunk, and 93% to 100% with none: a little wide.
    """
    budgets = np.array([3.2e11, 3.2e12])
    hits = []
    for seed in range(10):
        table = synthetic.study(seed=seed)
        boot = bootstrap(fit(laws.chinchilla, table), draws=100, seed=seed)
        kappa = measure_kappa(table)

        def quantities(theta, kappa=kappa):
            best = optimum(laws.chinchilla, theta, budgets, kappa)
            return np.concatenate(
                [theta, exponent(laws.chinchilla, theta, (1e10, 3e11))[:, None], best.params, best.tokens, best.loss],
                axis=1,
            )

        low, high = percentiles(quantities(boot.theta))
        truth = quantities(synthetic.theta[None])[0]
        hits.append((low <= truth) & (truth <= high))
    # 7 of 10 or fewer has a chance of 1.2% for one quantity at 95%.
    assert np.all(np.sum(hits, axis=0) >= 8)


def test_the_standard_errors_of_the_chinchilla_replication_are_reached(published):
    table = published("epoch_chinchilla")
    table = table.filter(pc.equal(table["excluded"], 0))
    boot = bootstrap(fit(laws.chinchilla, table), draws=100)
    assert boot.method == "clusters"
    errors = boot.bse()
    # Stated with the data: within 15%; 100 draws alone have a standard error of 7% and more.
    for name, value in {"E": 0.0249, "alpha": 0.0144, "beta": 0.0213}.items():
        assert errors[name] == pytest.approx(value, rel=0.35), name


def test_the_same_seed_gives_the_same_draws_and_another_others(synthetic):
    table = synthetic.study()
    result = fit(laws.chinchilla, table)
    one, same, other = (bootstrap(result, draws=20, seed=seed).theta for seed in (0, 0, 1))
    assert np.array_equal(one, same) and not np.array_equal(one, other)


def test_few_trunks_are_simulated_and_the_text_says_so(synthetic):
    table = synthetic.study()
    boot = bootstrap(fit(laws.chinchilla, table), draws=20)
    assert boot.method == "noise"
    assert "9 trunks are too few to resample" in boot.describe()
    named = bootstrap(fit(laws.chinchilla, table), draws=20, method="clusters")
    assert "9 clusters of runs, drawn with replacement" in named.describe()


def test_noise_that_trunks_share_widens_the_intervals(synthetic):
    def width(clusters):
        table = synthetic.study(seed=0, share=0.9)
        if not clusters:
            table = table.set_column(table.column_names.index("cluster"), "cluster", table["run_id"])
        # Without clusters there are 22 of one run each: named, to compare like with like.
        draws = bootstrap(fit(laws.chinchilla, table), draws=200, method="noise").theta
        low, high = percentiles(draws)
        return high[2] - low[2]  # alpha: what the model size, and so the trunk, decides

    assert width(True) > 1.5 * width(False)  # 2.2 times, and 200 draws are right to 10%


def test_percentiles_are_those_of_the_draws():
    low, high = percentiles(np.arange(1001.0))
    assert low == pytest.approx(25, abs=1) and high == pytest.approx(975, abs=1)  # one draw


def test_an_unknown_method_is_refused(synthetic):
    table = synthetic.study()
    with pytest.raises(ValueError, match="'clusters', 'noise' or None"):
        bootstrap(fit(laws.chinchilla, table), method="jackknife")
