import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from scaling.config import Source
from scaling.data import tokenizer as tokenizer_module
from scaling.data.sources import DataError, documents
from scaling.data.tokenizer import EOD, SPACE, load_tokenizer, save_tokenizer, train_tokenizer

KINDS = {"bpe": 400, "unigram": 400, "bytes": 257, "characters": 600}
# What tokenizers are known to lose, beside any character at all.
TRICKY = [
    "\t",
    "\r\n",
    "\r",
    "\0",
    " ",
    "  ",
    SPACE,
    "\u2585",
    "\u2047",
    "\ufeff",
    "\u200b",
    "e\u0301",
    "ﬁ",
    "Ⅳ",
    "\u3000",
]
TRICKY += [EOD, "<unk>", "<0x41>", "</s>", "𝄞", "\x85", "\u2028", "self", "def f(x):\n    return x"]
STRINGS = st.lists(st.one_of(st.sampled_from(TRICKY), st.text(max_size=5)), max_size=12).map("".join)


@pytest.fixture(scope="module")
def sample():
    """Every twentieth document of the standard library."""
    found = [document.text for index, document in enumerate(documents(Source())) if index % 20 == 0]
    return [text for text in found if text is not None]


@pytest.fixture(scope="module")
def tokenizers(sample):
    return {kind: train_tokenizer(sample[:12], kind, vocab) for kind, vocab in KINDS.items()}


@pytest.mark.parametrize("kind", KINDS)
def test_every_document_of_the_standard_library_survives(tokenizers, sample, kind):
    tokenizer = tokenizers[kind]
    for text, tokens in zip(sample, tokenizer.encode(sample, threads=2), strict=True):
        assert tokenizer.decode(tokens.tolist()) == text
        assert tokenizer.piece_bytes[tokens].sum() == len(text.encode())


@pytest.mark.parametrize("kind", KINDS)
@given(text=STRINGS)
@settings(max_examples=150, deadline=None, derandomize=True)
def test_any_text_survives_and_never_holds_the_end_of_a_document(tokenizers, kind, text):
    tokenizer = tokenizers[kind]
    (tokens,) = tokenizer.encode([text])
    assert tokenizer.decode(tokens.tolist()) == text
    assert tokenizer.piece_bytes[tokens].sum() == len(text.encode())
    assert tokenizer.eod not in tokens


@pytest.mark.parametrize("kind", KINDS)
def test_the_vocabulary_has_exactly_the_size_asked_for(tokenizers, kind):
    tokenizer = tokenizers[kind]
    assert tokenizer.vocab == KINDS[kind] == len(tokenizer.piece_bytes)
    assert tokenizer.piece_bytes[tokenizer.eod] == 0
    assert {bytes([byte]) for byte in range(256)} <= set(tokenizer.pieces)


@pytest.mark.parametrize("kind", ["bpe", "unigram"])
def test_pieces_shorten_text(tokenizers, sample, kind):
    tokens = sum(map(len, tokenizers[kind].encode(sample[-20:])))
    assert tokens < 0.7 * sum(len(text.encode()) for text in sample[-20:])


@pytest.mark.parametrize("kind", KINDS)
def test_training_is_deterministic_and_its_hash_says_so(tokenizers, sample, kind):
    again = train_tokenizer(iter(sample[:12]), kind, KINDS[kind])
    assert again.sha256 == tokenizers[kind].sha256
    assert len({tokenizer.sha256 for tokenizer in tokenizers.values()}) == len(KINDS)


def test_a_text_longer_than_a_segment_survives(tokenizers, monkeypatch):
    monkeypatch.setattr(tokenizer_module, "SEGMENT", 1000)
    text = ("ab " + SPACE) * 250 + " c" * 510
    (tokens,) = tokenizers["unigram"].encode([text], threads=2)
    assert tokenizers["unigram"].decode(tokens.tolist()) == text


