import re
from collections import Counter
from functools import partial

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from jax import lax
from jax.sharding import AxisType
from jax.sharding import PartitionSpec as P

from scaling.models.attention import attend_plainly
from scaling.models.attention_ring import my_positions, ring_attend
from scaling.models.positions import alibi, alibi_of, alibi_slopes, relative_bias, relative_bias_of
from scaling.models.sight import EVERYTHING, Pattern, Sight
from scaling.parallel.zigzag import unzigzag, zigzag

AXES = ("data", "fsdp", "tensor", "pipe", "expert", "context")
B, T, N, K, H, BUCKETS = 2, 16, 4, 2, 4, 8
ROWS = P(("data", "fsdp"), "context", "tensor")
CAUSAL, FULL = Pattern(causal=True), Pattern(causal=False)
DOCUMENTS = np.repeat([[0, 1, 2], [0, 1, 1]], [3, 8, 5], axis=1).astype(np.int32)
SOURCE = np.where(np.arange(2 * T) < [[2 * T - 5], [0]], 0, -1).astype(np.int32)  # the second is padding alone
ZEROS = np.zeros((B, T), np.int32)
PREFIX = np.array([3, 11], np.int32)
CASES = {
    "causal": (CAUSAL, EVERYTHING),
    "full": (FULL, EVERYTHING),
    "window": (Pattern(causal=True, window=5), EVERYTHING),
    "window both ways": (Pattern(causal=False, window=5), EVERYTHING),
    "documents": (CAUSAL, Sight(DOCUMENTS, DOCUMENTS)),
    "prefix": (CAUSAL, Sight(prefix_B=PREFIX)),
    "soft cap": (Pattern(causal=True, softcap=1.5), EVERYTHING),
    "T5 bias": (CAUSAL, EVERYTHING),
    "T5 bias both ways": (FULL, EVERYTHING),
    "ALiBi": (CAUSAL, EVERYTHING),
    "to a source": (FULL, Sight(ZEROS, SOURCE)),
    "all at once": (Pattern(causal=True, window=9, softcap=2.0), Sight(DOCUMENTS, DOCUMENTS, PREFIX)),
}
MESHES = {
    "2 shards": dict(data=2, tensor=2, context=2),
    "4 shards": dict(fsdp=2, context=4),
    "8 shards": dict(context=8),
}


def mesh_of(**sizes):
    shape = tuple(sizes.get(axis, 1) for axis in AXES)
    return jax.make_mesh(shape, AXES, axis_types=(AxisType.Auto,) * 6, devices=jax.devices()[: np.prod(shape)])


def inputs(case):
    keys = jax.random.split(jax.random.key(0), 4)
    source = 2 * T if case == "to a source" else T
    shapes = (B, T, N, H), (B, source, K, H), (B, source, K, H), (BUCKETS, N)
    return tuple(jax.random.normal(key, shape) for key, shape in zip(keys, shapes, strict=True))


def scalar(out):
    return jnp.sum(jnp.sin(3 * out))


def by_definition(case):
    """A scalar of the result, and its gradients to queries, keys, values and T5's table."""
    pattern, sight = CASES[case]

    @partial(jax.value_and_grad, argnums=(0, 1, 2, 3))
    def value(q, k, v, table):
        bias = alibi(N, T) if case == "ALiBi" else None
        if biased(case):
            bias = relative_bias(table, T, distance=8, both_ways=not pattern.causal)
        return scalar(attend_plainly(q, k, v, pattern, sight, scale=0.5, bias_NTS=bias))

    return jax.jit(value)(*inputs(case))


def biased(case):
    return case.startswith("T5") or case == "all at once"


