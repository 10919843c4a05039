"""Rows sorted into groups, and a function of them whose weights are each group's own.

A group's rows are put side by side and filled up to whole blocks, so that
all rows of a block have the same weights. The platform says how blocks are computed:

  loop     CPU. A loop over the blocks that hold rows. A block stays in the
           cache from its first product to its last, which makes it twice as
           fast as product after product over all rows; backward the block is
           computed again, which costs less than to keep what is between.
           `jax.lax.ragged_dot` is there a masked product with the matrices of
           all groups: 8 times slower at 8 groups, 35 times at 32.
  batched  GPU. Products of all blocks at once, each with a copy of its
           group's matrix: XLA expands `ragged_dot` there as it does on CPU.
  ragged   TPU. `jax.lax.ragged_dot`, which has kernels there; a block is one row.

In none does a row meet the matrix of another group.

Letters: R rows before sorting, E groups (experts), P places after sorting,
B blocks of S places each, D width of a row, F width of its result; in `spread`
and `collect`, M sources that are copied to K places each.
"""

from collections.abc import Callable
from functools import partial
from typing import Any, Literal, NamedTuple

import jax
import jax.numpy as jnp
from jax import Array

SMALLEST_BLOCK = 8
LARGEST_BLOCK_CPU = 64  # of 16 to 256 within a tenth of the fastest for 8 to 64 experts

Product = Callable[[Array, Array], Array]  # of rows and the matrix of their group
Function = Callable[[Array, Any, Product], Array]  # of rows, the weights of their group, and how to multiply the two


class Arrangement(NamedTuple):
    """Where the rows of each group stand. Place P and row R mean none."""

    place_R: Array  # of each row
    row_P: Array  # in each place
    sizes_E: Array  # places of each group, in order and from the first on; whole blocks
    found_E: Array  # rows that belong to each group, whether or not it takes them


def way() -> Literal["loop", "batched", "ragged"]:
    """How blocks are multiplied on this platform."""
    platform = jax.default_backend()
    return "loop" if platform == "cpu" else "ragged" if platform == "tpu" else "batched"