def test_no_texts_and_empty_texts_give_no_tokens(tokenizers):
    for tokenizer in tokenizers.values():
        assert tokenizer.encode([]) == []
        (tokens,) = tokenizer.encode([""])
        assert tokens.size == 0 and tokens.dtype == np.int32


@pytest.mark.parametrize("kind", KINDS)
def test_a_saved_tokenizer_comes_back(tokenizers, tmp_path, kind):
    save_tokenizer(tokenizers[kind], tmp_path)
    assert load_tokenizer(tmp_path) == tokenizers[kind]


def test_a_changed_model_is_refused(tokenizers, tmp_path):
    save_tokenizer(tokenizers["bpe"], tmp_path)
    (tmp_path / "tokenizer.model").write_bytes(tokenizers["unigram"].model)
    with pytest.raises(DataError, match=r"tokenizer\.model changed after it was written; delete"):
        load_tokenizer(tmp_path)


@pytest.mark.parametrize("kind", ["bpe", "unigram"])
def test_too_little_text_for_the_vocabulary_is_said(kind):
    with pytest.raises(DataError, match=rf"vocab=400 with tokenizer='{kind}': 11 characters.*choose a smaller vocab"):
        train_tokenizer(["hello world"], kind, 400)


def test_a_vocabulary_without_room_for_pieces_is_refused():
    with pytest.raises(DataError, match=r"vocab=258: .* choose at least 260, or tokenizer='bytes'"):
        train_tokenizer(["hello world"], "bpe", 258)


@pytest.mark.parametrize("text", ["", SPACE * 9, "\0\0"])
def test_text_of_which_nothing_can_be_learned_is_refused(text):
    with pytest.raises(DataError, match="do not give so many pieces"):
        train_tokenizer([text], "bpe", 300)


POLICY_TEXT = ["if  x == 1234 and  y == 5678:\n        return 1234 is not 5678\n" * 300]


@pytest.mark.parametrize("kind", ["bpe", pytest.param("unigram", marks=pytest.mark.slow)])
def test_single_digits_leave_no_piece_with_two(sample, kind):
    joined, single = (
        train_tokenizer(POLICY_TEXT + sample[:6], kind, 400, digits=digits) for digits in ("joined", "single")
    )
    assert any(sum(byte in b"0123456789" for byte in piece) > 1 for piece in joined.pieces)
    assert all(sum(byte in b"0123456789" for byte in piece) <= 1 for piece in single.pieces)


@pytest.mark.parametrize("kind", ["bpe", pytest.param("unigram", marks=pytest.mark.slow)])
def test_spaces_decide_which_pieces_hold_them(sample, kind):
    pieces = {
        spaces: train_tokenizer(POLICY_TEXT + sample[:6], kind, 400, spaces=spaces).pieces
        for spaces in ("runs", "single", "across")
    }
    assert any(piece.strip(b" ") == b"" and len(piece) > 1 for piece in pieces["runs"])
    assert not any(b"  " in piece for piece in pieces["single"])
    assert any(b" " in piece.strip(b" ") for piece in pieces["across"])
    assert not any(b" " in piece.strip(b" ") for piece in pieces["runs"] + pieces["single"])


@pytest.mark.parametrize(("digits", "spaces"), [("single", "single"), ("single", "across"), ("joined", "across")])
def test_policies_lose_nothing(sample, digits, spaces):
    tokenizer = train_tokenizer(sample[:12], "bpe", 400, digits, spaces)
    for text, tokens in zip(TRICKY + sample[12:20], tokenizer.encode(TRICKY + sample[12:20]), strict=True):
        assert tokenizer.decode(tokens.tolist()) == text


def test_characters_are_a_token_each_and_those_without_one_are_spelt():
    tokenizer = train_tokenizer([], "characters", 257 + 0x100)
    (tokens,) = tokenizer.encode(["\u0394a\xe9\u0394"])
    assert tokens.tolist() == [0xCE, 0x94, 257 + ord("a"), 257 + 0xE9, 0xCE, 0x94]
