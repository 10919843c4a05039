from collections import Counter

import pytest

from experiments.mup import study
from scaling.config import Parametrisation
from tests.experiments.prices import check

LRS = (1e-3, 2e-3, 4e-3)


@pytest.fixture(scope="module")
def cells():
    return study(widths=(16, 64, 128), lrs=LRS, seeds=2, tokens=1e5).cells


def test_the_study_keeps_to_what_every_study_must():
    check(study(), "mup")


def test_each_width_is_trained_at_each_rate_by_both_parametrisations(cells):
    found = Counter((cell.arm, cell.run.model.dim, cell.run.optim.lr) for cell in cells)
    assert found == {(arm, dim, lr): 2 for arm in ("standard", "muP") for dim in (16, 64, 128) for lr in LRS}


def test_runs_of_one_width_and_rate_differ_in_the_parametrisation_alone(cells):
    runs = {(cell.arm, cell.run.model.dim, cell.run.optim.lr, cell.run.seed): cell.run.model for cell in cells}
    for (arm, *setting), model in runs.items():
        expected = Parametrisation() if arm == "standard" else Parametrisation(width="mup", base_dim=64)
        assert model.parametrisation == expected
        twin = runs["standard", *setting]
        assert (model.dim, model.heads, model.layers) == (twin.dim, twin.heads, twin.layers)


def test_all_runs_are_equally_long_and_heads_are_equally_wide(cells):
    assert len({cell.run.tokens for cell in cells}) == 1
    assert {cell.run.model.head_dim for cell in cells} == {16}


def test_widths_that_show_nothing_are_refused():
    for widths in ((16, 64), (16,), (16, 132), (128, 16)):
        with pytest.raises(ValueError, match=r"give multiples of 16, narrowest first, that span a factor of 8"):
            study(widths=widths)
