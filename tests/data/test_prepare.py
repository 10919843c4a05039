import errno
import os
import shutil
import subprocess
import sys
from dataclasses import replace

import pytest

from scaling.config import DataConfig, Source
from scaling.data import corpus, encode, tokenizer
from scaling.data import prepare as preparing
from scaling.data.prepare import pinned, prepare
from scaling.data.sources import DataError
from scaling.data.store import MANIFEST, StoreError


def silent(line):
    pass


def forbidden(*arguments, **options):
    raise AssertionError("this stage was done already")


def files(root):
    """Every file below `root` but leases, with its time of change."""
    return {
        path: path.stat().st_mtime_ns
        for path in root.rglob("*")
        if path.is_file() and not path.name.startswith("lease-")
    }


def leftovers(root):
    return [path for path in root.rglob("*partial*")]


@pytest.fixture
def small(tmp_path):
    """A config of its own over a few documents."""
    (tmp_path / "texts").mkdir()
    for number in range(20):
        (tmp_path / "texts" / f"{number}.txt").write_text(f"some text, {number}\n" * 5)
    source = Source(kind="folder", path=str(tmp_path / "texts"))
    return DataConfig(source=source, tokenizer="bytes", vocab=257, validation_fraction=0.3)


def test_preparing_again_does_nothing(store, data, root, monkeypatch):
    before = files(root)
    monkeypatch.setattr(preparing, "_build", forbidden)
    again = prepare(data, root, forbidden)
    assert again.manifest == store.manifest and files(root) == before


def test_progress_names_what_was_made_and_what_was_skipped(small, tmp_path):
    (tmp_path / "texts" / "bad.txt").write_bytes(b"\xff")
    lines = []
    prepare(small, tmp_path, lines.append)
    said = "\n".join(lines)
    assert "skipped 1 not UTF-8: bad.txt" in said
    assert "corpus texts-" in said and "tokens for validation: " in said


def test_pinning_finds_the_content_only_when_prepared(store, data, root, tmp_path):
    assert pinned(data, tmp_path) is None
    assert pinned(data, root) == replace(data, content=store.manifest.content)
    assert pinned(replace(data, vocab=301), root) is None
    assert pinned(pinned(data, root), root) == pinned(data, root)


def test_pinning_imports_nothing_heavy(data, root):
    code = (
        "import sys; from scaling.data.prepare import pinned; from scaling.config import *; from pathlib import Path; "
        f"pinned(DataConfig(), Path({str(root)!r})); "
        "heavy = {'jax', 'tensorflow_datasets', 'grain', 'sentencepiece', 'pyarrow'} & set(sys.modules); "
        "sys.exit(str(heavy) if heavy else 0)"
    )
    assert subprocess.run([sys.executable, "-c", code]).returncode == 0


def test_a_second_tokenizer_shares_the_corpus(small, tmp_path, monkeypatch):
    first = prepare(small, tmp_path, silent)
    monkeypatch.setattr(corpus, "build_corpus", forbidden)
    second = prepare(replace(small, tokenizer="bpe", vocab=280), tmp_path, silent)
    assert second.manifest.content == first.manifest.content
    assert second.path.parent.parent == first.path.parent.parent
    assert second.manifest.tokenizer_sha256 != first.manifest.tokenizer_sha256


@pytest.mark.parametrize("stage", ["build_corpus", "save_tokenizer", "write_manifest"])
def test_an_interrupted_preparation_goes_on_where_it_stopped(small, tmp_path, monkeypatch, stage):
    def interrupt(*arguments, **options):
        raise KeyboardInterrupt

    module = {"build_corpus": corpus, "save_tokenizer": tokenizer, "write_manifest": encode}[stage]
    with monkeypatch.context() as patch, pytest.raises(KeyboardInterrupt):
        patch.setattr(module, stage, interrupt)
        prepare(small, tmp_path, silent)
    assert pinned(small, tmp_path) is None and not leftovers(tmp_path)
    done = files(tmp_path)
    prepare(small, tmp_path, silent)
    assert pinned(small, tmp_path) is not None
    assert done.items() <= files(tmp_path).items()


