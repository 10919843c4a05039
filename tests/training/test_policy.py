"""What is skipped, by known answers and in real runs with planted gradients.

A gradient is spoiled through the strength of label smoothing, which the step
takes as a number: nan makes it not finite, a million makes it long, and the
loss, which is not smoothed, stays as it is.
"""

import math
import threading
from dataclasses import replace
from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
import pyarrow.parquet as pq
import pytest

from scaling.config import OptimConfig, run_id
from scaling.record import RunDirectory
from scaling.training import loop
from scaling.training.loop import train
from scaling.training.policy import LEAST_STEPS, NORM_STEPS, NormMean, no_norms, take_or_skip
from tests.training.conftest import QUIET


class State(NamedTuple):
    value: float
    norms: NormMean | None = None


def decide(norms, norm, factor=3.0):
    state, skipped = take_or_skip(State(jnp.float32(1), norms), State(jnp.float32(2), norms), jnp.float32(norm), factor)
    return float(state.value), bool(skipped), state.norms


KNOWN = NormMean(jnp.float32(2.0), jnp.int32(LEAST_STEPS))


@pytest.mark.parametrize("norm", [math.nan, math.inf])
def test_a_gradient_that_is_not_finite_is_always_skipped_and_stays_out_of_the_mean(norm):
    assert decide(None, norm) == (1.0, True, None)
    assert decide(KNOWN, norm) == (1.0, True, KNOWN)


@pytest.mark.parametrize(("norm", "skipped"), [(5.9, False), (6.1, True)])
def test_a_spike_is_a_norm_above_the_factor_times_the_mean(norm, skipped):
    value, found, norms = decide(KNOWN, norm)
    assert (value, found) == (1.0 if skipped else 2.0, skipped)
    assert int(norms.steps) == LEAST_STEPS + (not skipped)


def test_no_norm_is_a_spike_before_enough_are_known_or_where_none_is_looked_for():
    early = NormMean(jnp.float32(2.0), jnp.int32(LEAST_STEPS - 1))
    assert decide(early, 1e9)[:2] == (2.0, False)
    assert decide(None, 1e9)[:2] == (2.0, False)


def test_the_mean_is_plain_at_first_and_exponential_later():
    norms = no_norms()
    for norm in (1.0, 2.0, 6.0):
        *_, norms = decide(norms, norm)
    # Three float32 additions: 3 * 6e-8.
    np.testing.assert_allclose((norms.mean, norms.steps), (3.0, 3), rtol=1e-6)
    *_, later = decide(NormMean(jnp.float32(1.0), jnp.int32(10 * NORM_STEPS)), 1.0 + NORM_STEPS, factor=1e9)
    np.testing.assert_allclose(later.mean, 2.0, rtol=1e-6)


@pytest.fixture
def smoothed(pinned):
    """The small run with label smoothing, and its store."""
    run, store = pinned
    return replace(run, optim=OptimConfig(lr=1e-2, label_smoothing=0.1)), store


@pytest.fixture
def plant(monkeypatch):
    """A function that spoils the gradients of some steps, counted from 0: step -> strength of smoothing."""
    hyper, rate, at, planted = loop.hyper, loop.rate, [], {}

    def rate_of(run, step):
        at[:] = [step]
        return rate(run, step)

    def hyper_of(run, lr):
        numbers = hyper(run, lr)
        return numbers._replace(label_smoothing=planted[at[0]]) if at and at[0] in planted else numbers

    monkeypatch.setattr(loop, "rate", rate_of)
    monkeypatch.setattr(loop, "hyper", hyper_of)
    return planted.update


def curve_of(runs, run):
    return pq.read_table(RunDirectory(runs / run_id(run)).curve)


def test_steps_with_planted_nan_gradients_are_skipped_counted_and_shown(smoothed, tmp_path, plant):
    run, store = smoothed
    plant({5: math.nan, 6: math.nan, 20: math.nan})
    record = train(run, tmp_path, store, placement=QUIET)
    assert (record.status, record.skipped_steps) == ("finished", 3)
    table = curve_of(tmp_path, run)
    assert np.flatnonzero(table["skipped"].to_numpy()).tolist() == [5, 6, 20]
    assert np.isfinite(table["loss"].to_numpy()).all()
    assert 0 < record.cost.goodput < 1


def test_a_skipped_step_leaves_parameters_and_moments_bit_for_bit(smoothed):
    run, store = smoothed
    feed = loop.Feed(run, store)
    step_of = loop.warmed_step(run, feed)
    state, _ = step_of(loop.compiled_init(loop.task_of(run))(0), feed.step(0), feed.knowledge, loop.hyper(run, 1e-2))
    before = jax.tree.map(np.array, state)
    spoiled = loop.hyper(run, 1e-2)._replace(label_smoothing=math.nan)
    after, metrics = step_of(state, feed.step(1), feed.knowledge, spoiled)
    assert bool(metrics.skipped) and math.isnan(metrics.grad_norm) and math.isfinite(metrics.loss)
    for old, new in zip(jax.tree.leaves(before), jax.tree.leaves(after), strict=True):
        assert old.tobytes() == np.asarray(new).tobytes()


def test_a_run_without_skips_has_no_column_for_them(smoothed, tmp_path):
    run, store = smoothed
    assert train(run, tmp_path, store, placement=QUIET).skipped_steps == 0
    assert "skipped" not in curve_of(tmp_path, run).column_names


def test_too_many_skips_in_a_row_are_a_divergence(smoothed, tmp_path, plant):
    run, store = smoothed
    run = replace(run, optim=replace(run.optim, max_skips=3))
    plant({step: math.nan for step in (4, 5, 8, 9, 10)})  # two in a row are borne, three are not
    record = train(run, tmp_path, store, placement=QUIET)
    assert (record.status, record.skipped_steps) == ("diverged", 5)
    assert record.message.startswith("3 steps in a row were skipped, up to step 11: loss ")
    assert record.message.endswith("gradient norm nan")


@pytest.mark.slow
def test_spikes_are_skipped_by_option_only_and_a_resumed_run_decides_the_same(smoothed, tmp_path, plant):
    run, store = smoothed
    plant({3: 1e6, 18: 1e6, 25: 1e6})  # the first before enough norms are known
    assert train(run, tmp_path, store, placement=QUIET).skipped_steps == 0
    watchful = replace(run, optim=replace(run.optim, spike_factor=1.5))
    plant({3: 0.1})
    record = train(watchful, tmp_path / "whole", store, placement=QUIET)
    assert run_id(watchful) != run_id(run)
    whole = curve_of(tmp_path / "whole", watchful)
    assert {18, 25} <= set(np.flatnonzero(whole["skipped"].to_numpy()))
    stop = threading.Event()
    stop.set()  # an attempt a step
    for _ in range(22):
        assert train(watchful, tmp_path / "parts", store, placement=QUIET, stop=stop) is None
    resumed = train(watchful, tmp_path / "parts", store, placement=QUIET)
    parts = curve_of(tmp_path / "parts", watchful)
    for name in ("loss", "grad_norm", "skipped"):
        np.testing.assert_array_equal(parts[name].to_numpy(), whole[name].to_numpy())
    assert (resumed.heldout, resumed.skipped_steps) == (record.heldout, record.skipped_steps)
