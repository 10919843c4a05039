"""Checkpoints by orbax: asynchronous, atomic, sealed; the last two stay, and those a branch starts from.

A checkpoint is the train state and `Progress`, the few host-side numbers
that make a resumed run end with the same record. It is written in a hidden
folder, sealed there (`seal.py`) and renamed, so that what has its name is
whole; what the disk does to it later, the seal finds. The state is saved as it
lies on the devices and read onto any others.
"""

import logging
import math
import shutil
from collections.abc import Collection, Iterable, Mapping
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import jax
import numpy as np
import orbax.checkpoint as ocp
from orbax.checkpoint import checkpoint_managers as managers

from scaling.parallel.hosts import firsts, is_first
from scaling.training.seal import SEAL, damage, seal, sealed_leaves
from scaling.training.step import TrainState

log = logging.getLogger(__name__)

# Orbax writes the time of the end into these, after all else; nothing is read from them.
LAST_WRITTEN = ("_CHECKPOINT_METADATA", "commit_success.txt")
# Orbax takes the time by a clock that may be set an hour on meanwhile: its own twenty minutes are then over at once.
LONGEST_WRITE = 86_400  # seconds
HALF_WRITTEN = ".orbax-checkpoint-tmp"  # in the name of a folder that is being written


@dataclass(frozen=True, kw_only=True)
class Progress:
    """Where a run stands after `step` steps."""

    step: int
    first_loss: float | None = None  # of the path's first step
    smooth_loss: float | None = None  # running mean of the last steps' losses
    loss_bearing: int = 0  # targets so far
    skipped: int = 0  # steps whose update was not taken, so far
    skips_in_row: int = 0  # of them, up to this step
    device_seconds: float = 0.0  # of this run's own steps
    useful_seconds: float = 0.0  # of them, those whose update was taken
    data_seconds: float = 0.0  # of the host, making batches
    wall_seconds: float = 0.0
    started_from_step: int = 0
    attempts: int = 1


class Checkpoints:
    """The checkpoints of one run. Close it, or use `with`, to wait for the last write."""

    def __init__(self, folder: Path, keep: Collection[int] = ()):
        """keep: steps whose checkpoints stay; of the others the last two do."""
        self._folder = folder.absolute()
        self._writing: tuple[int, dict[str, tuple[int, ...]]] | None = None  # step and leaves
        policy = managers.AnyPreservationPolicy([managers.LatestN(2), managers.CustomSteps(sorted(keep))])
        options = ocp.CheckpointManagerOptions(
            preservation_policy=policy,
            enable_async_checkpointing=True,
            # Called when all is written and, in orbax 0.12, before the folder gets its name.
            async_options=ocp.AsyncOptions(timeout_secs=LONGEST_WRITE, post_finalization_callback=self._seal),
        )
        self._manager = ocp.CheckpointManager(self._folder, options=options)

    def __enter__(self) -> "Checkpoints":
        return self

    def __exit__(self, *_: object) -> None:
        self._manager.close()

    def save(self, state: TrainState, progress: Progress) -> None:
        """Begin a write; training may go on and donate the state's buffers."""
        if progress.step in self._manager.all_steps():
            return
        self.wait()  # the write before: its seal must not get this one's leaves
        values = jax.tree.map(_safe, _tree(state))
        self._writing = progress.step, _shapes(values)
        arguments = ocp.args.Composite(
            state=ocp.args.StandardSave(values), progress=ocp.args.JsonSave(asdict(progress))
        )
        self._manager.save(progress.step, args=arguments)

    def wait(self) -> None:
        self._manager.wait_until_finished()

    def latest(self, like: TrainState, at_most: float = math.inf) -> tuple[TrainState, Progress] | None:
        """The last whole checkpoint, or None if there is none; removes what was left half-written or is damaged.

        at_most: steps that the run's curve tells of. One after more of them is
        removed too: going on from it would leave a gap in the curve.
        like: the state's leaves as jax.ShapeDtypeStruct. One with a sharding is
        read onto it, whatever it was saved from; one without becomes a numpy
        array. Raises ValueError where the checkpoint is of another model.
        """
        half = {path: "its writing was never completed" for path in sorted(self._folder.glob(f"*{HALF_WRITTEN}*"))}
        step, damaged = _newest_whole(self._folder, self._manager.all_steps(), half, at_most)
        for bad in damaged:
            self._manager.delete(bad)
        if is_first():
            for path in half:
                shutil.rmtree(path)
        return None if step is None else _read(self._manager, self._folder, step, like)

    def _seal(self) -> None:
        step, leaves = self._writing
        if not is_first():
            return
        for folder in self._folder.glob(f"{step}*"):
            if folder.name.split(HALF_WRITTEN)[0] == str(step) and not (folder / SEAL).exists():
                seal(folder, leaves, apart=LAST_WRITTEN)


