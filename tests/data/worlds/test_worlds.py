from collections import Counter
from dataclasses import replace

import numpy as np
import pytest

from scaling.config import ArithmeticWorld, CopyingWorld, DataConfig, HierarchyWorld, RetrievalWorld, Source, ZipfWorld
from scaling.data import worlds
from scaling.data.prepare import prepare
from scaling.data.sources import documents, fingerprint, readable_name
from scaling.data.worlds import hierarchy

EVERY = [
    ArithmeticWorld(documents=12, lines=20),
    CopyingWorld(documents=12, lines=20, length=3, symbols=4),
    HierarchyWorld(documents=12, sentences=20),
    RetrievalWorld(documents=12, lines=20),
    ZipfWorld(documents=12, facts=20, contexts=50),
]
LINES = [world for world in EVERY if not isinstance(world, ZipfWorld)]


def kind_of(world):
    return world.kind


@pytest.mark.parametrize("world", EVERY, ids=kind_of)
def test_any_document_is_the_same_whether_it_is_asked_for_alone_or_in_its_turn(world):
    streamed = list(worlds.documents(world))
    assert len(streamed) == world.documents
    for index in (11, 0, 7):
        assert worlds.document(replace(world, documents=100), index) == streamed[index]
    assert len({name for name, _ in streamed}) == len({text for _, text in streamed}) == world.documents


@pytest.mark.parametrize("world", EVERY, ids=kind_of)
def test_another_seed_is_another_text(world):
    assert worlds.document(replace(world, seed=1), 0) != worlds.document(world, 0)


@pytest.mark.parametrize("world", EVERY, ids=kind_of)
def test_there_is_no_document_outside_a_world(world):
    for index in (-1, 12):
        with pytest.raises(IndexError, match=rf"document {index} of \w+\(documents=12\)"):
            worlds.document(world, index)


def test_the_text_of_a_world_is_written_down():
    # Prepared data are found by the world's fields: where this changes, VERSION must be raised.
    assert worlds.VERSION == 1
    assert worlds.document(ArithmeticWorld(), 3)[1].startswith("68+89=157\n42+48=090\n")
    assert worlds.document(CopyingWorld(), 3)[1].startswith("dabdafca>dabdafca\n")
    assert worlds.document(RetrievalWorld(), 3)[1].startswith("L2O0G1J6?J6\n")
    assert worlds.document(HierarchyWorld(), 3)[1].startswith("hdahaffa\nfhahdega\n")
    assert worlds.document(ZipfWorld(facts=30), 3)[1].startswith("䐁e䝫d湓h䐁e䐁g")


@pytest.mark.parametrize("world", LINES, ids=kind_of)
def test_every_line_is_right_and_a_changed_one_is_not(world):
    for _, text in worlds.documents(world):
        assert text.count("\n") == 20 and text.endswith("\n")
        assert all(worlds.solves(world, line) for line in text.splitlines())


@pytest.mark.parametrize(
    ("world", "wrong"),
    [
        (ArithmeticWorld(), ["12+93=104", "12+93=0105", "2+93=095", "", "12+93"]),
        (CopyingWorld(length=3), ["abc>abd", "abc>abcd", "ab>ab", "abz>abz", "abc"]),
        (RetrievalWorld(pairs=2), ["A3C1?C3", "A3A1?A1", "A3C1?B1", "A3?A3", "A3C1"]),
        (HierarchyWorld(), ["", "abc", "zzzzzzzz", "aaaaaaaaa"]),
    ],
    ids=lambda value: getattr(value, "kind", "wrong"),
)
def test_wrong_answers_are_told(world, wrong):
    assert not any(worlds.solves(world, line) for line in wrong)


