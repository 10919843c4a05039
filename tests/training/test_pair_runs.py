"""Encoder-decoders that learn completions from prompts, in batches of a few shapes."""

from dataclasses import asdict, replace
from functools import partial

import jax
import numpy as np
import pytest

from scaling.config import Completion, Mixture, Part, Placement, RecurrentConfig, run_id
from scaling.counts import train_flops
from scaling.curve import read_final
from scaling.data.prepare import prepare
from scaling.parallel.layout import layout_of
from scaling.record import RunDirectory
from scaling.training.evaluate import target_bytes
from scaling.training.feed import Feed, shortened
from scaling.training.loop import train
from scaling.training.losses import init, losses, task_of
from tests.training.conftest import QUIET

SHAPES = 3


@pytest.fixture
def paired(run, questions, root):
    data = replace(run.data, source=questions, specials=1, max_epochs=9.0, validation_fraction=0.2)
    store = prepare(data, root, lambda line: None)
    model = replace(run.model, vocab=258, dim=8, layers=1, context=32, architecture="encoder_decoder", positions="t5")
    data = replace(data, content=store.manifest.content)
    objective = Completion(text=64, prompt=32, shapes=SHAPES)
    return replace(run, model=model, data=data, objective=objective, tokens=64 * 4 * 20), store


def test_batches_have_few_shapes_of_as_many_positions(paired):
    run, store = paired
    feed = Feed(run, store)
    sizes = {feed.step(step).window_BW.shape for step in range(60)}
    assert sizes == {(4, 65), (8, 33), (16, 17)}
    assert {feed.step(step).window_BW.shape for step in feed.of_each_shape()} == sizes


@pytest.mark.parametrize("kind", ["transformer", "recurrent"])
def test_a_pair_costs_the_same_in_every_shape_that_holds_it(paired, kind):
    run, store = paired
    if kind == "recurrent":
        model = RecurrentConfig(vocab=258, dim=8, layers=1, context=32, architecture="encoder_decoder")
        run = replace(run, model=model)
    feed, task = Feed(run, store), task_of(run)
    params = init(task, 0)
    short = next(of for of in map(feed.step, range(99)) if of.window_BW.shape == (16, 17))
    long = np.full((16, 65), -1, np.int32)
    long[:, :8], long[:, 32:40] = short.window_BW[:, :8], short.window_BW[:, 8:16]
    cost = jax.jit(partial(losses, task))
    few, many = (cost(params, short._replace(window_BW=window), feed.knowledge) for window in (short.window_BW, long))
    assert few.weights_BK.sum() == many.weights_BK.sum() == (short.window_BW[:, 8:] >= 0).sum()
    # float32 sums over masked scores in another order
    np.testing.assert_allclose(few.nats_BK, many.nats_BK[:, :8], rtol=2e-5, atol=2e-5)
    assert np.isfinite(few.nats_BK).all() and not many.nats_BK[:, 8:].any()


def test_empty_rows_teach_nothing(paired):
    run, store = paired
    feed, task = Feed(run, store), task_of(run)
    tokens = next(of for of in map(feed.step, range(99)) if (of.window_BW[:, 1:] < 0).all(axis=1).any())
    empty = (tokens.window_BW[:, 1:] < 0).all(axis=1)

    @jax.jit
    def gradient(params):
        found = losses(task, params, tokens, feed.knowledge)
        return found.nats_BK.sum(), found.weights_BK

    (gradients, weights_BK) = jax.grad(gradient, has_aux=True)(init(task, 0))
    assert np.array_equal(np.asarray(weights_BK).any(axis=1), ~empty)
    assert all(np.isfinite(gradient).all() for gradient in jax.tree.leaves(gradients))


def test_a_record_counts_what_was_read_and_computed(paired, tmp_path):
    run, store = paired
    run = replace(run, objective=replace(run.objective, shapes=2))
    feed = Feed(run, store)
    record = train(run, tmp_path, store, placement=QUIET)
    steps = [feed.step(step).window_BW for step in range(run.steps)]
    bearing = [int((window[:, window.shape[1] // 2 : -1] >= 0).sum()) for window in steps]
    assert record.status == "finished"
    assert record.tokens.seen == run.tokens == sum(window[:, :-1].size for window in steps)
    assert record.tokens.loss_bearing == sum(bearing)
    assert 0.1 < record.tokens.padding < 0.6
    shapes = [int(np.log2(len(window) // run.batch)) for window in steps]
    each = [train_flops(run.model, run.batch_tokens, shortened(run, shape)) for shape in shapes]
    for name, value in asdict(record.flops).items():
        assert value == pytest.approx(sum(getattr(of, name) for of in each))
    assert record.flops.exact == record.cost.flops_computed < train_flops(run.model, run.tokens, run.objective).exact
    flops = read_final(RunDirectory(tmp_path / run_id(run)).curve)["flops"].to_numpy()
    np.testing.assert_allclose(flops, np.cumsum([of.exact for of in each]))
    size = target_bytes(run, store, feed.heldout)
    assert record.heldout.tokens == size.sum() + 4  # bytes as tokens, and the end of each of four completions
    assert record.heldout.bits_per_byte == pytest.approx(
        record.heldout.loss * record.heldout.tokens / size.sum() / np.log(2)
    )


def test_the_shortest_shape_is_cut_among_devices_too(paired):
    run, _ = paired
    assert layout_of(run, Placement(context=2), 2).context == 2
    with pytest.raises(ValueError, match=r"a sequence of 8 positions is no multiple of 2 \* context = 16"):
        layout_of(run, Placement(context=8), 8)


def test_a_mixture_or_a_limit_is_refused(paired):
    run, _ = paired
    limited = replace(run.data, most_tokens=640)
    part = Part(name="one", source=run.data.source)
    mixed = replace(run.data, source=type(part.source)(), mixture=Mixture(parts=(part,)))
    for data in (limited, mixed):
        with pytest.raises(ValueError, match=r"'completion' with data\.mixture or data\.most_tokens: leave both out"):
            replace(run, data=data)
