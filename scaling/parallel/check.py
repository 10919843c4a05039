"""Does a step spread over devices compute what it computes on one, hold what it should, and send what it must?

A tiny run is trained for a few steps by every placement and by one device. To
a placement's loss, gradients and parameters those of one device are compared,
to its memory what the shapes say, and to the collectives of its compiled
program the table of `parallel.traffic`.

Letters: B sequences, W tokens of a window.
"""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from functools import lru_cache
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from scaling.config import Placement, RunConfig, TransformerConfig, Word2VecConfig
from scaling.counts import params
from scaling.objectives.build import needs_marks, needs_pairs
from scaling.objectives.marks import marks
from scaling.parallel.hlo import Collective, collectives
from scaling.parallel.layout import Layout, layout_of
from scaling.parallel.mesh import mesh_of
from scaling.parallel.shapes import leaves, state_bytes_of_device
from scaling.parallel.tiny import STEPS, deep_enough
from scaling.parallel.traffic import Traffic, expected
from scaling.parallel.weights import unstaged
from scaling.training.feed import keys
from scaling.training.losses import Knowledge, Tokens, task_of
from scaling.training.step import Hyper, TrainState, compiled_init, compiled_step

MEMORY_TOLERANCE = 0.2
# More where sequences are cut: what a ring holds for a visit (visitors, sums of their gradients, scores) is not in the
# estimate, and matters at a few tens of tokens (measured 1.02 to 1.10, with a source 1.23).
RING_TOLERANCE = 0.5
ENDS = (
    8  # arrays of states that a pipeline has of all microbatches: looked up, summed, placed, stored, returned, normed
)
# eps well above the rounding of gradients: else an element near zero, whose sign is chance, would move by all of lr.
NUMBERS = Hyper(
    lr=1e-2, weight_decay=0.1, beta1=0.9, beta2=0.95, eps=1e-4, clip=1e9, label_smoothing=0.1
)  # nothing clipped, so that the first moments are the first gradients


@dataclass(frozen=True, kw_only=True)
class Trained:
    """What a few steps gave."""

    losses: np.ndarray  # (steps,)
    gradients: Any  # of the first step, a tree as one device has it
    params: Any  # after the last step
    moved: Any  # and how far they are from the first
    state_bytes: int  # of one device, parameters and optimizer
    temporary_bytes: int  # that the program needs beside its arguments, on one device
    sent: tuple[Collective, ...]


@dataclass(frozen=True, kw_only=True)
class Finding:
    """One placement beside one device. Differences are relative: of losses the largest, of trees by their norms."""

    placement: Placement
    layout: Layout
    loss: float
    gradients: float
    worst_gradient: str  # of which parameter
    steps: float  # of what parameters moved
    bound: float  # of the first two; of the third it is `steps_bound`
    state_bytes: int
    state_bytes_expected: int
    state_bytes_alone: int
    temporary_bytes: int
    temporary_bytes_expected: int
    temporary_bytes_alone: int
    surprises: tuple[str, ...]  # what was sent that should not have been, or the reverse

    @property
    def steps_bound(self) -> float:
        """Adam divides by root v + eps: what gradients differ by grows by at most their size over eps, a few times."""
        return 100 * self.bound

    @property
    def _tolerance(self) -> float:
        return RING_TOLERANCE if self.layout.context > 1 else MEMORY_TOLERANCE

    def faults(self) -> dict[str, str]:
        """What is wrong, by column: loss, gradients, steps, memory, collectives."""
        found = {}
        if not self.loss <= self.bound:
            found["loss"] = f"losses differ by {self.loss:.1e} of themselves, rounding explains {self.bound:.0e}"
        if not self.gradients <= self.bound:
            found["gradients"] = (
                f"the gradient of {self.worst_gradient} differs by {self.gradients:.1e} of its norm, "
                f"rounding explains {self.bound:.0e}"
            )
        if not self.steps <= self.steps_bound:
            found["steps"] = f"after {STEPS} steps parameters differ by {self.steps:.1e} of what they moved"
        if abs(self.state_bytes / self.state_bytes_expected - 1) > MEMORY_TOLERANCE:
            found["memory"] = (
                f"a device holds {self.state_bytes:,} bytes of parameters and optimizer, not "
                f"{self.state_bytes_expected:,}"
            )
        elif self.temporary_bytes > (1 + self._tolerance) * self.temporary_bytes_expected:
            found["memory"] = (
                f"beside its state a device needs {self.temporary_bytes:,} bytes, not "
                f"{self.temporary_bytes_expected:,} of the {self.temporary_bytes_alone:,} of one device alone"
            )
        if self.surprises:
            found["collectives"] = "\n".join(self.surprises)
        return found


