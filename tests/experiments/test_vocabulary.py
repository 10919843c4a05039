from dataclasses import replace

import pytest

from experiments.vocabulary import study
from scaling.config import DataConfig
from scaling.counts import train_flops
from tests.experiments.prices import check


@pytest.fixture(scope="module")
def planned():
    return study()


def points(planned, arm):
    return [cell for cell in planned.cells if cell.arm == arm and cell.role == "cell" and cell.run.seed == 0]


def test_the_study_keeps_to_what_every_study_must(planned):
    check(planned, "vocabulary")


def test_every_vocabulary_has_the_same_budgets(planned):
    for vocab in (257, 512, 1024, 2048, 4096, 8192):
        cells = points(planned, f"{vocab:,}")
        assert {cell.budget for cell in cells} == {1e10, 4e10, 1.6e11, 6.4e11}
        for cell in cells:
            assert cell.run.data.vocab == cell.run.model.vocab == vocab
            # A run is rounded to whole steps; the shortest has some forty.
            spent = train_flops(cell.run.model, cell.run.tokens, cell.run.objective).exact
            assert spent == pytest.approx(cell.budget, rel=0.03)


def test_raw_bytes_are_a_tokenizer_of_their_own(planned):
    assert {cell.run.data.tokenizer for cell in points(planned, "257")} == {"bytes"}
    assert {cell.run.data.tokenizer for cell in points(planned, "512")} == {"bpe"}


def test_a_policy_of_the_data_holds_for_all_that_have_pieces():
    planned = study(data=replace(DataConfig(heldout_sequences=64), digits="single"), vocabs=(257, 512))
    assert {cell.run.data.digits for cell in points(planned, "512")} == {"single"}
    assert {cell.run.data.digits for cell in points(planned, "257")} == {"joined"}
