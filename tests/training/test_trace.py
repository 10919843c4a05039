from dataclasses import replace

import pytest

from scaling.config import run_id
from scaling.record import RunDirectory
from scaling.training import trace
from scaling.training.loop import train
from scaling.training.trace import SETTLING_STEPS, traced
from tests.training.conftest import QUIET


@pytest.mark.slow
def test_a_trace_of_some_steps_lies_in_the_runs_folder_and_changes_no_loss(pinned, tmp_path):
    run, store = pinned
    record = train(run, tmp_path / "traced", store, placement=replace(QUIET, profile_steps=2))
    assert list(RunDirectory(tmp_path / "traced" / run_id(run)).profile.rglob("*.xplane.pb"))
    plain = train(run, tmp_path / "plain", store, placement=QUIET)
    assert not RunDirectory(tmp_path / "plain" / run_id(run)).profile.exists()
    assert record.heldout == plain.heldout


def test_the_trace_begins_after_settling_and_ends_after_its_steps_or_with_the_run(tmp_path, monkeypatch):
    told = []
    monkeypatch.setattr(trace.jax.profiler, "start_trace", lambda folder: told.append("start"))
    monkeypatch.setattr(trace.jax.profiler, "stop_trace", lambda: told.append("stop"))
    for steps in (SETTLING_STEPS + 6, SETTLING_STEPS + 1):
        with traced(lambda state: told.append(state), tmp_path, 2) as step_of:
            for step in range(steps):
                step_of(step)
    first = SETTLING_STEPS
    settling = list(range(first))
    assert told == [
        *settling, "start", first, first + 1, "stop", *range(first + 2, first + 6), *settling, "start", first, "stop"
    ]  # fmt: skip
