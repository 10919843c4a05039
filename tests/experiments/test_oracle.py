import pytest

from experiments.oracle import RESERVED, study
from scaling.config import run_id


@pytest.fixture(scope="module")
def planned():
    return study(worlds=3, alpha=0.5)


def test_every_world_is_an_arm_with_the_same_runs(planned):
    assert planned.name == "oracle" and "arXiv:" in planned.published and "0.3333" in planned.published
    arms = {f"world {seed}": [cell.run for cell in planned.cells if cell.arm == f"world {seed}"] for seed in range(3)}
    assert sum(map(len, arms.values())) == len(planned.cells) == 36
    assert len({tuple(run.tokens for run in runs) for runs in arms.values()}) == 1
    for seed, runs in enumerate(arms.values()):
        assert {run.data.source.world.seed for run in runs} == {seed}
        assert len({run.seed for run in runs}) == 12
    # Until their text is there, runs of several worlds have one name; the plan tells them apart by their source.
    assert len({run_id(run) for run in planned.runs}) == 12


def test_the_vocabulary_holds_every_character_of_the_world(planned):
    run = planned.runs[0]
    assert run.data.vocab == run.model.vocab == RESERVED + run.data.source.world.code_points


def test_a_world_has_twice_the_text_of_its_largest_run_and_a_fifth_held_out(planned):
    run = planned.runs[-1]
    world = run.data.source.world
    text = 2 * world.facts * world.documents
    assert 0.8 * text >= 1.9 * run.tokens
    # The documents held out vary in number, by a tenth of their text: four of these are left as room.
    assert 0.6 * 0.2 * text >= run.data.heldout_sequences * run.text


def test_a_study_of_one_world_is_refused():
    with pytest.raises(ValueError, match="worlds=1: how much fits vary is seen in 2 or more"):
        study(worlds=1)


def test_tables_of_several_sizes_read_every_number_of_tokens():
    planned = study(worlds=2, sizes=(8, 32), tokens=(1e3, 1e4))
    runs = [cell.run for cell in planned.cells if cell.arm == "world 1"]
    first = RESERVED + 0x100
    assert [(run.model.rows - first, run.tokens) for run in runs] == [(8, 1024), (8, 9984), (32, 1024), (32, 9984)]
    assert {run.data.source.world.characters for run in runs} == {"by_rank"} and len({run.seed for run in runs}) == 4
    assert "C^(1 / (2 + alpha)) = C^0.3333" in planned.published


@pytest.mark.parametrize("sizes", [(0, 4), (8, 50_000)])
def test_sizes_beyond_the_contexts_are_refused(sizes):
    with pytest.raises(ValueError, match=r"sizes=.*: a table has rows for 1 to contexts=40000"):
        study(sizes=sizes)
