"""Leases: one holder at a time, taken over when it is gone, and never written past."""

import json
import multiprocessing
import os
import signal
import subprocess
import sys
import threading
import time
from dataclasses import asdict, replace

import pytest

from scaling import lease
from scaling.lease import CANCEL, Holder, Watch, held, holder, take, wait_for

QUICK = {"beat_seconds": 0.05, "expiry_seconds": 0.4}


def claims(folder):
    return sorted(path.name for path in folder.glob("lease-*"))


def elsewhere(folder, number=1, **changes):
    """A claim of another machine, which nobody renews."""
    base = {"number": number, "host": "far", "machine": "far/1", "pid": 1, "started": "1", "expiry_seconds": 0.3}
    path = folder / f"lease-{number:06d}.json"
    path.write_text(json.dumps(asdict(Holder(**(base | changes)))))
    return path


def test_one_at_a_time_and_the_next_when_it_is_released(tmp_path):
    first = take(tmp_path)
    assert take(tmp_path) is None
    assert holder(tmp_path).pid == os.getpid()
    first.release()
    assert holder(tmp_path) is None
    second = take(tmp_path)
    assert second.number == first.number + 1
    second.release()
    assert claims(tmp_path) == ["lease-000002.json"]  # what came before is cleared away


def _take_and_say(folder, barrier, said, done):
    """Take the folder at the same moment as others; who has it dies without a word, the others try again."""
    while True:
        barrier.wait()
        mine = take(folder)
        said.put(os.getpid() if mine else 0)
        done.wait()  # nobody is gone before all have tried
        if mine:
            os._exit(0)


def test_of_many_that_want_it_at_once_one_gets_it(tmp_path):
    spawn = multiprocessing.get_context("spawn")
    barrier, said, done = spawn.Barrier(7), spawn.Queue(), spawn.Barrier(7)
    processes = {}

    def start():
        process = spawn.Process(target=_take_and_say, args=(tmp_path, barrier, said, done))
        process.start()
        processes[process.pid] = process

    for _ in range(5):
        start()
    try:
        for _ in range(2):
            start()
            barrier.wait(timeout=60)
            *losers, winner = sorted(said.get(timeout=60) for _ in range(6))
            assert losers == [0] * 5 and winner in processes
            done.wait(timeout=60)
            processes.pop(winner).join()  # without a word: the next round finds it gone
    finally:
        for process in processes.values():
            process.kill()
            process.join()


def _take_and_leave(folder, seconds, said):
    """Takes the folder as often as it can; a marker shows that nobody else has it."""
    until, watch, taken = time.monotonic() + seconds, Watch(), 0
    while time.monotonic() < until:
        mine = take(folder, watch)
        if mine is not None:
            os.close(os.open(folder / "marker", os.O_CREAT | os.O_EXCL))  # raises where it is there
            mine.check()
            taken += 1
            os.unlink(folder / "marker")
            mine.release()
    said.put(taken)


@pytest.mark.slow
def test_no_two_hold_a_folder_at_any_moment(tmp_path):
    spawn = multiprocessing.get_context("spawn")
    said = spawn.Queue()
    processes = [spawn.Process(target=_take_and_leave, args=(tmp_path, 10.0, said)) for _ in range(6)]
    for process in processes:
        process.start()
    for process in processes:
        process.join()
    assert all(process.exitcode == 0 for process in processes)
    assert sum(said.get() for _ in processes) > 100
    assert len(claims(tmp_path)) == 1


HOLD = "import sys, time; from pathlib import Path; from scaling.lease import take\n" + (
    "mine = take(Path(sys.argv[1]), beat_seconds=0.05, expiry_seconds=0.4)\nprint('held', flush=True)\n"
    "sys.stdin.readline()\nmine.check()\n"
)


@pytest.fixture
def other(tmp_path):
    """A process that holds the folder; a line of input makes it ask whether it still does."""
    process = subprocess.Popen(
        [sys.executable, "-c", HOLD, str(tmp_path)],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )
    assert process.stdout.readline() == "held\n"
    yield process
    process.kill()
    process.communicate()


def test_a_holder_that_was_killed_is_found_gone_at_once_on_its_own_machine(tmp_path, other):
    assert take(tmp_path) is None
    other.kill()
    other.wait()
    mine = take(tmp_path)
    assert mine.number == 2
    mine.release()


def test_a_paused_holder_is_taken_over_and_may_not_write_when_it_wakes(tmp_path, other):
    other.send_signal(signal.SIGSTOP)
    assert take(tmp_path) is None  # its process is there
    mine = wait_for(tmp_path, patience_seconds=20, look_seconds=0.05)
    assert mine.number == 2
    other.send_signal(signal.SIGCONT)
    time.sleep(0.3)  # it beats again, and must not disturb
    _, said = other.communicate("\n")
    assert "LeaseLost" in said and "lease 2, ours was 1" in said and "not heard of for 0.4 s" in said
    mine.check()
    mine.release()


def test_a_claim_from_elsewhere_expires_by_the_watchers_clock_and_not_while_it_beats(tmp_path):
    path, watch = elsewhere(tmp_path), Watch()
    for beat in range(8):  # 0.8 s, more than twice its expiry
        path.write_text(path.read_text().replace(f'"beat": {beat}', f'"beat": {beat + 1}'))
        assert not watch.is_free(tmp_path)
        time.sleep(0.1)
    until = time.monotonic() + 5
    while not watch.is_free(tmp_path):
        assert time.monotonic() < until
        time.sleep(0.05)
    mine = take(tmp_path, watch)
    assert mine.number == 2
    mine.release()


