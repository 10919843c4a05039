from dataclasses import replace

import pytest

from experiments.mlm import study
from scaling.counts import params, train_flops
from tests.experiments.prices import check

DECODER, ENCODER = "decoder, next token", "encoder, masked"


@pytest.fixture(scope="module")
def planned():
    return study()


def points(planned, arm):
    return [cell for cell in planned.cells if cell.arm == arm and cell.role == "cell" and cell.run.seed == 0]


def test_the_study_keeps_to_what_every_study_must(planned):
    check(planned, "mlm")


def test_both_arms_have_five_sizes_at_every_budget(planned):
    for arm in (DECODER, ENCODER):
        sizes = {}
        for cell in points(planned, arm):
            sizes.setdefault(cell.budget, set()).add(params(cell.run.model).total)
        assert [len(own) for own in sizes.values()] == [5] * 4, arm


def test_every_run_spends_its_budget(planned):
    for cell in planned.cells:
        if cell.role == "cell":
            run = cell.run
            # A run is rounded to whole steps; the shortest has some hundred.
            assert train_flops(run.model, run.tokens, run.objective).exact == pytest.approx(cell.budget, rel=0.01)


def test_encoders_and_decoders_have_the_same_shapes_and_read_the_same_text(planned):
    shapes = {
        arm: {replace(cell.run.model, architecture="decoder") for cell in points(planned, arm)}
        for arm in (DECODER, ENCODER)
    }
    assert len(shapes[DECODER] & shapes[ENCODER]) >= 4
    assert {run.text for run in planned.runs} == {64} and len({run.data for run in planned.runs}) == 1


def test_noise_is_measured_in_both_arms(planned):
    for arm in (DECODER, ENCODER):
        again = [c for c in planned.cells if c.arm == arm and c.role == "cell" and c.run.seed == 1]
        assert len(again) == 2, arm
