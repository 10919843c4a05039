"""A run kept on a store: what one machine pushed another goes on from, whatever was cut off in between."""

import threading
from dataclasses import replace

import pytest

from scaling import attempts
from scaling.config import Trunk, run_id
from scaling.lease import CANCEL, LeaseLost, RunHeld, take
from scaling.mirror import mirror
from scaling.mirror.bucket import Bucket, BucketError
from scaling.mirror.mirror import Mirror, mirrored, of_run, publish
from scaling.mirror.runs import done_by, fetch_outcome, fetch_start, fetch_state, look, newest_here, steps_here
from scaling.record import RunDirectory, read_record
from tests.mirror.made import fail, finish, folder_of, steps_of_curve, train_to


def held(store, directory, keep=()):
    """A run's place on the store, and a mirror that holds it."""
    there = of_run(store, directory.path.name)
    lease = take(there)
    return there, lease, Mirror(there, directory, lease, keep)


def fetched(store, run, root):
    """What a machine that has nothing gets of a run."""
    directory = folder_of(run, root)
    fetch_state(of_run(store, run_id(run)), directory)
    return directory


def test_another_machine_goes_on_from_what_was_pushed(store, run, tmp_path):
    here = folder_of(run, tmp_path / "a")
    attempts.begin(here)
    there, lease, mine = held(store, here)
    for step in (10, 20, 30):
        train_to(here, step)
        mine.push()
    lease.release()
    assert [step for step, _ in look(there).checkpoints()] == [30, 20]  # the older is cleared away
    other = fetched(store, run, tmp_path / "b")
    assert steps_here(other) == [30] and newest_here(other) == 30
    assert steps_of_curve(other) == list(range(1, 31))
    assert len(attempts.attempts(other)) == 1
    assert not list(other.path.glob(".*"))


def test_checkpoints_of_branches_stay_and_only_what_changed_is_pushed(store, run, tmp_path, monkeypatch):
    here = folder_of(run, tmp_path)
    there, lease, mine = held(store, here, keep={10})
    for step in (10, 20, 30, 40):
        train_to(here, step, last=9)
        mine.push()
    assert [step for step, _ in look(there).checkpoints()] == [40, 30, 10]
    put = []
    monkeypatch.setattr(Bucket, "upload", lambda self, path, name: put.append(name))
    mine.push()
    assert put == []
    with here.live_curve.open("a") as file:
        file.write("more\n")
    mine.push(everything=False)
    assert put == []
    mine.push()
    assert put == ["000001/curve.jsonl"]
    lease.release()


@pytest.mark.parametrize("store", ["memory", "file"], indirect=True)
def test_a_push_that_is_cut_off_at_any_file_leaves_what_was_whole(store, run, tmp_path, monkeypatch):
    upload, left = Bucket.upload, [10**9]

    def cut_off(self, path, name):
        left[0] -= 1
        if left[0] < 0:
            raise BucketError("the line is cut")
        upload(self, path, name)

    monkeypatch.setattr(Bucket, "upload", cut_off)
    cuts = 0
    while True:
        root, one = tmp_path / str(cuts), replace(run, seed=cuts)
        here = folder_of(one, root / "a")
        left[0] = 10**9
        _, lease, mine = held(store, here)
        train_to(here, 10)
        mine.push()
        train_to(here, 20)
        left[0] = cuts
        try:
            mine.push()
        except BucketError:
            found = fetched(store, one, root / "b")
            assert newest_here(found) == 10
            assert steps_of_curve(found)[:10] == list(range(1, 11))
            left[0] = 10**9
            mine.push()  # again, when the line is there
            whole = False
        else:
            whole = True
        assert newest_here(fetched(store, one, root / "c")) == 20
        lease.release()
        if whole:
            break
        cuts += 1
    assert cuts == 5  # the curve, three files of the checkpoint, the seal


