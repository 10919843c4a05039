"""What looking on says of runs that are waiting, under way, done or gone wrong."""

import io
import json
import os
from contextlib import ExitStack
from pathlib import Path

import pytest
from rich.console import Console

from launch import state_commands
from launch.attempts import Attempts
from launch.overview import overview
from launch.planned import plan_of, study_plan
from launch.settled import Memory
from launch.show_status import render
from launch.status import states
from scaling.config import run_id
from scaling.hardware import HARDWARE
from scaling.lease import held
from scaling.roofline import predict
from tests.launch import made

CORE = HARDWARE["cpu-core"]
SWEEP = Path(__file__).parents[2] / "experiments" / "lr_and_width.toml"


@pytest.fixture
def study(tmp_path):
    """(study, workspace, plan, look): look() gives the states by run id; those in `training` are held."""
    found, workspace = made.launched(tmp_path)
    plan = study_plan(workspace.studies / "tiny.json")

    def look(*training):
        with ExitStack() as leases:
            for run in training:
                leases.enter_context(held(workspace.runs / run_id(run)))
            return {state.run_id: state for state in states(plan, workspace)}

    return found, workspace, plan, look


def test_a_plan_file_says_what_the_study_says(study):
    found, _, plan, _ = study
    assert plan == plan_of(found)
    assert [run.run_id for run in plan.runs] == [run_id(run) for run in found.runs]
    for run, planned in zip(found.runs, plan.runs, strict=True):
        assert (planned.steps, planned.tokens) == (run.steps, run.tokens)


def test_prices_by_kind_are_those_of_every_run_by_itself(study):
    found, _, plan, _ = study
    prices = plan.prices(CORE)
    for run in found.runs:
        alone = predict(run, CORE)
        price = prices[run_id(run)]
        # The same products in another order: a few units in the last of 16 digits.
        assert (price.hours, price.flops, price.dollars) == pytest.approx(
            (alone.hours, alone.flops, alone.dollars), rel=1e-12
        )


def test_every_state_has_its_name(study):
    found, workspace, _, look = study
    trunk, short, long, other = found.runs
    made.settle(workspace, trunk)
    made.begin(workspace, short, steps=18)
    made.begin(workspace, other, steps=5)
    names = {name: state.state for name, state in look(short).items()}
    assert names == {
        run_id(trunk): "finished",
        run_id(short): "training",
        run_id(long): "waiting",
        run_id(other): "interrupted",
    }


def test_speed_and_time_to_go_follow_the_last_steps(study):
    found, workspace, _, look = study
    other = found.runs[3]
    made.begin(workspace, other, steps=10, step_seconds=0.5)
    state = look(other)[run_id(other)]
    assert state.tokens_per_second == pytest.approx(other.batch_tokens / 0.5)
    assert state.eta_seconds == pytest.approx(0.5 * (other.steps - 10))
    assert look()[run_id(other)].eta_seconds is None  # nobody trains it


def test_a_branch_under_way_counts_its_own_steps_only(study):
    found, workspace, plan, look = study
    short = found.runs[1]
    first = short.trunk.tokens // short.batch_tokens
    made.begin(workspace, short, steps=first + 2, step_seconds=0.5)
    state = look(short)[run_id(short)]
    assert (state.wall_seconds, state.flops) == (1.0, 2e6)
    whole = overview(plan, list(look(short).values()))
    assert whole.planned_so_far.hours == pytest.approx(2 * predict(short, CORE).hours / (short.steps - first))


def test_what_was_taken_is_laid_beside_what_was_planned_for_it(study):
    found, workspace, plan, look = study
    made.settle(workspace, found.runs[0], wall_seconds=36.0)
    made.settle(workspace, found.runs[3], status="diverged", wall_seconds=72.0)
    whole = overview(plan, list(look().values()))
    done = [predict(found.runs[place], CORE) for place in (0, 3)]
    assert whole.spent.hours == pytest.approx(0.03)
    assert whole.spent.dollars == pytest.approx(0.03 * made.DOLLARS)
    assert whole.planned_so_far.hours == pytest.approx(sum(one.hours for one in done))
    assert whole.planned.flops == pytest.approx(sum(predict(run, CORE).flops for run in found.runs))
    # Prediction and record count FLOPs by one convention, so a run that went as planned took what was planned.
    assert whole.spent.flops == pytest.approx(whole.planned_so_far.flops)


def test_the_work_left_is_expected_to_go_as_slowly_as_the_work_done(study):
    found, workspace, plan, look = study
    trunk, short, long, other = found.runs
    made.settle(workspace, trunk, wall_seconds=3600 * 7 * predict(trunk, CORE).hours)  # seven times too slow
    made.begin(workspace, other, steps=10, step_seconds=3600 * 7 * predict(other, CORE).hours / other.steps)
    whole = overview(plan, list(look(other).values()))
    left = predict(short, CORE).hours + predict(long, CORE).hours + predict(other, CORE).hours * 20 / 30
    assert whole.eta_seconds == pytest.approx(7 * 3600 * left)


