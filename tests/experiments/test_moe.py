import pytest

from experiments.moe import study
from scaling.counts import params, train_flops
from tests.experiments.prices import check


@pytest.fixture(scope="module")
def planned():
    return study()


def by_width(planned, count):
    """{width: {arm: count of its run}}, first seeds only."""
    found = {}
    for cell in planned.cells:
        if cell.run.seed == 0:
            found.setdefault(cell.run.model.dim, {})[cell.arm] = count(cell.run)
    return found


def test_the_study_keeps_to_what_every_study_must(planned):
    check(planned, "moe")


def test_all_arms_of_a_width_spend_the_same_compute(planned):
    for of_arm in by_width(planned, lambda run: train_flops(run.model, run.tokens).exact).values():
        assert max(of_arm.values()) / min(of_arm.values()) < 1.01  # whole steps, of some hundred


def test_active_parameters_are_those_of_the_dense_model_and_the_router(planned):
    routers = {dim: 2 * dim * 16 for dim in (12, 16, 24, 32, 48)}  # two layers, at most sixteen experts
    for dim, of_arm in by_width(planned, lambda run: params(run.model).active).items():
        assert all(0 <= active - of_arm["dense"] <= routers[dim] for active in of_arm.values())


def test_all_parameters_grow_with_the_experts(planned):
    for of_arm in by_width(planned, lambda run: params(run.model).total).values():
        sizes = list(of_arm.values())
        assert sizes == sorted(sizes) and len(sizes) == 4


def test_granularity_1_sends_each_token_to_one_whole_expert():
    arms = {cell.arm: cell.run.model for cell in study(granularity=1, expansions=(4,)).cells}
    moe = arms["4 experts, top 1"].moe
    assert (moe.experts, moe.active, moe.dim) == (4, 1, arms["4 experts, top 1"].hidden_dim)


def test_what_is_no_mixture_is_refused():
    with pytest.raises(ValueError, match="expansion=1, granularity=2: a mixture holds at least twice"):
        study(expansions=(1,))
    with pytest.raises(ValueError, match="size_count=20: the tiny ladder has 11 sizes"):
        study(size_count=20)
