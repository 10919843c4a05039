"""The pure training step and evaluation, compiled once for every shape.

Whatever is not a shape (rates, decay, betas, clipping, the seed) is an
argument, so all runs of one shape share one executable.

Letters: B sequences, A microbatches.
"""

from functools import cache, partial
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import optax
from jax import Array

from scaling.config import ModelConfig, RunConfig
from scaling.models.families import Params
from scaling.models.parametrisation import (
    epsilon_multipliers,
    learning_rate_multipliers,
    weight_decay_multipliers,
)
from scaling.training.losses import Knowledge, Task, Tokens, init, losses

NOT_DECAYED = ("scale", "bias", "head_bias")


class TrainState(NamedTuple):
    """What a checkpoint holds: float32 parameters and AdamW's moments."""

    params: Params
    optimizer: Any


class Hyper(NamedTuple):
    """The numbers of one step."""

    lr: float
    weight_decay: float
    beta1: float
    beta2: float
    eps: float
    clip: float
    label_smoothing: float


class Metrics(NamedTuple):
    loss: Array  # mean nats a loss-bearing target, before the update, not smoothed
    grad_norm: Array  # global, before clipping
    bearing: Array  # loss-bearing targets of the batch
    auxiliary: Array  # what is learned beside the loss
    dropped: Array  # share of the visits to experts that found no slot


class Sums(NamedTuple):
    """Over the loss-bearing targets of a batch, or of parts of it."""

    nats: Array
    bearing: Array
    auxiliary: Array
    dropped: Array


def hyper(run: RunConfig, lr: float) -> Hyper:
    optim = run.optim
    return Hyper(lr, optim.weight_decay, optim.beta1, optim.beta2, optim.eps, optim.clip, optim.label_smoothing)


def optimizer(model: ModelConfig, numbers: Hyper) -> optax.GradientTransformation:
    """Clipped AdamW; decay, times the rate, on matrices and embeddings only (Loshchilov & Hutter 2019).

    Rates, decay and eps are multiplied by the parametrisation's table.
    """
    return optax.chain(
        optax.clip_by_global_norm(numbers.clip),
        # Adam's step is the same for a gradient and an eps divided by one number.
        _multiplied(lambda params: jax.tree.map(lambda e: 1 / e, epsilon_multipliers(model, params))),
        optax.scale_by_adam(b1=numbers.beta1, b2=numbers.beta2, eps=numbers.eps),
        _decayed(model, numbers.weight_decay),
        _multiplied(partial(learning_rate_multipliers, model)),
        optax.scale_by_learning_rate(numbers.lr),
    )


@cache
def compiled_init(task: Task) -> Any:
    """`init(seed) -> TrainState`, compiled."""

    def start(seed: Array) -> TrainState:
        params = init(task, seed)
        # The state's structure does not depend on the numbers.
        return TrainState(params, optimizer(task.model, Hyper(*[0.0] * len(Hyper._fields))).init(params))

    return jax.jit(start)


@cache
def compiled_step(task: Task, precision: str, microbatches: int) -> Any:
    """`step(state, tokens, knowledge, hyper) -> (state, metrics)`, compiled; the state is donated."""
    return jax.jit(partial(train_step, task, precision, microbatches), donate_argnums=0)


@cache
def compiled_evaluate(task: Task, precision: str) -> Any:
    """`evaluate(params, tokens, knowledge) -> (nats, weight) of each target, (B, K)`, compiled."""

    def evaluate(params: Params, tokens: Tokens, knowledge: Knowledge) -> tuple[Array, Array]:
        found = losses(task, _cast(params, precision), tokens, knowledge)
        return found.nats_BK, found.weights_BK

    return jax.jit(evaluate)


def train_step(
    task: Task,
    precision: str,
    microbatches: int,
    state: TrainState,
    tokens: Tokens,
    knowledge: Knowledge,
    numbers: Hyper,
) -> tuple[TrainState, Metrics]:
    """One AdamW update on the mean loss over the batch's loss-bearing targets."""
    grads, sums = _gradients(task, precision, microbatches, state.params, tokens, knowledge, numbers.label_smoothing)
    bearing = jnp.maximum(sums.bearing, 1.0)  # where every word is longer than the mask allows, none bears loss
    grads = jax.tree.map(lambda grad: grad / bearing, grads)
    metrics = Metrics(
        loss=sums.nats / bearing,
        grad_norm=optax.tree.norm(grads),
        bearing=sums.bearing,
        auxiliary=sums.auxiliary / bearing,
        dropped=sums.dropped / bearing,
    )
    updates, moments = optimizer(task.model, numbers).update(grads, state.optimizer, state.params)
    return TrainState(optax.apply_updates(state.params, updates), moments), metrics


def _gradients(
    task: Task,
    precision: str,
    microbatches: int,
    params: Params,
    tokens: Tokens,
    knowledge: Knowledge,
    smoothing: Array | float,
) -> tuple[Params, Sums]:
    """Gradient of the summed loss, and the sums, accumulated over equal microbatches in float32.

    Sums, and not means: parts may differ in how many targets bear loss.
    """

    def summed(params: Params, part: Tokens) -> tuple[Array, Sums]:
        found = losses(task, _cast(params, precision), part, knowledge)
        nats, bearing = jnp.sum(found.nats_BK), jnp.sum(found.weights_BK)
        learned = nats + found.auxiliary * jax.lax.stop_gradient(bearing)
        if task.smoothed:
            learned = learned + smoothing * found.smoothing
        # Means of a part, weighted by its targets, become sums like the rest.
        return learned, Sums(nats, bearing, found.auxiliary * bearing, found.dropped * bearing)

    gradient = jax.grad(summed, has_aux=True)
    if microbatches == 1:
        return gradient(params, tokens)

    parts_A = jax.tree.map(lambda x: x.reshape(microbatches, -1, *x.shape[1:]), tokens)

    def add(total: Any, part: Tokens) -> tuple[Any, None]:
        return jax.tree.map(jnp.add, total, gradient(params, part)), None

    first = jax.tree.map(lambda x: x[0], parts_A)
    zero = jax.tree.map(lambda x: jnp.zeros(x.shape, x.dtype), jax.eval_shape(gradient, params, first))
    return jax.lax.scan(add, zero, parts_A)[0]


def _cast(params: Params, precision: str) -> Params:
    """Parameters in the precision of the compute; norms and the loss return to float32 on their own."""
    return jax.tree.map(lambda p: p.astype(precision), params)


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
