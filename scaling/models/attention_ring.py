"""Attention over a sequence that is cut over the shards of one mesh axis: keys and values go round a ring.

Every shard keeps its queries. Keys and values move one shard on at each step,
and what each visit adds to the softmax is merged in float32 (running maximum,
sum, output; Liu et al. 2023, Ring Attention, arXiv:2310.01889, section 3).
The gradient is written out and sends keys and values round once more, the
other way, with the sums of their gradients behind them. Differentiating the scan would keep
every visitor instead, which is the whole sequence's keys and values on each
shard, checkpointed or not.

Sent by each shard of n, per call, with B batch, S its keys, K key heads, H
head size, and no other collective inside:

    forward   n - 1 permutes of k and n - 1 of v, B S K H elements of their type each;
    backward  the same again, and n - 1 permutes of dk and n - 1 of dv, B S K H float32 each;
    documents, where sight has them: n - 1 permutes of B S int32 forward and n - 1 backward.

Shards hold their rows in `zigzag` order. Under a causal pattern a shard then
computes 2n + 1 blocks of chunk by chunk out of the square's 4n, the same on
every shard: at home its early rows and its late rows see themselves, masked,
and the late see the early; of a visitor the late rows see its early chunk, and
besides either early sees early or late sees late, whichever chunk lies behind.

Letters: B batch, T queries and S keys of a shard, N query heads, K key heads, G = N / K heads
to a group, H head size, R query rows and C key columns of a block.
"""

from collections.abc import Callable
from functools import partial
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
from jax import Array, lax
from jax.tree_util import Partial

from scaling.models.attention_cpu import FORBIDDEN
from scaling.models.sight import EVERYTHING, Pattern, Sight
from scaling.parallel.zigzag import check_divisible

Bias = Callable[[Array, Array], Array]  # (places of queries (R,), of keys (C,)) -> what is added to scores, (N, R, C)


def my_positions(length_local: int, axis: str) -> Array:
    """Places in the whole sequence of this shard's rows, (length_local,); inside `shard_map`."""
    shards = lax.axis_size(axis)
    check_divisible(length_local * shards, shards)
    return _places(lax.axis_index(axis), length_local, shards)


