import os
import signal
import subprocess
import sys
import threading
import time
from dataclasses import replace
from pathlib import Path

import numpy as np
import pyarrow.parquet as pq
import pytest

from scaling.attempts import attempts
from scaling.config import OptimConfig, ScheduleConfig, run_id
from scaling.lease import CANCEL, LeaseLost, RunHeld, held
from scaling.record import RunDirectory, read_record
from scaling.sweeps import branches
from scaling.training.loop import train
from tests.training.conftest import QUIET

ROOT = Path(__file__).parents[2]
OFTEN = replace(QUIET, checkpoint_seconds=0.02)


def curve(runs, run, name="loss"):
    return pq.read_table(RunDirectory(runs / run_id(run)).curve)[name].to_numpy()


def test_a_run_ends_with_a_record_a_curve_and_a_lower_loss(pinned, tmp_path):
    run, store = pinned
    record = train(run, tmp_path, store, placement=QUIET)
    assert record == read_record(RunDirectory(tmp_path / run_id(run)).record)
    assert record.status == "finished"
    assert len(curve(tmp_path, run)) == run.steps
    assert record.heldout.loss < curve(tmp_path, run)[0]
    assert record.tokens.seen == run.tokens == curve(tmp_path, run, "tokens")[-1]


def test_a_run_killed_between_its_curve_and_its_record_keeps_both(pinned, tmp_path, monkeypatch):
    run, store = pinned

    def killed(directory, record):
        raise KeyboardInterrupt

    with monkeypatch.context() as patch, pytest.raises(KeyboardInterrupt):
        patch.setattr("scaling.training.loop.write_record", killed)
        train(run, tmp_path, store, placement=QUIET)
    assert train(run, tmp_path, store, placement=QUIET).status == "finished"
    assert len(curve(tmp_path, run)) == run.steps
    assert not RunDirectory(tmp_path / run_id(run)).live_curve.exists()


def test_a_finished_run_is_not_trained_again(pinned, tmp_path):
    run, store = pinned
    first = train(run, tmp_path, store, placement=QUIET)
    told = []
    assert train(run, tmp_path, store, placement=QUIET, report=told.append) == first
    assert told == []


def test_seed_and_rate_change_what_is_learned(pinned, tmp_path):
    run, store = pinned
    others = [run, replace(run, seed=1), replace(run, optim=OptimConfig(lr=2e-3))]
    losses = {train(other, tmp_path, store, placement=QUIET).heldout.loss for other in others}
    assert len(losses) == 3


def test_a_stopped_run_goes_on_and_gives_the_same_bits(pinned, tmp_path):
    run, store = pinned
    train(run, tmp_path / "whole", store, placement=QUIET)
    stop = threading.Event()
    stop.set()  # stops after one step: three attempts of one step each, then the rest
    for _ in range(3):
        assert train(run, tmp_path / "parts", store, placement=QUIET, stop=stop) is None
    record = train(run, tmp_path / "parts", store, placement=QUIET)
    assert record.cost.attempts == 4
    np.testing.assert_array_equal(curve(tmp_path / "parts", run), curve(tmp_path / "whole", run))
    assert record.heldout == read_record(RunDirectory(tmp_path / "whole" / run_id(run)).record).heldout


@pytest.mark.slow
def test_a_run_killed_at_random_moments_gives_the_same_bits(pinned, root, tmp_path):
    run, store = pinned
    run = replace(run, tokens=600 * run.batch_tokens, data=replace(run.data, max_epochs=100.0))
    train(run, tmp_path / "whole", store, placement=QUIET)
    directory = RunDirectory(tmp_path / "killed" / run_id(run))
    draw = np.random.default_rng(0)
    steps_reached = []
    while not directory.record.exists():
        process = subprocess.Popen(
            [sys.executable, "-m", "tests.training.train_until_killed", str(tmp_path / "killed"), str(root)],
            cwd=ROOT,
            env=os.environ | {"JAX_COMPILATION_CACHE_DIR": str(tmp_path / "cache"), "RUN": run_id_file(run, tmp_path)},
            stdout=subprocess.PIPE,
            text=True,
        )
        assert process.stdout.readline() == "training\n"  # from the first step on
        if len(steps_reached) < 3:
            time.sleep(draw.uniform(0.05, 0.4))
            process.send_signal(signal.SIGKILL)
        process.wait()
        process.stdout.close()
        steps_reached.append(len(list(directory.checkpoints.glob("*"))))
    assert len(steps_reached) >= 2  # it was killed at least once before it ended
    np.testing.assert_array_equal(curve(tmp_path / "killed", run), curve(tmp_path / "whole", run))
    whole = read_record(RunDirectory(tmp_path / "whole" / run_id(run)).record)
    assert read_record(directory.record).heldout == whole.heldout


def run_id_file(run, folder):
    """The run as a file for another process."""
    import json

    from scaling.config import to_dict

    path = folder / "run.json"
    path.write_text(json.dumps(to_dict(run)))
    return str(path)


