import time
from functools import partial

import numpy as np
import pytest

from analysis.analyse import analyse
from analysis.design import recommend
from analysis.figures.training import Curve
from analysis.live.findings import NEEDED, curves_figure, findings, fitted
from analysis.tables.table import Manifest, PlannedRun


@pytest.fixture(scope="module")
def shown(analysed):
    """Advised on two runs, without the simulation that compiles for seconds."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("analysis.live.findings.recommend", partial(recommend, most_runs=2, draws=0))
        return findings(analysed, to_come=8)


def test_the_law_so_far_has_the_words_and_figures_of_the_report(shown):
    for words in ("grows as compute to the power", "Loss against compute", "IsoFLOP curves", "forecast by the law",
                  "95% bootstrap", "What the law does not explain"):  # fmt: skip
        assert words in shown.law, words


def test_advice_says_first_what_it_does_not_know_of(shown):
    assert "It knows nothing of the 8 planned runs still to come." in shown.advice
    assert "Where to train next" in shown.advice


def test_no_part_has_a_style_that_a_strict_policy_forbids(shown):
    for html in (shown.law, shown.beside, shown.advice):
        assert " style=" not in html and "<style" not in html and "<script" not in html


@pytest.mark.parametrize("count", [1, NEEDED - 1])
def test_too_few_runs_are_drawn_and_the_missing_ones_counted(synthetic, count):
    table = synthetic.study().slice(0, count)
    names = table["run_id"].to_pylist()
    plan = Manifest(name="few", runs=tuple(PlannedRun(run_id=n, role="cell", budget=None) for n in names))
    found = findings(fitted(table, plan), to_come=20)
    assert f"train at least {NEEDED - count} more" in found.law and "Loss against compute" in found.law
    assert "No advice yet" in found.advice


def test_the_number_that_a_law_needs_is_the_one_that_the_fit_asks_for(synthetic):
    assert analyse(synthetic.study().slice(0, NEEDED - 1), draws=10).surface is None
    assert NEEDED == 6


def test_curves_that_have_no_point_yet_show_nothing():
    none = Curve(text="x", params=1.0, flops=np.array([]), loss=np.array([]), state="waiting")
    assert curves_figure([none]) == ""


def test_a_hundred_curves_are_drawn_in_time_for_the_next_look():
    x = np.geomspace(1e8, 1e11, 40)
    curves = [Curve(text=f"run <{i}>", params=1e3 + i, flops=x, loss=5 / x**0.01, state="training") for i in range(100)]
    begun = time.process_time()
    html = curves_figure(curves)
    # About 0.3 s here; a page that drew for many seconds would take the cores that train.
    assert time.process_time() - begun < 10
    assert "run &lt;99&gt;" in html and "Losses of two objectives" not in html
