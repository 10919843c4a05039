import jax
import jax.numpy as jnp
import numpy as np
import pytest

from scaling.config import NextToken, TransformerConfig, lengths
from scaling.parallel.layout import Layout
from scaling.training.feed import keys
from scaling.training.losses import Knowledge, Task, Tokens
from scaling.training.many import compiled_many, compiled_many_init
from scaling.training.step import Hyper, compiled_init, compiled_step

MODEL = TransformerConfig(vocab=60, dim=16, layers=2, heads=2, context=16)
TASK = Task(MODEL, NextToken(), specials=0, smoothed=False)
NUMBERS = Hyper(lr=1e-2, weight_decay=0.1, beta1=0.9, beta2=0.95, eps=1e-8, clip=1.0, label_smoothing=0.0)
RATES = (1e-2, 3e-3, 0.0)


def batch_of(seed, sequences=4):
    text = lengths(MODEL, NextToken()).text
    windows = np.random.default_rng(seed).integers(MODEL.vocab, size=(sequences, text + 1)).astype(np.int32)
    return Tokens(windows, keys(seed, np.arange(sequences)))


def stacked(trees):
    return jax.tree.map(lambda *leaves: jnp.stack([jnp.asarray(leaf) for leaf in leaves]), *trees)


@pytest.fixture(scope="module", params=[1, pytest.param(2, marks=pytest.mark.slow)], ids=["whole", "microbatches"])
def both(request):
    """Three models of other seeds, batches and rates after three steps: together, and each alone."""
    microbatches, step = request.param, compiled_many(TASK, "float32", Layout(microbatches=request.param))
    states = compiled_many_init(TASK)(jnp.arange(len(RATES)))
    numbers = stacked([NUMBERS._replace(lr=lr) for lr in RATES])
    alone = [compiled_init(TASK)(seed) for seed in range(len(RATES))]
    together, apart = [], []
    for number in range(3):
        batches = [batch_of(10 * number + seed) for seed in range(len(RATES))]
        states, metrics = step(states, stacked(batches), Knowledge(), numbers)
        together.append(metrics.loss)
        made = [
            compiled_step(TASK, "float32", Layout(microbatches=microbatches))(
                state, batch, Knowledge(), NUMBERS._replace(lr=lr)
            )
            for state, batch, lr in zip(alone, batches, RATES, strict=True)
        ]
        alone, losses = [state for state, _ in made], [metrics.loss for _, metrics in made]
        apart.append(jnp.stack(losses))
    return (states, jnp.stack(together)), (stacked(alone), jnp.stack(apart))


def test_models_trained_at_once_learn_what_each_learns_alone(both):
    (states, together), (alone, apart) = both
    np.testing.assert_allclose(together, apart, rtol=1e-5)  # float32 means, in another order
    # Adam turns rounding differences of tiny gradients into differences of a small part of a step.
    jax.tree.map(lambda a, b: np.testing.assert_allclose(a, b, atol=1e-3), states.params, alone.params)
    jax.tree.map(lambda a, b: np.testing.assert_allclose(a, b, atol=1e-5), states.optimizer, alone.optimizer)


def test_every_model_has_its_own_seed_batch_and_rate(both):
    (states, losses), _ = both
    assert len(np.unique(losses[0])) == len(RATES)
    first = compiled_many_init(TASK)(jnp.arange(len(RATES)))
    moved = jnp.max(jnp.abs(states.params["embedding"] - first.params["embedding"]), axis=(1, 2))
    assert moved[0] > moved[1] > moved[2] == 0.0  # as their rates


@pytest.mark.slow
def test_the_states_of_all_models_are_donated():
    states = compiled_many_init(TASK)(jnp.arange(2))
    numbers = stacked([NUMBERS] * 2)
    step = compiled_many(TASK, "float32")
    memory = step.lower(states, stacked([batch_of(0)] * 2), Knowledge(), numbers).compile().memory_analysis()
    held = sum(leaf.nbytes for leaf in jax.tree.leaves(states))
    assert memory.alias_size_in_bytes >= held
