"""Norms, MLPs and the exact GELU: by their definitions, and what an accelerator keeps of them."""

import math

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from flax import nnx

from scaling.config import TransformerConfig
from scaling.models.layers import MLP, Norm, gelu_exact

M, D, F = 6, 16, 40
POINTS = np.linspace(-6, 6, 101)


def of_width(**changes):
    return TransformerConfig(vocab=30, dim=D, layers=1, heads=2, mlp_dim=F, **changes)


def parts():
    """Functions of (parameters, states), and the numbers a token that a backward pass has to have."""
    norms = {
        "rmsnorm": Norm(D, centered=False, bias=False, eps=1e-6),
        "layernorm": Norm(D, centered=True, bias=True, eps=1e-6),
    }
    mlps = {name: MLP(of_width(activation=name, biases=True), nnx.Rngs(0)) for name in ("swiglu", "gelu", "relu")}
    # Of a norm its input; of an MLP its input, what the activation reads, and what it returns.
    least = {"rmsnorm": D, "layernorm": D, "swiglu": D + 3 * F, "gelu": D + 2 * F, "relu": D + 2 * F}
    return {name: (*nnx.split(module), least[name]) for name, module in (norms | mlps).items()}


@pytest.fixture(params=["rmsnorm", "layernorm", "swiglu", "gelu", "relu"])
def part(request):
    return parts()[request.param]


def pulled(graph, state, x):
    """Output, gradients, and numbers a token kept for the backward pass, parameters left out."""
    out, pull = jax.vjp(lambda state, x: nnx.merge(graph, state)(x), state, x)
    rows = [leaf for leaf in jax.tree.leaves(pull) if leaf.shape[:1] == (M,)]
    kept = {np.asarray(leaf).tobytes(): leaf.size for leaf in rows}  # what two maps read is one
    return out, pull(jnp.cos(out)), sum(kept.values()) / M


def test_an_accelerator_keeps_of_norms_and_activations_what_their_derivative_needs_and_no_step_between(
    part, monkeypatch
):
    graph, state, least = part
    x = jax.random.normal(jax.random.key(0), (M, D))
    out, grads, _ = pulled(graph, state, x)
    monkeypatch.setattr(jax, "default_backend", lambda: "gpu")
    found, found_grads, kept = pulled(graph, state, x)
    np.testing.assert_array_equal(found, out)
    jax.tree.map(lambda a, b: np.testing.assert_allclose(a, b, rtol=1e-5, atol=1e-6), found_grads, grads)  # reordered
    assert kept <= least


def test_norms_are_their_definition():
    x = jax.random.normal(jax.random.key(0), (M, D)) + 3.0
    centred = x - x.mean(-1, keepdims=True)
    rms, layer = Norm(D, centered=False, bias=False, eps=0.0), Norm(D, centered=True, bias=True, eps=0.0)
    np.testing.assert_allclose(rms(x), x / jnp.sqrt((x**2).mean(-1, keepdims=True)), rtol=1e-5)
    np.testing.assert_allclose(layer(x), centred / x.std(-1, keepdims=True), rtol=1e-4, atol=1e-6)


def share_below(x):
    """Of the normal distribution, by the standard library."""
    return 0.5 * math.erfc(-x / math.sqrt(2))


def test_exact_gelu_is_x_times_the_normal_share_below_x():
    # erf of float32 is rounded at 1: half of 2^-23 times |x| <= 6, with a few roundings more.
    known = [x * share_below(x) for x in POINTS]
    np.testing.assert_allclose(gelu_exact(jnp.asarray(POINTS, jnp.float32)), known, rtol=0, atol=2e-6)


def test_slope_of_exact_gelu_is_the_derivative_of_the_definition():
    known = [share_below(x) + x * math.exp(-x * x / 2) / math.sqrt(2 * math.pi) for x in POINTS]
    found = jax.vmap(jax.grad(gelu_exact))(jnp.asarray(POINTS, jnp.float32))
    np.testing.assert_allclose(found, known, rtol=0, atol=2e-6)


@pytest.mark.parametrize("x", [-2.0, -3.0])
def test_exact_gelu_keeps_small_values_in_half_precision(x):
    # Rounding the argument of erfc to 8 significant bits is amplified x^2 times. 1 + erf would be wrong by 3% and 45%.
    found = float(gelu_exact(jnp.asarray(x, jnp.bfloat16)))
    assert found == pytest.approx(x * share_below(x), rel=x * x * 2**-8)
