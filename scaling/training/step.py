"""The pure training step and evaluation, compiled once for every shape.

Whatever is not a shape (rates, decay, betas, clipping, the seed) is an
argument, so all runs of one shape share one executable.

Letters: B sequences, K targets of one.
"""

import math
from functools import cache, partial
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import optax
from jax import Array
from jax.sharding import Mesh, PartitionSpec

from scaling.config import ModelConfig, Precision, RunConfig
from scaling.config.precision import eight_bits
from scaling.models.families import Params
from scaling.models.parametrisation import (
    epsilon_multipliers,
    learning_rate_multipliers,
    weight_decay_multipliers,
)
from scaling.parallel.collectives import all_sequences
from scaling.parallel.context import whole
from scaling.parallel.dims import ACTIVATIONS
from scaling.parallel.layout import ALONE, Layout
from scaling.parallel.mesh import shardings
from scaling.parallel.tables import spec, specs_of
from scaling.parallel.weights import gathered, staged
from scaling.training.gradients import cast, gradients, norm
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
        found = losses(task, cast(params, precision), tokens, knowledge, layout, eight_bits(precision))
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
    grads, sums = gradients(task, precision, layout, state.params, tokens, knowledge, numbers.label_smoothing)
    bearing = jnp.maximum(sums.bearing, 1.0)  # where every word is longer than the mask allows, none bears loss
    grads = jax.tree.map(lambda grad: grad / bearing, grads)
    grad_norm = norm(grads, layout)
    metrics = Metrics(
        loss=sums.nats / bearing,
        grad_norm=grad_norm,
        bearing=sums.bearing,
        auxiliary=sums.auxiliary / bearing,
        dropped=sums.dropped / bearing,
    )
    grads = jax.tree.map(lambda grad: jnp.where(grad_norm < numbers.clip, grad, grad / grad_norm * numbers.clip), grads)
    updates, moments = optimizer(task.model, numbers).update(grads, state.optimizer, state.params)
    after = TrainState(optax.apply_updates(state.params, updates), moments, state.norms)
    state, skipped = take_or_skip(state, after, metrics.grad_norm, numbers.spike_factor)
    return state, metrics._replace(skipped=skipped)


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
