"""Ours against stored outputs of transformers, on the same weights and padded inputs; no torch."""

import numpy as np
import pytest

from scaling import interchange
from scaling.interchange import files
from tests.interchange import ours
from tests.interchange.cases import STORED
from tests.interchange.conftest import stored
from tests.interchange.make_references import FOLDER


@pytest.mark.parametrize("name", STORED)
def test_logits_are_those_of_transformers(name, written):
    outputs, inputs = stored(name)[1]["outputs"], stored(name)[1]["inputs"]
    found = ours.outputs_of(interchange.read(written(name)), inputs)
    text = ours.text_of(inputs)
    assert not text.all(), "padding is part of the comparison"
    # Both float32: logits of size 1 after a few dozen sums of tens of terms.
    np.testing.assert_allclose(found["logits"][text], outputs["logits"][text], atol=1e-4)
    if "sentence" in outputs:
        np.testing.assert_allclose(found["sentence"], outputs["sentence"], atol=1e-4)


def test_the_sentence_head_is_part_of_the_comparison():
    assert "sentence" in stored("bert")[1]["outputs"]


@pytest.mark.parametrize("name", STORED)
def test_writing_back_gives_the_same_tensors_and_fields(name, written, tmp_path):
    config, kinds = stored(name)
    model = interchange.read(written(name))
    assert interchange.write_theirs(model, tmp_path / "back") == config["model_type"]
    back = files.read_tensors(tmp_path / "back" / "model.safetensors")
    assert back.keys() == kinds["weights"].keys()
    for tensor, value in kinds["weights"].items():
        unused = {"roberta": 2, "bart": 2}.get(name, 0) if "position" in tensor else 0
        assert not back[tensor][:unused].any()
        # Gemma's scales have one added and taken away again.
        np.testing.assert_allclose(back[tensor][unused:], value[unused:], atol=1e-6 if name == "gemma2" else 0)
    again = files.read_json(tmp_path / "back" / "config.json")
    derived = {"transformers_version", "dense_act_fn", "is_gated_act", "max_window_layers"}
    assert {key: again.get(key) for key in config if key not in derived} == {
        key: value for key, value in config.items() if key not in derived
    } | ({"n_inner": 64} if name == "gpt2" else {}) | ({"head_dim": 4} if name == "mixtral" else {})


@pytest.mark.parametrize("name", STORED)
def test_a_folder_of_ours_holds_the_same_model(name, written, tmp_path):
    model = interchange.read(written(name))
    interchange.write_ours(model, tmp_path / "ours")
    again = interchange.read(tmp_path / "ours")
    assert again.config == model.config and again.origin == model.origin
    assert again.params.keys() == model.params.keys()
    assert all(np.array_equal(again.params[path], value) for path, value in model.params.items())


def test_the_references_take_a_few_hundred_kilobytes():
    files_there = list(FOLDER.glob("*.safetensors"))
    assert len(files_there) == len(STORED)
    assert sum(path.stat().st_size for path in files_there) < 500_000
