"""Training on a mesh learns what one device learns, whatever the axes."""

from dataclasses import replace
from functools import cache

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from scaling.config import Experts, Masked, NextToken, ObjectiveConfig, SpanCorruption, TransformerConfig, lengths
from scaling.parallel.layout import ALONE, Layout
from scaling.parallel.mesh import mesh_of
from scaling.parallel.shapes import leaves
from scaling.parallel.weights import unstaged
from scaling.training.losses import Knowledge, Task, Tokens
from scaling.training.step import Hyper, compiled_evaluate, compiled_init, compiled_step
from tests.jaxprs import equations

DECODER = TransformerConfig(vocab=64, dim=16, layers=2, heads=4, context=16)
# A large eps: else Adam makes whole steps of the rounding of gradients that are zero, as those of keys' biases.
NUMBERS = Hyper(lr=1e-2, weight_decay=0.1, beta1=0.9, beta2=0.95, eps=1e-2, clip=1.0, label_smoothing=0.1)
BATCH, STEPS = 8, 3
FAMILIES: dict[str, tuple[TransformerConfig, ObjectiveConfig]] = {
    "decoder": (replace(DECODER, kv_heads=2, biases=True, norm="layernorm", positions="learned"), NextToken()),
    "deep decoder": (replace(DECODER, layers=4), NextToken()),
    "alibi": (replace(DECODER, positions="alibi", window=8), NextToken()),
    "experts": (replace(DECODER, moe=Experts(experts=4, active=2, shared=1)), NextToken()),
    "encoder": (replace(DECODER, architecture="encoder", context=34, head_bias=True), Masked(text=30)),
    "encoder and decoder": (
        replace(DECODER, architecture="encoder_decoder", positions="t5", context=64, activation="relu"),
        SpanCorruption(text=34),
    ),
}
SLOW = pytest.mark.slow
PLACED = [
    ("decoder", Layout(data=2, fsdp=2, tensor=2)),
    pytest.param("decoder", Layout(fsdp=2, zero=1, microbatches=2, remat="block"), marks=SLOW),
    pytest.param("decoder", Layout(fsdp=4, zero=2, microbatches=2), marks=SLOW),
    pytest.param("deep decoder", Layout(pipe=2, repeats=2, fsdp=2, microbatches=4), marks=SLOW),
    pytest.param("alibi", Layout(context=2, tensor=2), marks=SLOW),
    pytest.param("experts", Layout(data=2, expert=2, tensor=2), marks=SLOW),
    pytest.param("encoder", Layout(context=2, fsdp=2), marks=SLOW),
    pytest.param("encoder and decoder", Layout(pipe=2, tensor=2, microbatches=2), marks=SLOW),
]


def task_of(family: str) -> Task:
    model, objective = FAMILIES[family]
    return Task(model, objective, lengths(model, objective).specials, smoothed=True)


def batch(task: Task, step: int) -> Tokens:
    draw = np.random.default_rng(step)
    text = lengths(task.model, task.objective).text
    window_BW = draw.integers(0, 48, (BATCH, text + 1)).astype(np.int32)
    return Tokens(window_BW, draw.integers(0, 2**32, (BATCH, 2), dtype=np.uint32))


@cache
def trained(family: str, layout: Layout) -> tuple:
    """Losses and gradient norms of a few steps, the parameters after them, and the held-out nats."""
    task, mesh = task_of(family), mesh_of(layout) if layout.devices > 1 else None
    state = compiled_init(task, layout, mesh)(0)
    step = compiled_step(task, "float32", layout, mesh)
    found = []
    for number in range(STEPS):
        state, metrics = step(state, batch(task, number), Knowledge(), NUMBERS)
        found.append((float(metrics.loss), float(metrics.grad_norm), float(metrics.bearing)))
    nats_BK, weights_BK = compiled_evaluate(task, "float32", layout, mesh)(state.params, batch(task, 9), Knowledge())
    params = unstaged(state.params, layout)
    return found, jax.tree.map(np.asarray, params), np.asarray(nats_BK), np.asarray(weights_BK)


