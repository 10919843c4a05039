"""A prepared store and a run on it, shared by all training tests; each shape compiles once."""

import json
import random
from dataclasses import replace
from pathlib import Path

import pytest

from scaling.config import Placement, Source
from scaling.data.prepare import prepare

# Tracking starts a process of its own: only the tests of tracking pay for it.
QUIET = Placement(tracking="off")


@pytest.fixture(scope="session")
def root(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("root")


@pytest.fixture
def pinned(run, corpus, root):
    """(run, store): the small run of tests/conftest.py on the session's corpus."""
    data = replace(run.data, source=corpus)
    store = prepare(data, root, lambda line: None)
    return replace(run, data=replace(data, content=store.manifest.content)), store


@pytest.fixture(scope="session")
def questions(tmp_path_factory: pytest.TempPathFactory) -> Source:
    """Two hundred questions in small letters and answers in capitals, of which some are longer than a context."""
    folder, draw = tmp_path_factory.mktemp("questions"), random.Random(0)
    rows = [
        {
            "question": "".join(draw.choices("abc", k=draw.choice((0, 3, 5, 12, 30)))),
            "answer": "".join(draw.choices("ABC", k=draw.choice((1, 4, 9, 25)))),
        }
        for _ in range(200)
    ]
    (folder / "pairs.jsonl").write_text("\n".join(map(json.dumps, rows)))
    return Source(kind="jsonl", path=str(folder), field="answer", prompt_field="question")
