"""Attempts: every one is noted with its end, and torn lines do no harm."""

import errno

import pytest

from scaling.attempts import attempts, begin, cause_of, end
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