def test_a_checkpoint_of_which_a_file_is_missing_or_short_is_not_taken(store, run, tmp_path):
    here = folder_of(run, tmp_path / "a")
    there, lease, mine = held(store, here)
    for step in (10, 20):
        train_to(here, step)
        mine.push()
    name = "000001/checkpoints/20/state/1"
    there.rewrite(name, there.read(name)[:-1])
    assert newest_here(fetched(store, run, tmp_path / "b")) == 10
    there.remove(name)
    assert newest_here(fetched(store, run, tmp_path / "c")) == 10
    for name in ("000001/checkpoints/10/seal.json", "000001/checkpoints/20/seal.json"):
        there.rewrite(name, there.read(name)[:-3])
    assert newest_here(fetched(store, run, tmp_path / "d")) == 0
    lease.release()


def test_one_that_was_paused_can_push_nothing_that_another_reads(store, run, tmp_path):
    here, other = folder_of(run, tmp_path / "a"), folder_of(run, tmp_path / "b")
    there, lease, mine = held(store, here)
    train_to(here, 10)
    mine.push()
    lease.release()  # as if it had expired
    _, newer, theirs = held(store, other)
    fetch_state(there, other)
    train_to(other, 20)
    theirs.push()

    def kept():  # all but its lease, which it renews every few seconds
        return {name: there.read(name) for name in there.sizes() if not name.startswith("lease-")}

    before = kept()
    train_to(here, 15)
    finish(here, run, loss=9.0)
    for push in (mine.push, mine.finish):
        with pytest.raises(LeaseLost, match="lease 2, ours was 1"):
            push()
    assert kept() == before
    newer.release()


def test_even_between_asking_and_writing_it_writes_over_nobodys_files(store, run, tmp_path, monkeypatch):
    here, other = folder_of(run, tmp_path / "a"), folder_of(run, tmp_path / "b")
    there, lease, mine = held(store, here)
    train_to(here, 10)
    mine.push()
    lease.release()
    _, newer, theirs = held(store, other)
    train_to(other, 30)
    finish(other, run, loss=3.0)
    theirs.finish()
    newer.release()
    whole = {name: there.read(name) for name in there.sizes() if name.startswith(("000002/", "done"))}
    monkeypatch.setattr(lease, "check", lambda: None)  # it has asked just before it was paused
    train_to(here, 15)
    finish(here, run, loss=9.0)
    with pytest.raises(LeaseLost, match="another process has finished this run first"):
        mine.finish()
    assert {name: there.read(name) for name in whole} == whole
    third = RunDirectory(tmp_path / "c" / "runs" / run_id(run))
    assert fetch_outcome(there, third)
    assert read_record(third.record).heldout.loss == 3.0


def test_a_run_is_mirrored_while_it_is_trained_and_done_for_everybody_after(store, run, tmp_path, monkeypatch):
    monkeypatch.setattr(mirror, "LOOK_SECONDS", 0.05)
    stop, name = threading.Event(), run_id(run)
    with mirrored(store, run, tmp_path / "a" / "runs", stop) as asked:
        here = folder_of(run, tmp_path / "a")
        train_to(here, 10)
        until = threading.Event()
        while not list(look(of_run(store, name)).checkpoints()):
            until.wait(0.05)
        second = mirrored(store, run, tmp_path / "b" / "runs", stop)
        with pytest.raises(RunHeld, match="another process is training this run"), second:
            pass
        assert not asked.is_set()
        finish(here, run)
    assert done_by(of_run(store, name)) == "000001"
    with mirrored(store, run, tmp_path / "b" / "runs", stop):  # a second comes and finds it done
        there = RunDirectory(tmp_path / "b" / "runs" / name)
        assert read_record(there.record).heldout.loss == 3.0
    assert sorted(path.name for path in there.path.iterdir()) == ["config.json", "curve.parquet", "record.json"]
    assert done_by(of_run(store, name)) == "000001"


def test_a_request_to_stop_on_the_store_reaches_training_and_is_dropped_there(store, run, tmp_path, monkeypatch):
    monkeypatch.setattr(mirror, "LOOK_SECONDS", 0.05)
    here = folder_of(run, tmp_path)
    there = of_run(store, run_id(run))
    there.rewrite(CANCEL, b"")
    with mirrored(store, run, tmp_path / "runs", threading.Event()):
        assert here.cancel.exists()
    there.remove(CANCEL)
    with mirrored(store, run, tmp_path / "runs", threading.Event()):
        assert not here.cancel.exists()


