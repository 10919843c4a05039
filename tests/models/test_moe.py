from dataclasses import replace
from functools import partial

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from flax import nnx

from scaling.config import Experts, TransformerConfig
from scaling.models import grouped
from scaling.models.layers import MLP, activate
from scaling.models.moe import MoE, balance_loss, choose, slots, z_loss

M, D, F, E = 48, 8, 12, 4
MODEL = TransformerConfig(vocab=64, dim=D, layers=2, heads=2, mlp_dim=F, moe=Experts(experts=E))
VARIANTS = {
    "mixtral": {},
    "switch": {"active": 1, "renormalise": False, "activation": "relu"},
    "shared": {"active": 2, "shared": 2, "renormalise": False},
    "granular": {"experts": 16, "active": 6, "dim": 3},
    "plenty of slots": {"capacity": 8.0},
}


def config(activation="swiglu", **experts) -> TransformerConfig:
    return replace(MODEL, activation=activation, moe=replace(MODEL.moe, **experts))


def init(model: TransformerConfig) -> dict:
    return nnx.to_pure_dict(nnx.state(MoE(model, nnx.Rngs(0))))


def weights_of(model: TransformerConfig) -> dict:
    """Random ones of the right shapes; drawn by numpy, which compiles nothing."""
    draw = np.random.default_rng(0)
    shapes = jax.eval_shape(lambda: init(model))
    return jax.tree.map(lambda w: jnp.asarray(draw.normal(size=w.shape, scale=w.shape[-2] ** -0.5), w.dtype), shapes)


def apply(model: TransformerConfig, weights: dict, x):
    graph = nnx.split(nnx.eval_shape(lambda: MoE(model, nnx.Rngs(0))))[0]
    return nnx.merge(graph, weights)(x)


jitted = jax.jit(apply, static_argnums=0)
jitted_choose = jax.jit(choose, static_argnums=2)


@pytest.fixture(scope="module")
def x():
    return jax.random.normal(jax.random.key(1), (M, D))


def every_expert_on_every_token(model, weights, x):
    """The definition; what no visit brings is multiplied by zero."""
    probabilities = jax.nn.softmax(x @ weights["router"])
    threshold = jnp.sort(probabilities, axis=1)[:, -model.moe.active, None]
    shares = jnp.where(probabilities >= threshold, probabilities, 0.0)
    if model.moe.renormalise:
        shares = shares / shares.sum(axis=1, keepdims=True)
    gate = x @ weights["gate"] if model.gated else None
    out = jnp.einsum("me,emd->md", shares, activate(model, x @ weights["up"], gate) @ weights["down"])
    if model.moe.shared:
        shared = {name: layer["kernel"] for name, layer in weights["shared"].items()}
        out += activate(model, x @ shared["up"], x @ shared["gate"]) @ shared["down"]
    return out


@pytest.mark.parametrize("variant", VARIANTS)
def test_outputs_and_gradients_are_those_of_every_expert_on_every_token(variant, x):
    model = config(**VARIANTS[variant])

    def ours(weights, x):
        out, routing = apply(model, weights, x)
        return jnp.sum(jnp.sin(3 * out)), (out, routing.dropped)

    def theirs(weights, x):
        out = every_expert_on_every_token(model, weights, x)
        return jnp.sum(jnp.sin(3 * out)), (out, 0.0)

    weights = weights_of(model)
    found, expected = (jax.jit(jax.grad(f, argnums=(0, 1), has_aux=True))(weights, x) for f in (ours, theirs))
    # float32 sums of up to 48 terms of order 1, in another order.
    jax.tree.map(lambda a, b: np.testing.assert_allclose(a, b, atol=2e-5, rtol=1e-4), found, expected)


def test_one_expert_is_the_mlp_itself(x):
    model = config(experts=1, active=1)
    weights = weights_of(model)
    graph = nnx.split(nnx.eval_shape(lambda: MLP(model, nnx.Rngs(0))))[0]
    mlp = nnx.merge(graph, {name: {"kernel": weights[name][0]} for name in ("gate", "up", "down")})
    np.testing.assert_allclose(jitted(model, weights, x)[0], mlp(x), atol=1e-6, rtol=1e-5)  # another order of sums


def test_the_names_and_shapes_of_the_parameters():
    shapes = jax.tree.map(jnp.shape, jax.eval_shape(lambda: init(config(shared=2, dim=5))))
    matrices = {"router": (D, E), "gate": (E, D, 5), "up": (E, D, 5), "down": (E, 5, D)}
    shared = {"gate": {"kernel": (D, 10)}, "up": {"kernel": (D, 10)}, "down": {"kernel": (10, D)}}
    assert shapes == {**matrices, "shared": shared}
    assert "gate" not in weights_of(config("gelu"))


