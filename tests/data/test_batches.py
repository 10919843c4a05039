from dataclasses import replace
from types import SimpleNamespace

import numpy as np
import pytest

from scaling.config import DataConfig, RunConfig, TransformerConfig
from scaling.data.batches import batch, check_enough, heldout, most_shares
from scaling.data.order import order_of, windows
from scaling.data.sources import DataError

EOD = 5


def a_store(train=1001, validation=101):
    """Streams that count upwards, an end of document at every tenth token."""
    streams = {"train": np.arange(10, 10 + train), "validation": np.arange(10, 10 + validation)}
    for stream in streams.values():
        stream[9::10] = EOD
    piece_bytes = np.ones(2000, np.int32)
    piece_bytes[EOD] = 0
    manifest = SimpleNamespace(eod=EOD, vocab=512, content="c" * 64, parts=[])
    return SimpleNamespace(path="tokens", manifest=manifest, piece_bytes=piece_bytes, **streams)


def a_run(*, tokens=320, context=8, batch=4, data=None):
    model = TransformerConfig(vocab=512, dim=8, layers=1, heads=2, context=context)
    return RunConfig(model=model, data=data or DataConfig(heldout_sequences=4), tokens=tokens, batch=batch)


def same(one, other):
    return all(np.array_equal(getattr(one, name), getattr(other, name)) for name in ("inputs", "targets", "documents"))


def test_a_batch_depends_on_nothing_but_seed_step_and_size():
    store = a_store()
    first = batch(store, seed=1, step=7, batch=6, context=8)
    batch(store, seed=1, step=3, batch=6, context=8)
    assert same(batch(store, seed=1, step=7, batch=6, context=8), first)
    assert not same(batch(store, seed=2, step=7, batch=6, context=8), first)
    assert not same(batch(store, seed=1, step=8, batch=6, context=8), first)


def test_hosts_together_read_the_batch_of_one():
    store = a_store()
    # Step 20 of 6 rows straddles the end of the first epoch of 125 windows.
    whole = batch(store, seed=0, step=20, batch=6, context=8)
    parts = [batch(store, seed=0, step=20, batch=6, context=8, rows=np.arange(host, 6, 3)) for host in range(3)]
    for host, part in enumerate(parts):
        assert np.array_equal(part.inputs, whole.inputs[host::3])
        assert np.array_equal(part.targets, whole.targets[host::3])


def test_an_epoch_predicts_every_token_but_the_first_once():
    store = a_store()
    steps = windows(len(store.train), 8) // 5
    batches = [batch(store, seed=0, step=step, batch=5, context=8) for step in range(steps)]
    inputs, targets = (np.concatenate([getattr(one, name) for one in batches]) for name in ("inputs", "targets"))
    assert np.array_equal(np.sort(targets.ravel()), np.sort(store.train[1:]))
    assert np.array_equal(inputs[:, 1:], targets[:, :-1])
    second = [batch(store, seed=0, step=step, batch=5, context=8) for step in range(steps, 2 * steps)]
    assert np.array_equal(np.sort(np.concatenate([one.targets for one in second]).ravel()), np.sort(store.train[1:]))
    assert not same(batches[0], second[0])


def test_batches_of_another_size_read_the_same_order():
    store = a_store()
    small = np.concatenate([batch(store, seed=0, step=step, batch=2, context=8).inputs for step in range(6)])
    large = np.concatenate([batch(store, seed=0, step=step, batch=4, context=8).inputs for step in range(3)])
    assert np.array_equal(small, large)


def test_batches_are_int32_and_of_the_stated_shape():
    found = batch(a_store(), seed=0, step=0, batch=3, context=8)
    for array in (found.inputs, found.targets, found.documents):
        assert array.shape == (3, 8) and array.dtype == np.int32
    assert found.window.shape == (3, 9) and found.window.flags.c_contiguous