def test_training_that_lost_the_store_is_told_to_stop(store, run, tmp_path, monkeypatch):
    monkeypatch.setattr(mirror, "LOOK_SECONDS", 0.05)
    there = of_run(store, run_id(run))
    mine = mirrored(store, run, tmp_path / "runs", threading.Event())
    with pytest.raises(LeaseLost, match="another process has taken this over"), mine as asked:
        there.create("lease-000002.json", b"{}")
        train_to(folder_of(run, tmp_path), 10)
        while not asked.is_set():
            threading.Event().wait(0.02)


def test_a_store_that_is_away_for_a_while_costs_nothing(store, run, tmp_path, monkeypatch, caplog):
    monkeypatch.setattr(mirror, "LOOK_SECONDS", 0.02)
    monkeypatch.setattr(mirror, "RETRY_SECONDS", 0.02)
    upload, away = Bucket.upload, [True]

    def slow(self, path, name):
        if away[0]:
            raise BucketError("no route")
        upload(self, path, name)

    monkeypatch.setattr(Bucket, "upload", slow)
    with mirrored(store, run, tmp_path / "runs", threading.Event()):
        here = folder_of(run, tmp_path)
        train_to(here, 10)
        while "no route" not in caplog.text:
            threading.Event().wait(0.02)
        finish(here, run)
        threading.Timer(0.2, lambda: away.__setitem__(0, False)).start()
    assert done_by(of_run(store, run_id(run))) == "000001"


def test_one_that_does_not_come_back_is_said_and_what_is_here_stays(store, run, tmp_path, monkeypatch):
    monkeypatch.setattr(mirror, "PATIENCE_SECONDS", 0.1)
    monkeypatch.setattr(mirror, "RETRY_SECONDS", 0.02)

    def down(self, path, name):
        raise BucketError("no route")

    monkeypatch.setattr(Bucket, "upload", down)
    mine = mirrored(store, run, tmp_path / "runs", threading.Event())
    with pytest.raises(BucketError, match="what was trained could not be pushed"), mine:
        here = folder_of(run, tmp_path)
        train_to(here, 10)
        finish(here, run)
    monkeypatch.undo()
    assert publish(store, here)
    assert done_by(of_run(store, run_id(run))) == "000002"
    assert not publish(store, here)  # once is enough


def test_a_failure_is_told_and_does_not_end_a_run_for_good(store, run, tmp_path):
    here = folder_of(run, tmp_path / "a")
    train_to(here, 10)
    fail(here, run)
    assert publish(store, here)
    there = of_run(store, run_id(run))
    assert done_by(there) is None and b"it broke" in there.read("000001/record.json")
    other = fetched(store, run, tmp_path / "b")
    assert newest_here(other) == 10 and not other.record.exists()
    finish(other, run)
    assert publish(store, other)
    assert done_by(there) == "000002"


def test_a_branch_gets_its_trunks_last_checkpoint_before_it_leaves(store, run, tmp_path):
    here = folder_of(run, tmp_path / "a")
    _, lease, mine = held(store, here, keep={10, 20})
    for step in (10, 20, 30, 40):
        train_to(here, step, last=9)
    mine.push()
    lease.release()
    branch = replace(run, seed=5, trunk=Trunk(run_id=run_id(run), tokens=25 * run.batch_tokens))
    with mirrored(store, branch, tmp_path / "b" / "runs", threading.Event()):
        trunk = RunDirectory(tmp_path / "b" / "runs" / run_id(run))
        assert steps_here(trunk) == [20] and trunk.config.exists()
    fetch_start(of_run(store, run_id(run)), trunk, 5)  # there is none so early
    assert steps_here(trunk) == [20]


def test_what_is_here_and_further_stays(store, run, tmp_path):
    here = folder_of(run, tmp_path)
    there, lease, mine = held(store, here)
    train_to(here, 10)
    mine.push()
    train_to(here, 20)  # and killed before it was pushed
    lease.release()
    fetch_state(there, here)
    assert steps_here(here) == [10, 20] and steps_of_curve(here) == list(range(1, 21))
