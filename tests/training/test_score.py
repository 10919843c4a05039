"""The log-probability of a text by a run is that of its tokens, one by one."""

from dataclasses import replace

import numpy as np
import pytest

from scaling.config import Masked, NgramConfig, run_id
from scaling.data.tokenizer import load_tokenizer
from scaling.models.families import logits, states
from scaling.models.head import token_losses
from scaling.models.inputs import Inputs
from scaling.record import RunDirectory
from scaling.training.checkpoint import restore
from scaling.training.loop import train
from scaling.training.losses import task_of
from scaling.training.score import scorer, windows
from scaling.training.step import compiled_init
from tests.training.conftest import QUIET

TEXT = "some text that is longer than two of the windows of this small run"


def test_every_token_after_the_first_is_predicted_once():
    window_BW, real_BT = windows(np.arange(1, 12), 4)
    assert window_BW.tolist() == [[1, 2, 3, 4, 5], [5, 6, 7, 8, 9], [9, 10, 11, 1, 1]]
    assert window_BW[:, 1:][real_BT].tolist() == list(range(2, 12))


def test_a_transformers_score_is_the_sum_over_its_tokens(pinned, tmp_path):
    run, store = pinned
    train(run, tmp_path, store, placement=QUIET)
    directory = RunDirectory(tmp_path / run_id(run))
    params = restore(directory.checkpoints, compiled_init(task_of(run))(0), at_most=run.steps)[0].params
    tokens = np.concatenate([[store.manifest.eod], *load_tokenizer(store.tokenizer_folder).encode([TEXT])])
    expected = 0.0
    for start in range(0, len(tokens) - 1, run.text):
        part = tokens[start : start + run.text + 1]
        x_BTD = states(run.model, params, Inputs(part[None, :-1].astype(np.int32))).x_BTD
        expected -= float(token_losses(logits(run.model, params, x_BTD[0]), part[1:].astype(np.int32)).sum())
    assert len(tokens) > 3 * run.text
    # float32 sums of 66 terms
    assert scorer(run, store, directory)(TEXT) == pytest.approx(expected, rel=1e-5)


def test_runs_that_give_no_probability_are_refused(pinned, tmp_path):
    run, store = pinned
    directory = RunDirectory(tmp_path)
    with pytest.raises(ValueError, match="holds no whole checkpoint"):
        scorer(run, store, directory)
    with pytest.raises(ValueError, match="the run is not finished"):
        scorer(replace(run, model=NgramConfig(vocab=257, order=3, context=16)), store, directory)
    model, data = replace(run.model, architecture="encoder", vocab=262), replace(run.data, specials=5)
    masked = replace(run, model=model, data=data, objective=Masked(), tokens=56 * 30)
    with pytest.raises(ValueError, match="take a run of next_token"):
        scorer(masked, store, directory)
