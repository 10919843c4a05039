"""What a store holds of a run, and how that is brought here.

    runs/<id>/lease-000003.json   who holds the run
              cancel              a request to stop
              000003/             what holder 3 wrote: curve, attempts, log, record, checkpoints/<step>/
              done.json           whose record counts; created once

Each holder writes below its own number alone. So one that was paused, and
wakes between asking whether it still holds the run and writing, writes over
nobody's files; and of two that finish, the first counts. A checkpoint is whole
when its seal is there, which is put last, and every file that the seal lists.
"""

import json
import re
import shutil
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from dataclasses import dataclass
from functools import cached_property

from scaling.mirror.bucket import Bucket
from scaling.record import RunDirectory, read_record
from scaling.training.seal import SEAL, damage, files_listed

DONE = "done.json"
RECORD, CURVE, CONFIG = "record.json", "curve.jsonl", "config.json"
ATTEMPTS = "attempts.jsonl"
AT_ONCE = 8  # files on their way
LOOKS = 3  # a holder may remove what another is fetching

# Holder and step of a file of a checkpoint; of one that is there to be read, its seal.
OF_CHECKPOINT = re.compile(r"(\d{6})/checkpoints/(\d+)/.+")
_SEAL = re.compile(rf"(\d{{6}})/checkpoints/(\d+)/{re.escape(SEAL)}")


@dataclass(frozen=True)
class Stored:
    """A run as it lay on a store at one look."""

    run: Bucket
    sizes: dict[str, int]  # of all its files

    @cached_property
    def holders(self) -> list[str]:
        """Those that have written something, the first first; as folders are named."""
        return sorted({name[:6] for name in self.sizes if re.match(r"\d{6}/", name)})

    def files(self, holder: str) -> list[str]:
        """What a holder wrote beside checkpoints, by names from its folder."""
        start = f"{holder}/"
        return [name[7:] for name in self.sizes if name.startswith(start) and not name.startswith("checkpoints/", 7)]

    def checkpoints(self, at_most: float = float("inf")) -> Iterator[tuple[int, str]]:
        """Step and holder of those that are whole, the newest first, of equal ones the last holder's first."""
        sealed = [(int(found[2]), found[1]) for name in self.sizes if (found := _SEAL.fullmatch(name))]
        for step, holder in sorted(sealed, reverse=True):
            if step <= at_most and self._is_whole(step, holder):
                yield step, holder

    def _is_whole(self, step: int, holder: str) -> bool:
        folder = f"{holder}/checkpoints/{step}/"
        listed = files_listed(self.run.read(folder + SEAL))
        return listed is not None and all(self.sizes.get(folder + name) == size for name, size in listed.items())


def look(run: Bucket) -> Stored:
    return Stored(run, run.sizes())


def done_by(run: Bucket) -> str | None:
    """The holder whose record counts; None for a run that is not trained, or failed."""
    text = run.read(DONE)
    return json.loads(text)["holder"] if text else None


def fetch_outcome(run: Bucket, directory: RunDirectory) -> bool:
    """Bring a trained run's record and curve here, the record last; whether the store has one.

    A record that is here already and no failure stays.
    """
    holder = done_by(run)
    if holder is None:
        return False
    if not _is_trained(directory):
        fetch_files(run, directory, holder)
    return True


def fetch_files(run: Bucket, directory: RunDirectory, holder: str) -> None:
    """All that a holder wrote beside checkpoints, and what only holders before it wrote: tracking, profiles."""
    _again(lambda: _fetch_files(look(run), directory, holder))


def _fetch_files(stored: Stored, directory: RunDirectory, holder: str) -> None:
    run = stored.run
    chosen = {name: before for before in stored.holders if before <= holder for name in stored.files(before)}
    of_holder = set(stored.files(holder))
    names = [
        f"{before}/{name}"
        for name, before in chosen.items()
        if name in of_holder or "/" in name  # a curve or record of an earlier holder would not belong to this one's
    ]
    names.sort(key=lambda name: name.endswith(f"/{RECORD}"))
    with ThreadPoolExecutor(AT_ONCE) as pool:
        rest = [name for name in names if not name.endswith(f"/{RECORD}")]
        list(pool.map(lambda name: run.download(name, directory.path / name[7:]), rest))
    for name in names[len(rest) :]:
        run.download(name, directory.path / RECORD)


