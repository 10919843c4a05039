"""A recurrent layer through time and its gradient, as XLA's CPU compiler runs them fastest.

What was found by measuring, against `lax.scan` over (B, H) states
differentiated by JAX: the product with all inputs is one matrix product
before the loop, and the gradients of both kernels are one each after it; in
the loop a state is a column, (H, B), because a small batch on the narrow side
of the product keeps it near the machine's peak; the gates' arithmetic runs
over flat rows of H B numbers; and one buffer holds first what the inputs
bring, then the gates' values, then their gradients, for fresh memory costs
more than the arithmetic. Unrolling the loop gains nothing.

Letters: B sequences, T positions, M = T B, D width of the inputs, H of a
state, G gates of a unit (4 in an LSTM, 1 in an Elman network), Z = G H, N = H B.
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
    """One step from the gates' arguments, float32: i, f, g, o in an LSTM. The new memory, and the gates' values."""
    if cell == "rnn":
        h = jnp.tanh(z[0])
        return Memory(h.astype(memory.h.dtype), None), (h,)
    i, f, g, o = _sigmoid(z[0]), _sigmoid(z[1]), jnp.tanh(z[2]), _sigmoid(z[3])
    c = f * memory.c + i * g
    return Memory((o * jnp.tanh(c)).astype(memory.h.dtype), c), (i, f, g, o)


@jax.custom_vjp
def bring(kernel_DZ: Array, x_DM: Array) -> Array:
    """What inputs bring to the gates, (Z, M)."""
    return apart(kernel_DZ.T) @ x_DM


bring.defvjp(
    lambda kernel_DZ, x_DM: (bring(kernel_DZ, x_DM), (kernel_DZ, x_DM)),
    lambda saved, dz_ZM: (saved[1] @ dz_ZM.T, saved[0] @ dz_ZM),
)


@partial(jax.custom_vjp, nondiff_argnums=(0,))
def recur(cell: Cell, z_ZTB: Array, bias_Z: Array, kernel_HZ: Array, keep_TB: Array | None) -> Array:
    """The states of a layer after each step, (H, T, B), beginning at zero.

    z_ZTB: what the inputs bring to the gates. kernel_HZ: from the last state
    to the gates. keep_TB: 0 where the memory is emptied before a step, 1
    elsewhere; float32.
    """
    return _forward(cell, z_ZTB, bias_Z, kernel_HZ, keep_TB)[0]


def _forward(cell: Cell, z_ZTB: Array, bias_Z: Array, kernel_HZ: Array, keep_TB: Array | None) -> tuple[Array, tuple]:
    hidden, (_, steps, batch) = kernel_HZ.shape[0], z_ZTB.shape
    kernel_ZH = apart(kernel_HZ.T)

    def step(carry: tuple, t_keep: tuple) -> tuple[tuple, Array | None]:
        memory, gates_ZTB, h_HTB = carry
        t, keep_B = t_keep
        memory = kept(memory, _per_unit(keep_B, hidden))
        z_ZB = jnp.matmul(kernel_ZH, memory.h.reshape(hidden, batch), preferred_element_type=jnp.float32)
        z_ZB += _slot(gates_ZTB, t) + bias_Z[:, None]
        memory, gates = advance(cell, tuple(z_ZB.reshape(-1, hidden * batch)), memory)
        gates_ZB = jnp.stack(gates).reshape(-1, batch).astype(z_ZTB.dtype)
        return (memory, _put(gates_ZTB, gates_ZB, t), _put(h_HTB, memory.h.reshape(hidden, batch), t)), memory.c

    start = fresh(cell, jnp.zeros(hidden * batch, z_ZTB.dtype))
    h_HTB = jnp.zeros((hidden, steps, batch), z_ZTB.dtype)
    (_, gates_ZTB, h_HTB), c_TN = jax.lax.scan(step, (start, z_ZTB, h_HTB), (jnp.arange(steps), keep_TB))
    return h_HTB, (h_HTB, c_TN, gates_ZTB, kernel_HZ, keep_TB)


def _backward(cell: Cell, saved: tuple, dh_HTB: Array) -> tuple[Array, Array, Array, None]:
    h_HTB, c_TN, gates_ZTB, kernel_HZ, keep_TB = saved
    hidden, steps, batch = dh_HTB.shape

    def step(carry: tuple[Memory, Array], here: tuple) -> tuple[tuple, None]:
        dmemory, dz_ZTB = carry
        t, c_N, before_N, keep_B = here
        dmemory = Memory(dmemory.h + _slot(dh_HTB, t).reshape(-1), dmemory.c)
        gates_GN = _slot(gates_ZTB, t).reshape(-1, hidden * batch).astype(jnp.float32)
        dz_GN, dc_N = _retreat(cell, dmemory, c_N, before_N, gates_GN)
        for gate, dz_N in enumerate(dz_GN):
            dz_H1B = dz_N.reshape(hidden, 1, batch).astype(dz_ZTB.dtype)
            dz_ZTB = jax.lax.dynamic_update_slice(dz_ZTB, dz_H1B, (gate * hidden, t, 0))
        # Read back, so that its two uses do not compute it twice.
        dh_HB = jnp.matmul(kernel_HZ, _slot(dz_ZTB, t), preferred_element_type=jnp.float32)
        dmemory = kept(Memory(dh_HB.reshape(-1), dc_N), _per_unit(keep_B, hidden))
        return (dmemory, dz_ZTB), None

    # The memory that each step began with.
    h_HTB = jnp.pad(h_HTB[:, :-1], ((0, 0), (1, 0), (0, 0)))
    before_TN = None if c_TN is None else jnp.pad(c_TN[:-1], ((1, 0), (0, 0)))
    if keep_TB is not None:
        h_HTB = h_HTB * keep_TB.astype(h_HTB.dtype)
        before_TN = None if c_TN is None else before_TN * jnp.tile(keep_TB, (1, hidden))
    end = fresh(cell, jnp.zeros(hidden * batch))
    (_, dz_ZTB), _ = jax.lax.scan(
        step, (end, jnp.zeros_like(gates_ZTB)), (jnp.arange(steps), c_TN, before_TN, keep_TB), reverse=True
    )
    dz_ZM = dz_ZTB.reshape(len(dz_ZTB), -1)
    dkernel_HZ = apart(h_HTB).reshape(hidden, -1) @ dz_ZM.T
    return dz_ZTB, jnp.sum(dz_ZM, axis=1), dkernel_HZ, None


recur.defvjp(_forward, _backward)


def _retreat(cell: Cell, after: Memory, c_N: Array, before_N: Array, gates_GN: Array) -> tuple[Array, Array | None]:
    """Gradients of the gates' arguments, (G, N), and of the cell before, given those of the memory after a step."""
    if cell == "rnn":
        return (after.h * (1 - gates_GN[0] * gates_GN[0]),), None
    i, f, g, o = gates_GN
    tanh_c = jnp.tanh(c_N)
    dc = after.c + after.h * o * (1 - tanh_c * tanh_c)
    di, df, dg, do = dc * g, dc * before_N, dc * i, after.h * tanh_c
    return (di * i * (1 - i), df * f * (1 - f), dg * (1 - g * g), do * o * (1 - o)), dc * f


def apart(x: Array) -> Array:
    """A value computed once and kept as it is; folded into its uses, a transposition makes products slower on CPU."""
    return jax.lax.optimization_barrier(x) if jax.default_backend() == "cpu" else x


def _slot(x_ZTB: Array, t: Array) -> Array:
    return jax.lax.dynamic_index_in_dim(x_ZTB, t, axis=1, keepdims=False)


def _put(x_ZTB: Array, x_ZB: Array, t: Array) -> Array:
    return jax.lax.dynamic_update_index_in_dim(x_ZTB, x_ZB, t, axis=1)


def _sigmoid(x: Array) -> Array:
    """Half the cost of the textbook's form on CPU."""
    return 0.5 + 0.5 * jnp.tanh(0.5 * x)


def _per_unit(keep_B: Array | None, hidden: int) -> Array | None:
    """The same for all units of a state, (N,)."""
    return None if keep_B is None else jnp.tile(keep_B, hidden)
