"""A run trained here whose folder is kept on a store too: held there, fetched from there, pushed there as it grows."""

import json
import logging
import threading
import time
from collections.abc import Collection, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager, suppress
from pathlib import Path

from scaling.config import RunConfig, run_id
from scaling.lease import CANCEL, Lease, LeaseLost, RunHeld, wait_for
from scaling.mirror.bucket import Bucket, BucketError
from scaling.mirror.runs import (
    AT_ONCE,
    ATTEMPTS,
    CURVE,
    DONE,
    OF_CHECKPOINT,
    RECORD,
    done_by,
    fetch_outcome,
    fetch_start,
    fetch_state,
    look,
    steps_here,
)
from scaling.record import RunDirectory, read_record
from scaling.training.seal import SEAL

log = logging.getLogger(__name__)

LOOK_SECONDS = 1.0  # between two looks for a new checkpoint or attempt
LIVE_SECONDS = 30.0  # between two pushes of what grows all the time: curve, log, tracking
PATIENCE_SECONDS = 600.0  # with a store that does not answer, when a run has ended and its record is to be pushed
RETRY_SECONDS = 5.0


class Mirror:
    """Pushes what is new in a run's folder to the store, below the number of the lease that it is held by."""

    def __init__(self, run: Bucket, directory: RunDirectory, lease: Lease, keep: Collection[int] = ()):
        """keep: steps whose checkpoints branches start from; of the others the last two stay."""
        self.lost = threading.Event()
        self._run, self._directory, self._lease, self._keep = run, directory, lease, set(keep)
        self._own = f"{lease.number:06d}"
        self._pushed: dict[str, tuple[int, int]] = {}  # name -> time and size of what was pushed
        self._steps = {step for step, _ in look(run).checkpoints()}
        self._live_at = 0.0
        self._ended = threading.Event()
        self._thread = threading.Thread(target=self._watch, daemon=True)

    def start(self) -> None:
        self._thread.start()

    def stop(self) -> None:
        self._ended.set()
        if self._thread.is_alive():
            self._thread.join()

    def push(self, *, everything: bool = True) -> None:
        """What is new, each checkpoint after the curve that leads to it. Raises LeaseLost, or OSError: again, later.

        everything: also what grows all the time, without a new checkpoint.
        """
        steps = [step for step in steps_here(self._directory) if step not in self._steps]
        changed = self._changed()
        if not (everything or steps):
            changed = {name: stamp for name, stamp in changed.items() if name == ATTEMPTS}
        if changed or steps:
            self._lease.check()
            with ThreadPoolExecutor(AT_ONCE) as pool:
                list(pool.map(self._push_file, changed, changed.values()))
        for step in steps:
            self._push_checkpoint(step)
        if steps:
            self._clear()

    def finish(self) -> None:
        """Push all that is left, and the run's record, if it has one: from then on it is trained for everybody."""
        self.push()
        if not self._directory.record.exists():
            return
        self._lease.check()
        self._run.upload(self._directory.record, f"{self._own}/{RECORD}")
        status = read_record(self._directory.record).status
        if status == "failed":
            return
        with suppress(FileExistsError):
            self._run.create(DONE, json.dumps({"holder": self._own, "status": status}).encode())
        if done_by(self._run) != self._own:
            raise LeaseLost(f"{self._run}: another process has finished this run first; its record counts")
        if not self._directory.live_curve.exists():
            self._run.remove(f"{self._own}/{CURVE}")

    def finish_in_the_end(self, stop: threading.Event) -> None:
        """`finish`, again and again while the store does not answer."""
        until = time.monotonic() + PATIENCE_SECONDS
        while True:
            try:
                return self.finish()
            except OSError as error:
                if stop.is_set() or time.monotonic() > until:
                    raise BucketError(f"{self._run}: what was trained could not be pushed ({error})") from error
                log.warning("%s: not pushed yet (%s); tried again", self._run, error)
                stop.wait(RETRY_SECONDS)

    def _watch(self) -> None:
        while not self._ended.wait(LOOK_SECONDS):
            if self._lease.cancelled:
                self._directory.cancel.touch()  # which whoever trains here notices
            try:
                everything = time.monotonic() - self._live_at > LIVE_SECONDS
                self.push(everything=everything)
                if everything:
                    self._live_at = time.monotonic()
            except LeaseLost as error:
                log.warning("%s", error)
                return self.lost.set()
            except OSError as error:  # training goes on; there may be an answer at the next look
                log.warning("%s: not pushed (%s); tried again", self._run, error)

    def _changed(self) -> dict[str, tuple[int, int]]:
        """Files beside checkpoints that are not as they were pushed."""
        found = {}
        for path in _files(self._directory.path):
            name = path.relative_to(self._directory.path).as_posix()
            with suppress(FileNotFoundError):
                known = path.stat()
                stamp = known.st_mtime_ns, known.st_size
                if self._pushed.get(name) != stamp:
                    found[name] = stamp
        return found

    def _push_file(self, name: str, stamp: tuple[int, int]) -> None:
        with suppress(FileNotFoundError):  # the live curve, when the run ends
            self._run.upload(self._directory.path / name, f"{self._own}/{name}")
            self._pushed[name] = stamp

    def _push_checkpoint(self, step: int) -> None:
        """The seal last, and only by who still holds the run."""
        folder, there = self._directory.checkpoints / str(step), f"{self._own}/checkpoints/{step}"
        names = [path.relative_to(folder).as_posix() for path in folder.rglob("*") if path.is_file()]
        try:
            with ThreadPoolExecutor(AT_ONCE) as pool:
                rest = [name for name in names if name != SEAL]
                list(pool.map(lambda name: self._run.upload(folder / name, f"{there}/{name}"), rest))
            self._lease.check()
            self._run.upload(folder / SEAL, f"{there}/{SEAL}")
        except FileNotFoundError:  # newer ones have taken its place meanwhile
            return
        self._steps.add(step)

    def _clear(self) -> None:
        """Remove checkpoints of this holder and those before it that newer ones have made needless, seals first."""
        newest, stays = max(self._steps), {*sorted(self._steps)[-2:], *self._keep}
        old = []
        for name in look(self._run).sizes:
            found = OF_CHECKPOINT.fullmatch(name)
            if found and found[1] <= self._own and int(found[2]) < newest and int(found[2]) not in stays:
                old.append(name)
        for name in sorted(old, key=lambda name: not name.endswith(f"/{SEAL}")):
            self._run.remove(name)


