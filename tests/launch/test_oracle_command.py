"""The oracle in small: from the plan to the records and the fit, on worlds that are known."""

import json
from dataclasses import replace

import numpy as np
import pytest

from analysis.oracle import judged
from analysis.report.oracle_report import markdown
from experiments.oracle import study
from launch.analysing import FitOptions
from launch.analysis_commands import write_report_of
from launch.launch_command import prepared
from launch.oracle_command import print_oracle
from launch.oracle_worlds import known_worlds, read_arms
from scaling.config import Placement
from scaling.data.prepare import prepare
from scaling.plan_file import read_plan, write_plan
from scaling.training.loop import train
from scaling.workspace import Workspace

TOKENS = (1e3, 2e3, 4e3, 8e3, 1.6e4, 3.2e4, 6.4e4)
SIZES, SIZED_TOKENS = (4, 16, 64), (2e3, 8e3, 3.2e4)


def trained(planned, workspace):
    """The study, its plan written, its runs trained one after another in this process."""
    planned = prepared(planned, workspace)
    for run in planned.runs:
        store = prepare(run.data, workspace.root, lambda line: None)
        train(run, workspace.runs, store, placement=Placement(tracking="off"))
    return read_plan(write_plan(planned, workspace))


@pytest.fixture(scope="module")
def lab(tmp_path_factory):
    """Three worlds and the workspace where a table has learned them."""
    workspace = Workspace(root=tmp_path_factory.mktemp("oracle"))
    return trained(study(worlds=3, tokens=TOKENS, contexts=20_000, heldout_sequences=300), workspace), workspace


@pytest.fixture(scope="module")
def arms(lab):
    plan, workspace = lab
    return read_arms(known_worlds(plan), workspace)


@pytest.fixture(scope="module")
def found(arms):
    return judged(arms)


@pytest.fixture
def judged_once(monkeypatch, arms, found):
    """Commands judge the same arms; that takes seconds, most of them the bootstrap's."""

    def known(given):
        assert [(arm.loss.tolist(), arm.expected.tolist()) for arm in given] == [
            (arm.loss.tolist(), arm.expected.tolist()) for arm in arms
        ]
        return found

    monkeypatch.setattr("analysis.oracle.judged", known)


@pytest.fixture(scope="module")
def sized(tmp_path_factory):
    """The same for tables of several sizes, in two worlds."""
    workspace = Workspace(root=tmp_path_factory.mktemp("sized"))
    asked = study(worlds=2, sizes=SIZES, tokens=SIZED_TOKENS, contexts=5_000, heldout_sequences=150)
    return read_arms(known_worlds(trained(asked, workspace)), workspace)


def test_measured_losses_are_those_expected_within_what_samples_vary(arms):
    off = np.stack([(arm.loss - arm.floor_heldout) / (arm.expected - arm.floor) for arm in arms]) - 1
    # A sample of 500 facts meets about 17 contexts: its excess varies by some 10% about the mean, the others by less.
    assert np.abs(off).max() < 0.35
    assert np.abs(off.mean(0)).max() < 0.2
    assert abs(off.mean()) < 0.05


def test_losses_of_tables_with_few_rows_are_those_expected_too(sized):
    assert sized[0].sizes.tolist() == [size for size in SIZES for _ in SIZED_TOKENS]
    off = np.stack([(arm.loss - arm.floor_heldout) / (arm.expected - arm.floor) for arm in sized]) - 1
    assert np.abs(off).max() < 0.2  # the smallest sample has 1,000 facts
    # More rows help where there are data for them: with the most data the smallest table loses several times as much.
    most = sized[0].expected[sized[0].tokens == sized[0].tokens.max()] - sized[0].floor
    assert most[0] > 3 * most[2] and most[1] > 1.5 * most[2]


def test_the_held_out_text_is_as_surprising_as_the_world_says(arms):
    # 300 sequences of 64 tokens: about 1.6 nats a token / sqrt(19200).
    assert all(arm.floor_heldout == pytest.approx(arm.floor, abs=4 * 0.012) for arm in arms)
    assert len({arm.floor_heldout for arm in arms}) == 3


