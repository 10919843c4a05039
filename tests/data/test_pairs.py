from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from scaling.config import Completion, DataConfig, RunConfig, Source, TransformerConfig
from scaling.data.batches import check_enough
from scaling.data.pairs import NONE, heldout_pairs, padding_told, pair_order, pairs
from scaling.data.sources import DataError
from scaling.data.store import Counts, Manifest, Store

EOD, SOURCE, TARGET = 0, 8, 16
LENGTHS = st.lists(st.tuples(st.integers(0, 20), st.integers(1, 30)), min_size=1, max_size=80)


def a_store(lengths):
    """Documents of so many tokens of prompt and of completion, every token a number of its own."""
    ends = np.cumsum([prompt + completion + 1 for prompt, completion in lengths])
    stream = np.arange(1, ends[-1] + 1)
    stream[ends - 1] = EOD
    begins = np.concatenate([[0], ends[:-1]]) + [prompt for prompt, _ in lengths]
    counts = Counts(documents=len(ends), tokens=len(stream), bytes=0)
    manifest = Manifest(
        content="c", source="", tokenizer="", tokenizer_sha256="", vocab=5000, eod=EOD, dtype="<u2",
        train=counts, validation=counts, prompts=True,
    )  # fmt: skip
    return Store(Path("tokens"), manifest, stream, stream, ends, ends, np.ones(5000, np.int32), begins, begins)


def a_run(*, shapes=3, batch=4, steps=1, seed=0, heldout_sequences=2):
    text = SOURCE + TARGET
    model = TransformerConfig(vocab=5001, dim=8, layers=1, heads=2, context=TARGET, architecture="encoder_decoder")
    source = Source(kind="jsonl", path="pairs.jsonl", prompt_field="question")
    data = DataConfig(source=source, vocab=5000, specials=1, heldout_sequences=heldout_sequences)
    objective = Completion(text=text, prompt=SOURCE, shapes=shapes)
    return RunConfig(model=model, data=data, objective=objective, tokens=text * batch * steps, batch=batch, seed=seed)


def chosen(order, step):
    return order.chosen(step, np.arange(order.rows(order.shape(step))))


@given(lengths=LENGTHS, seed=st.integers(0, 9))
@settings(max_examples=60, deadline=None, derandomize=True)
def test_every_pass_reads_every_pair_once_in_the_shortest_shape_that_holds_it(lengths, seed):
    order = pair_order(a_store(lengths), a_run(seed=seed))
    for number in range(2):
        steps = range(number * order.batches, (number + 1) * order.batches)
        read = np.concatenate([chosen(order, step) for step in steps])
        assert np.sort(read[read != NONE]).tolist() == list(range(len(lengths)))
        for step in steps:
            shape = order.shape(step)
            for document in chosen(order, step):
                prompt, completion = (0, 0) if document == NONE else lengths[document]
                assert shape == 0 or (prompt + 1 <= SOURCE >> shape and completion + 1 <= TARGET >> shape)
                if document != NONE and shape < 2:
                    assert prompt + 1 > SOURCE >> shape + 1 or completion + 1 > TARGET >> shape + 1
    assert order.read(2 * order.batches * order.batch * order.text)[0].epochs == 2


def test_an_order_depends_on_the_seed_and_the_pass_alone():
    lengths = [(number % 7, number % 11 + 1) for number in range(200)]
    store = a_store(lengths)
    first, again, other = (pair_order(store, a_run(seed=seed)) for seed in (1, 1, 2))
    one = [chosen(first, step).tolist() for step in range(2 * first.batches)]
    assert one == [chosen(again, step).tolist() for step in reversed(range(2 * first.batches))][::-1]
    assert one[: first.batches] != one[first.batches :]
    assert one != [chosen(other, step).tolist() for step in range(2 * first.batches)]


@pytest.mark.parametrize("hosts", [1, 2, 3, 4])
def test_hosts_together_read_the_batch_of_one(hosts):
    order = pair_order(a_store([(number % 7, number % 11 + 1) for number in range(50)]), a_run(batch=12))
    for step in range(order.batches):
        whole = chosen(order, step)
        for host in range(hosts):
            rows = np.arange(host, len(whole), hosts)
            assert np.array_equal(order.chosen(step, rows), whole[rows])