def by_ring(case, **sizes):
    """The same from shards of the arrays, differentiated inside `shard_map`."""
    pattern, sight = CASES[case]
    shards, q, k, v, table = sizes["context"], *inputs(case)

    def local(q, k, v, table, sight):
        def value(q, k, v, table):
            bias_of = None
            if case == "ALiBi":
                heads = lax.axis_index("tensor") * q.shape[2] + jnp.arange(q.shape[2])
                bias_of = alibi_of(jnp.asarray(alibi_slopes(N))[heads])
            if biased(case):
                bias_of = relative_bias_of(table, T, distance=8, both_ways=not pattern.causal)
            out = ring_attend(q, k, v, pattern, sight, axis="context", shards=shards, scale=0.5, bias_of=bias_of)
            return lax.psum(scalar(out), ("data", "fsdp", "tensor", "context"))

        return jax.value_and_grad(value, argnums=(0, 1, 2, 3))(q, k, v, table)

    batch, specs = ("data", "fsdp"), (ROWS, ROWS, ROWS, P(None, "tensor"))
    sights = jax.tree.map(lambda x: P(batch, "context") if x.ndim == 2 else P(batch), sight)
    run = jax.shard_map(local, mesh=mesh_of(**sizes), in_specs=(*specs, sights), out_specs=(P(), specs))
    sent = [reordered(x, zigzag, shards) for x in (q, k, v)]
    total, gradients = jax.jit(run)(*sent, table, jax.tree.map(lambda x: reordered(x, zigzag, shards), sight))
    return total, (*(reordered(x, unzigzag, shards) for x in gradients[:3]), gradients[3])


def reordered(x, order, shards):
    """Rows are the second dimension; what has none stays."""
    return x if x.ndim == 1 else x[:, order(x.shape[1], shards)]


QUICK = [
    ("causal", "2 shards"),
    *((case, "4 shards") for case in ("T5 bias", "all at once")),
]
CASES_ON_MESHES = [
    pytest.param(case, mesh, marks=[] if (case, mesh) in QUICK else pytest.mark.slow)
    for mesh in MESHES
    for case in (CASES if mesh != "8 shards" else ("causal", "all at once"))
]


@pytest.mark.parametrize(("case", "mesh"), CASES_ON_MESHES)
def test_values_and_gradients_are_those_of_the_whole_sequence(case, mesh):
    ours, theirs = by_ring(case, **MESHES[mesh]), by_definition(case)
    # float32 sums of a few hundred terms of order 1, in another order.
    jax.tree.map(lambda a, b: np.testing.assert_allclose(a, b, atol=2e-5, rtol=1e-4), ours, theirs)


def compiled(pattern, shards, *, length, head_dim=8, gradients=False, sight=EVERYTHING):
    """A program of the ring alone, forward or with gradients, for one sequence and one query head a key head."""

    def local(q, k, v, sight):
        attend = partial(ring_attend, pattern=pattern, sight=sight, axis="context", shards=shards, scale=1.0)
        if not gradients:
            return attend(q, k, v)
        return jax.vjp(attend, q, k, v)[1](q)

    rows = P(None, "context")
    out = (rows, rows, rows) if gradients else rows
    run = jax.shard_map(local, mesh=mesh_of(context=shards), in_specs=(rows, rows, rows, rows), out_specs=out)
    x = jax.ShapeDtypeStruct((1, length, 2, head_dim), jnp.float32)
    return jax.jit(run).lower(x, x, x, sight).compile()


def permutes(program):
    """How often each shape is sent, {shape: times}, loops counted as often as they run."""
    parts = re.split(r"^(ENTRY )?(%[\w.]+) \(.*\{$", program.as_text(), flags=re.MULTILINE)[1:]
    bodies = dict(zip(parts[1::3], parts[2::3], strict=True))
    entry = parts[parts.index("ENTRY ") + 1]
    return count(bodies, entry)


def count(bodies, name):
    times = Counter()
    for line in bodies[name].splitlines():
        if sent := re.search(r"= (\S+?)\{\S* collective-permute(?:-start)?\(", line):
            times[sent[1]] += 1
        if loop := re.search(r" while\(.*body=(%[\w.]+).*known_trip_count\D+(\d+)", line):
            for shape, inside in count(bodies, loop[1]).items():
                times[shape] += inside * int(loop[2])
    return times


