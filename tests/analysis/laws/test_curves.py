"""Laws of one column: limits, the implicit law, recovery, the published curves."""

import jax
import numpy as np
import pytest
from recovery import at, recover_all

from analysis import fit, laws
from analysis.engine.double import double
from analysis.laws.curves import _share
from analysis.losses import squared

X = {"tokens": np.geomspace(1e3, 1e12, 30)}
SIZE = X["tokens"]


def test_m1_to_m3_are_their_equations():
    np.testing.assert_allclose(at(laws.m1(), X, b=30.0, c=0.2), 30 * SIZE**-0.2, rtol=1e-12)
    np.testing.assert_allclose(at(laws.m2(), X, E=0.5, b=30.0, c=0.2), 0.5 + 30 * SIZE**-0.2, rtol=1e-12)
    expected = 30 * (1 / SIZE + 1e-8) ** 0.2
    np.testing.assert_allclose(at(laws.m3(), X, b=30.0, x_0=1e8, c=0.2), expected, rtol=1e-12)


def test_m3_is_m1_before_it_levels_off_and_a_constant_after():
    m1 = at(laws.m1(), X, b=30.0, c=0.2)
    np.testing.assert_allclose(at(laws.m3(), X, b=30.0, x_0=1e40, c=0.2), m1, rtol=1e-12)
    np.testing.assert_allclose(at(laws.m3(), X, b=30.0, x_0=1e-12, c=0.2), 30 * 1e-12**-0.2, rtol=1e-12)


def test_m4_without_alpha_is_m2_below_its_top():
    values = dict(E=0.5, b=30.0, c=0.2)
    below = {"tokens": SIZE[SIZE > 1e6]}  # there M2 is below 2.4
    found = at(laws.m4(), below, L_0=5.0, alpha=0.0, **values)
    np.testing.assert_allclose(found, at(laws.m2(), below, **values), rtol=1e-12)


@pytest.mark.parametrize("alpha", [0.001, 0.3, 1.0, 2.0, 5.0])
def test_m4_solves_its_equation_from_the_floor_to_the_top(alpha):
    y = at(laws.m4(), X, E=0.5, L_0=4.0, b=1e4, c=0.8, alpha=alpha)
    assert np.all(np.diff(y) <= 0) and y[0] <= 4 and y[-1] >= 0.5
    inside = (y - 0.5 > 1e-6) & (4 - y > 1e-6)  # nearer to an end y - 0.5 or 4 - y keeps too few digits
    assert inside.sum() > 5
    left = np.log(y[inside] - 0.5) - alpha * np.log(4 - y[inside])
    np.testing.assert_allclose(left, (np.log(1e4) - 0.8 * np.log(SIZE))[inside], atol=1e-8)


def test_the_first_and_second_derivatives_of_m4_are_exact():
    """Of s with F(s, a) = ln s - a ln(1 - s) = g: ds/dg = 1 / F', d2s/dg2 = -F'' / F'^3, ds/da = ln(1 - s) / F'."""
    goals, alphas = (v.ravel() for v in np.meshgrid([-30.0, -2.0, 0.1, 1.0], [0.1, 1.0, 3.0]))
    first = jax.grad(_share, (0, 1))
    with double():
        every = jax.jit(jax.vmap(lambda g, a: (_share(g, a), *first(g, a), jax.grad(jax.grad(_share))(g, a))))
        s, by_goal, by_alpha, twice = (np.asarray(part) for part in every(goals, alphas))
    slope, bend = 1 / s + alphas / (1 - s), -1 / s**2 + alphas / (1 - s) ** 2
    # 1 - s is as small as 1e-4 here: four digits fewer than a double, eight in its square.
    np.testing.assert_allclose(by_goal, 1 / slope, rtol=1e-10)
    np.testing.assert_allclose(by_alpha, np.log1p(-s) / slope, rtol=1e-10)
    np.testing.assert_allclose(twice, -bend / slope**3, rtol=1e-6)


def test_a_law_without_breaks_is_m2_and_one_without_floor_a_power_law():
    found = at(laws.bnsl(0), X, a=0.5, b=30.0, c0=0.2)
    np.testing.assert_allclose(found, at(laws.m2(), X, E=0.5, b=30.0, c=0.2), rtol=1e-12)
    np.testing.assert_allclose(at(laws.bnsl(0), X, a=0.0, b=30.0, c0=0.2), 30 * SIZE**-0.2, rtol=1e-12)


def test_breaks_multiply_as_published():
    values = dict(a=0.5, b=30.0, c0=0.1, c1=0.4, d1=1e6, f1=0.3, c2=-0.35, d2=1e9, f2=0.7)
    broken = (1 + (SIZE / 1e6) ** (1 / 0.3)) ** (-0.4 * 0.3) * (1 + (SIZE / 1e9) ** (1 / 0.7)) ** (0.35 * 0.7)
    np.testing.assert_allclose(at(laws.bnsl(2), X, **values), 0.5 + 30 * SIZE**-0.1 * broken, rtol=1e-11)
    sharp = at(laws.bnsl(2), X, **{**values, "f1": 0.01})  # (x / d)^100 would overflow as it is written
    assert np.isfinite(sharp).all()


