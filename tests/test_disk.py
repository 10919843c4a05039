"""Full and read-only disks, really mounted: errors that say where, nothing lost, and on it goes with space."""

import errno
import json
import os
import time
from dataclasses import replace

import jax
import numpy as np
import pytest

from scaling import attempts
from scaling.attempts import cause_of
from scaling.config import DataConfig, Placement, run_id
from scaling.curve import COLUMNS, CurveWriter, compact, read_live
from scaling.data.prepare import prepare
from scaling.data.sources import DataError
from scaling.disk import DiskFull, check_writable, is_full, write_atomic, writing
from scaling.lease import Watch, holder, take
from scaling.outcome import failed_record
from scaling.plan import Cell, Study
from scaling.plan_file import plan_path, read_plan, write_plan
from scaling.record import RunDirectory, read_config, read_record, write_config, write_record
from scaling.training.checkpoint import Checkpoints, Progress
from scaling.training.step import TrainState
from scaling.workspace import Workspace
from tests.disks import read_only, small_disk

FULL = "No space left on device. Free some space and give the same command again"


@pytest.fixture
def disk(tmp_path):
    with small_disk(tmp_path / "disk", megabytes=4) as found:
        yield found


@pytest.fixture
def directory(disk, run):
    found = RunDirectory(disk.folder / run_id(run))
    write_config(found, run)
    return found


def row(step):
    return dict.fromkeys(COLUMNS, 1.0) | {"step": step, "tokens": 64 * step}


def test_a_full_disk_is_known_by_its_number_and_by_its_text():
    assert is_full(OSError(errno.ENOSPC, "x")) and is_full(OSError(errno.EDQUOT, "x"))
    assert is_full(ValueError("RESOURCE_EXHAUSTED: Failed to write 91 bytes: No space left on device [os_error_code]"))
    assert not is_full(OSError(errno.EIO, "x")) and not is_full(ValueError("RESOURCE_EXHAUSTED: Out of memory"))


def test_other_errors_pass_as_they_are(tmp_path):
    with pytest.raises(FileNotFoundError), writing(tmp_path):
        (tmp_path / "none" / "x").write_text("x")
    with pytest.raises(DiskFull, match="inner"), writing(tmp_path / "outer"), writing(tmp_path / "inner"):
        raise OSError(errno.EDQUOT, os.strerror(errno.EDQUOT))


def test_a_record_and_a_config_are_whole_or_not_there(disk, directory, run):
    disk.fill()
    with pytest.raises(DiskFull, match=f"{directory.record}: {FULL}"):
        write_record(directory, failed_record(run, Placement(), "no", 0))
    other = RunDirectory(disk.folder / "other")
    with pytest.raises(DiskFull, match="other"):
        write_config(other, run)
    assert not directory.record.exists() and not other.config.exists()
    assert read_config(directory) == run
    assert [path.name for path in directory.path.iterdir()] == ["config.json"]  # nothing half-written
    disk.free()
    write_config(other, run)
    write_record(directory, failed_record(run, Placement(), "no", 0))
    assert read_record(directory.record).message == "no"


def test_a_plan_that_cannot_be_written_leaves_the_one_before(disk, run):
    words = {"question": "?", "published": "", "shows": "", "cannot_show": "", "forecast_flops": 1.0}
    one = Study(name="s", cells=(Cell(run=run),), **words)
    many = replace(one, cells=tuple(Cell(run=replace(run, seed=seed)) for seed in range(20)))
    workspace = Workspace(root=disk.folder)
    write_plan(one, workspace)
    disk.fill()
    with pytest.raises(DiskFull, match=rf"studies/s\.json: {FULL}"):
        write_plan(many, workspace)
    assert len(read_plan(plan_path(workspace, "s")).runs) == 1
    disk.free()
    assert len(read_plan(write_plan(many, workspace)).runs) == 20


def test_an_attempt_that_could_not_be_noted_costs_no_other(disk, directory):
    attempts.end(directory, attempts.begin(directory), "preempted")
    disk.fill()
    with pytest.raises(DiskFull, match=rf"attempts\.jsonl: {FULL}"):
        for _ in range(100):  # until the page that the file has is full
            attempts.begin(directory)
    noted = len(attempts.attempts(directory))
    disk.free()
    assert attempts.begin(directory) == noted + 1
    found = attempts.attempts(directory)
    assert (found[0].cause, len(found)) == ("preempted", noted + 1)


def test_a_curve_keeps_its_whole_rows_and_goes_on(disk, directory):
    writer, written = CurveWriter(directory.live_curve, after_step=0), 1
    writer.append(row(1))
    writer.flush()
    disk.fill()
    with pytest.raises(DiskFull, match=rf"curve\.jsonl: {FULL}"):
        while True:
            writer.append(row(written + 1))
            writer.flush()
            written += 1
    with pytest.raises(DiskFull):
        writer.close()  # what could not be written is still in hand
    assert [found["step"] for found in read_live(directory.live_curve)] == list(range(1, written + 1))
    with pytest.raises(DiskFull):  # it needs a second file
        CurveWriter(directory.live_curve, after_step=written)
    with pytest.raises(DiskFull, match=rf"curve\.parquet: {FULL}"):
        compact(directory.live_curve, directory.curve)
    assert not directory.curve.exists()
    disk.free()
    writer = CurveWriter(directory.live_curve, after_step=written - 1)
    writer.append(row(written))
    writer.close()
    compact(directory.live_curve, directory.curve)
    assert [found["step"] for found in read_live(directory.live_curve)] == list(range(1, written + 1))


