"""Held-out text of another source: the same whatever cleaning leaves to learn from."""

import shutil
from dataclasses import replace

import numpy as np
import pytest

from scaling.config import DataConfig, Mixture, Part, RunConfig, Source, TransformerConfig, run_id
from scaling.config.cleaning import Lengths as Cleaning
from scaling.data.corpus import is_validation
from scaling.data.prepare import pinned, prepare
from scaling.data.sources import DataError

FRACTION = 0.3


def silent(line):
    pass


@pytest.fixture
def data(tmp_path):
    """20 documents of which half are short, and 12 others to be judged on; one of these is among the first too."""
    for name in ("learn", "judge"):
        (tmp_path / name).mkdir()
    for number in range(20):
        (tmp_path / "learn" / f"{number}.txt").write_text(f"text {number} " * (3 if number % 2 else 30))
    for number in range(12):
        (tmp_path / "judge" / f"other-{number}.txt").write_text(f"judged {number} " * 20)
    learn, judge = (Source(kind="folder", path=str(tmp_path / name)) for name in ("learn", "judge"))
    return DataConfig(
        source=learn, heldout=judge, tokenizer="bytes", vocab=257, validation_fraction=FRACTION, heldout_sequences=2
    )


def texts(store, split):
    tokens, ends = getattr(store, split), getattr(store, f"{split}_ends")
    return [bytes(part[part < 256].astype(np.uint8)).decode() for part in np.split(tokens, ends[:-1])]


def held_out(folder):
    return sorted(path.read_text() for path in folder.iterdir() if is_validation(path.name, FRACTION))


def test_it_is_that_sources_validation_split_whatever_cleaning_leaves(data, tmp_path):
    short = (Cleaning(least_words=20),)
    plain, cleaned = (prepare(replace(data, cleaning=steps), tmp_path / "root", silent) for steps in ((), short))
    expected = held_out(tmp_path / "judge")
    assert len(expected) > 1
    assert sorted(texts(plain, "validation")) == sorted(texts(cleaned, "validation")) == expected
    assert len(texts(cleaned, "train")) < len(texts(plain, "train"))
    assert plain.manifest.content != cleaned.manifest.content
    assert plain.manifest.source.endswith(f"held out: folder {tmp_path / 'judge'}")


def test_a_document_with_the_text_of_one_held_out_is_not_learned_from(data, tmp_path):
    (text, *_) = held_out(tmp_path / "judge")
    name = next(name for name in map(str, range(100, 200)) if not is_validation(name, FRACTION))
    before = texts(prepare(data, tmp_path / "root", silent), "train")
    (tmp_path / "learn" / name).write_text(text)
    assert texts(prepare(data, tmp_path / "root", silent), "train") == before
    assert text in texts(prepare(replace(data, heldout=None), tmp_path / "root", silent), "train")


def test_our_own_source_gives_what_cleaning_would_have_dropped(data, tmp_path):
    own = replace(data, heldout=data.source, cleaning=(Cleaning(least_words=20),))
    assert sorted(texts(prepare(own, tmp_path / "root", silent), "validation")) == held_out(tmp_path / "learn")
    plain = replace(own, cleaning=())
    assert sorted(texts(prepare(plain, tmp_path / "root", silent), "validation")) == held_out(tmp_path / "learn")


def test_content_covers_it_and_finds_it_when_its_source_is_gone(data, tmp_path):
    root = tmp_path / "root"
    first = prepare(data, root, silent)
    fixed = pinned(data, root)
    assert fixed.content == first.manifest.content
    (tmp_path / "judge" / "other-0.txt").write_text("changed " * 20)
    assert prepare(data, root, silent).manifest.content != first.manifest.content
    with pytest.raises(DataError, match=r"the documents have content .* but the run was planned on"):
        prepare(fixed, tmp_path / "elsewhere", silent)
    shutil.rmtree(tmp_path / "judge")
    assert prepare(fixed, root, silent).path == first.path


def test_runs_are_told_apart_by_content_and_old_ids_stay(data):
    model = TransformerConfig(vocab=257, dim=16, layers=1, heads=1, context=8)
    run = RunConfig(model=model, data=replace(data, heldout=None), tokens=64, batch=2)
    assert run_id(run) == run_id(replace(run, data=data))  # a place, as every source is
    assert run_id(run) != run_id(replace(run, data=replace(data, content="0" * 64)))


def test_the_parts_of_a_mixture_hold_out_their_own(data):
    with pytest.raises(ValueError, match="leave it out: every part holds out its own text"):
        replace(data, source=Source(), mixture=Mixture(parts=(Part(name="one", source=data.source),)))
