"""A recurrent layer through time and its gradient, as XLA's CPU compiler runs them fastest.

What was found by measuring, against `lax.scan` over (B, H) states
differentiated by JAX:
- In the loop a state is a column, (H, B): with the batch on the narrow side,
  a product runs near the machine's peak.
- Input and last state are multiplied in one product a step. To multiply all
  inputs before the loop is no faster there, and fresh memory for what they
  bring, (T, Z, B), costs more than the arithmetic of the gates.
- Tokens of a small vocabulary are not multiplied at all: what each brings is
  computed once and looked up.
- The gradients of the kernels are one product after the loop; the backward
  loop writes the gates' gradients over their values.
Unrolling the loop gains nothing.

Letters: B sequences, T positions, M = T B, time first; D width of the inputs,
H of a state, X = D + H, or H where tokens are looked up; G gates of a unit (4
in an LSTM, 1 in an Elman network), Z = G H, N = H B; R = G values kept of a
step, and in an LSTM one more, the tanh of its cell; V vocabulary.
"""

from functools import partial
from typing import Literal, NamedTuple

import jax
import jax.numpy as jnp
from jax import Array

Cell = Literal["rnn", "lstm"]
GATES: dict[Cell, int] = {"rnn": 1, "lstm": 4}


class Memory(NamedTuple):
    """What a cell hands on to the next step; shapes are the caller's."""

    h: Array  # state, in the precision of the compute
    c: Array | None  # the LSTM's cell, float32


def fresh(cell: Cell, h: Array) -> Memory:
    """A memory of state h."""
    return Memory(h, jnp.zeros(h.shape, jnp.float32) if cell == "lstm" else None)


def kept(memory: Memory, keep: Array | None) -> Memory:
    """The memory times `keep`: 0 forgets it."""
    if keep is None:
        return memory
    return Memory(memory.h * keep.astype(memory.h.dtype), None if memory.c is None else memory.c * keep)


def advance(cell: Cell, z: tuple[Array, ...], memory: Memory) -> tuple[Memory, tuple[Array, ...]]:
    """One step from the gates' arguments, float32: i, f, g, o in an LSTM. The new memory, and what `_retreat` needs."""
    if cell == "rnn":
        h = jnp.tanh(z[0])
        return Memory(h.astype(memory.h.dtype), None), (h,)
    i, f, g, o = _sigmoid(z[0]), _sigmoid(z[1]), jnp.tanh(z[2]), _sigmoid(z[3])
    c = f * memory.c + i * g
    tanh_c = jnp.tanh(c)
    return Memory((o * tanh_c).astype(memory.h.dtype), c), (i, f, g, o, tanh_c)


def _retreat(cell: Cell, dh: Array, dc: Array | None, c_before: Array | None, values: Array) -> tuple[Array, ...]:
    """Gradients of the gates' arguments and of the LSTM's cell before a step, from those of the memory after it."""
    if cell == "rnn":
        return (dh * (1 - values[0] * values[0]),)
    i, f, g, o, tanh_c = values
    dc = dc + dh * o * (1 - tanh_c * tanh_c)
    di, df, dg, do = dc * g, dc * c_before, dc * i, dh * tanh_c
    return di * i * (1 - i), df * f * (1 - f), dg * (1 - g * g), do * o * (1 - o), dc * f


@partial(jax.custom_vjp, nondiff_argnums=(0,))
def recur(cell: Cell, x: Array, bring: Array, state_HZ: Array, bias_Z: Array, keep_TB: Array | None) -> Array:
    """The states of a layer after each step, (T, H, B), beginning at zero.

    x: inputs (T, D, B), and `bring` their kernel to the gates, (D, Z); or
    tokens (T, B), and `bring` what each token of a vocabulary brings, (V, Z).
    state_HZ: kernel from the last state. keep_TB: 0 where the memory is
    emptied before a step, 1 elsewhere; float32.
    """
    return _forward(cell, x, bring, state_HZ, bias_Z, keep_TB)[0]


