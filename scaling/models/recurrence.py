"""A recurrent layer through time and its gradient, as XLA's CPU compiler runs them fastest.

What was found by measuring, against `lax.scan` over (B, D) states
differentiated by JAX: the product with all inputs is one matrix product
before the loop, and the gradients of both kernels are one each after it; in
the loop a state is a column, (H, B), because a small batch on the narrow side
of the product keeps it near the machine's peak; the gates' arithmetic runs
over flat rows of H B numbers; what the backward loop needs is kept, not
computed again. Unrolling the loop gains nothing.

Letters: B sequences, T positions, H width of a state, G gates of a unit (4 in
an LSTM, 1 in an Elman network), Z = G H, N = H B.
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
        return Memory(jnp.tanh(z[0]).astype(memory.h.dtype), None), ()
    i, f, g, o = _sigmoid(z[0]), _sigmoid(z[1]), jnp.tanh(z[2]), _sigmoid(z[3])
    c = f * memory.c + i * g
    return Memory((o * jnp.tanh(c)).astype(memory.h.dtype), c), (i, f, g, o)


@partial(jax.custom_vjp, nondiff_argnums=(0,))
def recur(cell: Cell, z_ZTB: Array, kernel_HZ: Array, keep_TB: Array | None) -> Array:
    """The states of a layer after each step, (T, H, B), beginning at zero.

    z_ZTB: what the inputs bring to the gates, bias included. kernel_HZ: from
    the last state to the gates. keep_TB: 0 where the memory is emptied before
    a step, 1 elsewhere; float32.
    """
    return _forward(cell, z_ZTB, kernel_HZ, keep_TB)[0]


def _forward(cell: Cell, z_ZTB: Array, kernel_HZ: Array, keep_TB: Array | None) -> tuple[Array, tuple]:
    hidden, batch = kernel_HZ.shape[0], z_ZTB.shape[2]
    kernel_ZH = apart(kernel_HZ.T)

    def step(memory: Memory, t_keep: tuple) -> tuple[Memory, tuple]:
        t, keep_B = t_keep
        memory = kept(memory, _per_unit(keep_B, hidden))
        z_ZB = jnp.matmul(kernel_ZH, memory.h.reshape(hidden, batch), preferred_element_type=jnp.float32)
        z_ZB += jax.lax.dynamic_index_in_dim(z_ZTB, t, axis=1, keepdims=False)
        memory, gates = advance(cell, tuple(z_ZB.reshape(-1, hidden * batch)), memory)
        return memory, (memory, jnp.stack(gates).astype(z_ZTB.dtype) if gates else None)

    start = fresh(cell, jnp.zeros(hidden * batch, z_ZTB.dtype))
    steps = jnp.arange(z_ZTB.shape[1])
    _, (memory, gates_TGN) = jax.lax.scan(step, start, (steps, keep_TB))
    return memory.h.reshape(-1, hidden, batch), (memory, gates_TGN, kernel_HZ, keep_TB)


def _backward(cell: Cell, saved: tuple, dh_THB: Array) -> tuple[Array, Array, None]:
    memory, gates_TGN, kernel_HZ, keep_TB = saved
    steps, hidden, batch = dh_THB.shape

    def step(after: Memory, here: tuple) -> tuple[Memory, Array]:
        memory, before, gates, dh_N, keep_B = here
        dmemory = Memory(after.h + dh_N, after.c)
        dz_GN, dc_N = _retreat(cell, dmemory, memory, before, gates)
        dz_GN = dz_GN.astype(dh_THB.dtype)
        dh_HB = jnp.matmul(kernel_HZ, dz_GN.reshape(-1, batch), preferred_element_type=jnp.float32)
        return kept(Memory(dh_HB.reshape(-1), dc_N), _per_unit(keep_B, hidden)), dz_GN

    # The memory that each step began with.
    before = jax.tree.map(lambda x_TN: jnp.concatenate([jnp.zeros_like(x_TN[:1]), x_TN[:-1]]), memory)
    before = kept(before, None if keep_TB is None else jnp.tile(keep_TB, (1, hidden)))
    end = fresh(cell, jnp.zeros(hidden * batch))
    _, dz_TGN = jax.lax.scan(step, end, (memory, before, gates_TGN, dh_THB.reshape(steps, -1), keep_TB), reverse=True)
    dz_ZTB = apart(dz_TGN.reshape(steps, -1, batch).transpose(1, 0, 2))
    before_HTB = apart(before.h.reshape(steps, hidden, batch).transpose(1, 0, 2))
    dkernel_HZ = before_HTB.reshape(hidden, -1) @ dz_ZTB.reshape(len(dz_ZTB), -1).T
    return dz_ZTB, dkernel_HZ, None


recur.defvjp(_forward, _backward)


def _retreat(
    cell: Cell, after: Memory, memory: Memory, before: Memory, gates: Array | None
) -> tuple[Array, Array | None]:
    """Gradients of the gates' arguments, (G, N), and of the cell before, from those of the memory after a step."""
    h = memory.h.astype(jnp.float32)
    if cell == "rnn":
        return (after.h * (1 - h * h))[None], None
    i, f, g, o = gates.astype(jnp.float32)
    tanh_c = jnp.tanh(memory.c)
    dc = after.c + after.h * o * (1 - tanh_c * tanh_c)
    di, df, dg, do = dc * g, dc * before.c, dc * i, after.h * tanh_c
    return jnp.stack([di * i * (1 - i), df * f * (1 - f), dg * (1 - g * g), do * o * (1 - o)]), dc * f


def apart(x: Array) -> Array:
    """A transposition as a copy of its own: folded into a product, it makes it slower on CPU."""
    return jax.lax.optimization_barrier(x) if jax.default_backend() == "cpu" else x


def _sigmoid(x: Array) -> Array:
    """Half the cost of the textbook's form on CPU."""
    return 0.5 + 0.5 * jnp.tanh(0.5 * x)


def _per_unit(keep_B: Array | None, hidden: int) -> Array | None:
    """The same for all units of a state, (N,)."""
    return None if keep_B is None else jnp.tile(keep_B, hidden)
