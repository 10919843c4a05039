"""Where and how a run is trained: over which devices, in how many parts. It never changes what is learned."""

from math import prod
from typing import Literal

from scaling.config.fields import frozen, require, strict

AXES = ("data", "fsdp", "expert", "pipe", "context", "tensor")  # of the mesh, the most talkative last


@strict
@frozen
class Placement:
    """Recorded beside a run, never hashed.

    Devices form a mesh whose axes' sizes multiply to the number of devices;
    `scaling.parallel.layout` checks them against the model.
    """

    data: int = -1  # copies of the model, each with a part of the batch; -1: the devices that the other axes leave
    fsdp: int = 1  # parameters, gradients and optimizer are cut into so many parts; the batch too
    expert: int = 1  # experts are shared out; the batch too
    pipe: int = 1  # stages of layers
    context: int = 1  # parts of each sequence
    tensor: int = 1  # parts of each matrix
    zero: Literal[1, 2, 3] = 3  # what fsdp cuts: 1 the optimizer, 2 gradients too, 3 parameters too
    repeats: int = 1  # of each pipeline stage in the course of the layers; 1 is GPipe, more is circular
    microbatches: int = 1  # parts of a batch, one after another: gradient accumulation, or through the pipeline
    remat: Literal["none", "block"] = "none"  # what is computed again in the backward pass instead of kept
    checkpoint_seconds: float = 60.0  # between two checkpoints of a running run
    grace_seconds: float = 30.0  # to finish a step and write a checkpoint when asked to stop; then it ends as it is
    profile_steps: int = 0  # traced by the profiler into the run's folder, once the run has settled
    log_steps: int = 10  # between two points of the curve
    tracking: Literal["offline", "online", "tensorboard", "off"] = "offline"  # the first two are wandb's

    def __post_init__(self) -> None:
        require(self.data == -1 or self.data > 0, f"Placement.data={self.data}", "give a positive number, or -1")
        for name in (*AXES[1:], "repeats", "microbatches", "log_steps"):
            require(getattr(self, name) > 0, f"Placement.{name}={getattr(self, name)}", "must be positive")
        for name in ("grace_seconds", "profile_steps"):
            require(getattr(self, name) >= 0, f"Placement.{name}={getattr(self, name)}", "must not be negative")
        require(
            self.repeats == 1 or self.pipe > 1,
            f"Placement.repeats={self.repeats} with pipe={self.pipe}",
            "repeats are of pipeline stages; set pipe, or leave repeats out",
        )

    @property
    def devices(self) -> int:
        """That one run takes; with data=-1, of one copy of the model."""
        return max(1, self.data) * prod(getattr(self, axis) for axis in AXES[1:])