def block_rows(rows: int, groups: int) -> int:
    """Rows of a block: half of an average group, as a power of two.

    Larger blocks are filled up with more empty rows, smaller ones reread
    their matrix more often.
    """
    if way() == "ragged":
        return 1
    half = max(rows // (2 * groups), SMALLEST_BLOCK)
    block = 1 << (half.bit_length() - 1)
    return min(block, LARGEST_BLOCK_CPU) if way() == "loop" else block


def places(rows: int, groups: int, limit: int | None = None) -> int:
    """P: places that are enough however the rows fall into the groups."""
    block = block_rows(rows, groups)
    enough = (rows + groups * (block - 1)) // block  # sum of ceil(size / block), at its largest
    return block * (enough if limit is None else min(enough, groups * -(-limit // block)))


def arrange(group_R: Array, groups: int, limit: int | None = None) -> Arrangement:
    """Sort rows by group, those of a group in their order; of a group only the first `limit` rows.

    Rows of group `groups`, which there is not, get no place.
    """
    rows, block = group_R.shape[0], block_rows(group_R.shape[0], groups)
    assert rows * (groups + 1) < 2**31, f"{rows} rows times {groups} groups overflow the sorted numbers"
    # Group and row in one number: sorting it is 4 times faster on CPU than argsort, and stable by itself.
    sorted_R = jnp.sort(group_R * rows + jnp.arange(rows, dtype=jnp.int32))
    bounds = jnp.searchsorted(sorted_R, jnp.arange(groups + 1, dtype=jnp.int32) * rows).astype(jnp.int32)
    order_R = jnp.zeros(rows, jnp.int32).at[sorted_R % rows].set(jnp.arange(rows, dtype=jnp.int32))
    rank_R = order_R - bounds[group_R]
    found_E = jnp.diff(bounds)
    sizes_E = -(-(found_E if limit is None else jnp.minimum(found_E, limit)) // block) * block
    none = places(rows, groups, limit)
    starts_E = jnp.append(jnp.cumsum(sizes_E) - sizes_E, none)
    place_R = jnp.minimum(starts_E[group_R] + rank_R, none)
    if limit is not None:
        place_R = jnp.where(rank_R < limit, place_R, none)
    row_P = jnp.full(none, rows, jnp.int32).at[place_R].set(jnp.arange(rows, dtype=jnp.int32), mode="drop")
    return Arrangement(place_R, row_P, sizes_E, found_E)


@jax.custom_vjp
def spread(x_M: Array, source_P: Array, place_KM: Array) -> Array:
    """Copy every source, an array of any shape, to its places; zeros where there is none (source M).

    source_P and place_KM say the same from both sides: so the gradient, the
    sum over a source's places, is `collect`, and neither is a scatter.
    """
    return jnp.take(x_M, source_P, axis=0, mode="fill", fill_value=0)


@jax.custom_vjp
def collect(y_P: Array, source_P: Array, place_KM: Array) -> Array:
    """The sum over the places of every source; nothing from a place that is none (place P)."""
    return sum(jnp.take(y_P, place_M, axis=0, mode="fill", fill_value=0) for place_M in place_KM)


spread.defvjp(lambda x, *index: (spread(x, *index), index), lambda index, dy: (collect(dy, *index), None, None))
collect.defvjp(lambda y, *index: (collect(y, *index), index), lambda index, dx: (spread(dx, *index), None, None))


def apply_grouped(function: Function, x_PD: Array, weights: Any, sizes_E: Array, block: int) -> Array:
    """What `function` makes of each row with the weights of its group, (P, F).

    function: of (rows, weights, product), row by row and without other traced
    values; it multiplies a weight by product(rows, weight) alone.
    weights: arrays (E, D, F), nested in any way.
    sizes_E: rows of each group, in order and from the first on, each a
    multiple of `block`. What comes out in rows beyond their sum means nothing.
    """
    if way() == "ragged":
        return function(x_PD, weights, lambda x_PD, w_EDF: jax.lax.ragged_dot(x_PD, w_EDF, sizes_E))
    x_BSD = x_PD.reshape(-1, block, x_PD.shape[-1])
    ends_E = jnp.cumsum(sizes_E) // block
    groups = sizes_E.shape[0]
    group_B = jnp.searchsorted(ends_E, jnp.arange(x_BSD.shape[0]), side="right", method="compare_all")
    group_B = jnp.minimum(group_B, groups - 1)  # of blocks beyond the last group
    if way() == "loop":
        out_BSF = _loop(function, x_BSD, weights, group_B, ends_E[-1])
    else:
        out_BSF = function(x_BSD, _of_group(weights, group_B), jnp.matmul)
    return out_BSF.reshape(x_PD.shape[0], -1)


@partial(jax.custom_vjp, nondiff_argnums=(0,))
def _loop(function: Function, x_BSD: Array, weights: Any, group_B: Array, used: Array) -> Array:
    """The first `used` blocks, one after another; zeros in the others."""

    def compute(b: Array, out_BSF: Array) -> Array:
        return out_BSF.at[b].set(function(x_BSD[b], _of_group(weights, group_B[b]), jnp.matmul))

    block_SF = jax.eval_shape(lambda: function(x_BSD[0], _of_group(weights, 0), jnp.matmul))
    out_BSF = jnp.zeros((x_BSD.shape[0], *block_SF.shape), block_SF.dtype)
    return jax.lax.fori_loop(0, used, compute, out_BSF)


def _loop_forward(function: Function, *given: Any) -> tuple[Array, tuple]:
    return _loop(function, *given), given


def _loop_backward(function: Function, given: tuple, dout_BSF: Array) -> tuple[Array, Any, None, None]:
    x_BSD, weights, group_B, used = given

    def compute(b: Array, gradients: tuple[Array, Any]) -> tuple[Array, Any]:
        dx_BSD, dweights = gradients
        _, pull = jax.vjp(lambda x, w: function(x, w, jnp.matmul), x_BSD[b], _of_group(weights, group_B[b]))
        dx_SD, of_group = pull(dout_BSF[b])
        return dx_BSD.at[b].set(dx_SD), jax.tree.map(lambda dw, d: dw.at[group_B[b]].add(d), dweights, of_group)

    # float32: a group's gradient is summed over many blocks, too many for bfloat16's 8 significant bits.
    zeros = jnp.zeros_like(x_BSD), jax.tree.map(lambda w: jnp.zeros(w.shape, jnp.float32), weights)
    dx_BSD, dweights = jax.lax.fori_loop(0, used, compute, zeros)
    return dx_BSD, jax.tree.map(lambda dw, w: dw.astype(w.dtype), dweights, weights), None, None


_loop.defvjp(_loop_forward, _loop_backward)


def _of_group(weights: Any, group: Array | int) -> Any:
    return jax.tree.map(lambda w: w[group], weights)
