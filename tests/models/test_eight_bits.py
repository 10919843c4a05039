"""Linear maps in 8 bits: close to the exact ones, gradients as SwitchBack has them, and only in the layers."""

from functools import partial

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from scaling.config import Experts, NextToken, TransformerConfig
from scaling.config.precision import type_of
from scaling.counts.work import work
from scaling.models import families
from scaling.models.eight_bits import product
from scaling.models.inputs import Inputs
from tests.jaxprs import equations

M, F, G = 48, 64, 32
KEYS = jax.random.split(jax.random.key(0), 3)
X_MF, KERNEL_FG = jax.random.normal(KEYS[0], (M, F)), jax.random.normal(KEYS[1], (F, G))
DY_MG = jax.random.normal(KEYS[2], (M, G))
# Rounding to the nearest of 127 steps up to the largest of 64 normal numbers (2.4): sqrt(2) * 2.4 / 127 / sqrt(12)
# of the sum is 0.8%. float8 keeps 3 bits behind the first: sqrt(2) * 2.6%; of gradients 2: 5.2% and 2.6% together.
ERRORS = {"int8": (0.012, 0.012), "float8": (0.045, 0.075)}


def away(found: jax.Array, exact: jax.Array) -> float:
    return float(jnp.linalg.norm(found - exact) / jnp.linalg.norm(exact))


@pytest.mark.parametrize("bits", ERRORS)
def test_products_and_input_gradients_are_as_near_as_their_digits_allow(bits):
    forward, backward = ERRORS[bits]
    y_MG, back = jax.vjp(partial(product, bits=bits), X_MF, KERNEL_FG)
    dx_MF, _ = back(DY_MG)
    assert forward / 4 < away(y_MG, X_MF @ KERNEL_FG) < forward
    assert backward / 4 < away(dx_MF, DY_MG @ KERNEL_FG.T) < backward


@pytest.mark.parametrize("bits", ERRORS)
def test_gradients_of_weights_are_not_rounded(bits):
    _, back = jax.vjp(partial(product, bits=bits), X_MF, KERNEL_FG)
    np.testing.assert_allclose(back(DY_MG)[1], X_MF.T @ DY_MG, rtol=1e-5, atol=1e-5)


@pytest.mark.parametrize("bits", ERRORS)
def test_rows_and_columns_have_scales_of_their_own(bits):
    large_M1, large_G = 2.0 ** (jnp.arange(M) % 20)[:, None], 2.0 ** (jnp.arange(G) % 15)
    scaled = product(X_MF * large_M1, KERNEL_FG * large_G, bits)  # powers of two change no digits
    np.testing.assert_allclose(scaled / large_M1 / large_G, product(X_MF, KERNEL_FG, bits), rtol=1e-5, atol=1e-5)


MODEL = TransformerConfig(vocab=64, dim=32, layers=2, heads=2, context=16, biases=True, activation="gelu")
INPUTS = Inputs(jnp.arange(32).reshape(2, 16) % 64)


@pytest.mark.parametrize("bits", ERRORS)
@pytest.mark.parametrize("moe", [None, Experts(experts=4, active=2, shared=1, every=2)])
def test_states_of_a_model_move_a_little(bits, moe):
    model = TransformerConfig(vocab=64, dim=32, layers=2, heads=2, context=16, moe=moe)
    params = families.init(model, 0)
    exact = families.states(model, params, INPUTS).x_BTD
    rounded = families.states(model, params, INPUTS, bits=bits).x_BTD
    # Of several maps one after another; and some tokens visit other experts, whose scores were nearly the same.
    assert 1e-3 < away(rounded, exact) < (4 if moe is None else 10) * ERRORS[bits][0]


def dots(bits: str | None) -> list[str]:
    """Types that the products of a forward pass read."""
    params = jax.tree.map(lambda leaf: leaf.astype(type_of("int8")), families.init(MODEL, 0))
    made = jax.make_jaxpr(lambda params: families.states(MODEL, params, INPUTS, bits=bits).x_BTD)(params)
    found = [each for each in equations(made.jaxpr) if each.primitive.name == "dot_general"]
    return [str(each.invars[0].aval.dtype) for each in found]


def test_every_linear_map_of_a_layer_is_rounded_and_nothing_else():
    plain, rounded = dots(None), dots("int8")
    assert "int8" not in plain and len(rounded) == len(plain)
    assert rounded.count("int8") == 2 * (4 + 2)  # layers, each with four projections and an MLP's two maps


def test_the_work_in_eight_bits_is_that_of_the_linear_maps():
    done = work(MODEL, NextToken(), "full")
    assert done.linear == done.products == 2 * 16 * 2 * (4 * 32**2 + 2 * 32 * MODEL.hidden_dim)
    mixed = TransformerConfig(vocab=64, dim=32, layers=2, heads=2, context=16, moe=Experts(experts=4, active=2))
    assert work(mixed, NextToken(), "full").linear == 2 * 16 * 2 * 4 * 32 * 32
