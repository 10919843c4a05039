"""The oracle in small: from the plan to the records and the fit, on three worlds."""

import numpy as np
import pytest

from experiments.oracle import study
from launch.launch_command import prepared
from launch.oracle_command import judged, markdown, read_arms
from scaling.config import Placement
from scaling.data.prepare import prepare
from scaling.training.loop import train
from scaling.workspace import Workspace

TOKENS = (1e3, 2e3, 4e3, 8e3, 1.6e4, 3.2e4, 6.4e4)


@pytest.fixture(scope="module")
def arms(tmp_path_factory):
    """Runs of three worlds, trained one after another in this process."""
    workspace = Workspace(root=tmp_path_factory.mktemp("oracle"))
    planned = prepared(study(worlds=3, tokens=TOKENS, contexts=20_000, heldout_sequences=300), workspace)
    for run in planned.runs:
        store = prepare(run.data, workspace.root, lambda line: None)
        train(run, workspace.runs, store, placement=Placement(tracking="off"))
    return read_arms(planned, workspace)


def test_measured_losses_are_those_expected_within_what_samples_vary(arms):
    off = np.stack([(arm.loss - arm.floor_heldout) / (arm.expected - arm.floor) for arm in arms]) - 1
    # A sample of 500 facts meets about 17 contexts: its excess varies by some 10% about the mean, the others by less.
    assert np.abs(off).max() < 0.35
    assert np.abs(off.mean(0)).max() < 0.2
    assert abs(off.mean()) < 0.05


def test_the_held_out_text_is_as_surprising_as_the_world_says(arms):
    # 300 sequences of 64 tokens: about 1.6 nats a token / sqrt(19200).
    assert all(arm.floor_heldout == pytest.approx(arm.floor, abs=4 * 0.012) for arm in arms)
    assert len({arm.floor_heldout for arm in arms}) == 3


def test_the_fit_finds_exponent_and_floor(arms):
    found = judged(arms)
    for way in ("plain", "noise_known"):
        exponent, floor = found[way]["exponent"], found[way]["floor of the held-out text"]
        assert found["beta"] == exponent["truth"] == 0.5
        assert exponent["mean"] == pytest.approx(0.5, abs=0.1)  # a single fit of seven runs varies by 0.05
        assert floor["bias"] == pytest.approx(0.0, abs=0.05)
    # Without noise the law itself, with its end of contexts and its integers, is within 2% of the exponent.
    assert found["range"][0]["exponent"] == pytest.approx(0.5, rel=0.02)
    assert [row["tokens"] for row in found["losses"]] == [arms[0].tokens[i] for i in range(7)]


def test_what_people_read_says_what_was_found(arms):
    found = judged(arms[:2])
    said = markdown(found)
    assert "2 worlds. True exponent 0.5000" in said
    assert f"| {arms[0].tokens[-1]:,.0f} | {found['losses'][-1]['expected']:.5f} |" in said
    assert "| floor of the held-out text |" in said and "fisher" in said and "bootstrap" in said