def test_clocks_that_jump_do_not_matter(tmp_path, monkeypatch):
    mine = take(tmp_path, **QUICK)
    monkeypatch.setattr(time, "time", lambda: 0.0)
    for shift in (-3600, 3600):
        os.utime(tmp_path / claims(tmp_path)[0], (1e9 + shift, 1e9 + shift))
        assert take(tmp_path) is None
        mine.check()
    mine.release()


def test_a_claim_cut_at_any_byte_stands_as_long_as_any_and_no_longer(tmp_path, monkeypatch):
    path = elsewhere(tmp_path)
    whole, clock = path.read_bytes(), [0.0]
    monkeypatch.setattr(time, "monotonic", lambda: clock[0])
    for length in range(len(whole)):
        path.write_bytes(whole[:length])
        watch = Watch()
        assert holder(tmp_path) is None  # nobody who could be named
        assert watch.free_after(tmp_path) is None
        clock[0] += lease.EXPIRY_SECONDS - 1
        assert watch.free_after(tmp_path) is None
        clock[0] += 2
        assert watch.free_after(tmp_path) == 1


@pytest.mark.parametrize("length", [0, 1, 20, 100, -1])
def test_a_torn_claim_stands_until_it_expires(tmp_path, monkeypatch, length):
    monkeypatch.setattr(lease, "EXPIRY_SECONDS", 0.2)
    path = elsewhere(tmp_path)
    path.write_bytes(path.read_bytes()[:length])
    assert take(tmp_path) is None
    mine = wait_for(tmp_path, patience_seconds=10, look_seconds=0.05)
    assert mine.number == 2
    mine.release()


def test_a_late_comer_does_not_take_a_number_that_was_cleared_away(tmp_path, monkeypatch):
    elsewhere(tmp_path, number=5)
    watch = Watch()
    monkeypatch.setattr(watch, "free_after", lambda folder: 2)  # what it saw long ago
    assert take(tmp_path, watch) is None
    assert claims(tmp_path) == ["lease-000005.json"]


def test_who_found_a_claim_gone_does_not_push_aside_the_one_who_was_quicker(tmp_path, monkeypatch):
    elsewhere(tmp_path, number=1, released=True)
    slow, quick = Watch(), []
    judged = slow.free_after

    def judge_and_be_slow(folder):
        found = judged(folder)
        quick.append(take(folder))
        return found

    monkeypatch.setattr(slow, "free_after", judge_and_be_slow)
    assert take(tmp_path, slow) is None
    quick[0].check()
    quick[0].release()


def test_a_request_to_cancel_is_noticed_at_a_beat(tmp_path):
    mine = take(tmp_path, **QUICK)
    assert not mine.cancelled
    (tmp_path / CANCEL).touch()
    until = time.monotonic() + 5
    while not mine.cancelled:
        assert time.monotonic() < until
        time.sleep(0.02)
    mine.release()


def test_a_full_disk_does_not_end_the_holder(tmp_path, monkeypatch, caplog):
    mine = take(tmp_path, **QUICK)

    def full(folder, claim):
        raise OSError(28, "No space left on device")

    with monkeypatch.context() as patched:
        patched.setattr(lease, "_write", full)
        time.sleep(0.3)
    assert "could not be renewed" in caplog.text
    mine.check()
    mine.release()


def test_waiting_gets_the_folder_when_it_becomes_free(tmp_path):
    first = take(tmp_path)
    threading.Timer(0.3, first.release).start()
    with held(tmp_path) as mine:
        assert mine.number == 2
    assert holder(tmp_path) is None


def test_a_process_of_the_same_number_that_began_later_is_another(tmp_path):
    mine = take(tmp_path)
    found = holder(tmp_path)
    mine.release()
    path = tmp_path / "lease-000001.json"
    path.write_text(json.dumps(asdict(replace(found, started="before"))))
    assert holder(tmp_path) is None and Watch().is_free(tmp_path)


@pytest.mark.slow  # making them takes half a minute
def test_ten_thousand_leases_are_told_apart(tmp_path, monkeypatch):
    """Of every four folders one was given up, one is held here, one elsewhere, and one elsewhere by who was cut off."""
    clock = [0.0]
    monkeypatch.setattr(time, "monotonic", lambda: clock[0])
    here = take(tmp_path / "here")
    mine = holder(tmp_path / "here")
    kinds = {"given up": [], "here": [], "elsewhere": [], "cut off": []}
    for number, kind in enumerate(list(kinds) * 2500):
        folder = tmp_path / f"{number:05d}"
        folder.mkdir()
        whose = asdict(replace(mine, number=1)) if kind == "here" else {"released": kind == "given up"}
        elsewhere(folder, **whose)
        kinds[kind].append(folder)
    everywhere, watch = sorted(tmp_path.glob("0*")), Watch()
    assert [folder for folder in everywhere if holder(folder) is None] == kinds["given up"]
    assert [folder for folder in everywhere if watch.is_free(folder)] == kinds["given up"]
    for beat in (1, 2):
        clock[0] += 0.2  # twice is more than the 0.3 s after which such a lease expires
        for folder in kinds["elsewhere"]:
            elsewhere(folder, beat=beat)
        free = [folder for folder in everywhere if watch.is_free(folder)]
    assert free == sorted(kinds["given up"] + kinds["cut off"])
    for folder in free:
        taken = take(folder, watch)
        assert taken.number == 2
        taken.release()
    assert [folder for folder in everywhere if holder(folder) is None] == free
    here.release()