def _forward(
    cell: Cell, x: Array, bring: Array, state_HZ: Array, bias_Z: Array, keep_TB: Array | None
) -> tuple[Array, tuple]:
    (steps, batch), hidden = (len(x), x.shape[-1]), len(state_HZ)
    bias_GN = jnp.repeat(bias_Z, batch).reshape(-1, hidden * batch)
    kernel_ZX = apart((state_HZ if _are_tokens(x) else jnp.concatenate([bring, state_HZ])).T)

    def arguments(x: Array, h_HB: Array) -> Array:
        if _are_tokens(x):
            return jnp.matmul(kernel_ZX, h_HB, preferred_element_type=jnp.float32) + bring[x].T
        return jnp.matmul(kernel_ZX, jnp.concatenate([x, h_HB]), preferred_element_type=jnp.float32)

    def step(memory: Memory, here: tuple) -> tuple[Memory, tuple]:
        x, keep_B = here
        memory = kept(memory, _per_unit(keep_B, hidden))
        z_GN = arguments(x, memory.h.reshape(hidden, batch)).reshape(-1, hidden * batch) + bias_GN
        memory, values = advance(cell, tuple(z_GN), memory)
        return memory, (memory, jnp.stack(values))

    start = fresh(cell, jnp.zeros(hidden * batch, state_HZ.dtype))
    _, (memory, values_TRN) = jax.lax.scan(step, start, (x, keep_TB))
    return memory.h.reshape(steps, hidden, batch), (x, memory, values_TRN, bring, state_HZ, keep_TB)


def _backward(cell: Cell, saved: tuple, dh_THB: Array) -> tuple[Array | None, Array, Array, Array, None]:
    x, memory, values_TRN, bring, state_HZ, keep_TB = saved
    (steps, hidden, batch), gates, precision = dh_THB.shape, GATES[cell], dh_THB.dtype
    kernel_XZ = state_HZ if _are_tokens(x) else jnp.concatenate([bring, state_HZ])

    def step(carry: tuple[Array, Array | None, Array], here: tuple) -> tuple[tuple, Array]:
        dh_N, dc_N, values_TRN = carry
        t, dh_out_N, before_N, keep_B = here
        values_RN = jax.lax.dynamic_index_in_dim(values_TRN, t, keepdims=False)
        gradients_RN = jnp.stack(_retreat(cell, dh_N + dh_out_N, dc_N, before_N, values_RN))
        # In place of the values, and read back: so nothing is computed twice.
        values_TRN = jax.lax.dynamic_update_index_in_dim(values_TRN, gradients_RN, t, axis=0)
        gradients_RN = jax.lax.dynamic_index_in_dim(values_TRN, t, keepdims=False)
        dz_ZB = gradients_RN[:gates].reshape(-1, batch).astype(precision)
        dx_XB = jnp.matmul(kernel_XZ, dz_ZB, preferred_element_type=jnp.float32)
        dmemory = Memory(dx_XB[-hidden:].reshape(-1), gradients_RN[-1] if cell == "lstm" else None)
        return (*kept(dmemory, _per_unit(keep_B, hidden)), values_TRN), dx_XB[:-hidden].astype(precision)

    # The memory that each step began with.
    before = jax.tree.map(lambda x_TN: jnp.pad(x_TN[:-1], ((1, 0), (0, 0))), memory)
    before = kept(before, None if keep_TB is None else jnp.tile(keep_TB, (1, hidden)))
    end = (*fresh(cell, jnp.zeros(hidden * batch)), values_TRN)
    xs = (jnp.arange(steps), dh_THB.reshape(steps, -1), before.c, keep_TB)
    (_, _, gradients_TRN), dx_TDB = jax.lax.scan(step, end, xs, reverse=True)

    dz_TZB = gradients_TRN[:, :gates].reshape(steps, -1, batch).astype(precision)
    dz_MZ = apart(dz_TZB.transpose(0, 2, 1)).reshape(steps * batch, -1)
    # A product with ones: XLA's own sum over a leading dimension is many times slower on CPU.
    dbias_Z = jnp.ones(steps * batch, precision) @ dz_MZ
    dstate_HZ = _by_feature(before.h.reshape(dh_THB.shape)) @ dz_MZ
    if _are_tokens(x):
        return None, jnp.zeros_like(bring).at[x.reshape(-1)].add(dz_MZ), dstate_HZ, dbias_Z, None
    return dx_TDB, _by_feature(x) @ dz_MZ, dstate_HZ, dbias_Z, None


recur.defvjp(_forward, _backward)


def apart(x: Array) -> Array:
    """A transposition as a copy of its own: folded into a product, it makes it slower on CPU."""
    return jax.lax.optimization_barrier(x) if jax.default_backend() == "cpu" else x


def _by_feature(x_TXB: Array) -> Array:
    """(X, M)"""
    return apart(x_TXB.transpose(1, 0, 2)).reshape(x_TXB.shape[1], -1)


def _are_tokens(x: Array) -> bool:
    return jnp.issubdtype(x.dtype, jnp.integer)


def _sigmoid(x: Array) -> Array:
    """Half the cost of the textbook's form on CPU."""
    return 0.5 + 0.5 * jnp.tanh(0.5 * x)


def _per_unit(keep_B: Array | None, hidden: int) -> Array | None:
    """The same for all units of a state, (N,)."""
    return None if keep_B is None else jnp.tile(keep_B, hidden)
