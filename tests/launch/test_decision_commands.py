"""Decisions by a fitted law, on tables."""

import json

import numpy as np
import pytest

from launch import decision_commands as commands
from tests.launch.tables import runs, write


@pytest.fixture(scope="module")
def table(tmp_path_factory):
    return write(tmp_path_factory.mktemp("table") / "runs.csv", runs())


def shown(capsys, call, *arguments):
    call([str(argument) for argument in arguments])
    return capsys.readouterr().out


def test_an_optimum_has_size_tokens_and_loss_with_intervals(capsys, table):
    found = json.loads(shown(capsys, commands.optimum, table, "--flops", "1e21", "--json"))["optimum"]
    assert found["params"]["low"] < found["params"]["value"] < found["params"]["high"]
    # All of the budget is spent: C = 6 N D.
    assert 6 * found["params"]["value"] * found["tokens"]["value"] == pytest.approx(1e21, rel=1e-6)


@pytest.mark.slow
def test_inference_a_data_cap_and_a_given_size_change_the_best_model(capsys, table):
    options = ("--inference-tokens", "1e12", "--unique-tokens", "1e9", "--params", "1e7")
    found = json.loads(shown(capsys, commands.optimum, table, "--flops", "1e21", *options, "--json"))
    best = found["optimum"]["params"]["value"]
    assert found["served"]["params"]["value"] < best  # a smaller model is cheaper to use
    assert (
        found["capped"]["epochs"]["value"] > 1 and found["capped"]["loss"]["value"] > found["optimum"]["loss"]["value"]
    )
    assert found["fixed_size"]["over_training"]["value"] > 1
    said = shown(capsys, commands.optimum, table, "--flops", "1e21", *options)
    assert "different tokens" in said and "cheaper" in said


@pytest.mark.slow
def test_arms_that_share_exponents_are_compared_in_compute(capsys, tmp_path):
    one, two = runs(), runs(scale=0.9, seed=1)
    both = {name: np.concatenate([one[name], two[name]]) for name in one}
    path = write(tmp_path / "arms.csv", {**both, "arm": ["old"] * 25 + ["new"] * 25})
    found = json.loads(shown(capsys, commands.arms, path, "--by", "arm", "--json"))
    assert found["equality"]["p"] > 0.01
    # What falls with scale is 10% lower: 0.9^(1 / 0.18) of the compute does as well.
    assert found["new"]["factor"]["value"] == pytest.approx(0.9 ** (1 / 0.18), rel=0.15)
    with pytest.raises(ValueError, match="no column 'recipe'"):
        commands.arms([str(path), "--by", "recipe"])


def test_next_names_runs_within_the_budget(capsys, table):
    found = json.loads(shown(capsys, commands.next_runs, table, "--budget", "1e21", "--json"))
    assert found["runs"] and found["cost"] <= 1e21


def test_a_forecast_is_written_scored_and_summed_up(capsys, table, tmp_path):
    path = tmp_path / "ahead.json"
    said = shown(capsys, commands.forecast, table, "--forecast-flops", "1e22", "--out", path, "--note", "for a test")
    assert "nats a token at 1e+22 FLOPs" in said
    loss = json.loads(path.read_text())["loss"]
    assert "inside" in shown(capsys, commands.score, path, "--loss", loss)
    assert "1 scored forecast: 95% intervals held 100%" in shown(capsys, commands.ledger, tmp_path)
    with pytest.raises(ValueError, match="exists"):
        commands.forecast([str(table), "--out", str(path)])
