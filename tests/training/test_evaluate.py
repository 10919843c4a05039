import math
from dataclasses import replace

import jax
import numpy as np
import pytest

from scaling.config import Prefix
from scaling.data.batches import heldout
from scaling.data.order import windows
from scaling.models.families import init, logits, states
from scaling.models.head import token_losses
from scaling.models.inputs import Inputs
from scaling.training.evaluate import by_position, evaluate, measured, target_bytes
from scaling.training.feed import Feed


def test_a_loss_known_by_hand_is_measured_in_both_units(run):
    nats = np.repeat([[2.0], [4.0]], 10, axis=1)
    found = measured(run, nats, np.ones((2, 10)), target_bytes=np.array([25.0, 35.0]))
    assert found.loss == pytest.approx(3.0)
    assert found.loss_se == pytest.approx(np.std([2.0, 4.0], ddof=1) / math.sqrt(2))
    assert found.bits_per_byte == pytest.approx(60 / 60 / math.log(2))


def test_standard_errors_cover_the_spread_of_repeated_draws(run):
    rng = np.random.default_rng(0)
    target_bytes = rng.uniform(20, 40, (2000, 50))
    nats = 1.5 * target_bytes + rng.normal(0, 5, target_bytes.shape)
    found = [measured(run, n[:, None], np.full((50, 1), 10.0), b) for n, b in zip(nats, target_bytes, strict=True)]
    # 2,000 repetitions know a standard deviation to 1.6%; the ratio estimator is right to O(1/50).
    for value, error in (("loss", "loss_se"), ("bits_per_byte", "bits_per_byte_se")):
        spread = np.std([getattr(item, value) for item in found])
        assert np.mean([getattr(item, error) for item in found]) == pytest.approx(spread, rel=0.06)


@pytest.mark.parametrize("sequences", [4, 6], ids=["whole batches", "a part of one"])
def test_the_heldout_loss_is_the_mean_over_the_fixed_sequences(pinned, sequences):
    run, store = pinned
    run = replace(run, data=replace(run.data, heldout_sequences=sequences))
    params = init(run.model, 0)
    fixed = heldout(store, context=run.model.context, sequences=sequences)
    x_BTD = states(run.model, params, Inputs(fixed.inputs)).x_BTD
    expected = token_losses(logits(run.model, params, x_BTD.reshape(-1, run.model.dim)), fixed.targets.reshape(-1))
    found = evaluate(run, store, Feed(run, store), params)
    assert found.loss == pytest.approx(float(expected.mean()), rel=1e-5)  # float32 sums
    assert found.tokens == sequences * run.model.context
    assert jax.numpy.isfinite(found.bits_per_byte_se)


def test_sequences_with_fewer_targets_weigh_less(run):
    weights = (np.arange(10) < np.array([[10], [2]])).astype(float)
    found = measured(run, weights * np.array([[3.0], [5.0]]), weights, None)
    assert found.loss == pytest.approx(40 / 12)
    assert found.bits_per_byte is None
    assert found.tokens == 12


def test_bits_a_byte_are_counted_over_the_predicted_rest_of_a_prefix(pinned):
    run, store = pinned
    model = replace(run.model, architecture="prefix")
    run = replace(run, model=model, objective=Prefix(prefix=10))
    fixed = heldout(store, context=run.text, sequences=4)
    # Bytes as tokens: 16 inputs, whose first 10 are given, and the token after the last: 7 bytes each, less what
    # ends a document, which stands for none.
    expected = (fixed.targets[:, 9:] < 256).sum(axis=1)
    np.testing.assert_array_equal(target_bytes(run, store, fixed), expected)


def test_losses_by_position_are_means_over_groups_that_double():
    nats = np.arange(1.0, 13.0)[None] * np.array([[1.0], [3.0]])  # mean 2 t at place t
    assert by_position(nats, np.ones_like(nats)) == {1: 2.0, 2: 4.0, 4: 7.0, 8: 13.0, 12: 21.0}


def test_places_without_a_target_have_no_loss_and_others_are_means_over_targets():
    weights = np.array([[0.0, 1.0, 1.0, 0.0, 0.0], [0.0, 0.0, 1.0, 1.0, 0.0]])
    assert by_position(weights * np.array([9.0, 1.0, 2.0, 5.0, 9.0]), weights) == {2: 1.0, 4: 3.0}


def test_the_bytes_of_the_heldout_targets_are_those_of_the_text(pinned):
    run, store = pinned
    count = windows(len(store.validation), 16)
    fixed = heldout(store, context=16, sequences=count)
    read = store.validation[1 : 1 + 16 * count]
    assert target_bytes(run, store, fixed).sum() == store.piece_bytes[read].sum()