def test_preemptions_and_failures_are_counted_apart(tmp_path, study):
    found, workspace, plan, look = study
    directory = made.begin(workspace, found.runs[0], steps=3)
    made.attempts(directory, "preempted", None, "error", "cancelled", "out_of_memory", "preempted", None)
    state = look(found.runs[0])[run_id(found.runs[0])]
    counts = {"begun": 7, "preempted": 2, "cancelled": 1, "killed": 1, "failed": 2}
    assert state.attempts == Attempts(**counts)
    later = look()[run_id(found.runs[0])]
    assert (later.attempts.killed, later.message) == (2, "last attempt: killed")  # the last one goes on no more
    shown = text(render(overview(plan, list(look().values())), list(look().values())))
    assert "attempts: 2 preempted, 1 cancelled, 2 killed, 2 failed" in shown


def test_a_holder_that_was_not_heard_of_for_long_trains_no_more(study):
    found, workspace, plan, _ = study
    directory = made.begin(workspace, found.runs[0], steps=3)
    with held(directory.path):
        (claim,) = directory.path.glob("lease-*.json")
        os.utime(claim, (0, 0))
        state = states(plan, workspace)[0]
    assert state.state == "interrupted" and "has not been heard of for" in state.message
    assert state.eta_seconds is None


def test_a_run_that_was_asked_to_stop_says_so(study):
    found, workspace, _, look = study
    made.begin(workspace, found.runs[0], steps=3).cancel.touch()
    assert look(found.runs[0])[run_id(found.runs[0])].message == "asked to stop"


def test_a_failed_run_shows_the_end_of_its_log_and_its_cost_is_not_known(study, capsys):
    found, workspace, _, _ = study
    directory = made.settle(workspace, found.runs[3], "failed", wall_seconds=0.0, message="ValueError: no")
    directory.log.write_text("\n".join(f"line {number}" for number in range(50)))
    state_commands.status(["tiny", "--root", str(workspace.root)])
    shown = capsys.readouterr().out
    assert "ValueError: no" in shown and "line 49" in shown and "line 5\n" not in shown
    assert "1 failed, 3 waiting" in shown and "without 1 failed runs, not measured" in shown


@pytest.mark.parametrize(
    ("text", "problem"),
    [
        ('{"run_id"', "not whole JSON"),
        ('{"run_id": "else"}', "is the record of run else"),
        ("[1]", "no record of a run"),
    ],
)
def test_a_record_that_cannot_be_read_is_said_to_be_unreadable(study, text, problem):
    found, workspace, _, look = study
    directory = made.begin(workspace, found.runs[3], steps=3)
    directory.record.write_text(text)
    state = look()[run_id(found.runs[3])]
    assert state.state == "unreadable" and problem in state.message and str(directory.record) in state.message


def test_a_record_cut_at_any_byte_is_said_to_be_unreadable(study):
    found, workspace, _, _ = study
    directory = made.settle(workspace, found.runs[0])
    for length in reversed(range(directory.record.stat().st_size)):
        os.truncate(directory.record, length)
        settled = Memory().settled(directory.record)
        assert settled.status == "unreadable" and "delete it and train this run again" in settled.message


def test_a_record_is_read_once_and_again_when_it_has_changed(study):
    found, workspace, _, _ = study
    directory = made.settle(workspace, found.runs[0], "diverged")
    memory = Memory()
    first = memory.settled(directory.record)
    assert memory.settled(directory.record) is first
    directory.record.unlink()
    assert memory.settled(directory.record) is None
    made.settle(workspace, found.runs[0])
    assert memory.settled(directory.record).status == "finished"


def test_status_as_json_is_one_object(study, capsys):
    found, workspace, _, _ = study
    made.settle(workspace, found.runs[0])
    state_commands.status(["tiny", "--root", str(workspace.root), "--json"])
    said = json.loads(capsys.readouterr().out)
    assert said["counts"] == {"finished": 1, "waiting": 3}
    assert [run["run_id"] for run in said["runs"]] == [run_id(run) for run in found.runs]
    assert said["planned"]["dollars"] > 0


def test_watching_ends_when_all_is_settled(study, capsys, monkeypatch):
    found, workspace, _, _ = study
    left = list(found.runs)

    def work(seconds):
        made.settle(workspace, left.pop())

    monkeypatch.setattr(state_commands.time, "sleep", work)
    state_commands.watch(["tiny", "--root", str(workspace.root)])
    lines = capsys.readouterr().out.splitlines()
    assert len(lines) == 5 and "4 waiting" in lines[0] and "4 finished; 100%" in lines[-1]


def test_ctrl_c_leaves_the_watch_in_peace(study, monkeypatch):
    _, workspace, _, _ = study

    def interrupt(seconds):
        raise KeyboardInterrupt

    monkeypatch.setattr(state_commands.time, "sleep", interrupt)
    assert state_commands.watch(["tiny", "--root", str(workspace.root)]) is None


@pytest.mark.parametrize(
    ("arguments", "problem"),
    [
        (["other"], "study 'other' has not been launched in .*. Launched there: tiny. Start with: .* launch other"),
        (["no.json"], "no.json: there is no such plan"),
        ([str(SWEEP)], "study 'lr_and_width' has not been launched"),
        ([], "which study"),
    ],
)
def test_a_study_that_was_not_launched_is_refused(study, arguments, problem):
    _, workspace, _, _ = study
    with pytest.raises(ValueError, match=problem):
        state_commands.status([*arguments, *(["--root", str(workspace.root)] if arguments else [])])


def text(renderable):
    console = Console(width=200, file=io.StringIO())
    console.print(renderable)
    return console.file.getvalue()
