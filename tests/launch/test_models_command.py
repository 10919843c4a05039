"""One run of any model, from options, a published shape or a file; the list of shapes."""

import json
from dataclasses import replace

import pytest

from launch.models_command import models
from launch.train_command import TrainOptions, train
from scaling.config import Masked, NgramConfig, run_id, to_dict


def run_of(options):
    return options.study().runs[0]


def test_a_published_shape_is_trained_on_ones_own_vocabulary():
    run = run_of(TrainOptions(shape="gpt-2", tokens=1e5))
    assert (run.model.layers, run.model.dim, run.model.vocab) == (12, 768, 512)


def test_an_objective_brings_its_special_tokens():
    encoder = TrainOptions().model.__class__(vocab=512, dim=32, layers=1, heads=2, architecture="encoder")
    run = run_of(TrainOptions(model=encoder, objective=Masked(), tokens=1e4))
    assert run.data.specials == 5
    assert run.model.vocab == 517


def test_a_run_is_made_again_from_its_own_file(run, tmp_path):
    other = replace(run, model=NgramConfig(vocab=257, order=3, context=16))
    for each in (run, other):
        (tmp_path / "config.json").write_text(json.dumps(to_dict(each)), encoding="utf-8")
        assert run_id(run_of(TrainOptions(config=tmp_path / "config.json"))) == run_id(each)


def test_a_file_that_is_no_run_is_refused_by_field(run, tmp_path):
    file = tmp_path / "config.json"
    file.write_text(json.dumps(to_dict(run) | {"tokens": "many"}), encoding="utf-8")
    with pytest.raises(ValueError, match=r"config\.json: tokens: .*found 'many'"):
        run_of(TrainOptions(config=file))
    file.write_text("{", encoding="utf-8")
    with pytest.raises(ValueError, match="not whole JSON"):
        run_of(TrainOptions(config=file))


def test_the_command_line_takes_a_model_by_options_and_an_objective_behind_them(tmp_path, capsys):
    encoder = ["--model.architecture", "encoder", "--model.dim", "32", "--model.layers", "1"]
    train(["--root", str(tmp_path), "--dry-run", "--tokens", "1e4", *encoder, "objective:masked"])
    assert "29.2k" in capsys.readouterr().out  # 517 vectors of 32 and a layer of 12,640


def test_models_lists_every_shape_with_its_parameters(capsys):
    models([])
    shown = capsys.readouterr().out
    for word in ("gpt-2", "124M", "mixtral-8x7b", "46.7B", "12.9B"):  # active
        assert word in shown


def test_one_model_is_shown_by_its_fields(capsys):
    models(["bert-base"])
    shown = capsys.readouterr().out
    assert "architecture = encoder" in shown
    assert "window" not in shown  # it has none


def test_a_misspelt_model_is_answered_with_its_neighbours():
    with pytest.raises(ValueError, match="no published model is called 'gpt2': perhaps gpt-2"):
        models(["gpt2"])