def check(run: RunConfig, placements: Sequence[Placement], devices: int) -> Iterator[Finding | tuple[Placement, str]]:
    """Every placement of a (tiny) run that fits into so many devices; of others the placement and why it cannot be."""
    for placement in placements:
        needed = (placement.data if placement.data > 0 else 1) * placement.fsdp * placement.expert
        needed *= placement.pipe * placement.context * placement.tensor
        try:
            deep = deep_enough(run, placement)
            layout = layout_of(deep, placement, min(needed, devices))
        except ValueError as error:
            yield placement, str(error)
            continue
        yield compare(deep, placement, layout)


def compare(run: RunConfig, placement: Placement, layout: Layout) -> Finding:
    alone, found = _alone(run, layout.microbatches), train(run, layout)
    apart = jax.tree_util.tree_map_with_path(
        lambda path, a, b: (_relative(a, b), jax.tree_util.keystr(path, simple=True, separator="/")),
        found.gradients,
        alone.gradients,
    )
    worst, name = max(jax.tree.leaves(apart, is_leaf=lambda x: isinstance(x, tuple)))
    return Finding(
        placement=placement,
        layout=layout,
        loss=float(np.max(np.abs(found.losses / alone.losses - 1))),
        gradients=worst,
        worst_gradient=name,
        steps=_tree_norm(jax.tree.map(np.subtract, found.params, alone.params)) / _tree_norm(alone.moved),
        bound=rounding(run),
        state_bytes=found.state_bytes,
        state_bytes_expected=state_bytes_of_device(run.model, layout) if _has_shapes(run) else alone.state_bytes,
        state_bytes_alone=alone.state_bytes,
        temporary_bytes=found.temporary_bytes,
        temporary_bytes_expected=_temporary(run, layout, alone.temporary_bytes),
        temporary_bytes_alone=alone.temporary_bytes,
        surprises=surprises(found.sent, expected(run, layout)),
    )


def rounding(run: RunConfig) -> float:
    """How far float32 sums over the batch can lie apart that were made in another order: 2^-24 for each of its terms.

    The terms are the tokens that a gradient is the sum of; a wrong reduction
    is wrong by a half or a whole of the result.
    """
    return 2.0**-24 * run.batch * max(run.text, run.lengths.positions + run.lengths.source)


@lru_cache(maxsize=4)
def _alone(run: RunConfig, microbatches: int) -> Trained:
    return train(run, Layout(microbatches=microbatches))


def train(run: RunConfig, layout: Layout) -> Trained:
    """A few steps on batches of random tokens, the same for every layout."""
    task = task_of(run)
    mesh = mesh_of(layout) if layout.devices > 1 else None
    start = compiled_init(task, layout, mesh)(0)
    first, held = _copied(start.params, layout), _held(start)
    batches, known = [_tokens(run, step) for step in range(STEPS)], _knowledge(run)
    program = compiled_step(task, run.precision, layout, mesh).lower(start, batches[0], known, NUMBERS).compile()
    losses, state, gradients = [], start, None
    for tokens in batches:
        state, metrics = program(state, tokens, known, NUMBERS)
        losses.append(float(metrics.loss))
        if gradients is None:
            gradients = _copied(state.optimizer[1].mu, layout)  # (1 - beta1) times them
    last = _copied(state.params, layout)
    sizes = {axis: getattr(layout, axis) for axis in layout.axes}
    return Trained(
        losses=np.array(losses),
        gradients=gradients,
        params=last,
        moved=jax.tree.map(np.subtract, last, first),
        state_bytes=held,
        temporary_bytes=program.memory_analysis().temp_size_in_bytes,
        sent=collectives(program.as_text(), sizes) if sizes else (),
    )


def surprises(sent: Sequence[Collective], traffic: Traffic) -> tuple[str, ...]:
    """Where what a program sends is not what the table says, with the lines it was written in."""
    found = [
        f"{_named(one)} runs an unknown number of times: it stands in a branch or a loop of unknown length"
        for one in sent
        if not one.is_certain
    ]
    for kind, axes in dict.fromkeys([*traffic.keys(), *((one.kind, one.axes) for one in sent)]):
        these = [one for one in sent if (one.kind, one.axes) == (kind, axes)]
        total, (least, most) = sum(one.bytes for one in these), traffic.between(kind, axes)
        if least <= total <= most:
            continue
        where = " x ".join(axes) or "devices that are no whole part of the mesh"
        lines = [line for line in traffic.lines if (line.kind, line.axes) == (kind, axes)]
        if total > most:
            known = {line.payload_bytes for line in lines}
            strange = [one for one in these if one.payload_bytes not in known] or these
            found.append(
                f"unexpected {kind} over {where}: {total:,} bytes, the table has {most:,}; look at "
                + "; ".join(dict.fromkeys(map(_named, strange)))
            )
        else:
            due = ", ".join(dict.fromkeys(line.what for line in lines if not line.may_be_absent))
            found.append(f"missing {kind} over {where}: {total:,} bytes, the table has {least:,} ({due})")
    return tuple(found)


