from dataclasses import replace

import numpy as np
import pytest

from scaling.config import DataConfig, Mixture, Part, Source
from scaling.config.cleaning import Lengths
from scaling.data import corpus
from scaling.data.prepare import pinned, prepare
from scaling.data.sample import evenly
from scaling.data.sources import DataError
from scaling.data.tokenizer import load_tokenizer

LETTERS = {"vowels": "aeiou ", "others": "bcdfg "}


def silent(line):
    pass


def forbidden(*arguments):
    raise AssertionError("the corpus of a part is there already")


@pytest.fixture(scope="module")
def data(tmp_path_factory):
    """Two folders of documents in letters of their own; the second has twice as many."""
    root, parts = tmp_path_factory.mktemp("parts"), []
    for size, (name, letters) in enumerate(LETTERS.items(), start=1):
        (root / name).mkdir()
        for number in range(20 * size):
            (root / name / f"{number:02}.txt").write_text(letters * 10 * (number + 1))
        parts.append(Part(name=name, source=Source(kind="folder", path=str(root / name))))
    mixture = Mixture(parts=tuple(parts))
    return DataConfig(mixture=mixture, tokenizer="bytes", vocab=257, validation_fraction=0.3)


@pytest.fixture(scope="module")
def root(tmp_path_factory):
    return tmp_path_factory.mktemp("root")


@pytest.fixture(scope="module")
def store(data, root):
    return prepare(data, root, silent)


def alone(data, part):
    return replace(data, mixture=None, source=part.source)


def test_a_store_holds_its_parts_one_after_another(store, data):
    for split in ("train", "validation"):
        first = 0
        for part in store.manifest.parts:
            counts = getattr(part, split)
            text = bytes(token for token in getattr(store, split)[first : first + counts.tokens] if token < 256)
            assert set(text.decode()) == set(LETTERS[part.name]) and len(text) == counts.bytes
            assert counts.tokens == counts.bytes + counts.documents
            first += counts.tokens
        whole = getattr(store.manifest, split)
        assert first == whole.tokens
        assert sum(getattr(part, split).bytes for part in store.manifest.parts) == whole.bytes
    assert [part.name for part in store.manifest.parts] == ["vowels", "others"]
    assert "part:       vowels, " in str(store)


def test_a_part_is_split_and_read_as_its_source_alone(store, data, root, monkeypatch):
    monkeypatch.setattr(corpus, "build_corpus", forbidden)
    single = prepare(alone(data, data.mixture.parts[0]), root, silent)
    (part, _) = store.manifest.parts
    assert (part.train, part.validation) == (single.manifest.train, single.manifest.validation)
    assert part.content == single.manifest.content
    assert np.array_equal(store.train[: part.train.tokens], single.train)
    assert np.array_equal(store.validation[: part.validation.tokens], single.validation)


def test_all_weights_limits_and_stages_share_one_store(store, data, root):
    limited = tuple(replace(part, most_tokens=64, most_epochs=9.0) for part in data.mixture.parts)
    other = replace(data, mixture=Mixture(parts=limited, weights=(0.9, 0.1), temperature=2.0, target=(1.0, 0.0)))
    assert pinned(other, root).content == store.manifest.content
    assert prepare(other, root, silent).path == store.path


def test_content_covers_every_part_and_its_name(store, data, root):
    first, second = data.mixture.parts
    renamed = replace(data, mixture=Mixture(parts=(replace(first, name="code"), second)))
    turned = replace(data, mixture=Mixture(parts=(second, first)))
    contents = {store.manifest.content, *(prepare(other, root, silent).manifest.content for other in (renamed, turned))}
    assert len(contents) == 3


def test_a_store_is_found_by_content_when_its_parts_are_gone(store, data, root):
    gone = tuple(replace(part, source=Source(kind="folder", path="/gone")) for part in data.mixture.parts)
    there = replace(data, content=store.manifest.content, mixture=Mixture(parts=gone))
    assert prepare(there, root, silent).path == store.path


def test_other_documents_than_planned_are_refused(store, data, root):
    with pytest.raises(DataError, match=r"vowels-others-.*: the documents have content .* planned on dddddddddddd"):
        prepare(replace(data, content="d" * 64, tokenizer="bpe", vocab=265), root, silent)


def test_the_tokenizer_learns_from_every_part(data, root):
    store = prepare(replace(data, tokenizer="bpe", vocab=280), root, silent)
    pieces = load_tokenizer(store.tokenizer_folder).pieces
    for letters in LETTERS.values():
        assert any(len(piece) > 1 and set(piece.decode()) <= set(letters) for piece in pieces if piece.isascii())


def test_texts_are_taken_evenly_and_none_takes_anothers_place():
    texts = list(evenly([iter(["a" * 900]), iter(["b" * 10] * 5), iter(["c" * 10] * 60)], limit=600))
    sample = "".join(texts)[:600]
    assert sample.count("a") == 200 and sample.count("b") == 50  # it ended
    assert list(evenly([iter(["x", "y"])], limit=10)) == ["x", "y"]


def test_each_part_is_cleaned_by_itself(data, root):
    cleaned = replace(data, cleaning=(Lengths(least_words=50),))
    store = prepare(cleaned, root, silent)
    for part, whole in zip(store.manifest.parts, prepare(data, root, silent).manifest.parts, strict=True):
        (step,) = part.cleaning
        assert step.kind == "lengths" and 0 < step.documents_kept < step.documents
        assert part.train.documents + part.validation.documents == step.documents_kept
        assert part.train.bytes < whole.train.bytes
    assert pinned(cleaned, root).content == store.manifest.content
    gone = tuple(replace(part, source=Source(kind="folder", path="/gone")) for part in data.mixture.parts)
    there = replace(cleaned, content=store.manifest.content, mixture=Mixture(parts=gone))
    assert prepare(there, root, silent).path == store.path
