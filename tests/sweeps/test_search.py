import numpy as np
import pytest

from scaling.sweeps import Range, random, simplex, sobol

RATES = Range(low=1e-4, high=1e-1, scale="log")
SEARCHES = pytest.mark.parametrize("search", [random, sobol])


@SEARCHES
def test_a_search_is_the_same_every_time_and_another_with_another_seed(run, search):
    one, again, other = (search(run, {"optim.lr": RATES}, 5, seed) for seed in (3, 3, 4))
    assert one == again
    assert not {cell.run.optim.lr for cell in one} & {cell.run.optim.lr for cell in other}


@SEARCHES
def test_a_longer_search_begins_with_the_shorter_one(run, search):
    ranges = {"optim.lr": RATES, "optim.beta2": Range(low=0.9, high=0.99)}
    assert search(run, ranges, 13).rows[:6] == search(run, ranges, 6).rows


def test_a_random_search_keeps_its_numbers_from_version_to_version(run):
    # The known answer of Python's generator, whose random() is promised to stay the same.
    found = [cell.run.optim.beta2 for cell in random(run, {"optim.beta2": Range(low=0.0, high=0.5)}, 2)]
    assert found == [0.5 * 0.8444218515250481, 0.5 * 0.7579544029403025]


def test_sobol_points_lie_one_in_each_equal_part_of_every_axis(run):
    ranges = {"optim.lr": RATES, "optim.beta2": Range(low=0.0, high=0.5), "optim.weight_decay": Range(low=0, high=1)}
    cells = sobol(run, ranges, 32, seed=5)
    shares = np.array(
        [
            [np.log(c.run.optim.lr / 1e-4) / np.log(1e3), c.run.optim.beta2 / 0.5, c.run.optim.weight_decay]
            for c in cells
        ]
    )
    for column in shares.T:
        assert sorted(np.floor(32 * column)) == list(range(32))


def test_whole_numbers_reach_both_ends_about_as_often_as_the_middle(run):
    found = [row["seed"] for row in random(run, {"seed": Range(low=1, high=4, whole=True)}, 400).rows]
    counts = np.bincount(found, minlength=5)
    assert counts[0] == 0 and len(counts) == 5
    assert counts[1:].min() > 70  # of 100 expected; three standard deviations are 26


def test_a_logarithmic_range_has_its_middle_at_the_geometric_mean():
    assert Range(low=1e-4, high=1e-2, scale="log").at(0.5) == pytest.approx(1e-3, rel=1e-12)
    assert Range(low=0, high=3).at(0.5) == 1.5


@pytest.mark.parametrize(
    ("values", "said"),
    [
        ({"low": 1, "high": 1}, "low below high"),
        ({"low": 0, "high": float("inf")}, "finite"),
        ({"low": 0, "high": 1, "scale": "log"}, "a logarithm needs low above 0"),
        ({"low": 1, "high": 2, "scale": "logarithmic"}, "give 'linear' or 'log'"),
        ({"low": 1.2, "high": 1.8, "whole": True}, "no whole number lies between"),
    ],
)
def test_a_range_that_is_none_is_refused(values, said):
    with pytest.raises(ValueError, match=said):
        Range(**values)


@SEARCHES
def test_a_search_without_ranges_or_points_is_refused(run, search):
    with pytest.raises(ValueError, match="no ranges"):
        search(run, {}, 3)
    with pytest.raises(ValueError, match="count=0; give a number from 1"):
        search(run, {"optim.lr": RATES}, 0)


@pytest.mark.parametrize(("parts", "least"), [(2, 0.0), (3, 0.0), (3, 0.05), (5, 0.1)])
def test_mixtures_of_a_simplex_are_whole_hundredths_of_every_part_and_differ(parts, least):
    found = simplex(parts, 40, least=least)
    assert len(set(found)) == 40
    for weights in found:
        hundredths = [round(100 * weight) for weight in weights]
        assert sum(hundredths) == 100 and weights == tuple(share / 100 for share in hundredths)
        assert min(weights) >= least
    alone = 1 - (parts - 1) * least
    for part in range(parts):
        assert found[part][part] == pytest.approx(alone)
    assert max(found[parts]) - min(found[parts]) < 0.011  # equal shares
    assert simplex(parts, 9, least=least) == found[:9]


def test_a_simplex_is_filled_evenly():
    # Of a uniform triangle a share exceeds x with probability (1 - x)^2; 512 Sobol points are nearer to it than
    # independent ones, whose standard error would be 0.02.
    shares = np.array(simplex(3, 516)[4:])
    for part in range(3):
        for x in (0.25, 0.5, 0.75):
            assert abs((shares[:, part] > x).mean() - (1 - x) ** 2) < 0.03


@pytest.mark.parametrize(
    "given",
    [dict(parts=1, points=1), dict(parts=3, points=0), dict(parts=3, points=2, least=0.34), dict(parts=2, points=102)],
)
def test_mixtures_that_there_are_not_are_refused(given):
    with pytest.raises(ValueError, match=r"simplex\(parts=.* mixtures in hundredths have so much of each part; give"):
        simplex(**given)