def _named(one: Collective) -> str:
    where = " x ".join(one.axes)
    return f"{one.kind} over {where}, {one.payload_bytes:,} bytes {one.times} times, {one.op_name}, {one.line}"


def _temporary(run: RunConfig, layout: Layout, alone: int) -> int:
    """Bytes that a device needs beside its state, from what one device alone needs.

    All devices share the activations evenly. A gradient is as large as the
    parameters at hand; fsdp makes them whole, and holds its own part of
    gradients besides, with zero 1 the whole sum over microbatches; tensor makes experts whole, and their gradients. A
    circular pipeline chooses between two repeats' weights, and makes copies.
    """
    if not _has_shapes(run):
        size = whole = shard = 4 * params(run.model, run.objective).total
        experts = 0
    else:
        found = leaves(run.model)
        size = 4 * sum(leaf.elements for leaf in found)
        whole = 4 * sum(leaf.elements_of_device(layout, but=("fsdp",)) for leaf in found)
        shard = 4 * sum(leaf.elements_of_device(layout) for leaf in found)
        routed = [leaf for leaf in found if "experts" in leaf.dims and layout.tensor > 1]
        experts = 2 * 4 * sum(leaf.elements_of_device(layout, but=("fsdp", "tensor")) for leaf in routed)
    copies = 2 * whole // layout.repeats if layout.repeats > 1 else 0
    return (
        (alone - size) // layout.devices
        + whole
        + copies
        + (0 if layout.fsdp == 1 else whole if layout.zero == 1 and layout.microbatches > 1 else shard)
        + experts
        + _ends(run, layout)
    )


def _ends(run: RunConfig, layout: Layout) -> int:
    """Bytes around the layers that are not shared evenly.

    A pipeline has its ends of all microbatches at once. Targets that do not
    stand beside their positions are predicted on every device of `context`,
    from states of whole sequences: four arrays of these, three of logits.
    """
    of, sequences, size = run.lengths, run.batch // layout.batch_ways, 0
    if layout.pipe > 1:
        rows = sequences * (of.positions + of.source) // layout.ways("context", "tensor")
        size += 4 * ENDS * rows * run.model.dim
    if layout.context > 1 and of.predicted != of.positions:
        logits = of.predicted * run.model.vocab // layout.ways("pipe", "tensor")
        size += 4 * sequences * (4 * of.positions * run.model.dim + 3 * logits)
    return size


def _has_shapes(run: RunConfig) -> bool:
    return isinstance(run.model, TransformerConfig) and run.objective.kind != "replaced_tokens"


def _copied(params: Any, layout: Layout) -> Any:
    """Whole arrays on the host, layers as one device has them."""
    return jax.tree.map(np.asarray, unstaged(jax.tree.map(np.asarray, params), layout))


def _held(state: TrainState) -> int:
    """Bytes on the first device."""
    device = jax.devices()[0]
    leaves = jax.tree.leaves(state)
    return sum(s.data.nbytes for leaf in leaves for s in leaf.addressable_shards if s.device == device)


def _relative(ours: np.ndarray, theirs: np.ndarray) -> float:
    """Norm of the difference over the norm; of a gradient that should vanish, as of keys' biases, the norm itself."""
    apart, size = np.linalg.norm(ours - theirs), np.linalg.norm(theirs)
    return float(apart / size) if size > 1e-6 else float(apart)


def _tree_norm(tree: Any) -> float:
    return float(np.sqrt(sum(np.sum(np.square(leaf, dtype=np.float64)) for leaf in jax.tree.leaves(tree))))


def _tokens(run: RunConfig, step: int) -> Tokens:
    draw = np.random.default_rng(step)
    ordinary, shape = run.data.vocab, (run.batch, run.text + 1)
    window_BW, others_BW = (draw.integers(0, ordinary, shape, dtype=np.int32) for _ in range(2))
    cuts_BT = np.cumsum(draw.random((run.batch, run.text)) < 1 / 8, axis=1).astype(np.int32)
    return Tokens(
        window_BW,
        keys(run.seed, step * run.batch + np.arange(run.batch)),
        cuts_BT if run.data.document_attention else None,
        others_BW if needs_pairs(run.objective) else None,
    )


def _knowledge(run: RunConfig) -> Knowledge:
    pieces = [(b" a" if piece % 3 == 0 else b"." if piece % 7 == 0 else b"a") for piece in range(run.data.vocab)]
    even_V = jnp.full(run.model.vocab, 1 / run.model.vocab)
    return Knowledge(
        marks=marks(pieces, run.data.specials) if needs_marks(run.objective) else None,
        noise_V=even_V if isinstance(run.model, Word2VecConfig) else None,
    )
