"""`scaling convert`, both directions."""

import numpy as np
import pytest

from launch.convert_command import convert
from scaling import interchange
from scaling.interchange import files
from tests.interchange.conftest import written

__all__ = ["written"]  # a fixture


def test_theirs_becomes_ours_and_theirs_again(written, tmp_path, capsys):
    source = written("qwen3")
    convert([str(source), str(tmp_path / "ours")])
    said = capsys.readouterr().out
    params = sum(value.size for value in interchange.read(source).params.values())
    assert f"our decoder, {params:,} parameters" in said
    convert([str(tmp_path / "ours"), str(tmp_path / "back")])
    assert "transformers' qwen3" in capsys.readouterr().out
    one, other = (files.read_tensors(folder / files.WEIGHTS) for folder in (source, tmp_path / "back"))
    assert one.keys() == other.keys() and all(np.array_equal(one[name], other[name]) for name in one)


def test_another_architecture_may_be_asked_for_in_one_direction(written, tmp_path, capsys):
    source = written("roberta")
    convert([str(source), str(tmp_path / "ours")])
    convert([str(tmp_path / "ours"), str(tmp_path / "bert"), "--architecture", "bert"])
    assert files.read_json(tmp_path / "bert" / files.CONFIG)["architectures"] == ["BertForMaskedLM"]
    with pytest.raises(ValueError, match="--architecture=bert with a folder of transformers"):
        convert([str(source), str(tmp_path / "none"), "--architecture", "bert"])
    assert not (tmp_path / "none").exists()


def test_nothing_is_written_when_the_source_is_refused(written, tmp_path):
    source = written("gpt2", {"model_type": "rwkv"})
    with pytest.raises(ValueError, match="model_type='rwkv' is not known"):
        convert([str(source), str(tmp_path / "out")])
    assert not (tmp_path / "out").exists()
