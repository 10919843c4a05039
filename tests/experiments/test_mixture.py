from dataclasses import replace

import pytest

from experiments.mixture import study
from tests.experiments.prices import check


@pytest.fixture(scope="module")
def planned():
    return study()


def test_the_study_keeps_to_what_every_study_must(planned):
    check(planned, "mixture")


def test_all_mixtures_are_of_the_same_parts_and_judged_alike(planned):
    mixtures = [run.data.mixture for run in planned.runs]
    assert {tuple(part.name for part in mixture.parts) for mixture in mixtures} == {
        ("encodings", "idlelib", "unittest")
    }
    assert {mixture.target for mixture in mixtures} == {()}
    assert len({run.data.mixture.weights for run in planned.runs if run.seed == 0}) == 16


def test_the_larger_model_is_trained_on_the_first_mixtures_and_on_one_that_is_to_be_decided(planned):
    larger = [cell.run for cell in planned.cells if cell.arm == "larger"]
    proxies = [cell.run for cell in planned.cells if cell.arm == "proxy" and not cell.run.seed]
    assert [run.data.mixture.weights for run in larger] == [run.data.mixture.weights for run in proxies[:8]]
    assert all(run.model.dim > proxies[0].model.dim for run in larger)
    asked = planned.best_mixture
    assert planned.later == 1 and asked.weights == () and asked.proxies == "proxy" and asked.least == 0.05
    assert replace(asked.run, data=larger[0].data) == larger[0]


@pytest.mark.parametrize(("options", "said"), [
    ({"points": 4}, "points=4: a mixing law of 3 parts needs 5 or more mixtures"),
    ({"larger": 17}, "larger=17: give 1 to points=16"),
    ({"larger": 0}, "larger=0: give 1 to points=16"),
])  # fmt: skip
def test_what_cannot_be_fitted_or_compared_is_refused(options, said):
    with pytest.raises(ValueError, match=said):
        study(**options)


def test_equal_shares_are_repeated(planned):
    repeated = [run for run in planned.runs if run.seed]
    assert {run.data.mixture.weights for run in repeated} == {(0.33, 0.33, 0.34)} and len(repeated) == 2


def test_sizes_that_there_are_not_are_said():
    with pytest.raises(ValueError, match="proxy_size=3, large_size=3: the tiny ladder has 11 sizes"):
        study(proxy_size=3, large_size=3)