def test_batches_of_each_shape_are_counted_for_every_beginning():
    order = pair_order(a_store([(number % 7, number % 14 + 1) for number in range(100)]), a_run())
    shapes = [order.shape(step) for step in range(3 * order.batches)]
    for steps in range(3 * order.batches + 1):
        assert order.counts(steps).tolist() == [shapes[:steps].count(n) for n in range(3)]
    assert [shapes[step] for step in order.first_steps()] == sorted(set(shapes))
    assert order.first_steps() == [shapes.index(n) for n in sorted(set(shapes))]


def test_a_window_holds_prompt_and_completion_with_their_ends_and_cuts_what_is_longer():
    store = a_store([(2, 3), (0, 1), (9, 20)])
    window = pairs(store, "train", np.array([0, NONE, 1, 2]), 8, 16)
    none = [NONE] * 16
    assert window.shape == (4, 8 + 16 + 1) and window.dtype == np.int32
    assert window[0].tolist() == [1, 2, EOD, *none[:5], 3, 4, 5, EOD, *none[:12], NONE]
    assert window[1].tolist() == [EOD, *none[:7], *none, NONE]
    assert window[2].tolist() == [EOD, *none[:7], 7, EOD, *none[:14], NONE]
    prompt, completion = list(range(9, 18)), list(range(18, 38))
    assert window[3].tolist() == [*prompt[-7:], EOD, *completion[:16], NONE]


def test_padding_is_what_windows_do_not_hold_and_shapes_make_it_less():
    draw = np.random.default_rng(0)
    lengths = np.stack([draw.geometric(0.4, 3000), draw.geometric(0.2, 3000)], axis=1).tolist()
    store, paddings = a_store(lengths), []
    for shapes in (1, 2, 3, 4):
        order = pair_order(store, a_run(shapes=shapes))
        windows = [
            pairs(store, "train", chosen(order, step), SOURCE >> shape, TARGET >> shape)[:, :-1]
            for step in range(order.batches)
            for shape in [order.shape(step)]
        ]
        assert {window.size for window in windows} == {4 * (SOURCE + TARGET)}
        empty = sum(int((chosen(order, step) == NONE).sum()) for step in range(order.batches))  # hold an end alone
        held = sum(int((window != NONE).sum()) for window in windows) - empty
        assert order.padding == pytest.approx(1 - held / (order.batches * 4 * (SOURCE + TARGET)))
        paddings.append(order.padding)
    assert paddings == sorted(paddings, reverse=True)
    assert paddings[0] > 0.6 and paddings[2] < 0.45
    told = f"batches of 3 shapes: {paddings[2]:.1%} padding; in one shape {paddings[0]:.1%}"
    assert padding_told(store, a_run(shapes=3)) == told


def test_the_heldout_pairs_are_fixed_and_spread():
    store = a_store([(1, 2)] * 10)
    window = heldout_pairs(store, a_run(heldout_sequences=5))
    assert window[:, 0].tolist() == [1, 9, 17, 25, 33]
    assert window.shape == (5, SOURCE + TARGET + 1)


def test_what_cannot_be_read_is_said():
    with pytest.raises(ValueError, match=r"Completion\(.*\) on documents without prompts: name the prompts' field"):
        replace(a_run(), data=DataConfig(vocab=5000, specials=1))
    with pytest.raises(
        DataError, match=r"the validation split has 3 documents, but 4 are needed; lower DataConfig\.he"
    ):
        check_enough(a_store([(1, 2)] * 3), a_run(heldout_sequences=4))
    check_enough(a_store([(7, 15)] * 8), a_run(steps=2))
    with pytest.raises(DataError, match=r"tokens=288, but .* 192 training tokens: that is 1\.50 epochs"):
        check_enough(a_store([(7, 15)] * 8), a_run(steps=3))
