import json

import numpy as np
import pytest
from made_arms import DECAY, clouds, repeated

from analysis import figures
from analysis.comparison import compare_arms
from analysis.report.comparison_report import write_comparison
from analysis.report.comparison_text import repeat_rows, summarise_comparison


@pytest.fixture(scope="module")
def made():
    return repeated()


@pytest.fixture(scope="module")
def found(made):
    return compare_arms(*made, draws=60)


def test_the_decay_that_the_runs_were_made_with_is_found_by_both_fits(found):
    for decay in (found.repeats.decay, found.repeats.held):
        assert decay.low < DECAY < decay.high and decay.value == pytest.approx(DECAY, rel=0.2)
    assert found.repeats.runs_of_one_pass == 21 + 2 * 3 and found.repeats.most_passes == pytest.approx(32)


def test_passes_are_worth_what_the_law_says(found):
    worth = found.repeats.worth(4)
    decay = found.repeats.decay.value
    assert worth.value == pytest.approx(1 + decay * (1 - np.exp(-3 / decay)))
    assert worth.low < worth.value < worth.high < 4
    assert [passes for passes, _ in repeat_rows(found)] == ["2", "4", "8", "16", "32"]


def test_lines_are_the_law_at_each_size(found):
    figure = figures.repeated_tokens(found)
    assert [axes.get_xlabel() for axes in figure.axes] == ["tokens read"] * 3
    x, y = figure.axes[0].lines[1].get_data()  # of the second arm
    law = found.repeats.joint.predict(
        {"params": np.full_like(x, 1e4), "tokens": x, "tokens_unique": np.full_like(x, 2e4)}
    )
    np.testing.assert_allclose(y, law.value)


def test_the_report_says_what_repeated_tokens_are_worth(made, found, tmp_path):
    assert "repeated tokens: R_D = " in summarise_comparison(found)
    page = write_comparison(made[1], found, tmp_path).read_text()
    assert "Tokens that are read 32 times teach as much as" in page and "What repeated tokens are worth" in page
    told = json.loads((tmp_path / "fit.json").read_text())["repeats"]
    assert told["R_D"]["value"] == found.repeats.decay.value and told["runs_again"] == found.repeats.runs_again


def test_runs_that_repeat_nothing_or_are_of_several_families_have_no_such_law():
    assert compare_arms(*clouds(), draws=20).repeats is None
    table, manifest = repeated()
    families = ["decoder"] * (table.num_rows - 1) + ["lstm"]
    table = table.set_column(table.column_names.index("family"), "family", [families])
    assert compare_arms(table, manifest, draws=20).repeats is None
    with pytest.raises(ValueError, match="no law for runs that repeat their tokens"):
        figures.repeated_tokens(compare_arms(*clouds(), draws=20))
