"""What may go from a workspace: checkpoints that nobody will start from, broken-off writes, runs of no study.

Nothing of a run that somebody trains is touched, and nothing that lies outside
the folder of runs: a link is left alone, wherever it leads.
"""

import os
import shutil
import time
from collections.abc import Collection, Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path

from pydantic_core import from_json

from launch.planned import launched
from launch.settled import Memory
from scaling.lease import holder
from scaling.record import RunDirectory
from scaling.workspace import Workspace

STALE_SECONDS = 3600.0  # a temporary file that nobody has touched for so long is of a write that was broken off
TEMPORARY = (".record.json.*", ".config.json.*", ".lease-*", "curve.tmp", "checkpoints/*.orbax-checkpoint-tmp*")


@dataclass(frozen=True, kw_only=True)
class Removal:
    """A file or folder that may go. run_id: whose it is."""

    path: Path
    what: str
    run_id: str
    size: int  # bytes


@dataclass(frozen=True, kw_only=True)
class Family:
    """What all studies and runs of a workspace say of who follows whom."""

    planned: frozenset[str]  # the runs of any study
    followers: dict[str, frozenset[str]]  # trunk -> the runs that share its path
    unclear: frozenset[str]  # trunks whose followers a plan of an older version does not tell


def family(workspace: Workspace) -> Family:
    """Read every plan, and the config of every run: a trunk may have branches in several studies."""
    planned: set[str] = set()
    unclear: set[str] = set()
    followers: dict[str, set[str]] = {}

    def note(name: str, config: dict) -> None:
        if trunk := config.get("trunk"):
            followers.setdefault(trunk["run_id"], set()).add(name)

    for path in launched(workspace):
        for run in _plain(path)["runs"]:
            planned.add(run["run_id"])
            if "config" in run:
                note(run["run_id"], run["config"])
            elif run["role"] == "trunk":
                unclear.add(run["run_id"])
    for path in workspace.runs.glob("*/config.json"):
        note(path.parent.name, _plain(path))
    kept = {trunk: frozenset(names) for trunk, names in followers.items()}
    return Family(planned=frozenset(planned), followers=kept, unclear=frozenset(unclear))


def removable(
    workspace: Workspace,
    only: Collection[str] | None,
    *,
    orphans: bool,
) -> Iterator[Removal]:
    """What may go now. only: runs to look at; None: all. orphans: the folders of runs that are in no study, too."""
    known = family(workspace)
    memory = Memory()
    for path in sorted(workspace.runs.iterdir()) if workspace.runs.is_dir() else ():
        directory, name = RunDirectory(path), path.name
        if path.is_symlink() or not path.is_dir() or (only is not None and name not in only) or holder(path):
            continue
        if orphans and name not in known.planned and directory.config.exists():
            yield Removal(path=path, what="run of no study", run_id=name, size=size_of(path))
            continue
        yield from _stale(path)
        spent = _spent_checkpoints(directory, known, memory)
        if spent:
            yield Removal(path=spent, what="checkpoints of a finished run", run_id=name, size=size_of(spent))


def remove(found: Iterable[Removal], workspace: Workspace) -> int:
    """Delete; returns the bytes. What has got a holder since, or has become a link, stays."""
    freed = 0
    base = workspace.runs.resolve()
    for item in found:
        run = workspace.runs / item.run_id
        outside = not item.path.resolve().is_relative_to(base / item.run_id)
        if run.is_symlink() or item.path.is_symlink() or outside or holder(run):
            continue
        if item.path.is_dir():
            shutil.rmtree(item.path)  # a link in it is removed, not followed
        else:
            item.path.unlink(missing_ok=True)
        freed += item.size
    return freed


def size_of(path: Path) -> int:
    """Bytes of a file or of all files in a folder; what a link leads to is not counted."""
    if not path.is_dir() or path.is_symlink():
        return path.lstat().st_size
    return sum(os.lstat(os.path.join(folder, name)).st_size for folder, _, names in os.walk(path) for name in names)


def _spent_checkpoints(directory: RunDirectory, known: Family, memory: Memory) -> Path | None:
    """The checkpoints of a finished run, where no run that may still start from them is left."""
    name, folder = directory.path.name, directory.checkpoints
    if folder.is_symlink() or not folder.is_dir() or name in known.unclear:
        return None
    own = memory.settled(directory.record)
    if own is None or own.status != "finished":
        return None
    for follower in known.followers.get(name, ()):
        ended = memory.settled(directory.path.with_name(follower) / "record.json")
        if ended is None or ended.status not in ("finished", "diverged"):
            return None
    return folder


def _stale(path: Path) -> Iterator[Removal]:
    now = time.time()
    for pattern in TEMPORARY:
        for found in sorted(path.glob(pattern)):
            if (
                now - found.lstat().st_mtime > STALE_SECONDS
                and not found.is_symlink()
                and not found.parent.is_symlink()
            ):
                yield Removal(path=found, what="a write that was broken off", run_id=path.name, size=size_of(found))


def _plain(path: Path) -> dict:
    """A plan or a config as plain data. ValueError where it cannot be read: then nobody knows what may go."""
    try:
        values = from_json(path.read_bytes())
    except ValueError as error:
        raise ValueError(f"{path}: not whole JSON ({error}); restore it or move it away before cleaning") from None
    if not isinstance(values, dict):
        raise ValueError(f"{path}: holds no object; restore it or move it away before cleaning")
    return values
