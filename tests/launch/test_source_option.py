"""Held-out text of another source, named on the command line and in a study's file."""

from pathlib import Path

import pytest

from launch.data_command import data
from launch.options import WhereOptions
from launch.source_option import source
from launch.studies import parse
from scaling.config import Source
from scaling.sweeps.study_file import read

STUDY = """
question = "Which text?"
[base]
tokens = 2048
batch = 4
model = { dim = 16, layers = 1, heads = 2, context = 32 }
[base.data]
source = { kind = "folder", path = "learn" }
heldout = { kind = "folder", path = "judge" }
"""


@pytest.fixture
def texts(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    for name in ("learn", "judge"):
        Path(name).mkdir()
        for number in range(20):
            Path(name, f"{number}.txt").write_text(f"{name} {number} " * 20)
    return ["--kind", "folder", "--path", "learn", "--tokenizer", "bytes", "--vocab", "257"]


def test_a_word_names_a_source():
    assert source("stdlib") == Source()
    assert source("jsonl:s3://bucket/a.jsonl") == Source(kind="jsonl", path="s3://bucket/a.jsonl")
    assert source("None") is None


@pytest.mark.parametrize(
    ("word", "message"), [("foldr:x", "foldr:x: kind: Input should be"), ("folder", r"path=''\): stdlib, packages")]
)
def test_a_word_that_names_none_is_refused(word, message):
    with pytest.raises(ValueError, match=message):
        source(word)


def test_data_are_prepared_with_held_out_text_of_another_source(texts, capsys):
    data(["prepare", *texts, "--heldout", "folder:judge", "--validation-fraction", "0.3"])
    assert "source:     folder learn; held out: folder judge" in capsys.readouterr().out
    with pytest.raises(SystemExit):
        data(["prepare", *texts, "--heldout", "foldr:judge"])
    assert "foldr:judge: kind" in capsys.readouterr().err


def test_every_study_and_its_file_can_hold_out_another_source(texts):
    Path("study.toml").write_text(STUDY)
    judge = Source(kind="folder", path="judge")
    assert read(Path("study.toml")).runs[0].data.heldout == judge
    _, study = parse("vocabulary", WhereOptions, ["--heldout", "folder:judge"], prog="scaling plan")
    assert {run.data.heldout for run in study.runs} == {judge}
