from dataclasses import dataclass

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from jax.extend.core import ClosedJaxpr, Jaxpr

from scaling.models import grouped
from scaling.models.grouped import apply_grouped, arrange, block_rows, collect, places, spread

R, E, D, F = 100, 4, 6, 5
WAYS = ("loop", "batched", "ragged")


@pytest.fixture(params=WAYS)
def way(request, monkeypatch):
    """Every platform's way, on CPU."""
    monkeypatch.setattr(grouped, "way", lambda: request.param)
    return request.param


def groups_of(kind: str) -> np.ndarray:
    draw = np.random.default_rng(0).integers(0, E, R)
    return {"mixed": draw, "one takes all": np.full(R, 2), "one is empty": np.where(draw == 1, 3, draw)}[kind]


KINDS = ("mixed", "one takes all", "one is empty")


def squash(x, weights, product):
    """Two products with something between them."""
    return product(jnp.tanh(product(x, weights["in"])), weights["out"])


@dataclass(frozen=True)
class Given:
    rows: jax.Array
    weights: dict[str, jax.Array]


@pytest.fixture(scope="module")
def given() -> Given:
    keys = jax.random.split(jax.random.key(0), 3)
    weights = {"in": jax.random.normal(keys[1], (E, D, F)), "out": jax.random.normal(keys[2], (E, F, D))}
    return Given(jax.random.normal(keys[0], (R, D)), weights)


def arranged(group, groups, limit=None):
    return jax.tree.map(np.asarray, jax.jit(lambda group: arrange(group, groups, limit))(group))


def by_group(group, rows, weights):
    """Sorted, computed by group, and put back."""
    found = arrange(jnp.asarray(group), E)
    index = found.row_P, found.place_R[None]
    out = apply_grouped(squash, spread(rows, *index), weights, found.sizes_E, block_rows(R, E))
    return collect(out, *index)


def row_by_row(group, rows, weights):
    """Every row with a copy of its group's matrices."""
    own = {name: w[group] for name, w in weights.items()}
    return squash(rows, own, lambda x, w: jnp.einsum("rd,rdf->rf", x, w))


@pytest.mark.parametrize("kind", KINDS)
def test_every_row_stands_in_a_place_of_its_group_and_in_order(way, kind):
    group = groups_of(kind)
    found = arranged(group, E)
    assert (found.sizes_E % block_rows(R, E) == 0).all()
    starts = np.cumsum(found.sizes_E) - found.sizes_E
    for e, (start, size) in enumerate(zip(starts, found.sizes_E, strict=True)):
        members = np.flatnonzero(group == e)
        assert found.found_E[e] == len(members)
        np.testing.assert_array_equal(found.place_R[members], start + np.arange(len(members)))
        expected = np.concatenate([members, np.full(size - len(members), R)])
        np.testing.assert_array_equal(found.row_P[start : start + size], expected)
    assert (found.row_P[found.sizes_E.sum() :] == R).all()


def test_a_limit_keeps_the_first_rows_of_each_group(way):
    group = groups_of("one is empty")
    found = arranged(group, E, limit=10)
    assert len(found.row_P) == places(R, E, 10) < places(R, E)
    for e in range(E):
        members = np.flatnonzero(group == e)
        assert found.found_E[e] == len(members)
        assert (found.place_R[members[10:]] == len(found.row_P)).all()
        np.testing.assert_array_equal(found.row_P[found.place_R[members[:10]]], members[:10])
    assert (found.row_P < R).sum() == sum(min(10, n) for n in found.found_E)


@pytest.mark.parametrize(("rows", "groups"), [(7, 16), (65, 2), (513, 8), (1000, 1)])
def test_the_places_are_enough_where_every_group_begins_a_block_for_one_row(way, rows, groups):
    alone = np.arange(min(groups, rows))
    found = arranged(np.concatenate([alone, np.zeros(rows - len(alone), int)]), groups)
    assert found.sizes_E.sum() <= len(found.row_P) <= rows + groups * (block_rows(rows, groups) - 1)
    assert len(set(found.place_R)) == rows
    assert found.place_R.max() < len(found.row_P)


def test_spread_and_collect_are_each_others_gradient(given):
    source = jnp.array([2, 0, 3, 3, 1, 3, 0, 2, 3])  # of 3 sources; 3 is none
    place = jnp.array([[1, 4, 0], [6, 9, 7]])  # twice each; 9 is none
    x, y = given.rows[:3], given.rows[10:19]
    onto = spread(x, source, place)
    np.testing.assert_array_equal(onto, np.concatenate([x, np.zeros((1, D))])[source])
    back = collect(y, source, place)
    np.testing.assert_allclose(back, np.stack([y[1] + y[6], y[4], y[0] + y[7]]), rtol=1e-6)
    np.testing.assert_array_equal(jax.vjp(lambda x: spread(x, source, place), x)[1](y)[0], back)
    np.testing.assert_array_equal(jax.vjp(lambda y: collect(y, source, place), y)[1](x)[0], onto)


