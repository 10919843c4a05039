"""Who works in a folder: a lease that expires, for file systems and object stores that many machines share.

A claim is a file `lease-000007.json`, made by a call that fails where the file
is there already, so of two that want it one gets it, on NFS too; no file locks
are used. Its number is the fencing number: whoever has the highest
holds the lease. The holder rewrites its claim every few seconds. It gives it
up by saying so in it. A holder that was killed or cut off says nothing: its
process is looked for where it was on this machine, and otherwise its claim is
watched for as long as it promised to be heard of. What counts is how long it
has not changed by the watcher's own clock, so clocks may differ and jump.

A holder that was only paused finds a higher number when it wakes. It must ask
(`Lease.check`) before it writes anything that others read; between asking and
writing nothing waits, but nothing forbids either: that gap of microseconds is
what a plain file system leaves open.
"""

import json
import logging
import os
import platform
import re
import threading
import time
from collections.abc import Iterable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import asdict, dataclass, field, replace
from functools import cache
from pathlib import Path
from typing import Any

from scaling.folders import Folder, LocalFolder

log = logging.getLogger(__name__)

BEAT_SECONDS = 5.0
EXPIRY_SECONDS = 30.0  # six beats: a busy disk may swallow some
CANCEL = "cancel"  # a file that asks the holder to stop

Place = Path | Folder  # a path is a folder of this machine's

_CLAIM = re.compile(r"lease-(\d{6})\.json")


class LeaseLost(RuntimeError):
    """Somebody else has taken the folder over: this process may write nothing there any more."""


class RunHeld(Exception):
    """Another process is training this run."""


@dataclass(frozen=True, kw_only=True)
class Holder:
    """What a claim says of who made it."""

    number: int
    host: str
    machine: str  # this start of this machine, and the numbering of its processes
    pid: int
    started: str  # tells a process from a later one of the same number
    expiry_seconds: float
    beat: int = 0
    released: bool = False

    @property
    def is_gone(self) -> bool:
        """It has said so, or it was a process of this machine that is no more."""
        return self.released or (self.is_here and _started(self.pid) != self.started)

    @property
    def is_here(self) -> bool:
        """It is, or was, a process of this machine."""
        return self.machine == _machine()


@dataclass
class Watch:
    """Tells which leases have expired, having watched them. One a process."""

    seen: dict[tuple[Folder, str], tuple[bytes, float]] = field(default_factory=dict)

    def is_free(self, folder: Place) -> bool:
        """Whether the folder can be taken; of a holder elsewhere that was cut off, only after some looks."""
        return self.free_after(folder) is not None

    def free_after(self, folder: Place) -> int | None:
        """The number of the claim that no longer holds, 0 where there is none; None where one holds.

        Who takes the folder takes the next number and no other: a higher claim, made since, was never judged.
        """
        folder = _folder(folder)
        claim = _highest(folder)
        if claim is None:
            return 0
        text = folder.read(claim)
        holder = _parsed(text)
        if holder is not None and holder.is_gone:
            return _number(claim)
        known, since = self.seen.get((folder, claim), (None, 0.0))
        if text != known:
            self.seen[folder, claim] = (text, time.monotonic())
            return None
        promised = EXPIRY_SECONDS if holder is None else holder.expiry_seconds
        return _number(claim) if time.monotonic() - since > promised else None


class Lease:
    """A folder that this process holds, until `release`."""

    def __init__(self, folder: Folder, holder: Holder, beat_seconds: float):
        self.folder, self.number = folder, holder.number
        self._holder, self._beat_seconds = holder, beat_seconds
        self._ended, self._cancelled = threading.Event(), threading.Event()
        self._beats = threading.Thread(target=self._beat, daemon=True)
        self._beats.start()

    def check(self) -> None:
        """Raise LeaseLost if this process must not write in the folder any more."""
        claim = _highest(self.folder)
        if claim is None or _number(claim) != self.number:
            raise LeaseLost(
                f"{self.folder}: another process has taken this over (lease {_number(claim) if claim else 'removed'}, "
                f"ours was {self.number}); this one was not heard of for {self._holder.expiry_seconds:g} s and stops"
            )

    @property
    def cancelled(self) -> bool:
        """Whether somebody has asked the holder to stop; noticed at the next beat."""
        return self._cancelled.is_set()

    def release(self) -> None:
        """Give the folder up; it may be taken at once."""
        self._ended.set()
        self._beats.join()
        claim = _highest(self.folder)
        if claim is not None and _number(claim) == self.number:
            self._rewrite(replace(self._holder, released=True))

    def _beat(self) -> None:
        while not self._ended.wait(self._beat_seconds):
            self._holder = replace(self._holder, beat=self._holder.beat + 1)
            try:
                names = self.folder.names()
            except OSError as error:  # a store that does not answer: the next beat may do better
                log.warning("%s: this lease could not be renewed (%s)", self.folder, error)
                continue
            claim = _highest_of(names)
            if claim is None or _number(claim) != self.number:
                return  # lost; `check` says so where it matters
            if CANCEL in names:
                self._cancelled.set()
            self._rewrite(self._holder)

    def _rewrite(self, holder: Holder) -> None:
        try:
            _write(self.folder, holder)
        except OSError as error:  # a full disk; it may answer at the next beat, and else the lease expires
            log.warning("%s: this lease could not be renewed or given up (%s)", self.folder, error)


