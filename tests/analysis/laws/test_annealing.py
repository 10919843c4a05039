"""Whole loss curves: columns against their sums written out, groups of drops, recovery."""

from types import SimpleNamespace

import jax
import numpy as np
import pytest
from recovery import at, recover_all

from analysis import laws
from analysis.engine.double import double

TOTAL, PEAK = 5000, 1e-3
TIME = np.arange(TOTAL)
SCHEDULES = {
    "constant": np.full(TOTAL, PEAK),
    "cosine": PEAK * (0.1 + 0.45 * (1 + np.cos(np.pi * TIME / TOTAL))),
    "wsd": np.where(TIME < 4000, PEAK, PEAK * np.exp(-(TIME - 4000) / 300)),
    "halved": np.where(TIME < 2500, PEAK, PEAK / 4),
}
STEPS = np.arange(200, TOTAL + 1, 200)
MULTI = dict(E=2.651, A=0.601, alpha=0.453, B=437.9, C=2.132, beta=0.598, gamma=0.655)


def written_out(schedule, step, p, warmup=0):
    """The multi-power law's loss at one step, term by term."""
    total = p["E"] + p["A"] * schedule[:step].sum() ** -p["alpha"]
    for k in range(max(1, warmup), step):
        reach = p["C"] * schedule[k] ** -p["gamma"] * schedule[k:step].sum() if schedule[k] > 0 else 0.0
        total -= p["B"] * (schedule[k - 1] - schedule[k]) * (1 - (1 + reach) ** -p["beta"])
    return total


def test_annealing_sums_a_decaying_memory_of_the_drops():
    rates = np.array([1.0, 3.0, 3.0, 2.0, 0.5, 0.7])
    found = laws.annealing_columns(rates, np.array([1, 3, 6]), decay=0.9)
    drops = np.array([0, -2, 0, 1, 1.5, -0.2])

    def s2(step):
        return sum(drops[k] * 0.9 ** (i - k) for i in range(step) for k in range(i + 1))

    np.testing.assert_allclose(found["lr_sum"], [1, 7, 10.2], rtol=1e-12)
    np.testing.assert_allclose(found["annealing"], [s2(1), s2(3), s2(6)], rtol=1e-12)


def test_a_warmup_is_no_annealing():
    warm = np.concatenate([np.linspace(0.1, 1, 10), np.full(20, 1.0)]) * PEAK
    found = laws.annealing_columns(warm, np.array([10, 30]), warmup=10)
    np.testing.assert_allclose(found["annealing"], 0, atol=1e-15)
    assert found["lr_sum"][-1] == pytest.approx(warm.sum())
    assert laws.annealing_columns(warm, np.array([30]))["annealing"][0] < 0
    assert laws.multi_power_columns(warm, np.array([30]), warmup=10)["drops"].sum() == 0


def test_tissues_law_is_its_equation():
    x = laws.annealing_columns(SCHEDULES["wsd"], STEPS)
    expected = 2.6 + 0.43 * x["lr_sum"] ** -0.5 - 0.41 * x["annealing"]
    np.testing.assert_allclose(at(laws.tissue, x, E=2.6, A=0.43, alpha=0.5, C=0.41), expected, rtol=1e-12)


@pytest.mark.parametrize("warmup", [0, 3])
def test_few_drops_are_exact(warmup):
    rates = np.array([0.2, 0.5, 0.8, 1.0, 1.0, 1.0, 0.6, 0.6, 0.9, 0.3, 0.3, 0.1, 0.0, 0.0]) * PEAK
    steps = np.arange(1, len(rates) + 1)
    x = laws.multi_power_columns(rates, steps, warmup=warmup)
    expected = [written_out(rates, step, MULTI, warmup) for step in steps]
    np.testing.assert_allclose(at(laws.multi_power, x, **MULTI), expected, rtol=1e-11)


def test_joined_drops_come_nearer_with_the_square_of_their_number():
    steps = np.array([500, 2500, 4900, 5000])
    for name in ("cosine", "wsd"):
        exact = np.array([written_out(SCHEDULES[name], step, MULTI) for step in steps])
        gap = {}
        for groups in (16, 64):
            x = laws.multi_power_columns(SCHEDULES[name], steps, groups=groups)
            gap[groups] = np.abs(at(laws.multi_power, x, **MULTI) - exact).max()
        # 64 groups: a tenth of the noise of a smoothed curve, about 1e-3 nats.
        assert gap[64] < 1.5e-4 and gap[64] < gap[16] / 6, gap