@pytest.mark.parametrize(("family", "layout"), PLACED, ids=str)
def test_a_mesh_learns_what_one_device_learns(family, layout):
    expected = trained(family, replace(ALONE, microbatches=layout.microbatches) if family == "experts" else ALONE)
    found = trained(family, layout)
    # float32 sums in another order: 1e-7 each, some hundred of them.
    np.testing.assert_allclose(found[0], expected[0], rtol=2e-5)
    np.testing.assert_allclose(found[2], expected[2], rtol=2e-4, atol=2e-4)
    np.testing.assert_array_equal(found[3], expected[3])
    for mine, theirs in zip(jax.tree.leaves(found[1]), jax.tree.leaves(expected[1]), strict=True):
        np.testing.assert_allclose(mine, theirs, atol=1e-5)


@pytest.mark.parametrize("remat", ["none", "block"])
def test_no_device_keeps_the_layers_that_it_has_gathered(remat):
    task, layout = task_of("decoder"), Layout(fsdp=2, remat=remat)
    step = compiled_step(task, "float32", layout, mesh_of(layout))
    program = step.trace(compiled_init(task, layout, mesh_of(layout))(0), batch(task, 0), Knowledge(), NUMBERS).jaxpr
    gathers = [each for each in equations(program.jaxpr) if each.primitive.name == "all_gather"]
    divided = [leaf for leaf in leaves(task.model) if leaf.axes(layout)]
    in_layers = sum(leaf.is_layer for leaf in divided)
    # Of each of the layers once forward and once backward; of what lies beside them once.
    assert len(gathers) == 2 * task.model.layers * in_layers + (len(divided) - in_layers)


def test_parameters_begin_alike_on_every_mesh():
    task, layout = task_of("decoder"), Layout(data=2, fsdp=2, tensor=2)
    placed, alone = compiled_init(task, layout, mesh_of(layout))(3), compiled_init(task)(3)
    assert jax.tree.all(jax.tree.map(lambda a, b: (np.asarray(a) == np.asarray(b)).all(), placed, alone))


def test_each_device_holds_its_share_of_parameters_and_optimizer():
    task, layout = task_of("decoder"), Layout(fsdp=2, tensor=2)
    state = compiled_init(task, layout, mesh_of(layout))(0)
    up = state.params["decoder"]["blocks"]["0"]["mlp"]["up"]["kernel"]
    assert up.addressable_shards[0].data.shape == (2, DECODER.dim // 2, DECODER.hidden_dim // 2)
    moments = [leaf for leaf in jax.tree.leaves(state.optimizer) if leaf.shape == up.shape]
    assert moments and all(leaf.sharding == up.sharding for leaf in moments)


def test_the_same_seed_on_the_same_mesh_is_the_same_to_the_last_bit():
    layout = Layout(data=2, fsdp=2, tensor=2)
    first = trained("decoder", layout)
    trained.cache_clear()
    again = trained("decoder", layout)
    assert first[0] == again[0]
    assert jax.tree.all(jax.tree.map(lambda a, b: (a == b).all(), first[1], again[1]))


@pytest.mark.slow
def test_visits_that_find_no_slot_on_another_device_are_reported():
    model = replace(DECODER, moe=Experts(experts=4, active=2, capacity=0.25))
    task = Task(model, NextToken(), 0, smoothed=False)
    layout = Layout(expert=4)
    step = compiled_step(task, "float32", layout, mesh_of(layout))
    _, metrics = step(compiled_init(task, layout, mesh_of(layout))(0), batch(task, 0), Knowledge(), NUMBERS)
    # A quarter of the slots that even routing fills: at least three quarters of the visits find none.
    assert 0.75 <= float(metrics.dropped) < 1.0
    assert jnp.isfinite(metrics.loss)