def test_about_as_many_strings_are_sentences_as_the_entropy_says():
    world = HierarchyWorld(symbols=4, rules=2, depth=2)
    strings = ["".join("abcd"[n // 4**place % 4] for place in range(4)) for n in range(4**4)]
    # One derivation each, all equally likely: exp(entropy) of them.
    assert sum(worlds.solves(world, text) for text in strings) == round(np.exp(worlds.floor(world).nats)) == 32


@pytest.mark.parametrize(
    "world",
    [
        ArithmeticWorld(documents=100, lines=200, digits=1),
        CopyingWorld(documents=100, lines=200, length=3, symbols=4),
        RetrievalWorld(documents=100, lines=200, pairs=2, keys=3, values=2),
        HierarchyWorld(documents=100, sentences=200, symbols=3, rules=2, depth=2),
    ],
    ids=kind_of,
)
def test_the_floor_is_the_entropy_of_the_lines_that_come(world):
    lines = Counter(line for _, text in worlds.documents(world) for line in text.splitlines())
    n = lines.total()
    counts = np.array(list(lines.values()))
    # The plug-in estimate is low by (kinds - 1) / 2n (Miller 1955); the rest is chance: all these lines are nearly
    # equally likely, so the estimate's standard deviation is about sqrt(kinds / 2) / n, below 5e-4.
    measured = -(counts / n) @ np.log(counts / n) + (len(counts) - 1) / (2 * n)
    assert measured == pytest.approx(worlds.floor(world).nats, abs=2e-3)
    tokens = np.mean([len(text) + 1 for _, text in worlds.documents(world)]) / 200
    assert worlds.floor(world).tokens == pytest.approx(tokens)


def test_rules_of_a_level_share_no_string():
    rules = hierarchy.grammar(HierarchyWorld(symbols=5, rules=5, branching=2, depth=4))
    assert rules.shape == (4, 5, 5, 2)
    for level in rules:
        assert len({tuple(string) for string in level.reshape(-1, 2).tolist()}) == 25


def test_the_published_sample_complexity_is_that_of_the_paper():
    assert hierarchy.sample_complexity(HierarchyWorld(symbols=8, rules=4, depth=3)) == 8 * 4**3


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda: ZipfWorld(contexts=60_000), "there are characters for 55040"),
        (lambda: ZipfWorld(facts=1), "ZipfWorld.facts=1: must be 2 or more"),
        (lambda: ZipfWorld(alpha=0.0), "ZipfWorld.alpha=0.0: must be positive"),
        (lambda: ZipfWorld(answers=27), "ZipfWorld.answers=27: must lie between 1 and 26"),
        (lambda: ZipfWorld(noise=1.5), "ZipfWorld.noise=1.5: must lie between 0 and 1"),
        (lambda: HierarchyWorld(branching=1), "HierarchyWorld.branching=1: must be 2 or more"),
        (lambda: HierarchyWorld(symbols=27), "HierarchyWorld.symbols=27: must be at most 26"),
        (lambda: HierarchyWorld(symbols=4, rules=5), "only 16 strings of 2 symbols; take fewer rules"),
        (lambda: CopyingWorld(length=0), "CopyingWorld.length=0: must be positive"),
        (lambda: CopyingWorld(symbols=0), "CopyingWorld.symbols=0: must lie between 1 and 26"),
        (lambda: RetrievalWorld(keys=27), "RetrievalWorld.keys=27: must lie between 1 and 26"),
        (lambda: RetrievalWorld(values=11), "RetrievalWorld.values=11: must lie between 1 and 10"),
        (lambda: RetrievalWorld(pairs=5, keys=4), "a line has no key twice, and there are 4 keys"),
        (lambda: ArithmeticWorld(digits=16), "ArithmeticWorld.digits=16: must be at most 15"),
        (lambda: Source(kind="world"), "a world goes with the kind 'world'"),
        (lambda: Source(world=ZipfWorld()), "a world goes with the kind 'world'"),
    ],
)
def test_an_impossible_world_is_refused(make, message):
    with pytest.raises(ValueError, match=message):
        make()


def test_a_world_is_a_source_like_any_other(tmp_path):
    world = ArithmeticWorld(documents=40, lines=20)
    source = Source(kind="world", world=world)
    assert [(found.name, found.text) for found in documents(source)] == list(worlds.documents(world))
    assert readable_name(source) == "arithmetic-0"
    others = [replace(world, seed=1), replace(world, digits=3), CopyingWorld(documents=40, lines=20)]
    marks = {fingerprint(Source(kind="world", world=other)) for other in (world, *others)}
    assert len(marks) == 4 and fingerprint(source) in marks
    data = DataConfig(source=source, tokenizer="bytes", vocab=257, validation_fraction=0.2, heldout_sequences=2)
    held = prepare(data, tmp_path, lambda line: None).manifest
    assert held.train.documents + held.validation.documents == 40
    assert held.train.bytes + held.validation.bytes == 40 * 20 * 10