def test_a_negative_number_of_breaks_is_refused():
    with pytest.raises(ValueError, match="breaks=-1"):
        laws.bnsl(-1)


@pytest.mark.parametrize("breaks", range(7))
def test_any_number_of_breaks_begins_from_at_most_sixty_places(breaks):
    law = laws.bnsl(breaks)
    starts = [len(parameter.starts) for name, parameter in law.parameters.items() if name not in law.linear]
    assert np.prod(starts) <= 60
    assert len(law.parameters) == 3 + 3 * breaks


def test_laws_of_other_columns_are_other_laws_and_are_made_once():
    assert laws.m2("examples").columns == ("examples",)
    assert laws.m2("examples") is laws.m2("examples")
    assert laws.m2("examples", "error").target == "error"
    assert laws.power_law("params", "flops").formula == "params = a flops^b"
    assert laws.power_law_offset("loss", "flops").formula == "loss = E + a flops^b"


RECOVERED = {
    "power_law": (laws.power_law("y", "x"), dict(a=0.2, b=0.5), {"x": np.geomspace(1e18, 1e22, 32)}, 2e-3),
    "power_law_offset": (
        laws.power_law_offset("loss", "flops"), dict(E=1.7, a=1e3, b=-0.15),
        {"flops": np.geomspace(1e14, 1e24, 32)}, 2e-3,
    ),
    "m1": (laws.m1(), dict(b=30, c=0.12), {"tokens": np.geomspace(1e6, 1e10, 32)}, 2e-3),
    "m2": (laws.m2(), dict(E=0.3, b=40, c=0.4), {"tokens": np.geomspace(1e3, 1e10, 32)}, 2e-3),
    "m3": (laws.m3(), dict(b=30, x_0=1e8, c=0.2), {"tokens": np.geomspace(1e4, 1e11, 32)}, 2e-3),
    "m4": (laws.m4(), dict(E=0.3, L_0=5, b=100, c=0.5, alpha=0.7), {"tokens": np.geomspace(1e1, 1e10, 48)}, 1e-3),
    "one break": (
        laws.bnsl(1), dict(a=0.5, b=30, c0=0.1, c1=0.4, d1=1e7, f1=0.3), {"tokens": np.geomspace(1e3, 1e12, 64)}, 1e-3,
    ),
    "two breaks": (
        laws.bnsl(2), dict(a=0.5, b=30, c0=0.1, c1=0.4, d1=1e6, f1=0.3, c2=-0.35, d2=1e9, f2=0.3),
        {"tokens": np.geomspace(1e2, 1e13, 64)}, 1e-3,
    ),
}  # fmt: skip


STARTED = ("m2",)  # the others, m4 and its twelve seconds among them, in the slow test


@pytest.fixture(scope="module")
def recovered():
    return recover_all(RECOVERED, STARTED)


@pytest.mark.parametrize("name", RECOVERED)
def test_intervals_hold_the_truth(recovered, name):
    assert not recovered[name].outside(), (recovered[name].hits, recovered[name].band)


@pytest.mark.parametrize("name", STARTED)
def test_the_laws_own_starts_find_the_truth(recovered, name):
    assert recovered[name].gap < 1e-9  # relative, of the objective: both searches end at one optimum


@pytest.mark.slow
def test_the_starts_of_all_laws_find_the_truth():
    found = recover_all(RECOVERED, RECOVERED)
    assert {name: case.gap for name, case in found.items() if case.gap > 1e-9} == {}


TRANSLATION = {  # published/nmt_curves.md: c, E and the error of M2 and M1 at the largest size; tolerance 0.001
    "6 Enc 6 Dec": (0.1631, 0.2619, 0.4704, 0.2971, 0.0561),
    "28 Enc 6 Dec": (0.1663, 0.1708, 0.3208, 0.2122, 0.0636),
    "6 Enc 28 Dec": (0.1954, 0.2340, 0.3715, 0.2185, 0.0661),
    "Dec-only": (0.1327, 0.2520, 0.6103, 0.3603, 0.0376),
    "TEnc-LSTM": (0.1314, 0.1899, 0.5489, 0.3516, 0.0174),
}


@pytest.mark.slow
def test_m1_and_m2_on_the_published_translation_curves(published):
    rows = published.raw("nmt_curves").to_pylist()
    for model, (c1, error1, c2, floor, error2) in TRANSLATION.items():
        kept, held = (
            {name: np.array([r[name] for r in rows if r["model"] == model and r["training"] == part], float)
             for name in ("seen_examples", "loss")}
            for part in (1, 0)
        )  # fmt: skip
        fits = [fit(law("seen_examples"), kept, squared()) for law in (laws.m1, laws.m2)]
        errors = [np.sqrt(np.mean(np.log(held["loss"] / f.predict(held).value) ** 2)) for f in fits]
        found = (fits[0].params["c"], errors[0], fits[1].params["c"], fits[1].params["E"], errors[1])
        assert found == pytest.approx((c1, error1, c2, floor, error2), abs=1e-3)