def test_the_fit_finds_exponent_and_floor(arms, found):
    for way in ("plain", "noise_known"):
        exponent, floor = found[way]["exponent"], found[way]["floor of the held-out text"]
        assert found["beta"] == exponent["truth"] == 0.5
        assert exponent["mean"] == pytest.approx(0.5, abs=0.1)  # a single fit of seven runs varies by 0.05
        assert floor["bias"] == pytest.approx(0.0, abs=0.05)
    # Without noise the law itself, with its end of contexts and its integers, is within 2% of the exponent.
    assert found["range"][0]["exponent"] == pytest.approx(0.5, rel=0.02)
    assert [row["tokens"] for row in found["losses"]] == [arms[0].tokens[i] for i in range(7)]


@pytest.mark.slow  # it compiles the joint law's solver
def test_the_joint_law_of_expected_losses_has_the_exponents_of_size_and_tokens(sized):
    # In this small design, on expected losses, sums of two parts only nearly: within a tenth of the limits' exponents.
    exact = [replace(arm, loss=arm.expected + arm.floor_heldout - arm.floor) for arm in sized]
    exact[1] = replace(exact[1], loss=exact[1].loss * (1 + 1e-6))  # a spread of nothing is no noise
    found = judged(exact)["plain"]
    assert found["exponent of size"]["truth"] == 1.0 and found["exponent of tokens"]["truth"] == 0.5
    assert found["exponent of the best size"]["truth"] == pytest.approx(1 / 3)
    assert found["exponent of size"]["mean"] == pytest.approx(1.0, rel=0.15)
    assert found["exponent of tokens"]["mean"] == pytest.approx(0.5, rel=0.15)
    assert found["exponent of the best size"]["mean"] == pytest.approx(1 / 3, rel=0.1)


def test_what_people_read_says_what_was_found(arms, found):
    said = markdown(found)
    assert "3 worlds. True exponent 0.5000" in said
    assert f"| {arms[0].tokens[-1]:,.0f} | {found['losses'][-1]['expected']:.5f} |" in said
    assert "| floor of the held-out text |" in said and "fisher" in said and "bootstrap" in said
    assert "|---|---:|---:|---:|---:|---|" in said


def test_the_report_of_such_a_study_is_that_beside_the_truth(lab, judged_once):
    plan, workspace = lab
    write_report_of(plan.name, FitOptions(root=workspace.root))
    folder = workspace.reports / plan.name
    assert json.loads((folder / "oracle.json").read_text())["arms"] == 3
    page = (folder / "report.html").read_text()
    assert "Losses beside the expected" in page and "Fitted by their noise, least squares" in page
    assert "True exponent 0.5000" in page
    for name in ("losses", "exponents"):
        assert {(folder / f"{name}.{kind}").stat().st_size > 0 for kind in ("png", "svg", "pdf")} == {True}
    assert page.count("<svg") == 2 and "% of intervals hold it" in page


def test_fit_prints_the_same_as_plain_data(lab, judged_once, capsys):
    plan, workspace = lab
    print_oracle(known_worlds(plan), workspace, as_json=True)
    assert json.loads(capsys.readouterr().out)["beta"] == 0.5


def test_runs_that_are_missing_are_said_and_other_studies_are_none_of_this(lab, tmp_path):
    plan, _ = lab
    arms = known_worlds(plan)
    with pytest.raises(ValueError, match=r"21 of 21 runs have no loss yet, the first .*; launch again"):
        (tmp_path / "runs" / "none").mkdir(parents=True)
        (tmp_path / "runs" / "none" / "config.json").write_text("{}")
        read_arms(arms, Workspace(root=tmp_path))
    first = next(iter(plan.runs))
    one = {name: entry | {"arm": "one"} for name, entry in plan.runs.items()}
    assert known_worlds(replace(plan, runs=one)) is None  # nothing to compare
    fewer = {name: entry for name, entry in plan.runs.items() if name != first}
    assert known_worlds(replace(plan, runs=fewer)) is None  # not the same tokens in all
    text = plan.runs[first]["config"]["model"] | {"kind": "transformer"}
    other = {first: plan.runs[first] | {"config": plan.runs[first]["config"] | {"model": text}}}
    assert known_worlds(replace(plan, runs=plan.runs | other)) is None