def fetch_state(run: Bucket, directory: RunDirectory) -> None:
    """Bring here what the last holder left, to go on from it; what is here and further stays."""
    _again(lambda: _fetch_state(look(run), directory))


def _again(fetch: Callable[[], None]) -> None:
    """Look anew where a file was removed between looking and fetching: an old checkpoint, a curve in its live form."""
    for left in reversed(range(LOOKS)):
        try:
            return fetch()
        except FileNotFoundError:
            if not left:
                raise


def _fetch_state(stored: Stored, directory: RunDirectory) -> None:
    if not stored.holders or _is_trained(directory):
        return
    step, holder = next(stored.checkpoints(), (0, ""))
    for name in (CONFIG, ATTEMPTS, "changes.patch"):
        here = directory.path / name
        last = next((before for before in reversed(stored.holders) if f"{before}/{name}" in stored.sizes), None)
        if last and stored.sizes[f"{last}/{name}"] > (here.stat().st_size if here.exists() else 0):
            stored.run.download(f"{last}/{name}", here)
    if step > newest_here(directory):  # its holder's curve was put before it, and so reaches to it
        stored.run.download(f"{holder}/{CURVE}", directory.live_curve)
        shutil.rmtree(directory.checkpoints, ignore_errors=True)
        fetch_checkpoint(stored, directory, step, holder)


def fetch_start(run: Bucket, directory: RunDirectory, at_step: int) -> None:
    """Bring a trunk's config and its last checkpoint after no more than `at_step` steps here, if they are not."""
    if (directory.checkpoints / str(at_step)).exists():
        return
    stored = look(run)
    found = next(stored.checkpoints(at_step), None)
    if found is not None:
        with suppress(FileNotFoundError):  # removed meanwhile: the branch trains from its first step
            stored.run.download(f"{found[1]}/{CONFIG}", directory.config)
            fetch_checkpoint(stored, directory, *found)


def fetch_checkpoint(stored: Stored, directory: RunDirectory, step: int, holder: str) -> None:
    """One checkpoint, which has its name when it is whole. Raises OSError where it arrived damaged."""
    target, part = directory.checkpoints / str(step), directory.path / f".{step}.fetched"
    if target.exists():
        return
    shutil.rmtree(part, ignore_errors=True)
    folder = f"{holder}/checkpoints/{step}/"
    names = [name for name in stored.sizes if name.startswith(folder)]
    with ThreadPoolExecutor(AT_ONCE) as pool:
        list(pool.map(lambda name: stored.run.download(name, part / name.removeprefix(folder)), names))
    problem = damage(part)
    if problem is not None:
        raise OSError(f"{stored.run}/{folder}: arrived damaged: {problem}; fetch it again, or remove it there")
    target.parent.mkdir(parents=True, exist_ok=True)
    with suppress(OSError):  # somebody else was quicker
        part.rename(target)
    shutil.rmtree(part, ignore_errors=True)


def newest_here(directory: RunDirectory) -> int:
    """The step of the newest checkpoint of this machine that is whole, else 0."""
    return next((step for step in reversed(steps_here(directory)) if not damage(directory.checkpoints / str(step))), 0)


def steps_here(directory: RunDirectory) -> list[int]:
    """Of checkpoints that have their name and their seal, the first first."""
    found = directory.checkpoints.glob(f"*/{SEAL}") if directory.checkpoints.is_dir() else ()
    return sorted(int(path.parent.name) for path in found if path.parent.name.isdigit())


def _is_trained(directory: RunDirectory) -> bool:
    return directory.record.exists() and read_record(directory.record).status != "failed"
