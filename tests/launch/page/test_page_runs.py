import json

import pytest

from launch.page.runs import planned_runs
from launch.planned import study_plan
from launch.status import states
from scaling import attempts
from scaling.lease import take
from scaling.plan import manifest
from tests.launch.page.made import STEP, begin, directory_of, settle


def looked(workspace, study):
    return {state.run_id: state for state in (run.look() for run in runs_of(workspace, study))}


def runs_of(workspace, study):
    return planned_runs(workspace.studies / f"{study.name}.json", workspace)


def state_of(workspace, study, run):
    return looked(workspace, study)[directory_of(workspace, run).path.name]


def test_before_anything_is_trained_the_plan_says_what_each_run_is(workspace, study):
    found = list(looked(workspace, study).values())
    assert [state.state for state in found] == ["waiting"] * 6
    assert [state.role for state in found].count("trunk") == 1
    assert all(state.params and state.tokens and state.flops for state in found)


def test_a_run_with_a_curve_that_nobody_holds_is_interrupted(workspace, study):
    run = study.cells[3].run
    begin(workspace, run, steps=15)
    state = state_of(workspace, study, run)
    assert state.state == "interrupted" and state.share == 0.5 and state.loss == pytest.approx(2 + 4 / 15)
    assert state.tokens_per_second is None and state.seconds_left is None


def test_a_run_that_is_held_is_training_and_says_its_speed_and_what_is_left(workspace, study):
    run = study.cells[3].run
    begin(workspace, run, steps=15)
    lease = take(directory_of(workspace, run).path)
    try:
        state = state_of(workspace, study, run)
    finally:
        lease.release()
    assert state.state == "training" and state.tokens_per_second == STEP / 0.5
    assert state.seconds_left == pytest.approx(15 * 0.5)  # of 30 steps, half a second each
    assert state_of(workspace, study, run).state == "interrupted"


def test_a_branch_is_measured_from_where_it_leaves_its_trunk(workspace, study):
    branch = study.cells[2].run
    start = branch.trunk.tokens // STEP
    begin(workspace, branch, steps=start + (branch.steps - start) // 2, first=start + 1)
    state = state_of(workspace, study, branch)
    assert state.share == pytest.approx(0.5) and state.own_tokens == branch.tokens - branch.trunk.tokens


@pytest.mark.parametrize("status", ["finished", "diverged", "failed"])
def test_a_record_settles_a_run(workspace, study, status):
    run = study.cells[4].run
    settle(workspace, run, status=status, message="why", loss=2.5)
    state = state_of(workspace, study, run)
    assert state.state == status and state.message == "why"
    if status == "finished":
        assert state.loss == 2.5 and state.share == 1.0 and state.tokens_per_second == 30 * STEP / 2.0


def test_a_failed_run_that_is_tried_again_is_training(workspace, study):
    run = study.cells[4].run
    settle(workspace, run, status="failed", message="out of luck")
    lease = take(directory_of(workspace, run).path)
    try:
        assert state_of(workspace, study, run).state == "training"
    finally:
        lease.release()


def test_a_record_that_cannot_be_read_is_shown_as_such_until_it_is_mended(workspace, study):
    run = study.cells[4].run
    settle(workspace, run)
    record = directory_of(workspace, run).record
    whole = record.read_text(encoding="utf-8")
    record.write_text(whole[:100], encoding="utf-8")
    watched = runs_of(workspace, study)[4]
    state = watched.look()
    assert state.state == "unreadable" and "not whole JSON" in state.message
    record.write_text(whole, encoding="utf-8")
    assert watched.look().state == "finished"


def test_an_attempt_that_ended_in_an_error_says_so_while_the_run_waits_for_the_next(workspace, study):
    run = study.cells[4].run
    begin(workspace, run, steps=5)
    directory = directory_of(workspace, run)
    for cause in ("preempted", "error"):
        attempts.end(directory, attempts.begin(directory), cause, "a bad disk" if cause == "error" else "")
    state = state_of(workspace, study, run)
    assert state.attempts == 2 and state.message == "last attempt: error: a bad disk" and state.state == "interrupted"


def test_a_plan_without_configs_is_refused_with_the_mend(workspace, study):
    plan = manifest(study)
    for entry in plan["runs"]:
        del entry["config"]
    (workspace.studies / "made.json").write_text(json.dumps(plan), encoding="utf-8")
    with pytest.raises(ValueError, match=r"made\.json: not a whole plan .*; launch the study again"):
        runs_of(workspace, study)


def test_the_page_and_status_tell_the_same(workspace, study):
    begin(workspace, study.cells[3].run, steps=15)
    settle(workspace, study.cells[4].run, status="diverged", message="why")
    settle(workspace, study.cells[5].run)
    told = states(study_plan(workspace.studies / "made.json"), workspace)
    assert [(state.run_id, state.state, state.loss, state.message) for state in told] == [
        (state.run_id, state.state, state.loss, state.message) for state in looked(workspace, study).values()
    ]


def test_a_run_id_that_is_a_path_is_refused(workspace, study):
    plan = manifest(study)
    plan["runs"][0]["run_id"] = "../../etc"
    (workspace.studies / "made.json").write_text(json.dumps(plan), encoding="utf-8")
    with pytest.raises(ValueError, match=r"'\.\./\.\./etc' is not 16 hex digits"):
        runs_of(workspace, study)


def test_what_is_no_plan_is_refused_with_its_path(workspace, study):
    path = workspace.studies / "made.json"
    path.write_text("[]", encoding="utf-8")
    with pytest.raises(ValueError, match=r"made\.json: not a whole plan"):
        runs_of(workspace, study)
