"""Attempts: every one is noted with its end, and torn lines do no harm."""

import errno
import json

import pytest

from scaling.attempts import GIVE_UP, GivenUp, attempts, begin, cause_of, check_progress, end, fruitless, last_step
from scaling.record import RunDirectory


def test_attempts_are_numbered_and_say_how_they_ended(tmp_path):
    directory = RunDirectory(tmp_path)
    assert attempts(directory) == ()
    end(directory, begin(directory), "preempted")
    assert begin(directory) == 2  # killed: it has no end
    end(directory, begin(directory), "error", "ValueError: no")
    found = attempts(directory)
    assert [(each.attempt, each.cause, each.message) for each in found] == [
        (1, "preempted", ""),
        (2, None, ""),
        (3, "error", "ValueError: no"),
    ]
    assert all(each.began <= each.ended for each in found if each.ended)


def test_a_file_that_is_cut_at_any_byte_tells_of_those_before_and_takes_more(tmp_path):
    directory = RunDirectory(tmp_path)
    for cause in ("preempted", "error", "finished"):
        end(directory, begin(directory), cause)
    whole = directory.attempts.read_bytes()
    lines = [place + 1 for place, byte in enumerate(whole) if byte == ord("\n")]
    for length in range(len(whole)):
        directory.attempts.write_bytes(whole[:length])
        told = sum(place <= length + 1 for place in lines)  # a line without its newline is whole
        causes = [each.cause for each in attempts(directory)]
        assert causes == ["preempted", "error", "finished"][: told // 2] + [None] * (told % 2)
        assert begin(directory) == len(causes) + 1
        assert [each.cause for each in attempts(directory)] == [*causes, None]


def test_a_line_that_is_torn_anywhere_loses_only_itself(tmp_path):
    directory = RunDirectory(tmp_path)
    end(directory, begin(directory), "finished")
    before = directory.attempts.read_bytes()
    begin(directory)
    whole = directory.attempts.read_bytes()
    for length in range(len(before) + 1, len(whole) - 1):
        directory.attempts.write_bytes(whole[:length])
        assert len(attempts(directory)) == 1
        assert begin(directory) == 2
        assert [each.cause for each in attempts(directory)] == ["finished", None]


@pytest.mark.parametrize(
    ("error", "cause"),
    [
        (RuntimeError("RESOURCE_EXHAUSTED: Out of memory allocating 1 bytes"), "out_of_memory"),
        (MemoryError(), "out_of_memory"),
        (OSError(errno.ENOSPC, "No space left on device"), "disk_full"),
        (ValueError("RESOURCE_EXHAUSTED: Error writing: No space left on device [os_error_code='28']"), "disk_full"),
        (ValueError("batch"), "error"),
        (KeyboardInterrupt(), "preempted"),
    ],
)
def test_errors_are_told_apart(error, cause):
    assert cause_of(error) == cause


def checkpoint(directory, step):
    (directory.checkpoints / str(step)).mkdir(parents=True)
    (directory.checkpoints / f"{step + 1}.orbax-checkpoint-tmp").mkdir()  # half-written: it does not count


def test_a_run_that_dies_again_and_again_without_a_checkpoint_is_given_up(tmp_path):
    directory = RunDirectory(tmp_path)
    for _ in range(GIVE_UP):
        check_progress(directory)
        begin(directory)
    with pytest.raises(GivenUp, match=f"given up: {GIVE_UP} attempts in a row were killed before a checkpoint after"):
        check_progress(directory)
    assert attempts(directory)[-1].cause == "error"
    check_progress(directory)  # who tries it again knowingly may


def test_one_that_gets_on_is_never_given_up(tmp_path):
    directory = RunDirectory(tmp_path)
    for step in range(0, 30, 2):
        check_progress(directory)
        begin(directory)
        checkpoint(directory, step + 2)
    assert last_step(directory) == 30
    assert fruitless(attempts(directory), last_step(directory)) == 0


def test_being_preempted_is_neither_a_death_nor_progress(tmp_path):
    directory = RunDirectory(tmp_path)
    for _ in range(3 * GIVE_UP):
        check_progress(directory)
        end(directory, begin(directory), "preempted")
    for _ in range(2):
        begin(directory)
        end(directory, begin(directory), "preempted")
    assert fruitless(attempts(directory), 0) == 2
    end(directory, begin(directory), "error", "ValueError: no")
    assert fruitless(attempts(directory), 0) == 0


def test_lines_without_a_step_count_for_nothing(tmp_path):
    directory = RunDirectory(tmp_path)
    for number in range(1, 9):
        with directory.attempts.open("a") as file:
            file.write(json.dumps({"event": "begin", "attempt": number, "host": "h", "pid": 1, "time": 0.0}) + "\n")
    check_progress(directory)
    assert len(attempts(directory)) == 8
