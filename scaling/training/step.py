"""The pure training step and evaluation, compiled once for every shape.

Whatever is not a shape (rates, decay, betas, clipping, the seed) is an
argument, so all runs of one shape share one executable.

Letters: B sequences, A microbatches.
"""

import math
from collections.abc import Callable
from functools import cache, partial
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import optax
from jax import Array
from jax.sharding import Mesh, PartitionSpec

from scaling.config import ModelConfig, Precision, RunConfig
from scaling.config.precision import eight_bits, type_of
from scaling.models.families import Params
from scaling.models.parametrisation import (
    epsilon_multipliers,
    learning_rate_multipliers,
    weight_decay_multipliers,
)
from scaling.parallel.collectives import all_sequences, total
from scaling.parallel.context import whole
from scaling.parallel.dims import ACTIVATIONS
from scaling.parallel.layout import ALONE, Layout
from scaling.parallel.mesh import shardings
from scaling.parallel.pipeline import in_parts
from scaling.parallel.tables import axes_of, spec, specs_of
from scaling.parallel.weights import gathered, staged
from scaling.training.losses import Knowledge, Task, Tokens, init, losses
from scaling.training.policy import NormMean, no_norms, take_or_skip

NOT_DECAYED = ("scale", "bias", "head_bias")


class TrainState(NamedTuple):
    """What a checkpoint holds: float32 parameters and AdamW's moments."""

    params: Params
    optimizer: Any
    norms: NormMean | None = None  # where spikes are skipped


class Hyper(NamedTuple):
    """The numbers of one step."""

    lr: float
    weight_decay: float
    beta1: float
    beta2: float
    eps: float
    clip: float
    label_smoothing: float
    spike_factor: float = math.inf  # read only where the state has norms


_NO_NUMBERS = Hyper(*[0.0] * len(Hyper._fields))  # the structure of an optimizer's state does not depend on them


class Metrics(NamedTuple):
    loss: Array  # mean nats a loss-bearing target, before the update, not smoothed
    grad_norm: Array  # global, before clipping
    bearing: Array  # loss-bearing targets of the batch
    auxiliary: Array  # what is learned beside the loss
    dropped: Array  # share of the visits to experts that found no slot
    skipped: Array | bool = False  # whether the update was not taken: parameters and moments are as before


class Sums(NamedTuple):
    """Over the loss-bearing targets of a batch, or of parts of it."""

    nats: Array
    bearing: Array
    auxiliary: Array
    dropped: Array


def hyper(run: RunConfig, lr: float) -> Hyper:
    optim = run.optim
    return Hyper(
        lr,
        optim.weight_decay,
        optim.beta1,
        optim.beta2,
        optim.eps,
        optim.clip,
        optim.label_smoothing,
        math.inf if optim.spike_factor is None else optim.spike_factor,
    )


def optimizer(model: ModelConfig, numbers: Hyper) -> optax.GradientTransformation:
    """AdamW; decay, times the rate, on matrices and embeddings only (Loshchilov & Hutter 2019).

    Rates, decay and eps are multiplied by the parametrisation's table.
    """
    return optax.chain(
        # Adam's step is the same for a gradient and an eps divided by one number.
        _multiplied(lambda params: jax.tree.map(lambda e: 1 / e, epsilon_multipliers(model, params))),
        optax.scale_by_adam(b1=numbers.beta1, b2=numbers.beta2, eps=numbers.eps),
        _decayed(model, numbers.weight_decay),
        _multiplied(partial(learning_rate_multipliers, model)),
        optax.scale_by_learning_rate(numbers.lr),
    )


@cache
def compiled_init(task: Task, layout: Layout = ALONE, mesh: Mesh | None = None) -> Any:
    """`init(seed) -> TrainState`, compiled. The same numbers on every mesh."""

    def start(seed: Array) -> TrainState:
        params = staged(init(task, seed), layout)
        moments = optimizer(task.model, _NO_NUMBERS).init(params)
        return TrainState(params, moments, no_norms() if task.spikes_skipped else None)

    if mesh is None:
        return jax.jit(start)
    return jax.jit(start, out_shardings=shardings(mesh, state_specs(task, layout)))


