"""The right to train a run: taken before anything is written, asked for before every write, noted at its end.

Of several processes the first takes it for all.
"""

import threading
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass

from scaling import attempts
from scaling.attempts import Cause, GivenUp, cause_of, check_progress
from scaling.config import RunConfig
from scaling.lease import Lease, LeaseLost, RunHeld, wait_for
from scaling.parallel.hosts import firsts, is_first
from scaling.record import OPEN, RunDirectory, RunRecord, read_record, status_in, write_config

_OPEN, _TRAINED, _HELD, _GIVEN_UP = range(4)  # how a run stands


@dataclass(frozen=True)
class Claim:
    """What training a run may ask of its claim."""

    directory: RunDirectory
    record: RunRecord | None  # of a run that is trained already
    lease: Lease | None  # of the first process

    def check(self) -> None:
        """Raise LeaseLost if another process has taken the run over."""
        if self.lease is not None:
            self.lease.check()

    @property
    def cancelled(self) -> bool:
        return self.lease is not None and self.lease.cancelled


@contextmanager
def claimed(
    directory: RunDirectory, run: RunConfig, stop: threading.Event, *, patience_seconds: float = 0.0
) -> Iterator[Claim]:
    """Hold a run. Raises RunHeld if another process does, for as long as the patience lasts.

    Raises GivenUp for a run that was begun again and again without getting on.
    """
    lease, standing, given_up = None, _OPEN, None
    if is_first():
        write_config(directory, run)
        lease = wait_for(directory.path, patience_seconds=patience_seconds)
        if lease is None:
            standing = _HELD
        elif directory.record.exists() and read_record(directory.record).status not in OPEN:
            standing = _TRAINED
        else:
            try:
                check_progress(directory)
            except GivenUp as error:
                standing, given_up = _GIVEN_UP, error
    standing = firsts(standing)
    if standing == _HELD:
        raise RunHeld(f"{directory.path}: another process is training this run")
    try:
        if standing == _GIVEN_UP:
            raise given_up or GivenUp(f"{directory.path}: given up; the first process says why")
        if standing == _TRAINED:
            yield Claim(directory, read_record(directory.record), lease)
        elif lease is None:
            yield Claim(directory, None, None)
        else:
            with _noted(directory, stop):
                yield Claim(directory, None, lease)
    finally:
        if lease is not None:
            lease.release()


@contextmanager
def _noted(directory: RunDirectory, stop: threading.Event) -> Iterator[None]:
    """Note the attempt, and how it ends."""
    number = attempts.begin(directory)
    try:
        yield
    except LeaseLost:
        raise  # the folder is another's now
    except BaseException as error:
        attempts.end(directory, number, cause_of(error), f"{type(error).__name__}: {error}"[:1000])
        raise
    attempts.end(directory, number, _outcome(directory, stop))


def _outcome(directory: RunDirectory, stop: threading.Event) -> Cause:
    if (status := status_in(directory)) not in (None, *OPEN):
        return status
    return "cancelled" if directory.cancel.exists() and not stop.is_set() else "preempted"
