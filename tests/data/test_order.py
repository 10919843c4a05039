from dataclasses import replace
from types import SimpleNamespace

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from scaling.config import DataConfig, Mixture, Part, RunConfig, Stage, TransformerConfig
from scaling.data.batches import batch, check_enough, heldout
from scaling.data.order import order_of, whole
from scaling.data.sources import DataError

CONTEXT = 8
STEP = 4 * CONTEXT  # tokens


def a_store(sizes=(401, 161, 241), validation=(41, 41, 57), names="abc"):
    """Streams of parts whose tokens say where they stand: part k's begin at 10,000 k + 10."""

    def stream(sizes):
        return np.concatenate([10_000 * k + 10 + np.arange(size) for k, size in enumerate(sizes)])

    parts = [
        SimpleNamespace(name=name, train=SimpleNamespace(tokens=size), validation=SimpleNamespace(tokens=held))
        for name, size, held in zip(names, sizes, validation, strict=True)
    ]
    manifest = SimpleNamespace(eod=5, vocab=512, content="c" * 64, parts=parts)
    return SimpleNamespace(path="tokens", manifest=manifest, train=stream(sizes), validation=stream(validation))


def a_run(mixture, *, steps=20, seed=0, **fields):
    model = TransformerConfig(vocab=512, dim=8, layers=1, heads=2, context=CONTEXT)
    data = DataConfig(heldout_sequences=4, mixture=mixture, max_epochs=100.0)
    return RunConfig(model=model, data=replace(data, **fields), tokens=steps * STEP, batch=4, seed=seed)


def mixed(*weights, names="abc", **fields):
    parts = tuple(Part(name=name) for name in names)
    return Mixture(parts=parts, weights=weights, **fields)


def read(store, run, places, seed=0):
    found = batch(store, seed=seed, step=0, batch=1, context=CONTEXT, rows=places, order=order_of(store, run))
    return found.inputs[:, 0] // 10_000, found


def test_every_step_holds_the_shares_that_fit_into_it():
    store, run = a_store(), a_run(mixed(0.5, 0.25, 0.25))
    for step in range(20):
        part, _ = read(store, run, step * 4 + np.arange(4))
        assert np.bincount(part).tolist() == [2, 1, 1]


@settings(deadline=None, max_examples=25)
@given(st.integers(0, 2), st.integers(0, 3), st.tuples(*[st.integers(1, 9)] * 3), st.integers(0, 2**31))
def test_each_part_is_read_in_whole_epochs_of_its_own(k, epoch, weights, seed):
    store, run = a_store(), a_run(mixed(*map(float, weights)))
    order = order_of(store, run)
    count = order.spans[k].windows
    # A part has a share of at least 1/19, so 20,000 places hold four epochs of it.
    places = np.flatnonzero(order.ranks(np.arange(20_000))[0] == k)[epoch * count : (epoch + 1) * count]
    starts = order.starts(places, seed=seed)
    first = order.spans[k].first
    assert np.array_equal(np.sort(starts), first + np.arange(count) * CONTEXT)


@settings(deadline=None, max_examples=25)
@given(st.integers(1, 7), st.integers(0, 10**9), st.booleans())
def test_any_number_of_hosts_read_the_rows_of_one(hosts, step, pairs):
    store, run = a_store(), a_run(mixed(0.6, 0.3, 0.1, stages=(Stage(start=0.5, weights=(1.0, 0.0, 0.0)),)))
    options = dict(seed=3, step=step, batch=12, context=CONTEXT, order=order_of(store, run), pairs=pairs)
    alone = batch(store, **options)
    for host in range(hosts):
        mine = batch(store, rows=np.arange(host, 12, hosts), **options)
        assert np.array_equal(mine.window, alone.window[host::hosts])
        assert not pairs or np.array_equal(mine.others, alone.others[host::hosts])