def take(
    folder: Place,
    watch: Watch | None = None,
    *,
    beat_seconds: float = BEAT_SECONDS,
    expiry_seconds: float = EXPIRY_SECONDS,
) -> Lease | None:
    """The folder's lease, or None if somebody has it. watch: what this process has seen of leases before.

    Raises OSError, naming the folder, where no claim can be written there.
    """
    folder = _folder(folder)
    last = (watch or Watch()).free_after(folder)
    if last is None:
        return None
    number = last + 1
    holder = Holder(
        number=number,
        host=platform.node(),
        machine=_machine(),
        pid=os.getpid(),
        started=_started(os.getpid()),
        expiry_seconds=expiry_seconds,
    )
    try:
        folder.create(claim_name(number), _text(holder))
    except FileExistsError:
        return None
    if _number(_highest(folder)) != number:  # another came and went meanwhile
        folder.remove(claim_name(number))  # who came may have cleared it away
        return None
    for claim in _claims(folder.names()):
        if _number(claim) < number:
            folder.remove(claim)
    return Lease(folder, holder, beat_seconds)


def wait_for(folder: Place, *, patience_seconds: float, look_seconds: float = 1.0) -> Lease | None:
    """`take`, trying again for a while: long enough, a holder that was cut off has expired."""
    watch, until = Watch(), time.monotonic() + patience_seconds
    while (lease := take(folder, watch)) is None and time.monotonic() < until:
        time.sleep(look_seconds)
    return lease


@contextmanager
def held(folder: Place) -> Iterator[Lease]:
    """Hold a folder, however long that takes to get."""
    lease = wait_for(folder, patience_seconds=float("inf"), look_seconds=0.2)
    try:
        yield lease
    finally:
        lease.release()


def holder(folder: Place) -> Holder | None:
    """Who holds a folder; None if nobody does, or nobody who could be heard of. One look does not tell who expired."""
    folder = _folder(folder)
    claim = _highest(folder)
    found = None if claim is None else _parsed(folder.read(claim))
    return None if found is None or found.is_gone else found


def _folder(place: Place) -> Folder:
    return LocalFolder(place) if isinstance(place, Path) else place


def _claims(names: Iterable[str]) -> list[str]:
    return [name for name in names if _CLAIM.fullmatch(name)]


def _highest(folder: Folder) -> str | None:
    return _highest_of(folder.names())


def _highest_of(names: Iterable[str]) -> str | None:
    return max(_claims(names), default=None)


def _number(claim: str) -> int:
    return int(_CLAIM.fullmatch(claim)[1])


def claim_name(number: int) -> str:
    return f"lease-{number:06d}.json"


def _parsed(text: bytes) -> Holder | None:
    """None for a claim that is being written, or was torn: it stands until it expires."""
    try:
        return Holder(**json.loads(text))
    except (ValueError, TypeError):
        return None


def _text(holder: Holder) -> bytes:
    return json.dumps(asdict(holder)).encode()


def _write(folder: Folder, holder: Holder) -> None:
    folder.rewrite(claim_name(holder.number), _text(holder))


@cache
def _machine() -> str:
    """Two processes with the same answer see each other's numbers."""
    parts: list[Any] = [platform.node()]
    with suppress(OSError):  # not Linux: the name must do
        parts.append(Path("/proc/sys/kernel/random/boot_id").read_text(encoding="utf-8").strip())
        parts.append(os.stat("/proc/self/ns/pid").st_ino)
    return "/".join(map(str, parts))


def _started(pid: int) -> str:
    """When a process of this machine began, in its own words; "" if there is none, or only what is left of one."""
    try:
        fields = Path(f"/proc/{pid}/stat").read_text(encoding="utf-8").rpartition(")")[2].split()
    except (FileNotFoundError, ProcessLookupError):
        if Path("/proc/self/stat").exists():
            return ""
        try:
            os.kill(pid, 0)
        except ProcessLookupError:
            return ""
        except PermissionError:  # it is another user's
            return "running"
        return "running"
    return "" if fields[0] in "ZX" else fields[19]
