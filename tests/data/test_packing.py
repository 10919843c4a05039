import numpy as np
from hypothesis import given, settings
from hypothesis import strategies as st

from scaling.data.packing import pack

FILLER = -7
LENGTHS = st.lists(st.integers(1, 40), min_size=1, max_size=30)


def stream_of(lengths):
    """Documents of the lengths, every token a number of its own."""
    return np.arange(sum(lengths)), np.cumsum(lengths)


def test_short_documents_fill_windows_the_longest_first():
    stream, ends = stream_of([3, 5, 2, 4, 2])
    packed = pack(ends, 8)
    window, piece, _ = packed.read(stream, np.arange(packed.windows), FILLER)
    # 5 and 4 open a window each; 3 fits the fuller one exactly; both of 2 the other.
    assert window.tolist() == [[0, 1, 2, 3, 4, 5, 6, 7], [8, 9, 10, 11, 12, 13, 14, 15]]
    assert piece.tolist() == [[0] * 3 + [1] * 5, [0] * 2 + [1] * 4 + [2] * 2]


def test_best_fit_takes_the_fullest_window_with_room():
    _, ends = stream_of([7, 6, 2])
    packed = pack(ends, 9)
    window, *_ = packed.read(np.arange(15), np.arange(2), FILLER)
    # The 2 fits beside the 7 without a rest, beside the 6 with one.
    assert window.tolist() == [[0, 1, 2, 3, 4, 5, 6, 13, 14], [7, 8, 9, 10, 11, 12, *[FILLER] * 3]]


def test_a_long_document_is_cut_so_that_every_target_stays():
    packed = pack(np.array([10]), 4)
    window, piece, target = packed.read(np.arange(10), np.arange(packed.windows), FILLER)
    assert window.tolist() == [[0, 1, 2, 3], [3, 4, 5, 6], [6, 7, 8, 9]]
    assert (piece == 0).all() and target[:, 1:].all() and not target[:, 0].any()


@given(lengths=LENGTHS, width=st.integers(2, 16))
@settings(max_examples=200, deadline=None, derandomize=True)
def test_every_token_but_a_documents_first_is_predicted_once(lengths, width):
    stream, ends = stream_of(lengths)
    packed = pack(ends, width)
    window, piece, target = packed.read(stream, np.arange(packed.windows), FILLER)
    same = (piece[:, 1:] == piece[:, :-1]) & (piece[:, 1:] >= 0)
    firsts = np.concatenate([[0], ends[:-1]])
    assert np.sort(window[:, 1:][same]).tolist() == np.setdiff1d(stream, firsts).tolist()
    assert np.array_equal(window[:, 1:][same], window[:, :-1][same] + 1)
    assert packed.predicted == same.sum()
    assert np.array_equal(target[:, 1:], same) and not target[:, 0].any()


@given(lengths=LENGTHS, width=st.integers(2, 16), seed=st.integers(0, 100))
@settings(max_examples=200, deadline=None, derandomize=True)
def test_every_token_of_a_completion_is_predicted_once_and_none_of_a_prompt(lengths, width, seed):
    stream, ends = stream_of(lengths)
    firsts = np.concatenate([[0], ends[:-1]])
    completions = firsts + np.random.default_rng(seed).integers(0, np.array(lengths))
    packed = pack(ends, width, completions_D=completions)
    window, piece, target = packed.read(stream, np.arange(packed.windows), FILLER)
    document = np.searchsorted(ends, stream, side="right")
    wanted = (stream >= completions[document]) & (stream > firsts[document])
    assert np.sort(window[target]).tolist() == stream[wanted].tolist()
    assert packed.predicted == wanted.sum()
    assert all(target[row][piece[row] == k].any() for row in range(packed.windows) for k in set(piece[row]) - {-1})


@given(lengths=LENGTHS, width=st.integers(2, 16), seed=st.integers(0, 100))
@settings(max_examples=50, deadline=None, derandomize=True)
def test_any_rows_in_any_order_are_those_of_the_whole(lengths, width, seed):
    stream, ends = stream_of(lengths)
    packed = pack(ends, width)
    if packed.windows == 0:
        return
    chosen = np.random.default_rng(seed).integers(0, packed.windows, 5)
    whole = packed.read(stream, np.arange(packed.windows), FILLER)
    for part, all_of_it in zip(packed.read(stream, chosen, FILLER), whole, strict=True):
        assert np.array_equal(part, all_of_it[chosen])


def test_no_two_windows_could_have_been_one():
    lengths = np.random.default_rng(0).integers(2, 30, 400)
    packed = pack(np.cumsum(lengths), 64)
    _, piece, _ = packed.read(np.arange(lengths.sum()), np.arange(packed.windows), FILLER)
    filled = (piece >= 0).sum(axis=1)
    assert sum(np.sort(filled)[:2]) > 64
    assert filled.sum() / piece.size > 0.99  # as Ding et al. report of real documents


def test_documents_of_one_token_leave_no_window():
    assert pack(np.array([1, 2, 3]), 8).windows == 0