def test_every_expert_begins_as_an_mlp_of_its_width():
    model = replace(config(experts=64), dim=64, heads=4, mlp_dim=256)
    weights = jax.jit(init, static_argnums=0)(model)
    # A million draws, 4096 for the router: their standard deviation is known to 0.1% and 1.1%.
    assert float(weights["up"].std()) == pytest.approx(64**-0.5, rel=0.01)
    assert float(weights["down"].std()) == pytest.approx(256**-0.5 / 4**0.5, rel=0.01)
    assert float(weights["router"].std()) == pytest.approx(64**-0.5, rel=0.05)
    assert np.abs(np.asarray(weights["up"][0] - weights["up"][1])).max() > 0.1


def multipliers() -> dict:
    """The router reads a token as logits; expert e multiplies a positive token by e + 1."""
    every = np.tile(np.eye(E, dtype=np.float32), (E, 1, 1))
    return {"router": every[0], "up": every, "down": every * np.arange(1, E + 1, dtype=np.float32)[:, None, None]}


MULTIPLIER = replace(config("relu", renormalise=False), dim=E, mlp_dim=E)


@pytest.mark.parametrize("way", ["loop", "batched", "ragged"])
def test_visits_beyond_the_capacity_are_dropped_later_choices_and_later_tokens_first(way, monkeypatch):
    monkeypatch.setattr(grouped, "way", lambda: way)
    model = replace(MULTIPLIER, moe=replace(MULTIPLIER.moe, capacity=0.75))
    assert slots(model.moe, tokens=4) == 2
    first, second = np.array([0, 1, 0, 0]), np.array([1, 0, 2, 1])
    x = np.full((4, E), 0.5, np.float32)
    x[np.arange(4), first], x[np.arange(4), second] = 3.0, 2.0
    # First choices fill expert 0 with tokens 0 and 2, so token 3 is dropped; of second choices
    # token 0 takes the last slot of expert 1, and tokens 1 (at expert 0) and 3 (at expert 1) are dropped.
    kept = [(0, 0), (0, 1), (1, 1), (2, 0), (2, 2)]
    probabilities = np.asarray(jax.nn.softmax(x))
    expected = np.zeros_like(x)
    for token, e in kept:
        expected[token] += probabilities[token, e] * (e + 1) * x[token]
    out, routing = jax.jit(partial(apply, model))(multipliers(), x)
    np.testing.assert_allclose(out, expected, rtol=1e-6)
    assert float(routing.dropped) == 3 / 8


def test_no_expert_takes_more_visits_than_its_slots(x):
    model = config(capacity=1.0)
    taken = slots(model.moe, M)
    assert taken == M * 2 // E
    weights = weights_of(model)
    route = jitted_choose(x, weights["router"], model.moe)
    visits = np.bincount(np.asarray(route.expert_KM).reshape(-1), minlength=E)
    assert visits.max() > taken
    _, routing = jitted(model, weights, x)
    assert float(routing.dropped) == pytest.approx(np.maximum(visits - taken, 0).sum() / visits.sum(), rel=1e-6)


@pytest.mark.parametrize(("capacity", "expected"), [(None, None), (1.25, 13), (1.1, 11), (0.01, 1)])
def test_slots_are_the_capacity_times_the_even_share_rounded_up(capacity, expected):
    assert slots(Experts(experts=8, active=1, capacity=capacity), tokens=80) == expected


def test_weights_are_the_probabilities_or_sum_to_one(x):
    router = weights_of(MODEL)["router"]
    plain, summed = (jitted_choose(x, router, config(renormalise=flag).moe) for flag in (False, True))
    picked = np.take_along_axis(np.asarray(jax.nn.softmax(x @ router)), np.asarray(plain.expert_KM.T), axis=1)
    np.testing.assert_allclose(plain.weight_KM.T, picked, rtol=1e-5)
    assert (plain.weight_KM[0] >= plain.weight_KM[1]).all()
    np.testing.assert_allclose(summed.weight_KM.sum(axis=0), 1.0, rtol=1e-6)
    np.testing.assert_allclose(summed.weight_KM, plain.weight_KM / plain.weight_KM.sum(axis=0), rtol=1e-6)


def test_an_even_router_has_a_balance_loss_of_one_and_a_z_loss_of_log_experts_squared(x):
    for weight, z_weight in ((0.5, 0.0), (0.0, 0.25)):
        model = config(balance_loss=weight, z_loss=z_weight)
        _, routing = jitted(model, weights_of(model) | {"router": jnp.zeros((D, E))}, x)
        assert float(routing.loss) == pytest.approx(weight + z_weight * np.log(E) ** 2, rel=1e-6)


@pytest.mark.parametrize("active", [1, 2])
def test_a_router_that_sends_everything_to_one_expert_has_a_balance_loss_of_experts_over_active(active, x):
    model = config(active=active, balance_loss=1.0, z_loss=0.0)
    # Every token has 60 more for expert 2 than for the others: of its probability nothing is left to them in float32.
    tokens = jnp.concatenate([x[:, :-1], jnp.ones((M, 1))], axis=1)
    router = jnp.zeros((D, E)).at[-1, 2].set(60.0)
    _, routing = jitted(model, weights_of(model) | {"router": router}, tokens)
    assert float(routing.loss) == pytest.approx(E / active, rel=1e-5)


