"""Many models trained at once on one device, by `vmap` over the pure step.

A small model leaves most of an accelerator idle: its kernels are short and
their launches cost more than their arithmetic. K models of one shape fill it
better, and each learns what it would learn alone: states, batches and numbers
have a leading dimension K, and nothing joins them.

Letters: K models.
"""

from functools import cache, partial
from typing import Any

import jax

from scaling.config import Precision
from scaling.parallel.layout import ALONE, Layout
from scaling.training.losses import Task
from scaling.training.step import compiled_init, train_step


@cache
def compiled_many(task: Task, precision: Precision, layout: Layout = ALONE) -> Any:
    """`step(states_K, tokens_K, knowledge, hyper_K) -> (states_K, metrics_K)`, compiled; the states are donated.

    What `compiled_step` does to one model, done to K: every array of state,
    tokens and numbers has a leading K; what is known of the tokens is shared.
    layout: of one device.
    """
    step = jax.vmap(partial(train_step, task, precision, layout), in_axes=(0, 0, None, 0))
    return jax.jit(step, donate_argnums=0)


@cache
def compiled_many_init(task: Task) -> Any:
    """`init(seed_K) -> states_K`, compiled."""
    return jax.jit(jax.vmap(compiled_init(task)))
