import json
from dataclasses import dataclass

import numpy as np
from complete import complete

from analysis.report.export import METHODS, plain, three_intervals, to_json


@dataclass(frozen=True)
class Pair:
    left: float
    right: tuple


def test_every_digit_is_kept(analysed):
    stored = json.loads(json.dumps(to_json(analysed, {}), allow_nan=False))
    fit = analysed.surface.fit
    assert stored["surface"]["params"] == fit.params
    assert stored["surface"]["theta"] == dict(zip(fit.law.names, fit.theta, strict=True))
    np.testing.assert_array_equal(stored["surface"]["residuals"], fit.residuals)


def test_the_law_has_its_intervals_by_three_methods(analysed, unheld):
    ends = three_intervals(analysed)
    assert tuple(ends) == METHODS and ends["bootstrap"] == analysed.surface.boot.conf_int()
    assert three_intervals(unheld) == {}
    assert to_json(analysed, ends)["surface"]["conf_int"]["profile"]["E"] == list(ends["profile"]["E"])


def test_warnings_keep_their_names_and_a_complete_analysis_all_its_parts(analysed):
    stored = json.loads(json.dumps(to_json(complete(analysed), {}), allow_nan=False))
    assert [warning["name"] for warning in stored["warnings"]] == [doubt.name for doubt in analysed.warnings]
    assert [item["name"] for item in stored["methods"]] == ["envelope", "isoflop", "surface", "interpolation"]
    assert stored["backtest"]["trials"][0]["law"] == "chinchilla" and stored["next_runs"]["runs"][0]["params"] > 0


def test_values_become_plain_and_what_is_not_finite_null():
    assert plain({"a": (np.float64(1.5), np.arange(2)), 2: np.inf}) == {"a": [1.5, [0, 1]], "2": None}
    assert plain(Pair(np.nan, (1, "x"))) == {"left": None, "right": [1, "x"]}
