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


def test_the_larger_model_is_trained_on_the_corners_the_middle_and_what_was_chosen():
    larger = [cell.run for cell in study(chosen=(0.2, 0.3, 0.5)).cells if cell.arm == "larger"]
    assert len(larger) == 5 and larger[-1].data.mixture.weights == (0.2, 0.3, 0.5)
    (proxy,) = {cell.run.model for cell in study().cells if cell.arm == "proxy"}
    assert all(run.model.dim > proxy.dim for run in larger)


def test_equal_shares_are_repeated(planned):
    repeated = [run for run in planned.runs if run.seed]
    assert {run.data.mixture.weights for run in repeated} == {(0.33, 0.33, 0.34)} and len(repeated) == 2


def test_sizes_that_there_are_not_are_said():
    with pytest.raises(ValueError, match="proxy_size=3, large_size=3: the tiny ladder has 11 sizes"):
        study(proxy_size=3, large_size=3)