def test_windows_stay_inside_their_part_and_so_do_those_they_are_paired_with():
    store, run = a_store(), a_run(mixed())
    found = batch(store, seed=0, step=0, batch=200, context=CONTEXT, order=order_of(store, run), pairs=True)
    part = found.window // 10_000
    assert (part == part[:, :1]).all() and set(part[:, 0]) == {0, 1, 2}
    assert (found.others // 10_000 == part).all()


def test_without_weights_parts_are_read_in_proportion_to_their_tokens():
    # 50, 20 and 30 windows
    order = order_of(a_store(), a_run(mixed()))
    assert order.counts(100).tolist() == [50, 20, 30]
    assert [part.epochs for part in order.read(100 * CONTEXT)] == [1.0, 1.0, 1.0]
    # 40 and 10 windows: their square roots are as 2 to 1.
    store = a_store(sizes=(321, 81), validation=(41, 41), names="ab")
    assert order_of(store, a_run(mixed(names="ab", temperature=2.0))).counts(3).tolist() == [2, 1]


def test_a_limit_leaves_the_same_sequences_to_every_run_and_a_smaller_one_some_of_them():
    store, subsets = a_store(), {}
    for unique, seed in ((160, 0), (160, 1), (80, 0)):
        parts = (Part(name="a", most_tokens=unique), Part(name="b"), Part(name="c"))
        run = a_run(Mixture(parts=parts, weights=(1.0, 0.0, 0.0)), seed=seed)
        starts = order_of(store, run).starts(np.arange(unique // CONTEXT), seed=seed)
        subsets[unique, seed] = set(starts.tolist())
        assert len(subsets[unique, seed]) == unique // CONTEXT  # each once
        (part, *_) = order_of(store, run).read(run.tokens)
        assert (part.seen, part.unique, part.epochs) == (640, unique, 640 / unique)
    assert subsets[160, 0] == subsets[160, 1] and subsets[80, 0] < subsets[160, 0]
    assert max(subsets[160, 0]) > 320  # drawn from all of it, not from its beginning


def test_a_single_source_is_limited_too():
    store = a_store(sizes=(401,), validation=(41,), names="a")
    store.manifest.parts = []
    run = a_run(None, steps=15, most_tokens=160, max_epochs=3.0)
    check_enough(store, run)
    (found,) = order_of(store, run).read(run.tokens)
    assert (found.unique, found.epochs) == (160, 3.0)
    with pytest.raises(DataError, match=r"480, but .* 160 training tokens: that is 3.00 epochs, and .*max_epochs=2"):
        check_enough(store, replace(run, data=replace(run.data, max_epochs=2.0)))
    for wrong in (7, 408):
        with pytest.raises(DataError, match=rf"most_tokens={wrong} of part 'all', but it has 400 .* from 8 to 400"):
            check_enough(store, replace(run, data=replace(run.data, most_tokens=wrong)))


def test_a_mixture_of_one_part_reads_what_its_source_alone_does():
    store = a_store(sizes=(401,), validation=(41,), names="a")
    mixture = order_of(store, a_run(mixed(names="a"))).starts(np.arange(120), seed=7)
    assert np.array_equal(mixture, whole(store, CONTEXT).starts(np.arange(120), seed=7))


def test_a_stage_begins_at_its_step_on_its_weights():
    stage = Stage(start=0.75, weights=(0.0, 1.0, 0.0))
    store, run = a_store(), a_run(mixed(0.5, 0.25, 0.25, stages=(stage,)))
    order, before = order_of(store, run), order_of(store, a_run(mixed(0.5, 0.25, 0.25)))
    assert order.counts(80).tolist() == [30, 15 + 20, 15]
    # Up to the stage nothing changes, and a part's own order goes on through it.
    assert np.array_equal(order.starts(np.arange(60), seed=0), before.starts(np.arange(60), seed=0))
    part, rank = order.ranks(np.arange(60, 80))
    assert set(part.tolist()) == {1} and rank.tolist() == list(range(15, 35))


def test_the_heldout_set_has_as_many_sequences_of_each_part():
    fixed = heldout(a_store(), context=CONTEXT, sequences=4, pairs=True)
    assert (fixed.window[:, 0] // 10_000).tolist() == [0] * 4 + [1] * 4 + [2] * 4
    assert fixed.window[8:, 0].tolist() == [20_010, 20_018, 20_034, 20_050]  # windows 0, 1, 3 and 5 of 7
    assert (fixed.others // 10_000 == fixed.window // 10_000).all()
    with pytest.raises(DataError, match=r"validation split of part 'b' has 25 tokens, 3 sequences of 8, but 4 are"):
        heldout(a_store(validation=(41, 25, 41)), context=CONTEXT, sequences=4)


def test_a_part_that_runs_dry_is_refused_before_work_starts():
    store, run = a_store(), a_run(mixed(0.5, 0.5, 0.0), max_epochs=1.0)
    check_enough(store, replace(run, tokens=10 * STEP))  # 160 tokens of b: once
    with pytest.raises(DataError, match=r"160 training tokens that part 'b' may read, and the mixture takes 320 of it"):
        check_enough(store, run)
    allowed = tuple(replace(part, most_epochs=2.0) for part in run.data.mixture.parts)
    check_enough(store, replace(run, data=replace(run.data, mixture=replace(run.data.mixture, parts=allowed))))
    with pytest.raises(DataError, match=r"2\.40 epochs of at most 2; give it more text.*Part\.most_epochs=2\.4"):
        more = replace(run, tokens=24 * STEP)
        check_enough(store, replace(more, data=replace(run.data, mixture=replace(run.data.mixture, parts=allowed))))


def test_what_cannot_be_mixed_is_said():
    with pytest.raises(DataError, match=r"has the parts a, b, c, but the run reads a, b; open the store that"):
        order_of(a_store(), a_run(mixed(names="ab")))
    with pytest.raises(DataError, match=r"train split of part 'b' has 8 tokens, 0 sequences of 8, but 1 are needed"):
        order_of(a_store(sizes=(401, 8, 241)), a_run(mixed()))
    with pytest.raises(DataError, match=r"DataConfig.mixture of a, b, c: weights .* of number 3, .* rounds to none"):
        order_of(a_store(), a_run(mixed(1.0, 1.0, 1e-6)))
