import pytest

from experiments.architectures import study
from scaling.counts import flops_per_token, params, train_flops
from tests.experiments.prices import check

ARCHITECTURES = ["encoder-decoder", "shared encoder-decoder", "half the layers", "decoder", "prefix LM"]


@pytest.fixture(scope="module")
def planned():
    return study()


def cells_of(planned, arm, objective):
    return [c for c in planned.cells if (c.arm, c.run.objective.kind, c.role) == (arm, objective, "cell")]


def test_the_study_keeps_to_what_every_study_must(planned):
    check(planned, "architectures")


def test_five_architectures_learn_by_two_objectives(planned):
    arms = list(dict.fromkeys((cell.run.objective.kind, cell.arm) for cell in planned.cells))
    assert arms == [(goal, name) for goal in ("span_corruption", "prefix") for name in ARCHITECTURES]


def test_all_read_the_same_text_in_the_same_vocabulary(planned):
    assert len({run.data for run in planned.runs}) == 1 and len({run.model.vocab for run in planned.runs}) == 1
    assert {run.text for run in planned.runs} == {64}


def test_all_predict_as_many_tokens_of_a_text(planned):
    for goal in ("span_corruption", "prefix"):
        assert len({run.lengths.predicted for run in planned.runs if run.objective.kind == goal}) == 1


def test_every_run_spends_its_budget_to_within_half_a_step(planned):
    for cell in planned.cells:
        if cell.role == "cell":
            run = cell.run
            off = abs(train_flops(run.model, run.tokens, run.objective).exact - cell.budget)
            assert off <= flops_per_token(run.model, run.objective).exact * run.batch_tokens / 2


def test_parameters_and_cost_are_those_of_table_2(planned):
    """2P/M, P/M, P/(M/2), P/M, P/M: to within the cross-attention, a quarter of a decoder layer's matrices."""
    size = {name: params(cells_of(planned, name, "prefix")[0].run.model).body for name in ARCHITECTURES}
    cost = {
        name: flops_per_token(run.model, run.objective).kaplan
        for name in ARCHITECTURES
        if (run := cells_of(planned, name, "prefix")[0].run)
    }
    for name, times, share in zip(ARCHITECTURES, (2, 1, 1, 1, 1), (1, 1, 0.5, 1, 1), strict=True):
        assert 1 <= size[name] / size["decoder"] / times < 1.4, name
        assert 1 <= cost[name] / cost["decoder"] / share < 1.3, name


def test_an_odd_number_of_layers_is_refused():
    with pytest.raises(ValueError, match="layers=3: one architecture has half of them; give an even number"):
        study(layers=3)