def test_a_holder_beats_and_gives_up_its_lease_on_a_full_disk(disk, caplog):
    mine = take(disk.folder, beat_seconds=0.02, expiry_seconds=0.3)
    disk.fill()
    watch, until = Watch(), time.monotonic() + 1.0  # three times its expiry
    before = holder(disk.folder)
    while time.monotonic() < until:
        assert not watch.is_free(disk.folder)
        time.sleep(0.02)
    assert holder(disk.folder).beat > before.beat
    mine.check()
    mine.release()
    assert holder(disk.folder) is None and Watch().is_free(disk.folder)
    assert caplog.text == ""


def test_who_cannot_write_a_claim_makes_none(disk):
    disk.fill()
    with pytest.raises(DiskFull, match=f"{disk.folder}: {FULL}"):
        take(disk.folder)
    assert list(disk.folder.glob("*lease*")) == []
    disk.free()
    take(disk.folder).release()


# On a busy machine a part of the write may fail after orbax has closed the loop that would hear of it.
@pytest.mark.filterwarnings("ignore:Exception ignored in:pytest.PytestUnraisableExceptionWarning")
@pytest.mark.parametrize("leave", [0, 400_000])
def test_a_checkpoint_that_does_not_fit_leaves_the_one_before(disk, leave):
    weights = np.random.default_rng(0).normal(size=200_000).astype(np.float32)  # 800 kB
    state = TrainState(params={"w": jax.numpy.asarray(weights)}, optimizer={}, norms={})
    folder = disk.folder / "checkpoints"
    with Checkpoints(folder) as checkpoints:
        checkpoints.save(state, Progress(step=1))
    disk.fill(leave)
    with pytest.raises((OSError, ValueError)) as caught, Checkpoints(folder) as checkpoints:
        checkpoints.save(state, Progress(step=2))
        checkpoints.wait()
    assert cause_of(caught.value) == "disk_full"  # not out of memory: XLA has the same word for that
    disk.free()
    with Checkpoints(folder) as checkpoints:
        found, progress = checkpoints.latest(jax.eval_shape(lambda: state))
    assert progress.step == 1
    np.testing.assert_array_equal(found.params["w"], weights)


@pytest.mark.parametrize("leave", [0, 40_000, 80_000])
def test_data_that_do_not_fit_leave_nothing_half_written(disk, corpus, leave):
    data = DataConfig(source=corpus, tokenizer="bytes", vocab=257, heldout_sequences=4)
    disk.fill(leave)
    with pytest.raises((DataError, DiskFull), match=r"[Nn]o space left on (the )?device"):
        prepare(data, disk.folder, lambda line: None)
    assert not list(disk.folder.rglob("*.partial"))
    disk.free()
    store = prepare(data, disk.folder, lambda line: None)
    assert store.manifest.train.tokens > 1000


def test_a_folder_that_may_not_be_written_is_refused_by_name(tmp_path, run):
    directory = RunDirectory(tmp_path / "runs" / run_id(run))
    write_config(directory, run)
    with read_only(tmp_path):
        for name in ("runs", "new"):
            with pytest.raises(
                OSError, match=rf"/{name}: cannot be written \(Read-only file system\).*write elsewhere \(--root"
            ):
                check_writable(tmp_path / name)
        with pytest.raises(OSError, match=r"record\.json: cannot be written \(Read-only"):
            write_record(directory, failed_record(run, Placement(), "no", 0))
        with pytest.raises(OSError, match=f"{directory.path}: cannot be written"):
            take(directory.path)
        assert read_config(directory) == run and holder(directory.path) is None
    check_writable(tmp_path / "new")
    assert list((tmp_path / "new").iterdir()) == []


def test_a_holder_survives_a_disk_that_becomes_read_only(tmp_path, caplog):
    mine = take(tmp_path, beat_seconds=0.02, expiry_seconds=0.3)
    with read_only(tmp_path):
        time.sleep(0.1)
        mine.release()
    assert "could not be renewed or given up" in caplog.text
    assert json.loads((tmp_path / "lease-000001.json").read_text())["released"] is False  # it will expire


def test_an_interrupted_write_leaves_the_old_file_whole(tmp_path, monkeypatch):
    path = tmp_path / "file"
    write_atomic(path, "old")

    def no_space(handle):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(os, "fsync", no_space)
    with pytest.raises(OSError, match="No space left on device"):
        write_atomic(path, "new")
    assert path.read_text() == "old"
    assert list(tmp_path.iterdir()) == [path]
