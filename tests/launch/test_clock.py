"""Clocks that are set an hour forward or back while somebody trains or looks on."""

import itertools
import json
import os
import subprocess
import sys
import time
from dataclasses import replace
from pathlib import Path

import pytest

from launch.budget import seconds_of
from launch.overview import overview
from launch.planned import plan_of
from launch.progress import clock
from launch.show_status import render
from launch.status import states
from scaling.attempts import attempts
from scaling.config import Source, run_id
from scaling.data.prepare import prepare
from scaling.lease import Watch, held, holder, take
from scaling.plan import pin
from scaling.record import RunDirectory, read_record
from scaling.workspace import Workspace
from tests.clocks import Clock
from tests.launch import made
from tests.launch.test_status import text
from tests.launch.tiny import STEP, run_of, study_of

ROOT = Path(__file__).parents[2]
HOUR = 3600

HOLD = """
import sys, time
from pathlib import Path
from scaling.lease import take
mine = take(Path(sys.argv[1]), beat_seconds=0.05, expiry_seconds=0.5)
began = time.time()
print("held", flush=True)
sys.stdin.readline()
mine.check()
print(time.time() - began)
"""

WATCH = """
import sys, time
from pathlib import Path
from scaling.lease import Watch
watch, began = Watch(), time.monotonic()
while time.monotonic() - began < 2:
    assert not watch.is_free(Path(sys.argv[1]))
    time.sleep(0.05)
"""

LAUNCH = """
import sys
from pathlib import Path
from rich.console import Console
from launch.local import launch
from launch.progress import Progress
from scaling.config import Placement
from scaling.workspace import Workspace
from tests.launch.test_clock import study_on
from tests.launch.tiny import ONE
root, texts = map(Path, sys.argv[1:])
placement = Placement(tracking="off", checkpoint_seconds=1.0)
launch(study_on(root, texts), Workspace(root=root), placement, ONE, Progress(Console()))
"""


@pytest.fixture
def clock_of_others(tmp_path):
    folder = tmp_path / "clock"
    folder.mkdir()
    return Clock(folder)


def process(code, clock_of_others, *arguments):
    environment = os.environ | clock_of_others.environment | {"PYTHONPATH": str(ROOT)}
    return subprocess.Popen(
        [sys.executable, "-c", code, *map(str, arguments)],
        env=environment,
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        cwd=ROOT,
    )


def study_on(root, texts):
    """Five runs, one of them longer."""
    source = Source(kind="folder", path=str(texts))
    store = prepare(run_of(source).data, root, lambda line: None)
    long = replace(run_of(source), tokens=400 * STEP, data=replace(run_of(source).data, max_epochs=1e6), seed=2)
    return pin(study_of(source, long), lambda data: replace(data, content=store.manifest.content))


def test_a_holder_whose_clock_jumps_keeps_its_folder(tmp_path, clock_of_others):
    folder, watch = tmp_path / "held", Watch()
    with process(HOLD, clock_of_others, folder) as other:
        assert other.stdout.readline() == "held\n"
        for shift in (HOUR, -HOUR, HOUR):
            clock_of_others.jump(shift)
            until = time.monotonic() + 0.8  # longer than it takes to expire
            while time.monotonic() < until:
                assert not watch.is_free(folder) and holder(folder) is not None
                time.sleep(0.05)
        said, _ = other.communicate("\n")
    assert abs(float(said) - HOUR) < 60  # its clock did jump


def test_a_watcher_whose_clock_jumps_takes_no_lease_for_expired(tmp_path, clock_of_others):
    mine = take(tmp_path / "held", beat_seconds=0.05, expiry_seconds=0.5)
    with process(WATCH, clock_of_others, tmp_path / "held") as other:
        for shift in itertools.cycle((HOUR, -HOUR)):
            clock_of_others.jump(shift)
            if other.poll() is not None:
                break
            time.sleep(0.1)
        assert other.returncode == 0, other.stdout.read()
    mine.release()


@pytest.mark.slow  # two launches
def test_a_sweep_whose_clock_jumps_ends_as_undisturbed(tmp_path, corpus, clock_of_others):
    texts, quiet, struck = corpus.path, tmp_path / "quiet", tmp_path / "struck"
    still = Clock(tmp_path)
    for root in (quiet, struck):
        study = study_on(root, texts)
    with process(LAUNCH, still, quiet, texts) as launcher:
        said, _ = launcher.communicate()
        assert launcher.returncode == 0, said
    # Back and on again, never ahead of the system's own clock: by that a thread of a C++ library is woken which waits
    # until a time of day, and one that read an hour more would be left to wait for the hour.
    began, plan, jumps = time.monotonic(), plan_of(study), itertools.cycle((-HOUR, 0))
    with process(LAUNCH, clock_of_others, struck, texts) as launcher:
        while launcher.poll() is None:
            clock_of_others.jump(next(jumps))
            found = states(plan, Workspace(root=struck))
            assert "-" not in "".join(clock(state.eta_seconds) for state in found if state.eta_seconds is not None)
            assert all((state.wall_seconds or 0.0) >= 0.0 for state in found)
            time.sleep(0.3)
        assert launcher.returncode == 0, launcher.stdout.read()
    took = time.monotonic() - began
    for run in study.runs:
        one, other = (RunDirectory(root / "runs" / run_id(run)) for root in (quiet, struck))
        mine, theirs = read_record(one.record), read_record(other.record)
        assert (theirs.status, theirs.heldout, theirs.train_loss) == (mine.status, mine.heldout, mine.train_loss)
        assert [attempt.cause for attempt in attempts(other)] == ["finished"]
        assert 0 < theirs.cost.wall_seconds < took and 0 < seconds_of(theirs, 1) < took  # what a budget counts


@pytest.mark.parametrize("shift", [HOUR, -HOUR])
def test_looking_on_with_a_clock_that_is_an_hour_off_shows_no_negative_time(tmp_path, monkeypatch, shift):
    study, workspace = made.launched(tmp_path)
    directory = made.begin(workspace, study.runs[3], steps=5)
    lines = [
        {"event": "begin", "attempt": 1, "host": "far", "pid": 1, "time": 1e9 + shift},
        {"event": "end", "attempt": 1, "cause": "preempted", "message": "", "time": 1e9},
    ]
    directory.attempts.write_text("".join(json.dumps(line) + "\n" for line in lines))
    now = time.time()
    with held(directory.path):
        monkeypatch.setattr(time, "time", lambda: now + shift)
        found = states(plan_of(study), workspace)
        shown = text(render(overview(plan_of(study), found), found))
    state = found[3]
    assert state.attempts.preempted == 1
    if shift > 0:  # one look goes by the clock, and says so
        assert state.state == "interrupted" and "has not been heard of for 3,600 s by this machine's clock" in shown
    else:
        assert state.state == "training" and state.eta_seconds == pytest.approx(0.5 * (study.runs[3].steps - 5))
    assert " -" not in shown
