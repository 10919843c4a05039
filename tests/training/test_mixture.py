"""A real training on two sources: what its record says of each, and that it goes on where it stopped."""

import threading
from dataclasses import replace

import numpy as np
import pytest

from scaling.config import Mixture, NgramConfig, Part, Source, Stage, run_id
from scaling.data.prepare import prepare
from scaling.record import RunDirectory, read_record
from scaling.training.loop import train
from tests.training.conftest import QUIET


@pytest.fixture(scope="module")
def sources(tmp_path_factory, corpus):
    """The session's texts, and as many of one letter over and over."""
    folder = tmp_path_factory.mktemp("dull")
    for number in range(40):
        (folder / f"{number:02}.txt").write_text("z" * (500 + number))
    return Part(name="words", source=corpus), Part(name="dull", source=Source(kind="folder", path=str(folder)))


@pytest.fixture
def mixed(run, sources, root):
    """(run, store): 30 steps of 4 sequences, half of them dull, and only dull ones at the end."""
    words, dull = sources
    mixture = Mixture(
        parts=(words, replace(dull, most_tokens=320, most_epochs=4.0)),
        weights=(0.5, 0.5),
        stages=(Stage(start=0.8, weights=(0.0, 1.0)),),
        target=(3.0, 1.0),
    )
    data = replace(run.data, mixture=mixture)
    store = prepare(data, root, lambda line: None)
    return replace(run, data=replace(data, content=store.manifest.content)), store


def test_a_record_says_what_was_read_and_learned_of_each_part(mixed, tmp_path):
    run, store = mixed
    record = train(run, tmp_path, store, placement=QUIET)
    words, dull = record.tokens.parts["words"], record.tokens.parts["dull"]
    # 24 steps of two sequences each, then 6 of four dull ones, of 16 tokens
    assert (words.seen, dull.seen) == (24 * 2 * 16, (24 * 2 + 6 * 4) * 16)
    assert (dull.unique, dull.epochs) == (320, dull.seen / 320)
    assert words.unique == words.seen and words.epochs < 1
    assert record.tokens.unique == words.unique + dull.unique
    held = record.heldout.parts
    assert held["dull"].loss < 1 < held["words"].loss  # a letter over and over is soon learned
    assert held["words"].loss_se > 0 and held["words"].bits_per_byte > 1
    assert held["words"].sequences == held["dull"].sequences == 4
    assert record.heldout.loss == pytest.approx(0.75 * held["words"].loss + 0.25 * held["dull"].loss)
    errors = 0.75 * held["words"].loss_se, 0.25 * held["dull"].loss_se
    assert record.heldout.loss_se == pytest.approx(np.hypot(*errors))
    assert record.heldout.sequences == 8 and record.heldout.tokens == 8 * 16
    assert list(record.heldout.by_position) == [1, 2, 4, 8, 16]
    assert read_record(RunDirectory(tmp_path / run_id(run)).record) == record


def test_a_run_that_was_stopped_reads_on_where_it_was(mixed, tmp_path):
    run, store = mixed
    whole = train(run, tmp_path / "whole", store, placement=QUIET)
    stop = threading.Event()
    stop.set()  # after the first step of every attempt
    for _ in range(3):
        assert train(run, tmp_path / "parts", store, placement=QUIET, stop=stop) is None
    resumed = train(run, tmp_path / "parts", store, placement=QUIET)
    assert resumed.cost.attempts == 4
    assert (resumed.heldout, resumed.tokens) == (whole.heldout, whole.tokens)


def test_a_branch_with_a_stage_goes_on_from_a_trunk_without(mixed, tmp_path):
    from scaling.sweeps import branches

    run, store = mixed
    trunk, branch = (cell.run for cell in branches(run, [run.tokens]))
    assert trunk.data.mixture.stages == () and branch.data == run.data
    train(trunk, tmp_path, store, placement=QUIET, keep_tokens=[branch.trunk.tokens])
    followed = train(branch, tmp_path, store, placement=QUIET)
    assert followed.cost.started_from_tokens == branch.trunk.tokens == 24 * run.batch_tokens
    alone = train(branch, tmp_path / "alone", store, placement=QUIET)
    assert (followed.heldout, followed.tokens) == (alone.heldout, alone.tokens)


def test_an_ngram_model_counts_the_mixture_that_a_network_would_read(mixed, tmp_path):
    run, store = mixed
    counted = train(replace(run, model=NgramConfig(vocab=257, context=16)), tmp_path, store, placement=QUIET)
    assert counted.tokens.parts["dull"].seen == (24 * 2 + 6 * 4) * 16
    assert counted.heldout.parts["dull"].loss < counted.heldout.parts["words"].loss
