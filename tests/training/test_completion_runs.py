"""Runs that learn completions only: a prompt is read, and neither learned nor measured."""

import json
from dataclasses import replace
from functools import partial

import jax
import numpy as np
import pytest

from scaling.config import NextToken, NgramConfig, Source
from scaling.data.batches import batch, check_enough
from scaling.data.order import order_of
from scaling.data.prepare import prepare
from scaling.data.sources import DataError
from scaling.training.evaluate import evaluate, target_bytes
from scaling.training.feed import Feed
from scaling.training.loop import train
from scaling.training.losses import init, losses, task_of
from tests.training.conftest import QUIET

FIELDS = {"field": "answer", "prompt_field": "question"}
PACKED = {"packing": "best_fit", "document_attention": True}


@pytest.fixture(params=[{}, PACKED], ids=["windows", "packed"])
def asked(run, questions, root, request):
    """(run, store): in windows of a stream, and packed."""
    data = replace(run.data, source=questions, max_epochs=9.0, validation_fraction=0.2, **request.param)
    store = prepare(data, root, lambda line: None)
    data = replace(data, content=store.manifest.content)
    return replace(run, data=data, objective=NextToken(completions=True)), store


def capitals_and_ends(store, targets):
    return ((targets >= ord("A")) & (targets <= ord("C"))) | (targets == store.manifest.eod)


def test_the_store_says_where_each_completion_begins(asked):
    _, store = asked
    starts = np.concatenate([[0], store.train_ends[:-1]])
    for start, completion, end in zip(starts, store.train_completions, store.train_ends, strict=True):
        text = bytes(store.train[start : end - 1].astype(np.uint8)).decode()
        assert text[: completion - start].islower() or start == completion
        assert text[completion - start :].isupper()


def test_what_bears_loss_are_answers_and_their_ends(asked):
    run, store = asked
    feed = Feed(run, store)
    for step in range(40):
        tokens = feed.step(step)
        wanted = capitals_and_ends(store, tokens.window_BW[:, 1:])
        if run.data.packing == "stream":
            assert np.array_equal(tokens.bears_BT, wanted)
        else:  # what fills a window looks like an end
            assert tokens.bears_BT.any() and not (tokens.bears_BT & ~wanted).any()
    fixed = feed.heldout
    assert np.array_equal(fixed.bears, capitals_and_ends(store, fixed.targets))
    assert target_bytes(run, store, fixed).sum() == (fixed.bears & (fixed.targets < 256)).sum()


def test_any_rows_of_a_batch_are_those_of_the_whole(asked):
    run, store = asked
    options = {
        "seed": 3,
        "step": 7,
        "batch": 8,
        "context": run.text,
        "completions": True,
        "order": order_of(store, run),
    }
    whole, rows = batch(store, **options), np.array([6, 1])
    part = batch(store, rows=rows, **options)
    assert np.array_equal(part.window, whole.window[rows]) and np.array_equal(part.bears, whole.bears[rows])


def test_the_loss_is_the_sum_over_completions_of_what_each_target_costs(asked):
    run, store = asked
    feed, task = Feed(run, store), task_of(run)
    tokens, params = feed.step(2), init(task_of(run), 0)
    cost = jax.jit(partial(losses, task))
    found = cost(params, tokens, feed.knowledge)
    every = cost(params, tokens._replace(bears_BT=None), feed.knowledge)
    assert np.array_equal(found.weights_BK, tokens.bears_BT)
    np.testing.assert_array_equal(found.nats_BK, np.where(tokens.bears_BT, every.nats_BK, 0))


def test_a_prompts_last_target_that_nothing_reads_leaves_the_gradient_as_it_was(asked):
    run, store = asked
    feed, task = Feed(run, store), task_of(run)
    params = init(task, 0)

    @jax.jit
    def gradient(window_BW):
        return jax.grad(lambda params: losses(task, params, tokens._replace(window_BW=window_BW), feed.knowledge)
                        .nats_BK.sum())(params)  # fmt: skip

    # The last token of a window is a target alone, all before are read too.
    tokens = next(of for of in (feed.step(step) for step in range(50)) if not of.bears_BT[:, -1].all())
    free = ~tokens.bears_BT[:, -1]
    changed, told = tokens.window_BW.copy(), tokens.window_BW.copy()
    changed[free, -1] = ord("z")
    before, after = gradient(tokens.window_BW), gradient(changed)
    jax.tree.map(np.testing.assert_array_equal, before, after)
    told[np.argwhere(tokens.bears_BT)[0][0], np.argwhere(tokens.bears_BT)[0][1] + 1] = ord("z")
    assert any(not np.array_equal(a, b) for a, b in zip(*map(jax.tree.leaves, (before, gradient(told))), strict=True))


def test_a_record_counts_and_measures_completions_alone(asked, tmp_path):
    run, store = asked
    feed = Feed(run, store)
    record = train(run, tmp_path, store, placement=QUIET)
    assert record.status == "finished" and record.tokens.seen == run.tokens
    assert record.tokens.loss_bearing == sum(int(feed.step(step).bears_BT.sum()) for step in range(run.steps))
    assert record.heldout.tokens == feed.heldout.bears.sum()
    params = init(task_of(run), 0)
    loss = evaluate(run, store, feed, params)
    every = Feed(replace(run, objective=NextToken()), store)
    tokens = every.heldout_rows(np.arange(4))
    nats = np.asarray(jax.jit(partial(losses, task_of(run)))(params, tokens, every.knowledge).nats_BK, np.float64)
    assert tokens.bears_BT is None
    total = (nats * feed.heldout.bears).sum()
    assert loss.loss == pytest.approx(total / feed.heldout.bears.sum(), rel=1e-6)  # float32 sums
    size = (feed.heldout.bears & (feed.heldout.targets < 256)).sum()
    assert loss.bits_per_byte == pytest.approx(total / size / np.log(2), rel=1e-6)


def test_completions_need_prompts_and_steps(asked, pinned):
    run, _ = asked
    plain, _ = pinned
    with pytest.raises(ValueError, match=r"completions=True\) on documents without prompts: name the prompts' field"):
        replace(plain, objective=NextToken(completions=True))
    if run.data.packing == "stream":
        with pytest.raises(ValueError, match=r"completions=True with an n-gram model: leave completions out"):
            replace(run, model=NgramConfig(vocab=run.model.vocab, context=16))


def test_held_out_text_without_a_completion_is_refused(asked, tmp_path, root):
    run, _ = asked
    rows = [{"question": "abc" * 200, "answer": "A"} for _ in range(23)]
    (tmp_path / "a.jsonl").write_text("\n".join(map(json.dumps, rows)))
    data = replace(run.data, source=Source(kind="jsonl", path=str(tmp_path), **FIELDS), content="", heldout_sequences=2)
    store = prepare(data, root, lambda line: None)
    with pytest.raises(DataError, match="no completion in the 2 held-out sequences of 16 tokens; raise"):
        check_enough(store, replace(run, data=data))
