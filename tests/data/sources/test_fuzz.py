"""Ten thousand damaged files of every format, five hundred of them in the quick tests."""

import random
import resource
import time

import pytest
from damage import damaged, sound_files

from scaling.config import Source
from scaling.data.sources import DataError, documents

FILES = 500  # a batch
FAULTS = {"binary", "damaged file", "damaged page", "duplicated id", "empty", "lone surrogates", "no main text"}
FAULTS |= {"no such field", "not JSON", "not UTF-8", "not an object", "not text", "null", "too long"}
FAULTS |= {"unknown encoding"}


def read(kind, path, name):
    """Sound texts of a source whose every document is checked."""
    url = f"{name.rpartition('.')[2]}://::{path}" if name in ("a.zip", "a.tar") else str(path)
    texts = []
    for document in documents(Source(kind=kind, path=url, most_bytes=1 << 20)):
        document.name.encode()
        if document.text is None:
            assert document.fault in FAULTS
        else:
            assert document.fault == "" and document.text.strip() and "\0" not in document.text
            assert len(document.text.encode()) <= 1 << 20
            document.url.encode()
            document.language.encode()
            texts.append(document.text)
    return texts


def _read_beside_a_sound_one(kind, path, content):
    """The sound file is read after the damaged one, unless that gave a hundred lines of nothing but faults."""
    beside = path.with_name(f"b{path.name}")
    beside.write_bytes(content)
    try:
        found = read(kind, path.parent, path.name)
    except DataError as error:
        assert path.name in str(error) and "(and 99 more like it, before any text)" in str(error)
    else:
        assert set(read(kind, beside, path.name)) <= set(found)


@pytest.fixture(scope="module")
def sound():
    return sound_files(random.Random(0))


def test_the_sound_files_give_their_documents(sound, tmp_path):
    for name, (kind, content) in sound.items():
        (tmp_path / name).write_bytes(content)
        assert len(read(kind, tmp_path / name, name)) in (1, 3, 20)


@pytest.mark.parametrize("batch", [0, *(pytest.param(batch, marks=pytest.mark.slow) for batch in range(1, 20))])
def test_damaged_files_give_valid_texts_or_a_fault_or_an_error_that_names_them(sound, tmp_path, batch):
    rng, contents = random.Random(batch), [content for _, content in sound.values()]
    before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    refused = 0
    for number in range(FILES):
        name = rng.choice(list(sound))
        kind, content = sound[name]
        path = tmp_path / f"{number}" / name
        path.parent.mkdir()
        path.write_bytes(damaged(rng, content, contents))
        started = time.monotonic()
        try:
            read(kind, path, name)
        except DataError as error:
            refused += 1
            assert name in str(error)
        if name not in ("a.zip", "a.tar"):
            _read_beside_a_sound_one(kind, path, content)
        # A file of a few kB takes milliseconds; a loop without end, or one over its claimed length, takes long.
        assert time.monotonic() - started < 20, path
    # The limit of 1 MiB many times, and modules that are loaded on the way; a claimed length may be gigabytes.
    assert resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before < 500_000
    assert 0.1 * FILES < refused < 0.9 * FILES