@cache
def compiled_step(task: Task, precision: Precision, layout: Layout = ALONE, mesh: Mesh | None = None) -> Any:
    """`step(state, tokens, knowledge, hyper) -> (state, metrics)`, compiled; the state is donated.

    mesh: of the layout's axes, where the layout has more than one device.
    """
    step = partial(train_step, task, precision, layout)
    if mesh is not None:
        state, batch = state_specs(task, layout), spec(("batch",), ACTIVATIONS, layout)
        given = (state, batch, PartitionSpec(), PartitionSpec())
        step = jax.shard_map(step, mesh=mesh, in_specs=given, out_specs=(state, PartitionSpec()), check_vma=False)
    return jax.jit(step, donate_argnums=0)


@cache
def compiled_evaluate(task: Task, precision: Precision, layout: Layout = ALONE, mesh: Mesh | None = None) -> Any:
    """`evaluate(params, tokens, knowledge) -> (nats, weight) of each target, (B, K)`, compiled."""

    def evaluate(params: Params, tokens: Tokens, knowledge: Knowledge) -> tuple[Array, Array]:
        if layout.zero < 3:
            params = gathered(params, layout)
        found = losses(task, _cast(params, precision), tokens, knowledge, layout, eight_bits(precision))
        nats_BK, weights_BK = found.nats_BK, found.weights_BK
        if found.is_part:
            nats_BK, weights_BK = whole(nats_BK, layout), whole(weights_BK, layout)
        return all_sequences(nats_BK, layout), all_sequences(weights_BK, layout)

    if mesh is None:
        return jax.jit(evaluate)
    batch = spec(("batch",), ACTIVATIONS, layout)
    given = (state_specs(task, layout).params, batch, PartitionSpec())
    # Every device, and so every host, has the result.
    return jax.jit(jax.shard_map(evaluate, mesh=mesh, in_specs=given, out_specs=PartitionSpec(), check_vma=False))


def state_specs(task: Task, layout: Layout) -> TrainState:
    """How every leaf of a train state lies on the mesh."""
    state = jax.eval_shape(compiled_init(task, layout), 0)
    params = specs_of(state.params, layout)
    like_params = partial(optax.tree.map_params, optimizer(task.model, _NO_NUMBERS), lambda _, partition: partition)
    return TrainState(
        params,
        like_params(state.optimizer, params, transform_non_params=lambda _: PartitionSpec()),
        jax.tree.map(lambda _: PartitionSpec(), state.norms),
    )


def train_step(
    task: Task,
    precision: Precision,
    layout: Layout,
    state: TrainState,
    tokens: Tokens,
    knowledge: Knowledge,
    numbers: Hyper,
) -> tuple[TrainState, Metrics]:
    """One AdamW update on the mean loss over the batch's loss-bearing targets; none where the gradient is unsound.

    On a mesh this is what each device does, with its part of all arrays.
    """
    grads, sums = _gradients(task, precision, layout, state.params, tokens, knowledge, numbers.label_smoothing)
    bearing = jnp.maximum(sums.bearing, 1.0)  # where every word is longer than the mask allows, none bears loss
    grads = jax.tree.map(lambda grad: grad / bearing, grads)
    norm = _norm(grads, layout)
    metrics = Metrics(
        loss=sums.nats / bearing,
        grad_norm=norm,
        bearing=sums.bearing,
        auxiliary=sums.auxiliary / bearing,
        dropped=sums.dropped / bearing,
    )
    grads = jax.tree.map(lambda grad: jnp.where(norm < numbers.clip, grad, grad / norm * numbers.clip), grads)
    updates, moments = optimizer(task.model, numbers).update(grads, state.optimizer, state.params)
    after = TrainState(optax.apply_updates(state.params, updates), moments, state.norms)
    state, skipped = take_or_skip(state, after, metrics.grad_norm, numbers.spike_factor)
    return state, metrics._replace(skipped=skipped)