@pytest.mark.parametrize("kind", KINDS)
def test_results_and_gradients_are_those_of_every_row_by_itself(way, kind, given):
    group = groups_of(kind)

    def values_and_gradients(function):
        def scalar(rows, weights):
            out = function(group, rows, weights)
            return jnp.sum(jnp.sin(3 * out)), out

        gradients, out = jax.jit(jax.grad(scalar, argnums=(0, 1), has_aux=True))(given.rows, given.weights)
        return out, gradients

    found, expected = values_and_gradients(by_group), values_and_gradients(row_by_row)
    # float32 sums of up to 100 terms of order 10, in another order.
    jax.tree.map(lambda a, b: np.testing.assert_allclose(a, b, atol=1e-4, rtol=1e-4), found, expected)


def test_it_goes_through_a_scan_over_layers(way, given):
    group = groups_of("mixed")
    stacked = jax.tree.map(lambda w: jnp.stack([w, 0.5 * w]), given.weights)

    def scanned(rows):
        return jnp.sum(jax.lax.scan(lambda x, w: (by_group(group, x, w), None), rows, stacked)[0] ** 2)

    def unrolled(rows):
        for layer in range(2):
            rows = row_by_row(group, rows, jax.tree.map(lambda w, layer=layer: w[layer], stacked))
        return jnp.sum(rows**2)

    found, expected = (jax.jit(jax.grad(f))(given.rows) for f in (scanned, unrolled))
    np.testing.assert_allclose(found, expected, rtol=1e-3, atol=1e-3)  # float32, values up to 100


def test_the_gradient_of_a_weight_is_summed_in_float32(monkeypatch):
    monkeypatch.setattr(grouped, "way", lambda: "loop")
    rows = 8192
    x, w = jnp.ones((rows, 1), jnp.bfloat16), jnp.ones((1, 1, 1), jnp.bfloat16)
    sizes, block = jnp.array([rows]), block_rows(rows, 1)

    def total(w):
        return jnp.sum(apply_grouped(lambda x, w, product: product(x, w), x, w, sizes, block).astype(jnp.float32))

    assert rows // block > 100
    # In bfloat16 the sum would stand still where a block no longer changes its 8 bits.
    assert float(jax.grad(total)(w)[0, 0, 0]) == rows


def products(jaxpr: Jaxpr, looped: bool = False):
    """(FLOPs, whether within a loop) of every matrix product of a program."""
    for eqn in jaxpr.eqns:
        if eqn.primitive.name == "dot_general":
            (contracted, _), _ = eqn.params["dimension_numbers"]
            depth = np.prod([eqn.invars[0].aval.shape[axis] for axis in contracted])
            yield 2 * depth * np.prod(eqn.outvars[0].aval.shape), looped
        for value in eqn.params.values():
            inner = value.jaxpr if isinstance(value, ClosedJaxpr) else value
            if isinstance(inner, Jaxpr):
                yield from products(inner, looped or eqn.primitive.name == "while")


def test_the_loop_multiplies_a_block_by_one_matrix_at_a_time(monkeypatch, given):
    monkeypatch.setattr(grouped, "way", lambda: "loop")
    group = groups_of("mixed")
    step = jax.grad(lambda rows, weights: jnp.sum(by_group(group, rows, weights) ** 2), argnums=(0, 1))
    found = list(products(jax.make_jaxpr(step)(given.rows, given.weights).jaxpr))
    one = 2 * block_rows(R, E) * D * F
    # Two products forward; backward the first again (of the second no result is needed, but traced), and two for each.
    assert [flops for flops, looped in found if looped] == [one] * 8
    assert not [flops for flops, looped in found if not looped]


def test_the_compiled_products_stay_far_below_those_of_all_rows_with_all_matrices(monkeypatch, given):
    monkeypatch.setattr(grouped, "way", lambda: "batched")
    group = groups_of("mixed")
    step = jax.grad(lambda rows, weights: jnp.sum(by_group(group, rows, weights) ** 2), argnums=(0, 1))
    wide = {"in": jnp.ones((E, D, 256)), "out": jnp.ones((E, 256, D))}
    flops = jax.jit(step).lower(given.rows, wide).compile().cost_analysis()["flops"]
    needed = 3 * 2 * (2 * D * 256) * R
    # Half of an average group to a block: at worst half as many empty rows again, and tanh, weights' sums.
    assert needed < flops < 2 * needed < E * needed
