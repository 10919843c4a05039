"""The command tells a run that was trained on a list in its order."""

import json
import re
from dataclasses import replace

import numpy as np
import pytest

from launch.contamination_command import contamination
from scaling.config import NgramConfig, Placement, Source, run_id
from scaling.data.prepare import prepare
from scaling.training.loop import train


@pytest.fixture
def questions(tmp_path):
    """200 questions, published as JSONL."""
    rng = np.random.default_rng(0)
    texts = ["".join(rng.choice(list("abcdefghij "), 30)) for _ in range(200)]
    (tmp_path / "questions.jsonl").write_text("".join(json.dumps({"q": text}) + "\n" for text in texts))
    return texts


def p_value(run, source, root, capsys) -> float:
    data = replace(run.data, source=source)
    store = prepare(data, root, lambda line: None)
    data = replace(data, content=store.manifest.content)
    run = replace(
        run, data=data, model=NgramConfig(vocab=257, order=6, context=16), tokens=16 * ((len(store.train) - 1) // 16)
    )
    train(run, root / "runs", store, placement=Placement(tracking="off"))
    options = ["--examples", str(root / "questions.jsonl"), "--field", "q", "--shards", "20", "--shuffles", "5"]
    contamination([run_id(run)[:8], *options, "--root", str(root)])
    said = capsys.readouterr().out
    assert "200 examples in 20 shards" in said
    return float(re.search(r"p = (.*)", said).group(1))


def test_a_run_trained_on_the_list_is_caught_and_one_that_was_not_is_not(run, corpus, questions, tmp_path, capsys):
    run = replace(run, batch=1, schedule=replace(run.schedule, warmup_tokens=16))
    assert p_value(run, corpus, tmp_path, capsys) > 0.05
    folder = tmp_path / "texts"
    folder.mkdir()
    for number in range(4):  # the list, and other names so that some are held out
        (folder / f"{number}.txt").write_text("\n".join(questions))
    run = replace(run, data=replace(run.data, validation_fraction=0.3))
    assert p_value(run, Source(kind="folder", path=str(folder)), tmp_path, capsys) < 0.01


def test_a_run_must_be_named():
    with pytest.raises(ValueError, match="give a run id"):
        contamination(["--examples", "none.jsonl"])