def _gradients(
    task: Task,
    precision: Precision,
    layout: Layout,
    params: Params,
    tokens: Tokens,
    knowledge: Knowledge,
    smoothing: Array | float,
) -> tuple[Params, Sums]:
    """Gradient of the summed loss, and the sums, over equal microbatches and over all devices, in float32.

    Sums, and not means: parts may differ in how many targets bear loss.
    """

    def summed(params: Params, part: Tokens) -> tuple[Array, Sums]:
        found = losses(task, _cast(params, precision), part, knowledge, layout, eight_bits(precision))
        nats, bearing = jnp.sum(found.nats_BK), jnp.sum(found.weights_BK)
        learned = nats + found.auxiliary * jax.lax.stop_gradient(bearing)
        if task.smoothed:
            learned = learned + smoothing * found.smoothing
        # Means of a part, weighted by its targets, become sums like the rest.
        sums = Sums(nats, bearing, found.auxiliary * bearing, found.dropped * bearing)
        # What several devices compute alike counts once.
        return learned / found.copies, jax.tree.map(lambda x: x / found.copies, sums)

    gradient = jax.grad(summed, has_aux=True)
    whole, back = (params, lambda grads: grads) if layout.zero == 3 else _gathered_once(params, layout)
    if layout.microbatches == 1 or layout.pipe > 1:
        grads, sums = gradient(whole, tokens)
        grads = back(grads)
    else:
        each = (lambda params, part: _first(back, gradient(params, part))) if layout.zero == 2 else gradient
        grads, sums = _accumulated(each, whole, jax.tree.map(partial(in_parts, layout=layout), tokens))
        grads = grads if layout.zero == 2 else back(grads)
    return _over_devices(grads, layout), jax.tree.map(lambda x: total(x, layout.axes, layout), sums)


def _gathered_once(params: Params, layout: Layout) -> tuple[Params, Callable]:
    """Parameters made whole before any microbatch, and the way back of their gradients."""
    whole, back = jax.vjp(lambda params: gathered(params, layout), params)
    return whole, lambda grads: back(grads)[0]


def _first(function: Callable, pair: tuple[Any, Any]) -> tuple[Any, Any]:
    return function(pair[0]), pair[1]


def _accumulated(gradient: Callable, params: Params, parts_A: Tokens) -> tuple[Params, Sums]:
    def add(total: Any, part: Tokens) -> tuple[Any, None]:
        return jax.tree.map(jnp.add, total, gradient(params, part)), None

    first = jax.tree.map(lambda x: x[0], parts_A)
    zero = jax.tree.map(lambda x: jnp.zeros(x.shape, x.dtype), jax.eval_shape(gradient, params, first))
    return jax.lax.scan(add, zero, parts_A)[0]


def _over_devices(grads: Params, layout: Layout) -> Params:
    """Gradients summed over the devices that hold the same parameters."""
    if not layout.axes:
        return grads

    def over(partition: PartitionSpec, grad: Array) -> Array:
        return total(grad, tuple(axis for axis in layout.axes if axis not in axes_of(partition)), layout)

    return jax.tree.map(over, specs_of(grads, layout), grads)


def _norm(grads: Params, layout: Layout) -> Array:
    """Global norm of gradients of which each device holds its parts."""
    if not layout.axes:
        return optax.tree.norm(grads)

    def squared(partition: PartitionSpec, grad: Array) -> Array:
        return jnp.sum(jnp.square(grad)) * layout.ways(*axes_of(partition)) / layout.devices

    parts = jax.tree.leaves(jax.tree.map(squared, specs_of(grads, layout), grads))
    return jnp.sqrt(total(sum(parts), layout.axes, layout))


def _cast(params: Params, precision: Precision) -> Params:
    """Parameters in the precision of the compute; norms and the loss return to float32 on their own."""
    return jax.tree.map(lambda p: p.astype(type_of(precision)), params)


def _multiplied(multipliers: Any) -> optax.GradientTransformation:
    """Updates times a tree of numbers that `multipliers` makes of the parameters' tree; ones cost nothing."""

    def update(updates: Params, _: Any) -> Params:
        return jax.tree.map(lambda x, by: x if by == 1.0 else x * by, updates, multipliers(updates))

    return optax.stateless(update)


def _decayed(model: ModelConfig, weight_decay: Array | float) -> optax.GradientTransformation:
    """Adds the decay of matrices and embeddings to the updates."""

    def update(updates: Params, params: Params) -> Params:
        multipliers = weight_decay_multipliers(model, params)
        return jax.tree_util.tree_map_with_path(
            lambda path, x, p, by: x if path[-1].key in NOT_DECAYED else x + weight_decay * by * p,
            updates,
            params,
            multipliers,
        )

    return optax.stateless(update)
