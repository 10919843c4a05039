import json
import math
import shutil

import numpy as np
import pytest
from scipy.special import bdtr

from analysis import laws
from analysis.bootstrap import bootstrap
from analysis.fit import fit
from analysis.forecast import forecast
from analysis.frontier import measure_kappa
from analysis.ledger import binomial_interval, ledger, read_forecast, score, write_forecast
from analysis.tables.table import table_hash
from analysis.words import Estimate


@pytest.fixture(scope="module")
def made(synthetic):
    table = synthetic.study()
    fitted = fit(laws.chinchilla, table)
    ahead = forecast(bootstrap(fitted, draws=50), measure_kappa(table), 3.2e12, 3.2e11)
    return {"forecast": ahead, "table": table, "fit": fitted}


def write(folder, made, name="next.json", **changed):
    return write_forecast(folder / name, **{**made, "note": "the next run", "date": "2030-01-01", **changed})


def narrowed(made, value, low, high):
    """The same forecast with another loss of the run."""
    from dataclasses import replace

    return {**made, "forecast": replace(made["forecast"], run=Estimate(value=value, low=low, high=high))}


def test_a_forecast_comes_back_as_it_was_written(tmp_path, made):
    written = write(tmp_path, made)
    found, digest = read_forecast(tmp_path / "next.json")
    assert found == written
    assert len(digest) == 64
    assert found.table_hash == table_hash(made["table"])
    assert found.parameters == made["fit"].params  # every digit
    assert found.theta_cov == made["fit"].theta_cov.tolist()
    assert (found.loss, found.low, found.high) == tuple(vars(made["forecast"].run).values())


def test_a_forecast_is_never_written_over(tmp_path, made):
    write(tmp_path, made)
    before = (tmp_path / "next.json").read_bytes()
    with pytest.raises(ValueError, match="never changed"):
        write(tmp_path, made, note="a better one")
    assert (tmp_path / "next.json").read_bytes() == before


@pytest.mark.parametrize("name", ["next.txt", "next.score.json"])
def test_a_name_that_is_not_a_forecasts_is_refused(tmp_path, made, name):
    with pytest.raises(ValueError, match=r"ends in \.json"):
        write(tmp_path, made, name=name)


@pytest.mark.parametrize("ends", [(2.0, 2.0, 2.0), (2.0, 1.0, math.inf), (2.0, math.nan, 3.0)])
def test_a_forecast_without_an_interval_is_not_written(tmp_path, made, ends):
    with pytest.raises(ValueError, match="has no interval"):
        write(tmp_path, narrowed(made, *ends))
    assert not list(tmp_path.iterdir())


def test_a_date_that_is_none_is_refused(tmp_path, made):
    with pytest.raises(ValueError, match="give a UTC date"):
        write(tmp_path, made, date="tomorrow")


def test_a_score_says_how_far_off_the_forecast_was(tmp_path, made):
    write(tmp_path, narrowed(made, 2.0, 2.0 * math.exp(-0.02), 2.0 * math.exp(0.02)))
    before = (tmp_path / "next.json").read_bytes()
    found = score(tmp_path / "next.json", 2.0 * math.exp(-0.01), date="2030-02-01")
    assert found.error == pytest.approx(-0.01)
    assert found.inside
    assert found.z == pytest.approx(-0.01 / (0.02 / 1.959964), rel=1e-6)  # 1.96 to seven digits
    assert (tmp_path / "next.score.json").exists()
    assert (tmp_path / "next.json").read_bytes() == before
    with pytest.raises(ValueError, match="never changed"):
        score(tmp_path / "next.json", 1.9, date="2030-02-01")


def test_a_run_outside_its_interval_is_scored_so(tmp_path, made):
    write(tmp_path, narrowed(made, 2.0, 1.9, 2.1))
    assert not score(tmp_path / "next.json", 2.2, date="2030-02-01").inside


def test_an_edited_forecast_is_not_scored_and_not_counted(tmp_path, made):
    write(tmp_path, narrowed(made, 2.0, 1.9, 2.1))
    path = tmp_path / "next.json"
    path.write_text(path.read_text().replace('"high": 2.1', '"high": 2.9'))
    with pytest.raises(ValueError, match=r"edited .* digest does not match"):
        score(path, 2.2, date="2030-02-01")
    found = ledger(tmp_path)
    assert not found.entries
    assert "edited" in found.broken[0].reason
    assert "not counted: next.json" in found.text()


def test_an_edited_score_is_not_counted(tmp_path, made):
    write(tmp_path, narrowed(made, 2.0, 1.9, 2.1))
    score(tmp_path / "next.json", 2.2, date="2030-02-01")
    beside = tmp_path / "next.score.json"
    beside.write_text(beside.read_text().replace('"inside": false', '"inside": true'))
    assert "edited" in ledger(tmp_path).broken[0].reason


