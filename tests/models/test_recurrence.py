from functools import partial

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from scaling.models.recurrence import GATES, recur

T, B, D, H, V = 7, 3, 5, 4, 6


def literal(cell, x_TBD, input_DZ, state_HZ, bias_Z, keep_TB):
    """The equations, one step after the other; differentiated by JAX."""
    h = c = jnp.zeros((B, H))
    states = []
    for x, keep in zip(x_TBD, keep_TB, strict=True):
        h, c = h * keep[:, None], c * keep[:, None]
        z = x @ input_DZ + h @ state_HZ + bias_Z
        if cell == "rnn":
            h = jnp.tanh(z)
        else:
            i, f, g, o = jnp.split(z, 4, axis=1)
            c = jax.nn.sigmoid(f) * c + jax.nn.sigmoid(i) * jnp.tanh(g)
            h = jax.nn.sigmoid(o) * jnp.tanh(c)
        states.append(h)
    return jnp.stack(states)


def arrays(cell):
    """Inputs, the kernels from them and from the state, bias, when to keep the memory, and what weighs the states."""
    keys, gates = iter(jax.random.split(jax.random.key(0), 6)), GATES[cell] * H
    shapes = (T, B, D), (D, gates), (H, gates), (gates,), (T, B, H)
    x, *kernels, weights = (jax.random.normal(next(keys), shape) for shape in shapes)
    return x, *kernels, jax.random.bernoulli(next(keys), 0.7, (T, B)).astype(jnp.float32), weights


@partial(jax.jit, static_argnums=(0, 1))
def value_and_gradients(states, cell, x, input_DZ, state_HZ, bias_Z, keep_TB, weights_TBH):
    """States (T, B, H), and the gradients of their weighted sum."""

    def total(x, input_DZ, state_HZ, bias_Z):
        found = states(cell, x, input_DZ, state_HZ, bias_Z, keep_TB)
        return jnp.sum(found * weights_TBH), found

    return jax.grad(total, argnums=(0, 1, 2, 3), has_aux=True)(x, input_DZ, state_HZ, bias_Z)


def of_inputs(cell, x_TBD, input_DZ, state_HZ, bias_Z, keep_TB):
    return recur(cell, x_TBD.transpose(0, 2, 1), input_DZ, state_HZ, bias_Z, keep_TB).transpose(0, 2, 1)


@pytest.mark.parametrize("cell", ["rnn", "lstm"])
def test_states_and_gradients_are_those_of_the_equations(cell):
    given = arrays(cell)
    found, expected = (value_and_gradients(states, cell, *given) for states in (of_inputs, literal))
    # float32, sums of some tens of terms of order one, in another order.
    jax.tree.map(partial(np.testing.assert_allclose, rtol=1e-4, atol=1e-5), found, expected)


@pytest.mark.parametrize("cell", ["rnn", "lstm"])
def test_tokens_bring_what_their_embeddings_would(cell):
    _, input_DZ, state_HZ, bias_Z, keep_TB, weights = arrays(cell)
    embedding_VD = jax.random.normal(jax.random.key(1), (V, D))
    tokens_TB = jax.random.randint(jax.random.key(2), (T, B), 0, V)

    def of_tokens(cell, embedding_VD, input_DZ, state_HZ, bias_Z, keep_TB):
        return recur(cell, tokens_TB, embedding_VD @ input_DZ, state_HZ, bias_Z, keep_TB).transpose(0, 2, 1)

    def of_embeddings(cell, embedding_VD, *rest):
        return literal(cell, embedding_VD[tokens_TB], *rest)

    given = embedding_VD, input_DZ, state_HZ, bias_Z, keep_TB, weights
    found, expected = (value_and_gradients(states, cell, *given) for states in (of_tokens, of_embeddings))
    jax.tree.map(partial(np.testing.assert_allclose, rtol=1e-4, atol=1e-5), found, expected)  # as above


def test_a_memory_that_is_never_emptied_needs_no_mask():
    x, *kernels, keep, _ = arrays("lstm")
    without, ones = (of_inputs("lstm", x, *kernels, mask) for mask in (None, jnp.ones_like(keep)))
    np.testing.assert_allclose(without, ones, rtol=1e-6)  # float32


def test_half_precision_keeps_the_memory_in_full():
    x, *kernels, keep, _ = arrays("lstm")
    half = [array.astype(jnp.bfloat16) for array in (x, *kernels)]
    found = of_inputs("lstm", *half, keep)
    assert found.dtype == jnp.bfloat16
    # bfloat16 keeps 8 significant bits: 2^-8 of states below one, some roundings deep.
    np.testing.assert_allclose(found.astype(np.float32), of_inputs("lstm", x, *kernels, keep), atol=0.05)
