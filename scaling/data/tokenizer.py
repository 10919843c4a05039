"""Text to tokens and back, without loss.

sentencepiece learns the pieces; what a piece stands for in bytes is kept
here, so that decoding is a table look-up and bits/byte is exact. Nothing is
learned for `bytes`, nor for `characters` (Clark et al. 2022, CANINE,
arXiv:2103.06874): there the first code points are a token each, and the
others are spelt in bytes.
"""

import hashlib
import io
import json
import re
from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from functools import cached_property
from itertools import zip_longest
from pathlib import Path
from typing import Literal

import numpy as np
import sentencepiece

from scaling.data.sources import DataError

Kind = Literal["bpe", "unigram", "bytes", "characters"]
Digits = Literal["joined", "single"]
Spaces = Literal["runs", "single", "across"]

# Training text. Unigram's cost is steep: 1 MB takes 5 s, 8 MB 55 s for 1% fewer tokens.
SAMPLE_BYTES = {"bpe": 10_000_000, "unigram": 1_000_000}
COVERAGE = 0.9995  # share of the training characters that get a piece; the rest is spelt in bytes
SEGMENT = 1 << 20  # characters encoded at once: bounds the memory that one huge document takes

SPACE = "\N{LOWER ONE EIGHTH BLOCK}"  # how sentencepiece writes a space in its pieces
# NUL ends a string in sentencepiece's trainer; the other two are its own marks.
RESERVED_CHARACTERS = ("\0", SPACE, "\N{LOWER FIVE EIGHTHS BLOCK}")
EOD = "<eod>"
RESERVED = 258  # 256 bytes, the end of a document, sentencepiece's unknown piece
LEAST_VOCAB = RESERVED + 2
BYTES = 257  # tokens of raw bytes: one each, and the end of a document
BYTE_PIECES = (*(bytes([byte]) for byte in range(256)), b"")


@dataclass(frozen=True)
class Tokenizer:
    """A trained tokenizer: `decode(encode(text)) == text` for every valid Unicode text."""

    kind: Kind
    model: bytes  # sentencepiece's; empty for raw bytes; of characters how many have a token, in decimal

    @cached_property
    def pieces(self) -> tuple[bytes, ...]:
        """The bytes that each token stands for; none for the end of a document."""
        if self.kind == "bytes":
            return BYTE_PIECES
        if self.kind == "characters":
            return (*BYTE_PIECES, *(chr(point).encode() for point in range(int(self.model))))
        return tuple(_piece_bytes(self._processor, token) for token in range(self._processor.vocab_size()))

    @property
    def vocab(self) -> int:
        return len(self.pieces)

    @property
    def eod(self) -> int:
        """The token that ends a document; no text is ever encoded to it."""
        return BYTES - 1 if self.kind in ("bytes", "characters") else self._processor.piece_to_id(EOD)

    @property
    def piece_bytes(self) -> np.ndarray:
        """Number of UTF-8 bytes of each token, int32."""
        return np.array([len(piece) for piece in self.pieces], np.int32)

    @property
    def spells(self) -> np.ndarray:
        """(V,) bool: the tokens that stand for one byte of what no piece covers; of raw bytes, all 256."""
        if self.kind in ("bytes", "characters"):
            return np.arange(self.vocab) < 256
        return np.array([self._processor.is_byte(token) for token in range(self.vocab)])

    @property
    def sha256(self) -> str:
        return hashlib.sha256(self.kind.encode() + b"\n" + self.model).hexdigest()

    def encode(self, texts: Sequence[str], threads: int = 1) -> list[np.ndarray]:
        """The tokens of each text, int32, without an end-of-document token."""
        if self.kind == "bytes":
            return [np.frombuffer(text.encode(), np.uint8).astype(np.int32) for text in texts]
        if self.kind == "characters":
            return [_character_tokens(text, int(self.model)) for text in texts]
        parts = [_parts(text) for text in texts]
        plain = [part for text in parts for part in text if part != SPACE]
        encoded = iter(self._processor.encode(plain, num_threads=threads, return_type="numpy"))
        return [_joined([self._space if part == SPACE else next(encoded) for part in text]) for text in parts]

    def decode(self, tokens: Iterable[int]) -> str:
        """The text of whole tokens; a character cut in two becomes U+FFFD."""
        pieces = self.pieces
        return b"".join([pieces[token] for token in tokens]).decode(errors="replace")

    @cached_property
    def _processor(self) -> sentencepiece.SentencePieceProcessor:
        return sentencepiece.SentencePieceProcessor(model_proto=self.model)

    @cached_property
    def _space(self) -> np.ndarray:
        return np.array([self._processor.piece_to_id(f"<0x{byte:02X}>") for byte in SPACE.encode()], np.int32)


