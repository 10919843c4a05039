"""Runs whose documents are packed: each is learned as if it stood alone."""

from dataclasses import replace
from functools import partial

import jax
import numpy as np
import pytest

from scaling.config import RecurrentConfig, TransformerConfig
from scaling.data.order import order_of
from scaling.training.feed import Feed
from scaling.training.loop import train
from scaling.training.losses import init, losses, task_of
from tests.training.conftest import QUIET


@pytest.fixture
def packed(pinned):
    run, store = pinned
    return replace(run, data=replace(run.data, document_attention=True, packing="best_fit", max_epochs=9.0)), store


def test_a_target_costs_what_it_costs_in_a_window_of_its_own(packed):
    run, store = packed
    feed, task = Feed(run, store), task_of(run)
    found = (feed.step(step) for step in range(50))
    tokens, params = next(of for of in found if (of.documents_BT != of.documents_BT[:, :1]).any()), init(task, 0)
    measured = jax.jit(partial(losses, task))
    together = measured(params, tokens, feed.knowledge)
    documents = np.asarray(tokens.documents_BT)
    row = int(np.argmax([len(set(row)) for row in documents.tolist()]))
    for document in set(documents[row].tolist()):
        mine = np.flatnonzero((documents[row] == document) & tokens.bears_BT[row])
        if not len(mine):
            continue
        window = np.zeros_like(tokens.window_BW[row])
        window[: len(mine) + 1] = tokens.window_BW[row, mine[0] : mine[-1] + 2]
        alone = measured(
            params, jax.tree.map(lambda x: x[row : row + 1], tokens)._replace(
                window_BW=window[None], documents_BT=None, bears_BT=None
            ), feed.knowledge,
        )  # fmt: skip
        # float32 sums in another order
        np.testing.assert_allclose(alone.nats_BK[0, : len(mine)], together.nats_BK[row, mine], rtol=1e-4, atol=1e-5)


def test_fillers_and_first_tokens_bear_no_loss(packed):
    run, store = packed
    feed, task = Feed(run, store), task_of(run)
    measured, params = jax.jit(partial(losses, task)), init(task, 0)
    for step in range(3):
        tokens = feed.step(step)
        weights = measured(params, tokens, feed.knowledge).weights_BK
        assert np.array_equal(np.asarray(weights) > 0, tokens.bears_BT)


def test_a_run_says_how_many_targets_it_learned_from(packed, tmp_path):
    run, store = packed
    feed = Feed(run, store)
    bearing = sum(int(feed.step(step).bears_BT.sum()) for step in range(run.steps))
    record = train(run, tmp_path, store, placement=QUIET)
    assert record.status == "finished"
    assert 0 < record.cost.data_seconds < record.cost.wall_seconds
    assert record.cost.tokens_per_second > 0
    assert record.tokens.loss_bearing == bearing < record.tokens.seen == run.tokens


def test_an_epoch_reads_every_packed_window_once(packed):
    run, store = packed
    order = order_of(store, run)
    (packing,) = order.packed
    _, chosen = order.chosen(np.arange(packing.windows), seed=3)
    assert np.array_equal(np.sort(chosen), np.arange(packing.windows))
    assert packing.predicted == len(store.train) - len(store.train_ends)  # every token but a document's first


def test_what_cannot_be_kept_apart_is_not_packed(packed):
    run, _ = packed
    with pytest.raises(ValueError, match="packing='best_fit' with document_attention=False: set document_attention"):
        replace(run.data, document_attention=False)
    recurrent = replace(run, data=replace(run.data, packing="stream", document_attention=False))
    model = RecurrentConfig(vocab=recurrent.model.vocab, dim=8, layers=1, context=recurrent.model.context)
    with pytest.raises(ValueError, match="packing='best_fit' with a RecurrentConfig: leave packing out"):
        replace(run, model=model)
    assert isinstance(run.model, TransformerConfig)
