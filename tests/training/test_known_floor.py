"""A transformer in a world whose floor is known: it comes down to it, and not below."""

import math

import pytest

from scaling.config import (
    DataConfig,
    HierarchyWorld,
    OptimConfig,
    Placement,
    RunConfig,
    ScheduleConfig,
    Source,
    TransformerConfig,
)
from scaling.data import worlds
from scaling.data.prepare import prepare
from scaling.training.loop import train

# 6 * 3^3 = 162 sentences of four letters; so many of them in a document that its end costs next to nothing.
WORLD = HierarchyWorld(symbols=6, rules=3, depth=2, sentences=1000, documents=250)
TOKENS = (40_960, 163_840, 655_360)
CONTEXT, BATCH = 64, 16


@pytest.fixture(scope="module")
def records(tmp_path_factory):
    """One model trained on three numbers of tokens, each with a schedule of its own."""
    root = tmp_path_factory.mktemp("floor")
    data = DataConfig(
        source=Source(kind="world", world=WORLD), tokenizer="bytes", vocab=257, validation_fraction=0.1,
        heldout_sequences=256,
    )  # fmt: skip
    model = TransformerConfig(vocab=257, dim=32, layers=2, heads=2, context=CONTEXT)
    store = prepare(data, root, lambda line: None)
    runs = [
        RunConfig(
            model=model, data=data, tokens=tokens, batch=BATCH, optim=OptimConfig(lr=1e-2),
            schedule=ScheduleConfig(warmup_tokens=tokens // 20),
        ) for tokens in TOKENS
    ]  # fmt: skip
    return [train(run, root / "runs", store, placement=Placement(tracking="off")) for run in runs]


@pytest.mark.slow  # a minute of one core
def test_the_loss_falls_to_the_floor_and_not_below(records):
    floor = worlds.floor(WORLD).nats_per_token
    first, second, third = (record.heldout.loss - floor for record in records)
    assert first > 1.5 * second > 3 * third > 0
    # A window begins in the middle of a sentence: a reader must first see where the next begins.
    late = [loss - floor for place, loss in records[-1].heldout.by_position.items() if place >= 32]
    assert all(-2 * records[-1].heldout.loss_se < excess < 0.15 * floor for excess in late)


def test_every_sentence_is_as_likely_so_the_held_out_text_has_the_floor_of_the_world():
    # A top symbol and a rule for each of three symbols; five letters with the line's end, and the document's.
    sentence = math.log(6) + 3 * math.log(3)
    assert worlds.floor(WORLD).nats_per_token == pytest.approx(sentence / (5 + 1 / 1000))