def ring_attend(
    q_BTNH: Array,
    k_BSKH: Array,
    v_BSKH: Array,
    pattern: Pattern,
    sight: Sight = EVERYTHING,
    *,
    axis: str,
    shards: int,
    scale: float,
    bias_of: Bias | None = None,
) -> Array:
    """`attention.attend` inside `shard_map`, of rows in `zigzag` order over `axis`; result (B, T, N, H).

    sight: of this shard's queries and keys. bias_of: float arrays to be learned
    are bound to it, `jax.tree_util.Partial(function, array)`; JAX refuses to
    differentiate to what it merely closes over. Raises ValueError unless
    `shards` is the size of the axis and a shard's rows are two equal chunks.
    """
    if shards != lax.axis_size(axis):
        raise ValueError(
            f"ring_attend got shards={shards}, but mesh axis {axis!r} has {lax.axis_size(axis)} devices: pass its size"
        )
    queries, keys = q_BTNH.shape[1], k_BSKH.shape[1]
    for rows in (queries, keys):
        check_divisible(rows * shards, shards)
    groups = (k_BSKH.shape[2], q_BTNH.shape[2] // k_BSKH.shape[2])
    q_BKGTH = (q_BTNH * scale).reshape(*q_BTNH.shape[:2], *groups, -1).transpose(0, 2, 3, 1, 4)
    k_BKSH, v_BKSH = k_BSKH.swapaxes(1, 2), v_BSKH.swapaxes(1, 2)
    ring = _Ring(pattern, axis, shards, balanced=pattern.causal and sight.prefix_B is None and queries == keys)
    bias = bias_of if bias_of is None or isinstance(bias_of, Partial) else Partial(bias_of)
    out_BKGTH = _attend(ring, *_varying((q_BKGTH, k_BKSH, v_BKSH, sight, bias), axis))
    return out_BKGTH.transpose(0, 3, 1, 2, 4).reshape(*q_BTNH.shape[:3], -1)


class _Ring(NamedTuple):
    """What is known when the program is compiled."""

    pattern: Pattern
    axis: str
    shards: int
    balanced: bool  # no query sees a key ahead of it: blocks of such keys are left out
    direction: int = 1  # guests move from shard i to i + direction


class _Rows(NamedTuple):
    """Where rows stand; the rows of every array in this module are its last dimension but one."""

    place_T1: Array
    document_BT1: Array | None


class _Block(NamedTuple):
    """A rectangle of a shard's queries and a guest's keys: where it starts, its size."""

    query: int | Array
    key: int | Array
    rows: int
    columns: int
    by_place: bool  # whether the pattern forbids some of it


def _attend_forward(
    ring: _Ring, q_BKGTH: Array, k_BKSH: Array, v_BKSH: Array, sight: Sight, bias: Partial | None
) -> tuple[Array, tuple]:
    queries, guest = _rows(ring, sight, q_BKGTH.shape[-2]), (k_BKSH, v_BKSH, _document(sight, sight.keys_BS))
    out = jnp.zeros((*q_BKGTH.shape[:-1], v_BKSH.shape[-1]), jnp.float32)
    top = jnp.full((*q_BKGTH.shape[:-1], 1), FORBIDDEN, jnp.float32)
    softmax = _varying((top, jnp.zeros_like(top), out), *_axes(q_BKGTH))  # running maximum, sum, weighted values

    def visit(softmax: tuple, guest: tuple, step: int | Array) -> tuple[tuple, tuple]:
        for block in _blocks(ring, step, q_BKGTH.shape[-2], k_BKSH.shape[-2]):
            q_BKGRH, ours, before = _cut((q_BKGTH, queries, softmax), block.query, block.rows)
            k_BKCH, v_BKCH, theirs = _keys(ring, guest, step, block)
            raw_BKGRC = jnp.einsum("bkgrh,bkch->bkgrc", q_BKGRH, k_BKCH, preferred_element_type=jnp.float32)
            scores_BKGRC = _scores(ring, raw_BKGRC, bias, ours, theirs, sight.prefix_B, block.by_place)
            softmax = _put(softmax, _merged(before, scores_BKGRC, v_BKCH), block.query)
        return softmax, ()

    (top, total, out), _ = _tour(ring, visit, softmax, guest)
    out_BKGTH = (out / total).astype(v_BKSH.dtype)
    return out_BKGTH, (q_BKGTH, k_BKSH, v_BKSH, sight, bias, out_BKGTH, top, 1 / total)


def _merged(before: tuple[Array, Array, Array], scores_BKGRC: Array, v_BKCH: Array) -> tuple[Array, Array, Array]:
    top, total, out = before
    higher = jnp.maximum(top, jnp.max(scores_BKGRC, axis=-1, keepdims=True))
    weights_BKGRC, kept = jnp.exp(scores_BKGRC - higher), jnp.exp(top - higher)
    weighted = jnp.einsum(
        "bkgrc,bkch->bkgrh", weights_BKGRC.astype(v_BKCH.dtype), v_BKCH, preferred_element_type=jnp.float32
    )
    return higher, kept * total + jnp.sum(weights_BKGRC, axis=-1, keepdims=True), kept * out + weighted


def _attend_backward(ring: _Ring, kept: tuple, dout_BKGTH: Array) -> tuple:
    """With weights p, ds = p (dp - sum(do o)), block by block as forward."""
    # The other way round: else XLA takes the guests of the forward tour for these, and keeps them all that time.
    ring = ring._replace(direction=-1)
    q_BKGTH, k_BKSH, v_BKSH, sight, bias, out_BKGTH, top, inverse = kept
    queries, guest = _rows(ring, sight, q_BKGTH.shape[-2]), (k_BKSH, v_BKSH, _document(sight, sight.keys_BS))
    share = jnp.sum(dout_BKGTH.astype(jnp.float32) * out_BKGTH, axis=-1, keepdims=True)
    mine = (q_BKGTH, dout_BKGTH, queries, top, inverse, share)

    def visit(held: tuple, guest: tuple, step: int | Array) -> tuple[tuple, tuple]:
        dq, dbias = held
        dk_dv = _zeros((k_BKSH, v_BKSH))
        for block in _blocks(ring, step, q_BKGTH.shape[-2], k_BKSH.shape[-2]):
            ours, theirs = _cut(mine, block.query, block.rows), _keys(ring, guest, step, block)
            dq_here, dbias_here, dk_dv_here = _block_gradients(ring, ours, theirs, bias, sight.prefix_B, block.by_place)
            dq = _put(dq, _cut(dq, block.query, block.rows) + dq_here, block.query)
            dk_dv = _put(dk_dv, _added(_cut(dk_dv, block.key, block.columns), dk_dv_here), block.key)
            dbias = _added(dbias, dbias_here)
        return (dq, dbias), dk_dv

    (dq, dbias), (dk, dv) = _tour(ring, visit, _zeros((q_BKGTH, bias)), guest)
    d_all = jax.tree.map(lambda d, x: d.astype(x.dtype), (dq, dk, dv, dbias), (q_BKGTH, k_BKSH, v_BKSH, bias))
    return *d_all[:3], None, d_all[3]


def _block_gradients(
    ring: _Ring, ours: tuple, theirs: tuple, bias: Partial | None, prefix_B: Array | None, by_place: bool
) -> tuple[Array, Any, tuple[Array, Array]]:
    """Of queries, of the bias's arrays, and of keys and values."""
    q_BKGRH, dout_BKGRH, queries, top, inverse, share = ours
    k_BKCH, v_BKCH, keys = theirs
    product = partial(jnp.einsum, preferred_element_type=jnp.float32)
    scores_BKGRC, pull = jax.vjp(
        lambda raw, bias: _scores(ring, raw, bias, queries, keys, prefix_B, by_place),
        product("bkgrh,bkch->bkgrc", q_BKGRH, k_BKCH),
        bias,
    )
    weights_BKGRC = jnp.exp(scores_BKGRC - top) * inverse
    dscores_BKGRC = weights_BKGRC * (product("bkgrh,bkch->bkgrc", dout_BKGRH, v_BKCH) - share)
    draw_BKGRC, dbias = pull(dscores_BKGRC)
    draw_BKGRC = draw_BKGRC.astype(k_BKCH.dtype)
    dk_BKCH = product("bkgrc,bkgrh->bkch", draw_BKGRC, q_BKGRH)
    dv_BKCH = product("bkgrc,bkgrh->bkch", weights_BKGRC.astype(v_BKCH.dtype), dout_BKGRH)
    return product("bkgrc,bkch->bkgrh", draw_BKGRC, k_BKCH), dbias, (dk_BKCH, dv_BKCH)


@partial(jax.custom_vjp, nondiff_argnums=(0,))
def _attend(ring: _Ring, q_BKGTH: Array, k_BKSH: Array, v_BKSH: Array, sight: Sight, bias: Partial | None) -> Array:
    return _attend_forward(ring, q_BKGTH, k_BKSH, v_BKSH, sight, bias)[0]


_attend.defvjp(_attend_forward, _attend_backward)


def _tour(ring: _Ring, visit: Callable, held: Any, guest: Any) -> tuple[Any, Any]:
    """Every shard is visited by every other's guest; returns what it holds in the end, and the sums for its own.

    visit(held, guest, step) -> (held, what is to be added to the guest's sums).
    A guest is sent on before it is used, and its sums arrive after, so that both can move while others are computed.
    """

    def sent(tree: Any) -> Any:
        # A way back is written as the reverse of each pair, so that XLA tells it apart even between two shards.
        around = [(shard, (shard + 1) % ring.shards)[:: ring.direction] for shard in range(ring.shards)]
        return jax.tree.map(lambda x: lax.ppermute(x, ring.axis, around), tree)

    def stage(carry: tuple, step: Array) -> tuple[tuple, None]:
        held, guest, sums = carry
        onward, arrived = sent(guest), sent(sums)
        held, more = visit(held, guest, step)
        return (held, onward, _added(arrived, more)), None

    last = ring.shards - 1
    if last == 0:
        return visit(held, guest, 0)
    onward = sent(guest)
    held, own = visit(held, guest, 0)
    guest, onward = onward, sent(onward) if last > 1 else None
    held, sums = visit(held, guest, 1)
    if last > 2:
        # A scan, so that the scores of one visit are gone before the next.
        (held, onward, sums), _ = lax.scan(stage, (held, onward, sums), jnp.arange(2, last))
    if last > 1:
        arrived = sent(sums)
        held, more = visit(held, onward, last)
        sums = _added(arrived, more)
    return held, _added(own, sent(sums))


def _blocks(ring: _Ring, step: int | Array, rows: int, columns: int) -> list[_Block]:
    """What is computed at a step, 0 being at home."""
    windowed = ring.pattern.window is not None
    if not ring.balanced:
        return [_Block(0, 0, rows, columns, ring.pattern.causal or windowed)]
    half = rows // 2
    late_and_early = _Block(half, 0, half, half, windowed)
    if isinstance(step, int) and step == 0:
        return [_Block(0, 0, half, half, True), late_and_early, _Block(half, half, half, half, True)]
    # A guest from a lower shard: its early chunk lies behind ours. From a higher: its late chunk behind our late.
    same = jnp.where(_home(ring, step) < lax.axis_index(ring.axis), 0, half)
    return [late_and_early, _Block(same, same, half, half, windowed)]


def _scores(
    ring: _Ring,
    raw_BKGRC: Array,
    bias: Partial | None,
    queries: _Rows,
    keys: _Rows,
    prefix_B: Array | None,
    by_place: bool,
) -> Array:
    """Products of queries and keys, with soft cap, bias and mask."""
    scores_BKGRC, place_C = raw_BKGRC, keys.place_T1[:, 0]
    if ring.pattern.softcap is not None:
        scores_BKGRC = ring.pattern.softcap * jnp.tanh(scores_BKGRC / ring.pattern.softcap)
    if bias is not None:
        bias_NRC = bias(queries.place_T1[:, 0], place_C).astype(jnp.float32)
        scores_BKGRC = scores_BKGRC + bias_NRC.reshape(scores_BKGRC.shape[1:])
    if by_place:
        allowed = ring.pattern.static_allowed(queries.place_T1, place_C)
        if prefix_B is not None:
            allowed = (allowed | (place_C < prefix_B[:, None, None]))[:, None, None]
        scores_BKGRC = jnp.where(allowed, scores_BKGRC, FORBIDDEN)
    if queries.document_BT1 is not None and keys.document_BT1 is not None:
        same_BRC = queries.document_BT1 == keys.document_BT1.swapaxes(1, 2)
        scores_BKGRC = jnp.where(same_BRC[:, None, None], scores_BKGRC, FORBIDDEN)
    return scores_BKGRC


def _places(shard: int | Array, length_local: int, shards: int) -> Array:
    """Of a shard's rows in the whole sequence, (length_local,); as `zigzag` orders them."""
    half = length_local // 2
    early = jnp.arange(half)
    return jnp.concatenate([shard * half + early, (2 * shards - 1 - shard) * half + early])


def _rows(ring: _Ring, sight: Sight, length_local: int) -> _Rows:
    place_T = _places(lax.axis_index(ring.axis), length_local, ring.shards)
    return _Rows(place_T[:, None], _document(sight, sight.queries_BT))


def _home(ring: _Ring, step: int | Array) -> Array:
    """The shard that the guest of a step belongs to."""
    return (lax.axis_index(ring.axis) - ring.direction * step) % ring.shards


def _document(sight: Sight, which: Array | None) -> Array | None:
    both = sight.queries_BT is not None and sight.keys_BS is not None
    return which[..., None] if both and which is not None else None


def _keys(ring: _Ring, guest: tuple, step: int | Array, block: _Block) -> tuple[Array, Array, _Rows]:
    """A block's keys and values, and where they stand."""
    k_BKSH, v_BKSH, document_BS1 = guest
    place_S1 = _places(_home(ring, step), k_BKSH.shape[-2], ring.shards)[:, None]
    return _cut((k_BKSH, v_BKSH, _Rows(place_S1, document_BS1)), block.key, block.columns)


def _cut(tree: Any, start: int | Array, size: int) -> Any:
    return jax.tree.map(lambda x: lax.dynamic_slice_in_dim(x, start, size, axis=x.ndim - 2), tree)


def _put(tree: Any, part: Any, start: int | Array) -> Any:
    return jax.tree.map(lambda x, p: lax.dynamic_update_slice_in_dim(x, p, start, axis=x.ndim - 2), tree, part)


def _added(tree: Any, more: Any) -> Any:
    return jax.tree.map(jnp.add, tree, more)


def _zeros(tree: Any) -> Any:
    """float32 sums of the tree's shapes, varying over the same mesh axes."""
    return jax.tree.map(lambda x: _varying(jnp.zeros(x.shape, jnp.float32), *_axes(x)), tree)


def _axes(x: Array) -> tuple[str, ...]:
    """Mesh axes over which a value differs."""
    return tuple(sorted(jax.typeof(x).manual_axis_type.varying))


def _varying(tree: Any, *axes: str) -> Any:
    """The arrays marked as differing over `axes` and over those that any of them differs over.

    So that the gradient of an array that is the same on some axis is summed over it once, outside of the ring.
    """
    tree = jax.tree.map(jnp.asarray, tree)
    everywhere = set(axes).union(*map(_axes, jax.tree.leaves(tree)))

    def marked(x: Array) -> Array:
        missing = everywhere.difference(_axes(x))
        return lax.pcast(x, tuple(sorted(missing)), to="varying") if missing else x

    return jax.tree.map(marked, tree)
