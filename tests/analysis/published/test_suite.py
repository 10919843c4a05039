"""The suite runs data sets by name and shows every check, met or not."""

import pytest

from analysis.published import porian, suite
from analysis.published.check import compare


@pytest.fixture
def checks():
    def one(dataset, name, ours, **rest):
        return compare(dataset, "some fit", {name: 2.0}, {name: ours}, absolute={name: 0.1}, **rest)

    return (
        *one("steplaw", "good", 2.05, errors={"good": 0.1}),
        *one("steplaw", "known", 3.0, documented=True, reason="it is known"),
        *one("nmt_curves", "bad", 4.0),
        *one(porian.NAME, "stage", 2.0),
    )


def test_an_unknown_data_set_is_refused_with_the_names_there_are(tmp_path):
    with pytest.raises(ValueError, match=r"no published data set 'chinchila'; there are epoch_chinchilla"):
        suite.run(tmp_path, "chinchila")


def test_a_missing_folder_is_refused_with_the_option_that_names_it(tmp_path):
    with pytest.raises(ValueError, match="is not there; give it with --folder"):
        suite.run(tmp_path / "none")


def test_one_data_set_can_be_run_alone(published):
    # The smallest compilation of all.
    checks = suite.run(published.folder, "porian_isoflop")
    assert set(suite.tables(checks)) == {"porian_isoflop"}


def test_the_terminal_hears_of_every_check_that_is_not_met_and_why(checks):
    said = suite.text(checks)
    assert "steplaw: 2 checks, 1 met, 1 not reproducible as documented" in said
    assert "not reproducible as documented: it is known" in said
    assert "missed: no reason is known" in said
    assert "bad, some fit: target 2, ours 4" in said
    assert "good, some fit" not in said
    assert said.endswith("all: 4 checks, 2 met, 1 not reproducible as documented, 1 missed")


def test_the_page_has_a_row_for_every_check_and_a_sum(checks):
    page = suite.markdown(checks)
    assert "| some fit | good | 2 | 2.05 | +0.05 | +0.50 | 0.1 | met |" in page
    assert "| some fit | bad | 2 | 4 | +2 |  | 0.1 | **missed** |" in page
    assert "| all | 4 | 2 | 1 | 1 |" in page
    assert "**Not reproducible as documented** (1 check): it is known." in page


def test_both_tables_of_one_data_set_stand_in_one_section(checks):
    assert suite.tables(checks)["porian_isoflop"][0].quantity == "stage"
    assert "## porian_optima" not in suite.markdown(checks)


def test_every_data_set_is_described(checks):
    assert set(suite.ABOUT) == set(suite.DATASETS)