def restore(folder: Path, like: TrainState, at_most: int) -> tuple[TrainState, Progress] | None:
    """The last whole checkpoint of another run after no more than `at_most` steps, or None; changes nothing."""
    if not folder.is_dir():
        return None
    folder = folder.absolute()
    with ocp.CheckpointManager(folder, options=ocp.CheckpointManagerOptions(read_only=True)) as manager:
        step, _ = _newest_whole(folder, [step for step in manager.all_steps() if step <= at_most], {})
        return None if step is None else _read(manager, folder, step, like)


def _newest_whole(
    folder: Path, steps: Iterable[int], half: Mapping[Path, str], at_most: float = math.inf
) -> tuple[int | None, list[int]]:
    """The newest undamaged of some steps up to `at_most`, and those after it; says what is passed over.

    half: folders that are no checkpoints, and why. Of several processes the
    first reads and decides, so that all take the same.
    """
    steps = sorted(steps, reverse=True)
    if not is_first():
        whole = firsts(0)
        return (whole if whole >= 0 else None), [step for step in steps if step > whole]
    whole, damaged, problems = None, [], dict(half)
    for step in steps:
        path = folder / str(step)
        problem = damage(path) if step <= at_most else f"the run's curve ends before it, at step {at_most}"
        if problem is None:
            whole = step
            break
        damaged.append(step)
        problems[path] = problem
    instead = "no other is whole, training starts afresh" if whole is None else f"{folder / str(whole)} is used"
    for path, problem in problems.items():
        log.warning("checkpoint %s is passed over: %s; %s", path, problem, instead)
    firsts(-1 if whole is None else whole)
    return whole, damaged


def _read(manager: ocp.CheckpointManager, folder: Path, step: int, like: TrainState) -> tuple[TrainState, Progress]:
    wanted = _tree(like)
    _check_same_model(folder / str(step), _shapes(wanted))
    arguments = ocp.args.Composite(
        state=ocp.args.StandardRestore(jax.tree.map(_target, wanted)), progress=ocp.args.JsonRestore()
    )
    found = manager.restore(step, args=arguments)
    return like._replace(**found["state"]), Progress(**found["progress"])


def _check_same_model(folder: Path, wanted: dict[str, tuple[int, ...]]) -> None:
    """Raise unless the checkpoint holds these leaves in these shapes."""
    held = sealed_leaves(folder)
    for name in [*wanted, *(name for name in held if name not in wanted)]:
        if held.get(name) != wanted.get(name):
            there, here = (f"shape {shapes[name]}" if name in shapes else "nothing" for shapes in (held, wanted))
            raise ValueError(
                f"{folder}: a checkpoint of another model: of {name} it holds {there}, but the run has {here}; "
                f"delete {folder.parent} and the run starts afresh, or give back the model it was made with"
            )


def _tree(state: TrainState) -> dict[str, Any]:
    return {name: part for name, part in state._asdict().items() if jax.tree.leaves(part)}


def _shapes(tree: Any) -> dict[str, tuple[int, ...]]:
    leaves = jax.tree_util.tree_leaves_with_path(tree)
    return {jax.tree_util.keystr(path, simple=True, separator="."): tuple(leaf.shape) for path, leaf in leaves}


def _safe(leaf: Any) -> Any:
    """An array whose buffer stays as it is until it is written.

    On CPU orbax reads the device's own buffer while the next step, to which it
    is donated, overwrites it: it gets a copy, spread over the same devices.
    From an accelerator it takes its copy to the host before `save` returns.
    """
    if isinstance(leaf, jax.Array) and next(iter(leaf.sharding.device_set)).platform != "cpu":
        return leaf
    return leaf.copy()


def _target(leaf: jax.ShapeDtypeStruct) -> Any:
    """What orbax reads a leaf into."""
    return leaf if leaf.sharding is not None else np.empty(leaf.shape, leaf.dtype)