def test_windows_are_paired_with_others_where_asked():
    alone, found = (batch(a_store(), seed=0, step=0, batch=6, context=8, pairs=pairs) for pairs in (False, True))
    assert alone.others is None
    assert np.array_equal(found.window, alone.window)
    assert found.others.shape == found.window.shape
    assert not np.array_equal(found.others, found.window)
    fixed = heldout(a_store(), context=8, sequences=4, pairs=True)
    assert np.array_equal(fixed.others, np.roll(fixed.window, 1, axis=0))


def test_a_document_ends_with_its_end_token():
    found = batch(a_store(), seed=0, step=0, batch=50, context=30)
    for inputs, documents in zip(found.inputs, found.documents, strict=True):
        expected, document = [], 0
        for token in inputs:
            expected.append(document)
            document += token == EOD
        assert documents.tolist() == expected


def test_the_heldout_set_is_fixed_and_spread():
    store = a_store()
    fixed = heldout(store, context=8, sequences=4)
    assert fixed.inputs[:, 0].tolist() == [10, 34, 58, 82]  # windows 0, 3, 6 and 9 of 12
    assert np.array_equal(fixed.targets[:, :-1], fixed.inputs[:, 1:])
    assert same(heldout(store, context=8, sequences=4), fixed)


def test_too_small_a_validation_split_is_said():
    with pytest.raises(
        DataError, match=r"validation split has 101 tokens, 12 sequences of 8, but 13 are needed; lower"
    ):
        heldout(a_store(), context=8, sequences=13)
    with pytest.raises(DataError, match=r"validation split .* but 13 are needed; lower DataConfig\.heldout_sequences"):
        check_enough(a_store(), a_run(data=DataConfig(heldout_sequences=13)))


def test_a_context_longer_than_the_store_is_said():
    with pytest.raises(DataError, match=r"train split has 8 tokens, 0 sequences of 8, but 1 are needed; shorten"):
        batch(a_store(train=8), seed=0, step=0, batch=1, context=8)
    with pytest.raises(DataError, match=r"train split has 8 tokens, 0 sequences of 8"):
        check_enough(a_store(train=8), a_run())


def test_a_run_may_read_every_token_once_and_more_only_by_option():
    store = a_store(train=961)
    check_enough(store, a_run(tokens=960))
    with pytest.raises(DataError, match=r"tokens=992, but .* 960 training tokens.*1\.03 epochs.*max_epochs=1\.04"):
        check_enough(store, a_run(tokens=992))
    check_enough(store, a_run(tokens=992, data=DataConfig(heldout_sequences=4, max_epochs=1.04)))


def test_a_store_of_other_data_is_refused():
    with pytest.raises(DataError, match=r"512 tokens in the vocabulary, but DataConfig\.vocab=600"):
        run = a_run()
        check_enough(a_store(), replace(run, model=replace(run.model, vocab=600), data=replace(run.data, vocab=600)))
    with pytest.raises(DataError, match=r"content cccccccccccc, but the run was planned on dddddddddddd"):
        check_enough(a_store(), a_run(data=DataConfig(heldout_sequences=4, content="d" * 64)))


def test_tokens_read_are_unique_until_the_epoch_ends():
    store = a_store(train=961)
    (half,), (twice,) = (order_of(store, a_run()).read(tokens) for tokens in (480, 1920))
    assert (half.unique, half.epochs) == (480, 0.5) and (twice.unique, twice.epochs) == (960, 2.0)
    (cut,) = order_of(store, a_run(context=100, tokens=400)).read(1900)
    assert (cut.seen, cut.unique, cut.epochs) == (1900, 900, 1900 / 900)


def test_the_most_that_a_run_may_read_of_a_part_is_its_epochs_over_the_run():
    # 961 tokens are 120 windows of 8, 960 tokens that are read: of a run of 1,920, half in one epoch, all in two.
    run = a_run(tokens=1920, data=DataConfig(heldout_sequences=4))
    assert most_shares(a_store(train=961), run) == (0.5,)
    assert most_shares(
        a_store(train=961), a_run(tokens=1920, data=DataConfig(heldout_sequences=4, max_epochs=3.0))
    ) == (1.0,)