class _Either:
    """Asked to stop by whoever runs this process, or because the store's lease is lost."""

    def __init__(self, *events: threading.Event):
        self._events = events

    def is_set(self) -> bool:
        return any(event.is_set() for event in self._events)


@contextmanager
def mirrored(
    store: Bucket,
    run: RunConfig,
    runs: Path,
    stop: threading.Event,
    *,
    keep_tokens: Collection[int] = (),
    patience_seconds: float = 0.0,
) -> Iterator[_Either]:
    """Hold a run on the store while it is trained in the folder `runs`; gives what tells training to stop.

    Raises RunHeld if another process holds it, LeaseLost if one has taken it
    over, OSError if the store does not answer at the beginning or the end.
    """
    directory, there = RunDirectory(runs / run_id(run)), of_run(store, run_id(run))
    lease = wait_for(there, patience_seconds=patience_seconds)
    if lease is None:
        raise RunHeld(f"{there}: another process is training this run")
    try:
        if fetch_outcome(there, directory):
            yield _Either(stop)
            return
        _begin(store, there, run, directory)
        mirror = Mirror(there, directory, lease, {tokens // run.batch_tokens for tokens in keep_tokens})
        mirror.start()
        try:
            yield _Either(stop, mirror.lost)
        except LeaseLost:  # that of this machine's folder: it is another's now
            raise
        except BaseException:
            mirror.stop()
            with suppress(OSError, LeaseLost):  # what went wrong first is what counts
                mirror.push()
            raise
        finally:
            mirror.stop()
        if mirror.lost.is_set():
            lease.check()
        mirror.finish_in_the_end(stop)
    finally:
        with suppress(OSError):  # it expires
            lease.release()


def publish(store: Bucket, directory: RunDirectory) -> bool:
    """Push a run that has ended here, unless another holds it or has finished it; whether it did."""
    there = of_run(store, directory.path.name)
    if done_by(there) is not None:
        return False
    lease = wait_for(there, patience_seconds=0.0)
    if lease is None:
        return False
    try:
        Mirror(there, directory, lease, steps_here(directory)).finish()
    except LeaseLost:
        return False
    finally:
        lease.release()
    return True


def of_run(store: Bucket, name: str) -> Bucket:
    return store / "runs" / name


def _begin(store: Bucket, there: Bucket, run: RunConfig, directory: RunDirectory) -> None:
    """Bring here what the run goes on from: its own state, else its trunk's, and whether it is cancelled."""
    directory.path.mkdir(parents=True, exist_ok=True)
    fetch_state(there, directory)
    if CANCEL in there.names():
        directory.cancel.touch()
    else:
        directory.cancel.unlink(missing_ok=True)
    if run.trunk is not None and not steps_here(directory):
        trunk = RunDirectory(directory.path.parent / run.trunk.run_id)
        fetch_start(of_run(store, run.trunk.run_id), trunk, run.trunk.tokens // run.batch_tokens)


def _files(folder: Path) -> Iterator[Path]:
    """What a run's folder holds beside checkpoints, claims, requests, its record and what is being written."""
    for path in sorted(folder.iterdir()):
        if path.name in (CANCEL, RECORD, "checkpoints") or path.name.startswith((".", "lease-", "record.failed-")):
            continue
        if path.is_dir() and not path.is_symlink():
            yield from (below for below in path.rglob("*") if below.is_file() and not below.is_symlink())
        elif path.suffix != ".tmp" and not path.is_symlink():
            yield path
