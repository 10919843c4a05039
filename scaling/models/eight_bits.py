"""Linear maps whose factors are rounded to 8 bits, with a scale for every row and column; their sums are wide.

SwitchBack (Wortsman et al. 2023, arXiv:2304.13013, section 2.2): the product
and the gradient of its input are computed in 8 bits, the gradient of the
weights in the precision that they came in, for it is a sum over all tokens, in
which small rounding errors add up. Qwix rounds and multiplies.

On a mesh whose axis `tensor` divides the features that are summed, every part
has scales of its own: results differ from one device's by their rounding.

Letters: M tokens, F features read, G features made.
"""

from functools import partial
from typing import Any

import jax
import jax.numpy as jnp
from flax import nnx
from jax import Array

from scaling.config.precision import EightBits

# Of weights and activations, and of gradients, which have more range and need fewer digits
# (Micikevicius et al. 2022, arXiv:2209.05433).
FORMATS: dict[EightBits, tuple[str, str]] = {"int8": ("int8", "int8"), "float8": ("float8_e4m3fn", "float8_e5m2")}


@partial(jax.custom_vjp, nondiff_argnums=(2,))
def product(x_MF: Array, kernel_FG: Array, bits: EightBits) -> Array:
    """x @ kernel, (M, G), of the type of x."""
    kind, _ = FORMATS[bits]
    return _multiplied(x_MF, kernel_FG, kind, kind)


def _forward(x_MF: Array, kernel_FG: Array, bits: EightBits) -> tuple[Array, tuple[Array, Array]]:
    return product(x_MF, kernel_FG, bits), (x_MF, kernel_FG)


def _backward(bits: EightBits, kept: tuple[Array, Array], dy_MG: Array) -> tuple[Array, Array]:
    (x_MF, kernel_FG), (kind, of_gradients) = kept, FORMATS[bits]
    return _multiplied(dy_MG, kernel_FG.T, of_gradients, kind), x_MF.T @ dy_MG


product.defvjp(_forward, _backward)


def _multiplied(left_MF: Array, right_FG: Array, left: str, right: str) -> Array:
    import qwix  # a quarter of a second that other runs need not wait for

    rows = qwix.quantize(left_MF, left, channelwise_axes=(0,), scale_dtype=jnp.float32)
    columns = qwix.quantize(right_FG, right, channelwise_axes=(1,), scale_dtype=jnp.float32)
    return qwix.dot(rows, columns).astype(left_MF.dtype)


def round_linear_maps(module: nnx.Module, bits: EightBits) -> None:
    """Every linear map within a module multiplies in 8 bits from here on."""
    for _, found in nnx.iter_modules(module):
        if isinstance(found, nnx.Linear):
            found.dot_general = partial(_dot_general, bits)


def _dot_general(bits: EightBits, x: Array, kernel_FG: Array, dimension_numbers: Any, **_: Any) -> Array:
    """What `nnx.Linear` calls: the last dimension of x times the first of the kernel."""
    y_MG = product(x.reshape(-1, x.shape[-1]), kernel_FG, bits)
    return y_MG.reshape(*x.shape[:-1], -1)
