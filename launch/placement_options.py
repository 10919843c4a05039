"""A placement from the command line: every field of it is an option, and what is not given stays the study's."""

from dataclasses import dataclass, fields, replace
from typing import Annotated, Literal

import tyro

from scaling.config import Placement


def _option(name: str, meaning: str) -> object:
    """Named in full, so that a mesh axis is never taken for a parameter of a study: both may have a `context`."""
    return tyro.conf.arg(name=name, prefix_name=False, help=f"{meaning}; None: the study's.")


@dataclass(frozen=True, kw_only=True)
class MeshOptions:
    """How one run is spread over devices."""

    data: Annotated[int | None, _option("placement.data", "Copies of the model; -1: what the other axes leave")] = None
    fsdp: Annotated[int | None, _option("placement.fsdp", "Parts of parameters, optimizer and batch")] = None
    expert: Annotated[int | None, _option("placement.expert", "Devices that share the experts")] = None
    pipe: Annotated[int | None, _option("placement.pipe", "Stages of layers")] = None
    context: Annotated[int | None, _option("placement.context", "Parts of each sequence")] = None
    tensor: Annotated[int | None, _option("placement.tensor", "Parts of each matrix")] = None
    zero: Annotated[Literal[1, 2, 3] | None, _option("placement.zero", "What fsdp cuts")] = None
    repeats: Annotated[int | None, _option("placement.repeats", "Of each pipeline stage")] = None
    remat: Annotated[Literal["none", "block"] | None, _option("placement.remat", "What is computed again")] = None
    microbatches: Annotated[int | None, _option("microbatches", "Parts of every batch, to save memory")] = None

    def over(self, placement: Placement) -> Placement:
        """The placement with what was given."""
        given = {field.name: getattr(self, field.name) for field in fields(self)}
        return replace(placement, **{name: value for name, value in given.items() if value is not None})


@dataclass(frozen=True, kw_only=True)
class PlacementOptions(MeshOptions):
    """And what is kept of it while it runs."""

    checkpoint_seconds: Annotated[float | None, _option("checkpoint-seconds", "Between two checkpoints of a run")] = (
        None
    )
    grace_seconds: Annotated[
        float | None, _option("grace-seconds", "To finish a step and write a checkpoint when asked to stop")
    ] = None
    profile_steps: Annotated[
        int | None, _option("profile", "Trace so many steps of each run with the profiler, into its folder")
    ] = None
    log_steps: Annotated[int | None, _option("placement.log-steps", "Between two points of the curve")] = None
    tracking: Annotated[
        Literal["offline", "online", "tensorboard", "off"] | None,
        _option("tracking", "wandb's files beside each run, its server, TensorBoard's files, or nothing"),
    ] = None


def as_options(placement: Placement) -> str:
    """What a command line would say to get this placement."""
    plain = Placement()
    names = {field.name: field.type.__metadata__[0].name for field in fields(PlacementOptions)}
    changed = [name for name in names if getattr(placement, name) != getattr(plain, name)]
    return " ".join(f"--{names[name]} {getattr(placement, name)}" for name in changed)
