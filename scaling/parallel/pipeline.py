"""A pipeline of stages inside one compiled program: GPipe, and its circular form.

The devices of `pipe` run the same program; each holds some layers, the stage.
At every tick each stage works on another microbatch and hands its result to
the next by `ppermute`, the last to the first. With repeats R > 1 the layers
come past every stage R times, R thinner slices of the model, which shortens the
idle start and end: of R M + P - 1 ticks a stage is idle in P - 1 (Huang et al.
2019, GPipe, arXiv:1811.06965; Narayanan et al. 2021, arXiv:2104.04473, section 2.2).

Each tick is computed again in the backward pass, so what is kept is the input
of every tick and nothing from within a stage.

Letters: A microbatches, P stages, R repeats, M tokens of a microbatch, D width.
"""

from collections.abc import Callable
from functools import partial
from typing import Any

import jax
import jax.numpy as jnp
from jax import Array

from scaling.parallel.collectives import total
from scaling.parallel.layout import Layout

Stage = Callable[[Any, Array, Array], tuple[Array, Any]]  # of weights, a microbatch and its number


def in_parts(x_B: Array, layout: Layout) -> Array:
    """Rows dealt out to microbatches, (A, B/A, ...): row b goes to microbatch b mod A.

    Dealt and not cut: where the rows lie on several devices, each has a part of every microbatch, and the
    microbatches hold the same rows on every mesh.
    """
    return x_B.reshape(-1, layout.microbatches, *x_B.shape[1:]).swapaxes(0, 1)


def joined(x_AB: Array) -> Array:
    """The rows of all microbatches in their old order; undoes `in_parts`."""
    return x_AB.swapaxes(0, 1).reshape(-1, *x_AB.shape[2:])


def each_part(function: Callable, layout: Layout) -> Callable:
    """A function of one microbatch, for all of them where there is a pipeline."""
    return jax.vmap(function) if layout.pipe > 1 else function


def pipelined(stage: Stage, weights: Any, x_AMD: Array, layout: Layout) -> tuple[Array, Any]:
    """All microbatches through all stages, (A, M, D) on every device of `pipe`.

    weights: of this device's stage, whole; with repeats a list of them, one a
    repeat. stage also returns a tree of numbers: their sum over this stage's ticks.
    """
    by_repeat = weights if layout.repeats > 1 else [weights]
    numbers = jax.eval_shape(stage, by_repeat[0], x_AMD[0], jnp.zeros((), jnp.int32))[1]
    carry = (jnp.zeros_like(x_AMD[0]), x_AMD, jax.tree.map(lambda x: jnp.zeros(x.shape, x.dtype), numbers))
    last, tick = layout.pipe - 1, partial(_tick, stage, layout)
    if layout.repeats == 1:
        carry = _scan(lambda carry, t: tick(lambda t: by_repeat[0], carry, t), carry, 0, layout.ticks)
    else:
        before = by_repeat[0]  # of the stages that are still idle
        for repeat, now in enumerate(by_repeat):
            start = repeat * layout.microbatches
            # Stage s begins a repeat s ticks late: until then it works with the weights of the one before.
            begun = partial(_begun, before, now, start)
            carry = _scan(partial(tick, begun), carry, start, layout.microbatches)
            before = now
        end = layout.repeats * layout.microbatches
        carry = _scan(lambda carry, t: tick(lambda t: before, carry, t), carry, end, last)
    arriving, stored_AMD, summed = carry
    stored_AMD = stored_AMD.at[(layout.ticks - layout.pipe) % layout.microbatches].set(arriving)
    is_first = jax.lax.axis_index("pipe") == 0
    return total(jnp.where(is_first, stored_AMD, 0), ("pipe",), layout), summed


def _begun(before: Any, now: Any, start: int, t: Array) -> Any:
    has_begun = t - start >= jax.lax.axis_index("pipe")
    return jax.tree.map(lambda old, new: jnp.where(has_begun, new, old), before, now)


def _scan(step: Callable, carry: Any, start: int, length: int) -> Any:
    return jax.lax.scan(lambda carry, t: (step(carry, t), None), carry, start + jnp.arange(length))[0]


def _tick(stage: Stage, layout: Layout, weights_at: Callable[[Array], Any], carry: tuple, t: Array) -> tuple:
    """One step of the schedule on one stage.

    The first stage keeps what has come round in `stored`, where the inputs lay: a microbatch waits there for its
    next repeat, and in the end for the head.
    """
    arriving, stored_AMD, summed = carry
    stages, parts = layout.pipe, layout.microbatches
    me = jax.lax.axis_index("pipe")
    came_round = (t - stages) % parts
    kept = jnp.where(t >= stages, arriving, stored_AMD[came_round])
    stored_AMD = stored_AMD.at[came_round].set(kept)
    x_MD = jnp.where(me == 0, stored_AMD[t % parts], arriving)
    # The weights of a tick are chosen within: what is computed again is not kept, else each tick would keep its own.
    again = jax.checkpoint(lambda x_MD, t: stage(weights_at(t), x_MD, (t - me) % parts))
    y_MD, numbers = again(x_MD, t)
    is_work = (t >= me) & (t - me < layout.repeats * parts)
    summed = jax.tree.map(lambda total, x: total + jnp.where(is_work, x, 0), summed, numbers)
    around = [(source, (source + 1) % stages) for source in range(stages)]
    return jax.lax.ppermute(y_MD, "pipe", around), stored_AMD, summed
