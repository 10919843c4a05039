"""On programs compiled here, and on lines as compilers of accelerators write them."""

from functools import partial

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from jax import lax
from jax.sharding import Mesh
from jax.sharding import PartitionSpec as P

from scaling.parallel.hlo import collectives

MESH = {"data": 2, "pipe": 2, "tensor": 2}
ROWS, WIDTH = 8, 4  # of each device's array; 128 bytes in float32
BYTES = ROWS * WIDTH * 4


def text_of(function):
    """The compiled text of a function of each device's (ROWS, WIDTH)."""
    mesh = Mesh(np.array(jax.devices()[:8]).reshape(2, 2, 2), tuple(MESH))
    spec = P(tuple(MESH))
    run = jax.shard_map(function, mesh=mesh, in_specs=spec, out_specs=spec, check_vma=False)
    return jax.jit(run).lower(jax.ShapeDtypeStruct((8 * ROWS, WIDTH), jnp.float32)).compile().as_text()


def around(axis):
    return partial(lax.ppermute, axis_name=axis, perm=[(0, 1), (1, 0)])


def whole_and_back(x):
    gathered = lax.all_gather(x, "tensor", tiled=True)
    return lax.psum_scatter(jnp.sin(gathered), ("data", "tensor"), tiled=True).repeat(2, 0)


@pytest.mark.parametrize(
    ("function", "found"),
    [
        (lambda x: lax.psum(x, "tensor"), [("all-reduce", ("tensor",), BYTES, 1)]),
        (lambda x: lax.pmax(x, ("data", "pipe")), [("all-reduce", ("data", "pipe"), BYTES, 1)]),
        (lambda x: lax.psum(x, tuple(MESH)), [("all-reduce", tuple(MESH), BYTES, 1)]),
        (around("pipe"), [("collective-permute", ("pipe",), BYTES, 1)]),
        (
            whole_and_back,
            [("all-gather", ("tensor",), 2 * BYTES, 1), ("reduce-scatter", ("data", "tensor"), 2 * BYTES, 1)],
        ),
        (
            lambda x: lax.all_to_all(x.reshape(2, -1), "data", 0, 0).reshape(x.shape),
            [("all-to-all", ("data",), BYTES, 1)],
        ),
        (jnp.sin, []),
    ],
)
def test_kind_axes_and_bytes_are_those_that_were_written(function, found):
    assert [one[:4] for one in collectives(text_of(function), MESH)] == found


def test_what_stands_in_loops_counts_as_often_as_they_run():
    def inner(x, _):
        return jnp.sin(around("pipe")(x)), None

    def outer(x, _):
        return jnp.cos(lax.scan(inner, x, length=5)[0]), None

    (one,) = collectives(text_of(lambda x: lax.scan(outer, x, length=3)[0]), MESH)
    assert (one.times, one.is_certain, one.bytes) == (15, True, 15 * BYTES)


def test_a_branch_and_a_loop_of_unknown_length_are_not_certain():
    def branch(x):
        return lax.cond(x[0, 0] > 0, lambda x: lax.psum(jnp.sin(x), "data"), jnp.cos, x)

    def loop(x):
        return lax.while_loop(lambda x: x[0, 0] < 1, lambda x: around("pipe")(jnp.exp(x)), x)

    for function in (branch, loop):
        (one,) = collectives(text_of(function), MESH)
        assert (one.times, one.is_certain) == (1, False)


def test_sums_that_the_compiler_combines_count_together():
    def sums(x):
        return lax.psum(jnp.sin(x), "data") + jnp.tile(lax.psum(jnp.sum(x, axis=0), "data"), (ROWS, 1))

    assert sum(one.bytes for one in collectives(text_of(sums), MESH)) == BYTES + WIDTH * 4


def test_a_collective_says_where_it_was_written():
    (one,) = collectives(text_of(lambda x: lax.psum(x, "tensor")), MESH)
    here = test_a_collective_says_where_it_was_written.__code__.co_firstlineno
    assert one.line == f"{__file__}:{here + 1}" and one.op_name.endswith("psum")


def program(line):
    return f"HloModule step\n\nENTRY %main (p: f32[4]) -> f32[4] {{\n  {line}\n}}\n"


# As XLA writes programs for GPU and TPU: asynchronous, groups as an iota, several operands.
WRITTEN = {
    "%s = ((f32[2,4]{1,0}), f32[4,4]{1,0}) all-gather-start(%p), replica_groups=[4,2]<=[8], dimensions={0}": (
        "all-gather", ("tensor",), 64,
    ),
    "%s = (f32[4]{0}, f32[8]{0:T(256)}) all-gather-start(%p), replica_groups=[4,2]<=[2,2,2]T(1,2,0), dimensions={0}": (
        "all-gather", ("data",), 32,
    ),
    "%s = (bf16[4]{0}, bf16[4]{0}, u32[], u32[]) collective-permute-start(%p), source_target_pairs={{0,2},{2,0}}": (
        "collective-permute", ("pipe",), 8,
    ),
    "%s = (f32[4]{0}, /*index=1*/s8[3]{0}) all-reduce-start(%p, %q), replica_groups={}, to_apply=%sum": (
        "all-reduce", tuple(MESH), 19,
    ),
    "ROOT %s = ((f32[4], f32[6]), (f32[2], f32[3])) reduce-scatter-start(%p, %q), replica_groups={{0,1},{2,3},{4,5}}": (
        "reduce-scatter", ("tensor",), 40,
    ),
    "%s = f8e4m3fn[4]{0} all-reduce(%p), replica_groups={{0,1,2},{3,4,5}}, to_apply=%sum": ("all-reduce", (), 4),
}  # fmt: skip


@pytest.mark.parametrize("line", WRITTEN)
def test_forms_of_other_platforms_are_read(line):
    (one,) = collectives(program(line), MESH)
    assert (one.kind, one.axes, one.payload_bytes) == WRITTEN[line]


def test_collectives_of_single_devices_are_none():
    line = "%s = f32[4]{0} all-reduce(%p), replica_groups={{0},{1},{2},{3},{4},{5},{6},{7}}, to_apply=%sum"
    assert collectives(program(line), MESH) == ()


def test_what_is_no_program_is_refused():
    with pytest.raises(ValueError, match=r"no computation begins with ENTRY in its 5 characters.*compiled\.as_text"):
        collectives("hello", MESH)