def test_a_constant_rate_leaves_the_power_law_of_its_sum():
    x = laws.multi_power_columns(SCHEDULES["constant"], STEPS)
    assert x["drops"].shape == (len(STEPS), 1) and not x["drops"].any()
    found = at(laws.multi_power, x, **MULTI)
    np.testing.assert_allclose(found, 2.651 + 0.601 * (STEPS * PEAK) ** -0.453, rtol=1e-12)


def test_groups_never_join_a_rise_with_a_fall():
    rates = PEAK * np.concatenate([np.linspace(1, 0.1, 300), np.linspace(0.1, 1, 300), np.linspace(1, 0, 300)])
    x = laws.multi_power_columns(rates, np.array([900]), groups=8)
    assert set(np.sign(x["drops"][0])) == {-1.0, 1.0}
    assert x["drops"].sum() == pytest.approx(rates[0] - rates[-2])  # the last drop, to zero, has no effect
    expected = written_out(rates, 900, MULTI)
    assert at(laws.multi_power, x, **MULTI)[0] == pytest.approx(expected, abs=5e-3)  # of eight groups


def test_rates_of_zero_and_empty_places_give_finite_derivatives():
    x = laws.multi_power_columns(PEAK * np.linspace(1, 0, 50), np.array([10, 50]))
    with double():
        slopes = jax.jacfwd(lambda p: laws.multi_power.function(SimpleNamespace(**p), SimpleNamespace(**x)))(MULTI)
    assert all(np.isfinite(slope).all() for slope in slopes.values())


def test_curves_are_stacked_with_their_runs_as_clusters():
    curves = {name: laws.multi_power_columns(SCHEDULES[name], STEPS, groups=8) for name in ("cosine", "halved")}
    table = laws.stack(curves)
    assert table["drops"].shape == (2 * len(STEPS), 8)
    assert table["cluster"].tolist() == ["cosine"] * len(STEPS) + ["halved"] * len(STEPS)
    np.testing.assert_array_equal(table["lr_sum"][len(STEPS) :], curves["halved"]["lr_sum"])
    # What fills a narrower curve up changes nothing.
    both = at(laws.multi_power, {name: values for name, values in table.items() if name != "cluster"}, **MULTI)
    np.testing.assert_allclose(both[len(STEPS) :], at(laws.multi_power, curves["halved"], **MULTI), rtol=1e-12)


@pytest.mark.parametrize(
    "call, said",
    [
        (lambda: laws.annealing_columns([], STEPS), "schedule of shape"),
        (lambda: laws.annealing_columns([0.0, 1.0], np.array([1])), "the first above zero"),
        (lambda: laws.annealing_columns([1.0, np.nan], np.array([1])), "finite rate"),
        (lambda: laws.annealing_columns([1.0, 1.0], np.array([0, 2])), "whole numbers from 1 to 2"),
        (lambda: laws.annealing_columns([1.0, 1.0], np.array([1.5])), "whole numbers"),
        (lambda: laws.annealing_columns([1.0, 1.0], np.array([1]), warmup=2), "warmup=2"),
        (lambda: laws.annealing_columns([1.0, 1.0], np.array([1]), decay=1.0), "decay=1.0"),
        (lambda: laws.multi_power_columns([1.0, 1.0], np.array([1]), groups=0), "groups=0"),
        (lambda: laws.stack({}), "no curves"),
        (lambda: laws.stack({"a": {"x": [1.0]}, "b": {"y": [1.0]}}), "run 'b'"),
        (lambda: laws.stack({"a": {"x": [1.0], "y": [1.0, 2.0]}}), "run 'a'"),
    ],
)
def test_what_cannot_be_used_is_named(call, said):
    with pytest.raises(ValueError, match=said):
        call()


def table(law, columns, kinds, **options):
    """The curves of these schedules, of the columns that the law needs."""
    stacked = laws.stack({kind: columns(SCHEDULES[kind], STEPS, **options) for kind in kinds})
    return {name: stacked[name] for name in law.columns}


RECOVERED = {
    "tissue": (
        laws.tissue, dict(E=2.6, A=0.43, alpha=0.5, C=0.41),
        table(laws.tissue, laws.annealing_columns, ("cosine", "wsd", "constant")), 2e-3,
    ),
    "multi_power": (
        laws.multi_power, MULTI, table(laws.multi_power, laws.multi_power_columns, SCHEDULES, groups=12), 2e-4,
    ),
}  # fmt: skip


def test_intervals_hold_the_truth():
    for found in recover_all(RECOVERED).values():
        assert not found.outside(), (found.hits, found.band)


@pytest.mark.slow
def test_the_laws_own_starts_find_the_truth():
    for found in recover_all(RECOVERED, RECOVERED).values():
        assert found.gap < 1e-9  # relative, of the objective: both searches end at one optimum
