"""Who may see whom in attention.

A `Pattern` is the same for every sequence and known when the model is
compiled; a `Sight` says what differs from row to row.

Letters: B batch (or batch times heads), T query position, S key position.
"""

from typing import NamedTuple

import jax.numpy as jnp
import numpy as np
from jax import Array


class Pattern(NamedTuple):
    """Of one layer."""

    causal: bool
    window: int | None = None  # keys less than so many tokens back are seen; and, unless causal, ahead
    softcap: float | None = None  # scores -> cap * tanh(scores / cap)

    def static_allowed(self, queries_T1: np.ndarray | Array, keys_S: np.ndarray | Array) -> np.ndarray | Array:
        """Whether a query may see a key, (T, S), as far as their positions say; positions may be traced."""
        allowed_TS = np.ones(np.broadcast_shapes(queries_T1.shape, keys_S.shape), bool)
        if self.causal:
            allowed_TS = allowed_TS & (keys_S <= queries_T1)
        if self.window is not None:
            allowed_TS = allowed_TS & (abs(queries_T1 - keys_S) < self.window)
        return allowed_TS


class Sight(NamedTuple):
    """Of one batch; None where nothing is restricted or opened."""

    queries_BT: Array | None = None  # document of each query,
    keys_BS: Array | None = None  # and of each key: equal ones see each other
    prefix_B: Array | None = None  # that many first keys are seen by every query, whatever the pattern says

    def allowed(self, static_TS: np.ndarray, queries: slice, keys: slice) -> np.ndarray | Array:
        """What is allowed in the end, (T, S), or (B, T, S) where rows differ. static_TS: what the pattern says."""
        allowed = static_TS
        if self.prefix_B is not None:
            position_S = np.arange(keys.start, keys.stop)
            allowed = static_TS | (position_S < self.prefix_B[:, None, None])
        if self.queries_BT is not None and self.keys_BS is not None:
            allowed = allowed & (self.queries_BT[:, queries, None] == self.keys_BS[:, None, keys])
        return allowed


EVERYTHING = Sight()


def full_mask(pattern: Pattern, sight: Sight, positions: int, keys: int) -> np.ndarray | Array:
    """Everything that pattern and sight allow, (T, S) or (B, T, S)."""
    static_TS = pattern.static_allowed(np.arange(positions)[:, None], np.arange(keys))
    return jnp.asarray(sight.allowed(static_TS, slice(0, positions), slice(0, keys)))
