import pytest

from experiments.data_constrained import study
from tests.experiments.prices import check


@pytest.fixture(scope="module")
def planned():
    return study()


def test_the_study_keeps_to_what_every_study_must(planned):
    check(planned, "data_constrained")


def test_a_limit_is_read_a_whole_number_of_times(planned):
    ends = [cell.run for cell in planned.cells if cell.role == "cell" and cell.run.data.most_tokens]
    passes = {run.tokens / run.data.most_tokens for run in ends}
    assert passes == {1.0, 2.0, 4.0, 8.0, 16.0, 32.0}
    assert all(run.data.most_tokens % run.text == 0 for run in ends)


def test_every_limited_run_has_one_of_its_length_on_new_tokens(planned):
    ends = [cell.run for cell in planned.cells if cell.role == "cell" and cell.run.seed == 0]
    fresh = {(run.model, run.tokens) for run in ends if run.data.most_tokens is None}
    limited = {(run.model, run.tokens) for run in ends if run.data.most_tokens}
    assert limited <= fresh


def test_passes_of_one_limit_share_a_trunk(planned):
    trunks = {cell.run.trunk.run_id for cell in planned.cells if cell.run.trunk}
    # Four sizes on three limits and on new tokens, and the smallest on another seed.
    assert len(trunks) == 4 * 4 + 1


def test_a_ladder_that_ends_is_said():
    with pytest.raises(ValueError, match="first_size=9, size_count=4: the tiny ladder has 11 sizes"):
        study(first_size=9)
