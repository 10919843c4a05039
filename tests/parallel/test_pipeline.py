"""The pipeline's schedule: what comes out is what one device computes, in as many steps as the formula says."""

import re
from functools import partial

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from jax.sharding import PartitionSpec as P

from scaling.parallel.layout import Layout
from scaling.parallel.mesh import mesh_of
from scaling.parallel.pipeline import in_parts, joined, pipelined

WIDTH, ROWS = 4, 3


def stage(weights_LDD: jax.Array, x_MD: jax.Array, part: jax.Array) -> tuple[jax.Array, jax.Array]:
    """Some layers of a toy; what it counts is the number of its microbatch, once a visit."""
    for w_DD in weights_LDD:
        x_MD = jnp.tanh(x_MD @ w_DD) + x_MD
    return x_MD, part + 1.0


def on_mesh(layout: Layout, layers: int) -> tuple:
    """The pipeline's loss, its gradients and its counts, compiled; and the arrays it takes."""
    draw = np.random.default_rng(0)
    weights_LDD = draw.normal(size=(layers, WIDTH, WIDTH)).astype(np.float32)
    x_AMD = draw.normal(size=(layout.microbatches, ROWS, WIDTH)).astype(np.float32)

    def loss(weights: jax.Array, x_AMD: jax.Array) -> tuple[jax.Array, jax.Array]:
        own = weights if layout.repeats == 1 else [weights[repeat, 0] for repeat in range(layout.repeats)]
        out_AMD, counted = pipelined(stage, own, x_AMD, layout)
        return jnp.sum(jnp.sin(out_AMD)) / layout.pipe, (out_AMD, counted)  # all stages hold the same result

    def run(weights: jax.Array, x_AMD: jax.Array) -> tuple:
        grads, (out_AMD, counted) = jax.grad(loss, has_aux=True)(weights, x_AMD)
        return grads, out_AMD, counted[None]

    if layout.repeats > 1:
        weights_LDD = weights_LDD.reshape(layout.repeats, layout.pipe, -1, WIDTH, WIDTH)
    divided = P("pipe") if layout.repeats == 1 else P(None, "pipe")
    body = jax.shard_map(
        run, mesh=mesh_of(layout), in_specs=(divided, P()), out_specs=(divided, P(), P("pipe")), check_vma=False
    )
    return jax.jit(body).lower(weights_LDD, x_AMD).compile(), weights_LDD, x_AMD


def alone(weights_LDD: jax.Array, x_AMD: jax.Array) -> jax.Array:
    return jax.vmap(lambda x_MD: stage(weights_LDD, x_MD, jnp.zeros(()))[0])(x_AMD)


@pytest.mark.parametrize(
    "layout",
    [
        Layout(pipe=4, microbatches=4),
        Layout(pipe=4, microbatches=1),
        Layout(pipe=2, microbatches=5),
        Layout(pipe=2, repeats=2, microbatches=2),
        Layout(pipe=4, repeats=2, microbatches=6),
    ],
    ids=lambda layout: f"{layout.pipe} stages, {layout.repeats} repeats, {layout.microbatches} microbatches",
)
def test_a_pipeline_computes_what_one_device_does_in_the_steps_of_the_formula(layout):
    compiled, weights, x_AMD = on_mesh(layout, layers=8)
    grads, out_AMD, counted_P = compiled(weights, x_AMD)
    flat = weights.reshape(-1, WIDTH, WIDTH)
    expected_out, pull = jax.vjp(lambda w: alone(w, x_AMD), flat)
    # Some hundred float32 additions in another order.
    np.testing.assert_allclose(out_AMD, expected_out, rtol=1e-5, atol=1e-5)
    np.testing.assert_allclose(grads.reshape(flat.shape), pull(jnp.cos(expected_out))[0], rtol=1e-4, atol=1e-5)
    # Every stage has worked on every microbatch once a repeat, and on nothing else.
    visits = layout.repeats * layout.microbatches * (layout.microbatches + 1) / 2
    np.testing.assert_array_equal(counted_P, np.full(layout.pipe, visits))
    loops = [int(n) for n in re.findall(r'known_trip_count":\{"n":"(\d+)"', compiled.as_text())]
    assert sum(loops) in (2 * layout.ticks, 2 * layout.ticks - 2), "the schedule's steps, forward and backward"


def test_the_bubble_is_the_share_of_steps_in_which_a_stage_is_idle():
    layout = Layout(pipe=4, repeats=2, microbatches=8)
    assert layout.ticks == 2 * 8 + 3
    assert layout.bubble == pytest.approx(3 / 19)
    assert Layout(pipe=4, microbatches=8).bubble == pytest.approx(3 / 11)


def test_rows_are_dealt_to_microbatches_and_joined_in_their_order():
    x_B = jnp.arange(12)
    dealt = partial(in_parts, layout=Layout(microbatches=3))(x_B)
    np.testing.assert_array_equal(dealt[0], [0, 3, 6, 9])
    np.testing.assert_array_equal(joined(dealt), x_B)