def test_the_losses_are_their_definitions(x):
    route = jitted_choose(x, weights_of(MODEL)["router"], MODEL.moe)
    probabilities, logits = np.asarray(route.probabilities_ME, float), np.asarray(route.logits_ME, float)
    visits = np.array([(np.asarray(route.expert_KM) == e).sum() for e in range(E)])
    expected = E * sum(visits[e] / (2 * M) * probabilities[:, e].mean() for e in range(E))
    assert float(balance_loss(jnp.mean(route.probabilities_ME, axis=0), jnp.asarray(visits))) == pytest.approx(
        expected, rel=1e-6
    )
    expected = np.mean([np.log(np.exp(row).sum()) ** 2 for row in logits])
    assert float(z_loss(route.logits_ME)) == pytest.approx(expected, rel=1e-5)


def test_following_the_balance_loss_evens_the_load(x):
    model = config(active=1, balance_loss=1.0, z_loss=0.0)
    weights = weights_of(model)
    tokens = jnp.concatenate([x[:, :-1], jnp.ones((M, 1))], axis=1)

    def most_visited(router):
        return np.bincount(np.asarray(jitted_choose(tokens, router, model.moe).expert_KM[0]), minlength=E).max()

    def loss(router):
        return apply(model, weights | {"router": router}, tokens)[1].loss

    router = weights["router"].at[-1, 1].add(3.0)
    before, step = most_visited(router), jax.jit(jax.grad(loss))
    for _ in range(50):
        router = router - 0.5 * step(router)
    assert most_visited(router) < 0.6 * before


def test_experts_may_change_places_with_the_routers_columns(x):
    model = config(capacity=1.0, shared=1)
    weights = weights_of(model)
    order = jnp.array([2, 0, 3, 1])
    changed = {name: weights[name][order] for name in ("gate", "up", "down")}
    changed = weights | changed | {"router": weights["router"][:, order]}
    found, expected = jitted(model, changed, x), jitted(model, weights, x)
    # The softmax sums in another order.
    jax.tree.map(lambda a, b: np.testing.assert_allclose(a, b, rtol=1e-5, atol=1e-6), found, expected)


def test_half_precision_is_near_and_its_router_is_in_single(x):
    model = config()
    half = jax.tree.map(lambda w: w.astype(jnp.bfloat16), weights_of(model))
    wide = jax.tree.map(lambda w: w.astype(jnp.float32), half)
    route = jitted_choose(x.astype(jnp.bfloat16), half["router"], model.moe)
    expected = jitted_choose(x.astype(jnp.bfloat16).astype(jnp.float32), wide["router"], model.moe)
    jax.tree.map(np.testing.assert_array_equal, route, expected)

    @jax.jit
    def backward(weights, x):
        def scalar(weights, x):
            out, routing = apply(model, weights, x)
            return jnp.mean(out.astype(jnp.float32) ** 2) + routing.loss, out

        return jax.grad(scalar, has_aux=True)(weights, x)

    x = x.astype(jnp.bfloat16)
    gradients, out = backward(half, x)
    exact, near = backward(wide, x.astype(jnp.float32))
    assert out.dtype == jnp.bfloat16
    assert {g.dtype for g in jax.tree.leaves(gradients)} == {jnp.dtype(jnp.bfloat16)}
    # 8 significant bits, a few roundings: 2% of the largest.
    for found, expected in zip(jax.tree.leaves((gradients, out)), jax.tree.leaves((exact, near)), strict=True):
        np.testing.assert_allclose(found.astype(jnp.float32), expected, atol=0.02 * np.abs(expected).max())


def test_the_compiled_layer_computes_little_more_than_the_active_experts(monkeypatch):
    # XLA counts the body of a loop once: what is counted is the way without one. Rows and blocks are the same.
    monkeypatch.setattr(grouped, "way", lambda: "batched")
    model = replace(config(experts=8, active=2), dim=32, mlp_dim=64)
    tokens = 256

    def loss(weights, x):
        out, routing = apply(model, weights, x)
        return jnp.sum(out) + routing.loss

    arguments = jax.eval_shape(lambda: (weights_of(model), jnp.zeros((tokens, 32))))
    flops = jax.jit(jax.grad(loss, argnums=(0, 1))).lower(*arguments).compile().cost_analysis()["flops"]
    one_expert_on_every_token = 3 * 6 * tokens * 32 * 64
    # Two active experts, and a quarter to a half more rows in blocks that are not full; all eight would be 8.
    assert 2 * one_expert_on_every_token < flops < 3.5 * one_expert_on_every_token


def test_tokens_on_several_devices_give_the_same(x):
    model = config(capacity=1.0)
    weights = weights_of(model)
    mesh = jax.make_mesh((8,), ("data",), axis_types=(jax.sharding.AxisType.Auto,))
    apart = jax.device_put(x, jax.NamedSharding(mesh, jax.P("data")))
    found, expected = (jitted(model, weights, tokens) for tokens in (apart, x))
    jax.tree.map(lambda a, b: np.testing.assert_allclose(a, b, rtol=1e-5, atol=1e-6), found, expected)
