"""Checkpoints by orbax: asynchronous, atomic, the last two and those a branch starts from.

A checkpoint is the train state and `Progress`, the few host-side numbers
that make a resumed run end with the same record.
"""

from collections.abc import Collection
from dataclasses import asdict, dataclass
from pathlib import Path

import jax
import numpy as np
import orbax.checkpoint as ocp
from orbax.checkpoint import checkpoint_managers as managers

from scaling.training.step import TrainState


@dataclass(frozen=True, kw_only=True)
class Progress:
    """Where a run stands after `step` steps."""

    step: int
    first_loss: float | None = None  # of the path's first step
    smooth_loss: float | None = None  # running mean of the last steps' losses
    loss_bearing: int = 0  # targets so far
    device_seconds: float = 0.0
    wall_seconds: float = 0.0
    started_from_step: int = 0
    attempts: int = 1


class Checkpoints:
    """The checkpoints of one run. Close it, or use `with`, to wait for the last write."""

    def __init__(self, folder: Path, keep: Collection[int] = ()):
        """keep: steps whose checkpoints stay; of the others the last two do."""
        policy = managers.AnyPreservationPolicy([managers.LatestN(2), managers.CustomSteps(sorted(keep))])
        options = ocp.CheckpointManagerOptions(preservation_policy=policy, enable_async_checkpointing=True)
        self._manager = ocp.CheckpointManager(folder.absolute(), options=options)

    def __enter__(self) -> "Checkpoints":
        return self

    def __exit__(self, *_: object) -> None:
        self._manager.close()

    def save(self, state: TrainState, progress: Progress) -> None:
        """Begin a write; training may go on and donate the state's buffers."""
        if progress.step in self._manager.all_steps():
            return
        # A copy: on CPU the device's buffer is host memory, which the next step overwrites.
        copied = jax.tree.map(np.array, state._asdict())
        arguments = ocp.args.Composite(
            state=ocp.args.StandardSave(copied), progress=ocp.args.JsonSave(asdict(progress))
        )
        self._manager.save(progress.step, args=arguments)

    def wait(self) -> None:
        self._manager.wait_until_finished()

    def latest(self, like: TrainState) -> tuple[TrainState, Progress] | None:
        """The last whole checkpoint, in the structure of `like`; None if there is none."""
        return _read(self._manager, like, self._manager.all_steps())


def restore(folder: Path, like: TrainState, at_most: int) -> tuple[TrainState, Progress] | None:
    """The last checkpoint in another run's folder after no more than `at_most` steps, or None; changes nothing."""
    if not folder.is_dir():
        return None
    with ocp.CheckpointManager(folder.absolute(), options=ocp.CheckpointManagerOptions(read_only=True)) as manager:
        return _read(manager, like, [step for step in manager.all_steps() if step <= at_most])


def _read(
    manager: ocp.CheckpointManager, like: TrainState, steps: Collection[int]
) -> tuple[TrainState, Progress] | None:
    if not steps:
        return None
    arguments = ocp.args.Composite(state=ocp.args.StandardRestore(like._asdict()), progress=ocp.args.JsonRestore())
    found = manager.restore(max(steps), args=arguments)
    return TrainState(**found["state"]), Progress(**found["progress"])