def test_what_a_killed_process_left_is_cleared_away(small, tmp_path):
    finished = prepare(small, tmp_path, silent)
    part = finished.path.with_name(".tokens.partial")
    finished.path.rename(part)
    (part / "train.bin").write_bytes(b"half")
    again = prepare(small, tmp_path, silent)
    assert again.manifest == finished.manifest and not leftovers(tmp_path)


@pytest.mark.parametrize(
    "full",
    [
        OSError(errno.ENOSPC, os.strerror(errno.ENOSPC)),
        RuntimeError("Failed to finalize writing: write() failed: No space left on device"),  # array_record's
    ],
)
@pytest.mark.parametrize("stage", ["build_corpus", "save_tokenizer", "write_split"])
def test_a_full_disk_is_said_and_leaves_nothing_half_written(small, tmp_path, monkeypatch, stage, full):
    def fail(*arguments, **options):
        raise full

    module = {"build_corpus": corpus, "save_tokenizer": tokenizer, "write_split": encode}[stage]
    monkeypatch.setattr(module, stage, fail)
    with pytest.raises(DataError, match="no space left on the device; free some, or prepare below another folder"):
        prepare(small, tmp_path, silent)
    assert not leftovers(tmp_path) and pinned(small, tmp_path) is None


def test_another_error_of_the_system_is_not_mistaken_for_a_full_disk(small, tmp_path, monkeypatch):
    def fail(*arguments, **options):
        raise PermissionError(errno.EACCES, "Permission denied")

    monkeypatch.setattr(encode, "write_split", fail)
    with pytest.raises(PermissionError):
        prepare(small, tmp_path, silent)


def test_changed_documents_are_another_data_set(small, tmp_path):
    first = prepare(small, tmp_path, silent)
    (tmp_path / "texts" / "0.txt").write_text("something else")
    assert pinned(small, tmp_path) is None
    second = prepare(small, tmp_path, silent)
    assert second.path != first.path and second.manifest.content != first.manifest.content
    # what was planned on the first documents can still be run
    assert prepare(replace(small, content=first.manifest.content), tmp_path, silent).path == first.path


def test_a_pinned_content_that_is_nowhere_is_refused(small, tmp_path):
    with pytest.raises(DataError, match=r"have content [0-9a-f]{12}, but the run was planned on 0{12}; restore"):
        prepare(replace(small, content="0" * 64), tmp_path, silent)


def test_a_damaged_store_of_other_data_does_not_matter(small, store, data, root, tmp_path):
    shutil.copytree(root / "datasets", tmp_path / "datasets")
    content = replace(data, content=store.manifest.content)
    assert pinned(content, tmp_path) == content
    (manifest,) = tmp_path.glob(f"datasets/*/bpe-300/tokens/{MANIFEST}")
    manifest.write_text("{")
    assert pinned(content, tmp_path) is None
    with pytest.raises(StoreError, match="not whole JSON"):
        prepare(data, tmp_path, silent)


def test_a_vocabulary_too_large_for_the_store_is_refused_before_any_work(small, tmp_path):
    with pytest.raises(DataError, match="tokens are 32-bit integers"):
        prepare(replace(small, tokenizer="bpe", vocab=2**31 + 1), tmp_path, silent)
    assert not (tmp_path / "datasets").exists()


def test_two_processes_at_once_make_one_sound_store(small, tmp_path):
    code = (
        "from pathlib import Path; from scaling.config import *; from scaling.data.prepare import prepare; "
        f"data = DataConfig(source=Source(kind='folder', path={small.source.path!r}), tokenizer='bytes', vocab=257, "
        f"validation_fraction=0.3); print(prepare(data, Path({str(tmp_path)!r}), print).manifest.content)"
    )
    both = [subprocess.Popen([sys.executable, "-c", code], stdout=subprocess.PIPE, text=True) for _ in range(2)]
    said = [process.communicate(timeout=120)[0].splitlines() for process in both]
    assert [process.returncode for process in both] == [0, 0]
    content = pinned(small, tmp_path).content
    assert [lines[-1] for lines in said] == [content, content]
    assert sum("training the tokenizer" in line for lines in said for line in lines) == 1
    assert not leftovers(tmp_path)
