from dataclasses import replace

import numpy as np
import pytest
from safetensors.numpy import load_file

from scaling.config import NgramConfig, run_id
from scaling.data.batches import batch, heldout
from scaling.models import ngram
from scaling.record import RunDirectory, read_record
from scaling.training.loop import train
from tests.training.conftest import QUIET


@pytest.fixture
def counted(pinned, tmp_path):
    """(run, store, record, its folder) of a trigram model."""
    run, store = pinned
    run = replace(run, model=NgramConfig(vocab=257, order=3, context=16))
    record = train(run, tmp_path, store, placement=QUIET)
    return run, store, record, RunDirectory(tmp_path / run_id(run))


def test_an_ngram_run_ends_with_a_record_like_any_other(counted):
    run, _, record, directory = counted
    assert record == read_record(directory.record)
    assert (record.status, record.tokens.seen, record.flops.exact) == ("finished", run.tokens, 0.0)
    assert record.heldout.loss < np.log(257)
    assert list(record.heldout.by_position) == [1, 2, 4, 8, 16]


def test_it_counts_the_windows_that_a_model_trained_by_steps_would_read(counted):
    run, store, record, directory = counted
    windows = [batch(store, seed=run.seed, step=s, batch=run.batch, context=16).window for s in range(run.steps)]
    expected = ngram.count(run.model, windows)
    assert record.params.total == ngram.size(expected)
    found = ngram.from_arrays(load_file(directory.path / "counts.safetensors"))
    fixed = heldout(store, context=16, sequences=run.data.heldout_sequences).window
    losses = [ngram.losses(ngram.smooth(counts), fixed) for counts in (expected, found)]
    np.testing.assert_array_equal(*losses)
    assert record.heldout.loss == pytest.approx(losses[0].mean())


def test_a_counted_run_is_not_counted_again(counted, tmp_path):
    run, store, record, _ = counted
    assert train(run, tmp_path, store, placement=QUIET) == record
