"""Room on the disk: asked for before anything is trained, and missed in the middle of it."""

import shutil
from collections.abc import Collection

from launch.queue import Task
from scaling.counts import params
from scaling.disk import DiskFull, check_writable
from scaling.workspace import Workspace

CHECKPOINT_BYTES_PER_PARAM = 12 * 3  # parameters and two moments; the last two kept and one being written
LONGEST_MESSAGE = 300  # of an error: libraries tell much


def check_space(workspace: Workspace, left: Collection[Task]) -> None:
    """Raise OSError where the runs' folder cannot be written, or has no room for the checkpoints of what is left."""
    check_writable(workspace.runs)
    need = sum(CHECKPOINT_BYTES_PER_PARAM * params(task.run.model, task.run.objective).total for task in left)
    free = shutil.disk_usage(workspace.runs).free
    if free < need:
        raise OSError(
            f"{workspace.runs.absolute()}: {_size(free)} free, but the checkpoints of {len(left)} runs need "
            f"about {_size(need)}; free some space, or choose another --root"
        )


def disk_full(workspace: Workspace, task: Task, message: str) -> DiskFull:
    """What to say when a run has met a full disk. message: its error."""
    free = shutil.disk_usage(workspace.runs).free
    cause = message.partition(". ")[0][:LONGEST_MESSAGE]  # what to do about it follows
    return DiskFull(
        f"{workspace.runs.absolute()}: the disk is full ({_size(free)} free), run {task.run_id} could not go on: "
        f"{cause}. What was written is kept. Free some space and give the same command again: every run goes on from "
        "its last checkpoint"
    )


def _size(count: int) -> str:
    """Of bytes, as a person says it."""
    return f"{count / 1e9:.2f} GB" if count >= 1e8 else f"{count / 1e6:.2f} MB"