def test_the_score_of_another_forecast_is_not_taken(tmp_path, made):
    write(tmp_path, narrowed(made, 2.0, 1.9, 2.1))
    write(tmp_path, narrowed(made, 3.0, 2.9, 3.1), name="other.json")
    score(tmp_path / "next.json", 2.0, date="2030-02-01")
    shutil.copy(tmp_path / "next.score.json", tmp_path / "other.score.json")
    assert "another forecast" in ledger(tmp_path).broken[0].reason


def test_what_cannot_be_scored_is_refused(tmp_path, made):
    write(tmp_path, made)
    path, ahead = tmp_path / "next.json", made["forecast"]
    with pytest.raises(ValueError, match="finite and positive"):
        score(path, math.nan, date="2030-02-01")
    with pytest.raises(ValueError, match="it is another run"):
        score(path, 2.0, date="2030-02-01", params=1.2 * ahead.params.value)
    with pytest.raises(ValueError, match="before the forecast was made"):
        score(path, 2.0, date="2029-12-31")
    with pytest.raises(ValueError, match="cannot be read"):
        score(tmp_path / "no.json", 2.0, date="2030-02-01")
    assert score(path, 2.0, date="2030-02-01T10:00:00Z", flops=1.01 * ahead.flops, run_id="r1").run_id == "r1"


@pytest.mark.parametrize(("inside", "total"), [(0, 7), (5, 7), (7, 7), (19, 20)])
def test_the_binomial_interval_leaves_two_and_a_half_percent_on_each_side(inside, total):
    low, high = binomial_interval(inside, total)
    # The definition: at each end the count seen is just as extreme as 2.5%. Root finding: 1e-9.
    if inside:
        assert 1 - bdtr(inside - 1, total, low) == pytest.approx(0.025, rel=1e-9)
    else:
        assert low == 0
    if inside < total:
        assert bdtr(inside, total, high) == pytest.approx(0.025, rel=1e-9)
    else:
        assert high == 1


def test_the_ledger_adds_up_all_forecasts_below_a_folder(tmp_path, made):
    reached = {"a.json": 2.0, "deep/b.json": 2.05, "deep/c.json": 2.5, "d.json": None}
    for name, loss in reached.items():
        write(tmp_path, narrowed(made, 2.0, 1.9, 2.1), name=name, date=f"2030-01-0{1 + list(reached).index(name)}")
        if loss:
            score(tmp_path / name, loss, date="2030-02-01")
    (tmp_path / "config.json").write_text('{"kind": "something else"}')
    found = ledger(tmp_path)
    assert [entry.file for entry in found.entries] == list(reached)
    assert found.coverage == pytest.approx(2 / 3)
    assert found.coverage_interval == binomial_interval(2, 3)
    assert found.error == pytest.approx(np.mean([0, math.log(2.05 / 2), math.log(2.5 / 2)]))
    assert not found.broken
    said = found.text()
    assert "3 scored forecasts: 95% intervals held 67%" in said
    assert "OUTSIDE" in said and "not run yet" in said


def test_intervals_of_true_forecasts_hold_about_as_often_as_they_say(tmp_path, made):
    rng, sd = np.random.default_rng(0), 0.01
    ends = [2.0 * math.exp(sign * 1.959964 * sd) for sign in (-1, 1)]
    for i in range(60):
        write(tmp_path, narrowed(made, 2.0, *ends), name=f"{i}.json")
        score(tmp_path / f"{i}.json", 2.0 * math.exp(sd * rng.standard_normal()), date="2030-02-01")
    low, high = ledger(tmp_path).coverage_interval
    assert low < 0.95 < high


def test_a_file_that_is_not_json_is_named_and_a_letter_that_moves_the_cursor_is_not_printed(tmp_path, made):
    (tmp_path / "half.json").write_text('{"kind": "scaling forecast", ')
    (tmp_path / "deep.json").write_text("[" * 100_000)
    (tmp_path / "list.json").write_text("[1]")
    write(tmp_path, made, name="odd\x1b[2J.json")
    found = ledger(tmp_path)
    assert {item.file for item in found.broken} == {"half.json", "deep.json"}
    assert "\x1b" not in found.text()


def test_a_forecast_with_fields_of_its_own_is_refused(tmp_path, made):
    write(tmp_path, made)
    from analysis.ledger import _digest

    body = json.loads((tmp_path / "next.json").read_text())
    body.pop("digest")
    body["run"] = "../../secret"
    (tmp_path / "next.json").write_text(json.dumps({**body, "digest": _digest(body)}))
    assert "run" in ledger(tmp_path).broken[0].reason


def test_a_file_without_a_digest_is_no_forecast(tmp_path):
    (tmp_path / "x.json").write_text('{"kind": "scaling forecast"}')
    with pytest.raises(ValueError, match="holds no forecast"):
        read_forecast(tmp_path / "x.json")


def test_an_empty_folder_has_an_empty_ledger_and_a_missing_one_is_refused(tmp_path):
    found = ledger(tmp_path)
    assert found.text() == "no forecasts here"
    assert math.isnan(found.coverage) and math.isnan(found.error)
    assert found.coverage_interval == (0.0, 1.0)
    with pytest.raises(ValueError, match="no such folder"):
        ledger(tmp_path / "nowhere")