@pytest.mark.parametrize("shards", [2, *(pytest.param(shards, marks=pytest.mark.slow) for shards in (4, 8))])
@pytest.mark.parametrize("pattern", [CAUSAL, FULL])
def test_each_shard_sends_as_often_as_documented(shards, pattern):
    shape, turns = "f32[1,2,2,8]", shards - 1  # of k, v, dk and dv alike
    assert permutes(compiled(pattern, shards, length=2 * shards)) == {shape: 2 * turns}
    assert permutes(compiled(pattern, shards, length=2 * shards, gradients=True)) == {shape: (2 + 4) * turns}


def test_documents_go_round_with_their_keys():
    sight = Sight(*2 * [np.zeros((1, 16), np.int32)])
    program = compiled(CAUSAL, 8, length=16, gradients=True, sight=sight)
    assert permutes(program) == {"f32[1,2,2,8]": 6 * 7, "s32[1,2,1]": 2 * 7}


def test_nothing_but_permutes_is_sent():
    program = compiled(CAUSAL, 4, length=16, gradients=True).as_text()
    assert not re.search("all-reduce|all-gather|all-to-all|reduce-scatter", program)


@pytest.mark.parametrize("gradients", [False, True])
def test_a_causal_ring_computes_about_half_of_the_square(gradients):
    def flops(pattern):  # 4 shards: the scan of one step is unrolled by XLA, so that every step is counted
        program = compiled(pattern, 4, length=128, head_dim=128, gradients=gradients)
        assert " while(" not in program.as_text()
        return program.cost_analysis()["flops"]

    # 2n + 1 of 4n blocks; what is not a product of matrices is a few operations a score, beside 2 x 128 x 2.
    np.testing.assert_allclose(flops(CAUSAL) / flops(FULL), 9 / 16, rtol=0.02)


@pytest.mark.parametrize("pattern", [CAUSAL, pytest.param(FULL, marks=pytest.mark.slow)])
def test_memory_does_not_grow_with_the_number_of_shards(pattern):
    def scratch(shards):
        program = compiled(pattern, shards, length=128 * shards, gradients=True)
        return program.memory_analysis().temp_size_in_bytes

    two, eight = scratch(2), scratch(8)
    scores = 4 * 2 * 128 * 128  # bytes of one visit's scores
    assert eight < two + scores
    assert eight < 8 * scores  # the sequence's scores at a time would be 8 of them for each array kept


def test_positions_are_those_of_the_zigzag():
    run = jax.shard_map(
        lambda: my_positions(6, "context"), mesh=mesh_of(context=4), in_specs=(), out_specs=P("context")
    )
    np.testing.assert_array_equal(jax.jit(run)(), zigzag(24, 4))


def test_half_precision_sums_in_single():
    def local(q, k, v):
        return ring_attend(q, k, v, CAUSAL, axis="context", shards=4, scale=0.5)

    q, k, v = (reordered(x, zigzag, 4).astype(jnp.bfloat16) for x in inputs("causal")[:3])
    rows = P(None, "context")
    out = jax.jit(jax.shard_map(local, mesh=mesh_of(context=4), in_specs=(rows, rows, rows), out_specs=rows))(q, k, v)
    plain = attend_plainly(*inputs("causal")[:3], CAUSAL, scale=0.5)
    assert out.dtype == jnp.bfloat16
    # Inputs, weights and result are rounded to 8 bits, 2^-9 of values up to 3 each.
    np.testing.assert_allclose(reordered(out, unzigzag, 4).astype(np.float32), plain, atol=0.03)


def test_what_does_not_fit_the_mesh_is_refused():
    with pytest.raises(ValueError, match="shards=2, but mesh axis 'context' has 4 devices"):
        lower(2, 16)
    with pytest.raises(ValueError, match=r"12 positions cannot be cut into 8 equal chunks.*8 and 16"):
        lower(4, 12)


def lower(shards, length):
    def local(x):
        return ring_attend(x, x, x, CAUSAL, axis="context", shards=shards, scale=1.0)

    rows = P(None, "context")
    run = jax.shard_map(local, mesh=mesh_of(context=4), in_specs=rows, out_specs=rows)
    jax.eval_shape(run, jax.ShapeDtypeStruct((1, length, 2, 4), jnp.float32))