def train_tokenizer(
    texts: Iterable[str], kind: Kind, vocab: int, digits: Digits = "joined", spaces: Spaces = "runs"
) -> Tokenizer:
    """A tokenizer of exactly `vocab` tokens, learned from the first SAMPLE_BYTES of `texts`.

    digits: `single` makes each digit a token of its own. spaces: `runs` lets a
    run of spaces, such as an indentation, be a piece; with `single` no piece
    holds two spaces in a row; with `across` a piece may hold several words.

    The same texts give the same model on every machine. Raises DataError if
    the texts hold too few pieces, or `vocab` has no room for any.
    """
    if kind == "bytes":
        return Tokenizer("bytes", b"")
    if kind == "characters":
        return Tokenizer("characters", str(vocab - BYTES).encode())
    if vocab < LEAST_VOCAB:
        raise DataError(
            f"DataConfig.vocab={vocab}: the 256 bytes and 2 special tokens leave no room for pieces; "
            f"choose at least {LEAST_VOCAB}, or tokenizer='bytes' with vocab=257"
        )
    sample = _sample(texts, SAMPLE_BYTES[kind])
    kept = _frequent(sample, (vocab - RESERVED) // 2)
    try:
        return Tokenizer(kind, _trained(sample, kept, kind, vocab, digits, spaces))
    except RuntimeError as error:
        raise DataError(
            f"DataConfig.vocab={vocab} with tokenizer={kind!r}: {sum(map(len, sample))} characters of training text "
            f"do not give so many pieces ({' '.join(str(error).split())}); choose a smaller vocab or give more text"
        ) from None


def save_tokenizer(tokenizer: Tokenizer, folder: Path) -> None:
    """Write tokenizer.model and tokenizer.json into `folder`."""
    (folder / "tokenizer.model").write_bytes(tokenizer.model)
    facts = {"kind": tokenizer.kind, "vocab": tokenizer.vocab, "sha256": tokenizer.sha256}
    (folder / "tokenizer.json").write_text(json.dumps(facts, indent=1), encoding="utf-8")


def load_tokenizer(folder: Path) -> Tokenizer:
    """The tokenizer in `folder`, or DataError if it is not the one that was written there."""
    facts = json.loads((folder / "tokenizer.json").read_text(encoding="utf-8"))
    tokenizer = Tokenizer(facts["kind"], (folder / "tokenizer.model").read_bytes())
    if tokenizer.sha256 != facts["sha256"]:
        raise DataError(f"{folder}: tokenizer.model changed after it was written; delete {folder} and prepare again")
    return tokenizer


def _character_tokens(text: str, known: int) -> np.ndarray:
    """A token for each code point below `known`, and for each byte of the others."""
    points = np.frombuffer(text.encode("utf-32-le"), "<u4").astype(np.int32)
    if not len(points) or points.max() < known:
        return points + BYTES
    rare = re.compile(f"([{chr(known)}-\U0010ffff]+)").split(text)  # every second part
    spelt = (np.frombuffer(part.encode(), np.uint8).astype(np.int32) for part in rare[1::2])
    plain = (_character_tokens(part, known) for part in rare[::2])
    both = [part for pair in zip_longest(plain, spelt, fillvalue=points[:0]) for part in pair]
    return np.concatenate(both)


def _trained(sample: list[str], kept: str, kind: Kind, vocab: int, digits: Digits, spaces: Spaces) -> bytes:
    """sentencepiece's model of the sample, cut at every character that is not kept."""
    if not kept:
        raise RuntimeError("no character to learn from")
    rare, model = re.compile(f"[^{re.escape(kept)}]+"), io.BytesIO()
    sentencepiece.SentencePieceTrainer.train(
        sentence_iterator=(part for text in sample for part in rare.split(text) if part),
        model_writer=model,
        model_type=kind,
        vocab_size=vocab,
        character_coverage=1.0,  # of what `rare` left
        byte_fallback=True,
        # lossless: nothing is normalised, added or taken away
        normalization_rule_name="identity",
        add_dummy_prefix=False,
        remove_extra_whitespaces=False,
        allow_whitespace_only_pieces=spaces == "runs",
        split_by_whitespace=spaces != "across",
        split_digits=digits == "single",
        max_sentence_length=1 << 30,
        control_symbols=[EOD],
        unk_id=1,
        bos_id=-1,
        eos_id=-1,
        pad_id=-1,
        num_threads=2,  # fixed: unigram sums in the order of the threads
        minloglevel=2,
    )
    return model.getvalue()


def _parts(text: str) -> list[str]:
    """`text` cut so that SPACE stands alone and nothing is longer than SEGMENT.

    sentencepiece writes a space as SPACE and could not tell it from the
    character itself, which is therefore spelt in bytes.
    """
    if SPACE not in text and len(text) <= SEGMENT:
        return [text]
    return [
        part[start : start + SEGMENT] for part in re.split(f"({SPACE})", text) for start in range(0, len(part), SEGMENT)
    ]


def _joined(arrays: list[np.ndarray]) -> np.ndarray:
    return arrays[0] if len(arrays) == 1 else np.concatenate(arrays)


def _sample(texts: Iterable[str], limit: int) -> list[str]:
    sample, size = [], 0
    for text in texts:
        sample.append(text[: limit - size])
        size += len(sample[-1].encode())
        if size >= limit:
            break
    return sample


def _frequent(sample: list[str], most: int) -> str:
    """The characters worth a piece: COVERAGE of the text, at most `most` of them."""
    counts = Counter()
    for text in sample:
        counts.update(text)
    for reserved in RESERVED_CHARACTERS:
        counts.pop(reserved, None)
    kept, seen, needed = [], 0, COVERAGE * counts.total()
    for character, count in sorted(counts.items(), key=lambda item: (-item[1], item[0])):
        if seen >= needed or len(kept) == most:
            break
        kept.append(character)
        seen += count
    return "".join(kept)


def _piece_bytes(processor: sentencepiece.SentencePieceProcessor, token: int) -> bytes:
    piece = processor.id_to_piece(token)
    if processor.is_byte(token):
        return bytes([int(piece[3:5], 16)])  # "<0x0A>"
    if processor.is_control(token) or processor.is_unknown(token):
        return b""
    return piece.replace(SPACE, " ").encode()
