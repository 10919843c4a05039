"""The command around the check; what is measured is tested in tests/training/test_coordinates.py."""

import json

import numpy as np
import pytest

from launch.coordinate_command import CoordinateOptions, coord_check
from scaling.config import Parametrisation
from scaling.coordinates import QUANTITIES, Coordinates
from scaling.training import coordinates


@pytest.fixture
def asked(monkeypatch):
    """What the check is asked for; in place of training, sizes grow by the power `asked["powers"]` names."""
    found = {"powers": {"standard": 1.0}, "calls": []}

    def check(models, *, along, parametrisation, steps, lr, seeds):
        found["calls"].append((models, along, parametrisation, steps, lr, seeds))
        sizes = tuple(model.dim if along == "width" else model.layers for model in models)
        rms = np.array(sizes)[:, None] ** found["powers"].get(parametrisation, 0.0) * np.ones(steps + 1)
        same = dict.fromkeys(QUANTITIES, rms)
        return Coordinates(along=along, parametrisation=parametrisation, sizes=sizes, values=same, changes=same)

    monkeypatch.setenv("XLA_FLAGS", "")  # the command adds to it; this puts it back
    monkeypatch.setattr(coordinates, "check", check)
    return found


def test_widths_are_checked_by_the_standard_and_by_mup(asked, tmp_path, capsys):
    coord_check(["--root", str(tmp_path), "--widths", "64", "128", "--steps", "2"])
    (standard, *_, first, _, _, _), (mup, *settings) = asked["calls"]
    assert [model.parametrisation for model in standard] == [Parametrisation()] * 2 and first == "standard"
    assert [model.parametrisation for model in mup] == [Parametrisation(width="mup", base_dim=64)] * 2
    assert [(model.dim, model.heads) for model in mup] == [(64, 4), (128, 8)]
    assert settings == ["width", "muP", 2, 1e-2, 2]
    said = capsys.readouterr().out
    assert "standard fails" in said and "muP passes" in said
    assert (tmp_path / "reports/coord-check/width.png").exists()


def test_depths_are_checked_by_the_standard_and_by_their_rule(asked, tmp_path):
    coord_check(["--root", str(tmp_path), "--depths", "2", "8", "--depth-rule", "sqrt"])
    models, *settings = asked["calls"][-1]
    assert [model.layers for model in models] == [2, 8]
    assert {model.parametrisation for model in models} == {Parametrisation(depth="sqrt", base_layers=2)}
    assert settings == ["depth", "sqrt", 4, 3e-3, 2]
    assert (tmp_path / "reports/coord-check/depth.png").exists()


def test_a_parametrisation_that_fails_fails_the_command(asked, tmp_path):
    asked["powers"]["muP"] = 0.5
    with pytest.raises(SystemExit, match="muP does not keep coordinates at one size"):
        coord_check(["--root", str(tmp_path)])


def test_a_standard_that_fails_does_not(asked, tmp_path, capsys):
    coord_check(["--root", str(tmp_path), "--json"])
    found = json.loads(capsys.readouterr().out)
    standard, mup = found["checks"]
    assert standard["change"]["logits"] == pytest.approx(1.0) and standard["faults"]
    assert (mup["parametrisation"], mup["faults"]) == ("muP", [])


def test_a_rate_that_is_given_is_taken():
    assert CoordinateOptions(lr=0.5).rate == CoordinateOptions(lr=0.5, depths=(2, 4)).rate == 0.5
