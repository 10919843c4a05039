"""Visits to experts that other devices hold: rows sent there by an all-to-all, and their results sent back.

Every device of `expert` sends every other one a buffer of the same size, for
shapes are static. Without a capacity the buffer takes all visits that could
go there, so none is dropped; with a capacity it takes that many for every
expert there.

Letters: M tokens of this device, K experts that a token visits, E experts in
all, G devices of `expert`, L slots of the buffer for one of them, R = G L, D width.
"""

from typing import NamedTuple

import jax
import jax.numpy as jnp
from jax import Array

from scaling.models.grouped import arrange, collect, spread
from scaling.parallel.layout import Layout


class Away(NamedTuple):
    """What has arrived on this device, and the way back for what it sent."""

    x_RD: Array  # rows of all devices that visit an expert here
    expert_R: Array  # which of the experts here; their number where a slot is empty
    slot_KM: Array  # where each visit of this device's tokens was put; R where it found no slot
    row_R: Array  # the visit in each slot, counted first choices first; K M in an empty one
    found_E: Array  # visits of this device's tokens to each expert, dropped or not
    dropped: Array  # share of this device's visits that found no slot


def sent(x_MD: Array, expert_KM: Array, experts: int, limit: int | None, layout: Layout) -> Away:
    """Send every token to the devices whose experts it visits. limit: slots of an expert for this device; None: all."""
    here = experts // layout.expert
    active, tokens = expert_KM.shape
    expert_R = expert_KM.reshape(-1)
    ranked = _rank_within(expert_R, experts)
    found_E = jnp.zeros(experts, jnp.int32).at[expert_R].add(1)
    room = here * limit if limit is not None else tokens * min(active, here)
    taken_R = ranked < limit if limit is not None else jnp.ones_like(ranked, bool)
    device_R = jnp.where(taken_R, expert_R // here, layout.expert)
    slot_R = device_R * room + _rank_within(device_R, layout.expert + 1)
    slot_R = jnp.where(taken_R, slot_R, layout.expert * room).astype(jnp.int32)
    visits = active * tokens
    row_R = jnp.full(layout.expert * room, visits, jnp.int32)
    row_R = row_R.at[slot_R].set(jnp.arange(visits, dtype=jnp.int32), mode="drop")
    slot_KM = slot_R.reshape(active, tokens)
    token_R = jnp.where(row_R < visits, row_R % tokens, tokens)
    expert_of_slot_R = jnp.append(expert_R % here, here)[row_R]
    return Away(
        x_RD=_swap(spread(x_MD, token_R, slot_KM), layout),
        expert_R=_swap(expert_of_slot_R, layout),
        slot_KM=slot_KM,
        row_R=row_R,
        found_E=found_E,
        dropped=1 - jnp.mean(taken_R, dtype=jnp.float32),
    )


def returned(out_RD: Array, weight_KM: Array, away: Away, layout: Layout) -> Array:
    """The weighted sum of what each token's experts returned, (M, D)."""
    active, tokens = weight_KM.shape
    weight_R = spread(weight_KM.reshape(-1).astype(out_RD.dtype), away.row_R, away.slot_KM.reshape(1, -1))
    token_R = jnp.where(away.row_R < active * tokens, away.row_R % tokens, tokens)
    return collect(_swap(out_RD, layout) * weight_R[:, None], token_R, away.slot_KM)


def _swap(x_R: Array, layout: Layout) -> Array:
    """The g-th part of every device's rows to device g; twice is where it began."""
    parts_GL = x_R.reshape(layout.expert, -1, *x_R.shape[1:])
    return jax.lax.all_to_all(parts_GL, "expert", split_axis=0, concat_axis=0).reshape(x_R.shape)


def _rank_within(group_R: Array, groups: int) -> Array:
    """How many rows of the same group stand before each row."""
    place_R, _, sizes_E, _ = arrange(group_R, groups)
    starts_E = jnp.cumsum(sizes_E) - sizes_E
    return place_R - starts_E[group_R]
