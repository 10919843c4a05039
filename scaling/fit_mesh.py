"""Which placements of a run fit into the memory of so many devices, and which of them is fastest."""

import math
from collections.abc import Iterator
from dataclasses import dataclass, replace
from itertools import product

from scaling.config import Placement, ReplacedTokens, RunConfig, TransformerConfig
from scaling.config.placement import AXES
from scaling.hardware import Hardware
from scaling.parallel.layout import layout_of
from scaling.roofline import StepTime, step_time

REPEATS = (1, 2, 4)  # of a pipeline's stages; each repeat shortens the bubble less
MOST_PER_STAGE = 8  # microbatches of a pipeline, times its stages: the bubble is then a ninth


@dataclass(frozen=True, kw_only=True)
class Proposal:
    """A placement and what a step takes on it."""

    placement: Placement
    step: StepTime


@dataclass(frozen=True, kw_only=True)
class Fit:
    """What was found for one run."""

    run: RunConfig
    best: tuple[Proposal, ...]  # that fit, the fastest first
    nearest: Proposal | None  # the one that needs least memory; None where no placement is possible at all


def fit_mesh(run: RunConfig, hardware: Hardware, devices: int, *, count: int = 3) -> Fit:
    """The `count` fastest placements of a run on all of the devices, by the slow bound of a step.

    Tried are all mesh shapes whose axes divide the model, with zero=3, and of
    the microbatches of a mesh without pipeline the fewest that fit: more are
    never faster. Of one mesh only the fastest is told.
    """
    fitting: list[Proposal] = []
    tried: list[Proposal] = []
    for sizes in meshes(run, devices):
        of_mesh = list(_on_mesh(run, hardware, devices, sizes))
        tried += of_mesh
        fits = [proposal for proposal in of_mesh if proposal.step.memory_bytes <= hardware.memory_bytes]
        fitting += [min(fits, key=_seconds)] if fits else []
    return Fit(
        run=run,
        best=tuple(sorted(fitting, key=_seconds)[:count]),
        nearest=min(tried, key=lambda proposal: proposal.step.memory_bytes, default=None),
    )


def _on_mesh(run: RunConfig, hardware: Hardware, devices: int, sizes: dict[str, int]) -> Iterator[Proposal]:
    """What is worth trying on one mesh."""
    for repeats in REPEATS if sizes["pipe"] > 1 else (1,):
        for remat in ("none", "block"):
            base, fits_whole = Placement(**{**sizes, "repeats": repeats, "remat": remat}), False
            for place, parts in enumerate(_microbatches(run, sizes)):
                placement = replace(base, microbatches=parts)
                try:
                    layout = layout_of(run, placement, devices)
                except ValueError:  # a shape that this model cannot take
                    continue
                proposal = Proposal(placement=replace(placement, data=-1), step=step_time(run, hardware, layout))
                yield proposal
                fits = proposal.step.memory_bytes <= hardware.memory_bytes
                fits_whole = fits_whole or (fits and place == 0)
                if fits and sizes["pipe"] == 1:
                    break
            if fits_whole:  # then nothing is won by computing blocks again
                break


def meshes(run: RunConfig, devices: int) -> Iterator[dict[str, int]]:
    """Sizes of the axes that multiply to the devices and may divide the run; what cannot is mostly left out."""
    limits = _limits(run)
    choices = [[size for size in _divisors(devices) if limits[axis] % size == 0] for axis in AXES[1:]]
    for sizes in product(*choices):
        others = math.prod(sizes)
        if devices % others == 0 and run.batch % (devices // others * sizes[0] * sizes[1]) == 0:
            yield {"data": devices // others, **dict(zip(AXES[1:], sizes, strict=True))}


def _limits(run: RunConfig) -> dict[str, int]:
    """Of each axis a number that its size must divide."""
    model = run.model
    if not isinstance(model, TransformerConfig) or isinstance(run.objective, ReplacedTokens):
        return dict.fromkeys(AXES, 1)
    stacks = [depth for depth in (model.depth_of_encoder, model.depth_of_decoder) if depth]
    found = run.lengths
    widths = math.gcd(model.heads, model.key_heads, model.hidden_dim, model.expert_dim if model.moe else 0)
    return {
        "fsdp": model.dim,
        "expert": model.moe.experts if model.moe else 1,
        "pipe": math.gcd(model.vocab, *(depth // len(model.period(depth)) for depth in stacks)),
        "context": max(1, math.gcd(found.positions, found.source) // 2),
        "tensor": math.gcd(widths, model.vocab),
    }


def _microbatches(run: RunConfig, sizes: dict[str, int]) -> list[int]:
    """The fewest first; a pipeline has at least one a stage, or half of its stages would be idle."""
    whole = run.batch // (sizes["data"] * sizes["fsdp"] * sizes["expert"])
    stages = sizes["pipe"]
    most = whole if stages == 1 else stages * MOST_PER_STAGE
    return [parts for parts in _divisors(whole) if stages <= parts <= most]


def _seconds(proposal: Proposal) -> float:
    return proposal.step.high


def _divisors(number: int) -> list[int]:
    return [divisor for divisor in range(1, number + 1) if number % divisor == 0]