def test_a_branch_from_its_trunk_equals_the_same_run_from_scratch(pinned, tmp_path):
    run, store = pinned
    step = run.batch_tokens
    trunk, short, long = (cell.run for cell in branches(run, [20 * step, 30 * step], warmup_fraction=0.1))
    keep = [short.trunk.tokens, long.trunk.tokens]
    train(trunk, tmp_path / "shared", store, placement=QUIET, keep_tokens=keep)
    for branch in (short, long):
        shared = train(branch, tmp_path / "shared", store, placement=QUIET)
        alone = train(branch, tmp_path / "alone", store, placement=QUIET)
        assert shared.cost.started_from_tokens == branch.trunk.tokens
        assert alone.cost.started_from_tokens == 0
        assert shared.heldout == alone.heldout
        np.testing.assert_array_equal(
            curve(tmp_path / "shared", branch), curve(tmp_path / "alone", branch)[branch.trunk.tokens // step :]
        )


def test_a_branch_of_a_trunk_that_learned_otherwise_is_refused(pinned, tmp_path):
    run, store = pinned
    step = run.batch_tokens
    trunk, branch = (cell.run for cell in branches(run, [20 * step]))
    train(trunk, tmp_path, store, placement=QUIET, keep_tokens=[branch.trunk.tokens])
    with pytest.raises(ValueError, match=r"cannot follow trunk .*: they differ in optim; make both with"):
        train(replace(branch, optim=OptimConfig(lr=5e-3)), tmp_path, store, placement=QUIET)


def test_a_run_whose_gradients_stay_not_finite_is_recorded_as_diverged_with_its_curve(pinned, tmp_path):
    run, store = pinned
    record = train(replace(run, optim=OptimConfig(lr=1e38)), tmp_path, store, placement=QUIET)
    assert record.status == "diverged"
    assert record.message.startswith("10 steps in a row were skipped, up to step")
    assert record.message.endswith("gradient norm nan")
    assert record.heldout is None
    assert len(curve(tmp_path, record.config)) < run.steps


def test_a_run_whose_loss_climbs_above_its_start_is_recorded_as_diverged(pinned, tmp_path):
    run, store = pinned
    hot = replace(
        run,
        tokens=200 * run.batch_tokens,
        data=replace(run.data, max_epochs=100.0),
        optim=OptimConfig(lr=10.0),
        schedule=ScheduleConfig(kind="constant", warmup_tokens=run.batch_tokens),
    )
    record = train(hot, tmp_path, store, placement=QUIET)
    assert record.status == "diverged"
    assert "is above the first step's" in record.message


def test_a_run_that_another_process_holds_is_left_to_it(pinned, tmp_path):
    run, store = pinned
    directory = RunDirectory(tmp_path / run_id(run))
    with held(directory.path), pytest.raises(RunHeld, match="another process is training this run"):
        train(run, tmp_path, store, placement=QUIET)
    assert attempts(directory) == ()


def test_a_run_that_was_taken_over_writes_no_more(pinned, tmp_path, monkeypatch):
    run, store = pinned
    directory = RunDirectory(tmp_path / run_id(run))

    def take_over(live):
        (directory.path / "lease-000009.json").touch()

    monkeypatch.setattr("scaling.training.logbook.FLUSH_SECONDS", 0.0)  # report every step
    with pytest.raises(LeaseLost, match="lease 9, ours was 1"):
        train(run, tmp_path, store, placement=OFTEN, report=take_over)
    assert not directory.record.exists() and not list(directory.checkpoints.iterdir())
    (attempt,) = attempts(directory)
    assert attempt.cause is None  # nor does it say how it ended


def test_a_cancelled_run_checkpoints_stops_and_goes_on_later(pinned, tmp_path, monkeypatch):
    run, store = pinned
    directory = RunDirectory(tmp_path / run_id(run))
    monkeypatch.setattr("scaling.lease.Lease.cancelled", property(lambda lease: CANCEL in lease.folder.names()))
    monkeypatch.setattr("scaling.training.logbook.FLUSH_SECONDS", 0.0)
    assert train(run, tmp_path, store, placement=QUIET, report=lambda live: directory.cancel.touch()) is None
    assert list(directory.checkpoints.iterdir())
    directory.cancel.unlink()
    assert train(run, tmp_path, store, placement=QUIET).cost.attempts == 2
    assert [attempt.cause for attempt in attempts(directory)] == ["cancelled", "finished"]


def test_a_run_that_needs_more_text_than_there_is_is_refused_before_anything_is_written(pinned, tmp_path):
    run, store = pinned
    with pytest.raises(ValueError, match="epochs"):
        train(replace(run, tokens=10**5 * run.batch_tokens), tmp_path, store, placement=QUIET)
    assert list(tmp_path.iterdir()) == []


def test_checkpoints_and_metrics_do_not_change_the_path(pinned, tmp_path):
    run, store = pinned
    train(run, tmp_path / "seldom", store, placement=QUIET)
    train(run, tmp_path / "often", store, placement=OFTEN)
    np.testing.assert_array_equal(curve(tmp_path / "often", run), curve(tmp_path / "seldom", run))
