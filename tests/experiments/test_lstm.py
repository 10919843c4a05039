import pytest

from experiments.lstm import study
from scaling.config import NgramConfig, RecurrentConfig
from scaling.counts import params
from tests.experiments.prices import check


@pytest.fixture(scope="module")
def planned():
    return study()


def test_the_study_keeps_to_what_every_study_must(planned):
    check(planned, "lstm")


def test_all_models_see_the_same_tokens_of_the_same_data(planned):
    assert len({(run.tokens, run.data, run.batch, run.text) for run in planned.runs}) == 1


def test_every_transformer_has_an_lstm_of_nearly_its_size(planned):
    sizes = {"transformer": set(), "LSTM": set()}
    for cell in planned.cells:
        if cell.arm in sizes:
            assert isinstance(cell.run.model, RecurrentConfig) == (cell.arm == "LSTM")
            sizes[cell.arm].add(params(cell.run.model).total)
    assert len(sizes["LSTM"]) == len(sizes["transformer"]) == 5
    for a, b in zip(*(sorted(own) for own in sizes.values()), strict=True):
        assert b == pytest.approx(a, rel=0.1)  # at the smallest width one step changes a tenth of the parameters


def test_an_ngram_model_stands_beside_them_unless_its_order_is_0(planned):
    (counted,) = [cell for cell in planned.cells if isinstance(cell.run.model, NgramConfig)]
    assert counted.arm == "5-gram" and counted.run.model.order == 5
    assert all(cell.arm != "0-gram" for cell in study(order=0).cells)


def test_more_sizes_than_the_ladder_has_are_refused():
    with pytest.raises(ValueError, match="first_size=9, size_count=5: the tiny ladder has 11 sizes"):
        study(first_size=9)
