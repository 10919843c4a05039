import math
from dataclasses import replace

import pytest

from scaling.config import (
    DataConfig,
    Mixture,
    Part,
    RunConfig,
    Source,
    Stage,
    TransformerConfig,
    Trunk,
    from_dict,
    run_id,
    to_dict,
)

AB = (Part(name="a"), Part(name="b"))
STEP = 4 * 16  # tokens


def a_run(mixture=None, *, steps=20, **fields):
    model = TransformerConfig(vocab=512, dim=8, layers=1, heads=2, context=16)
    return RunConfig(model=model, data=DataConfig(mixture=mixture), tokens=steps * STEP, batch=4, **fields)


def test_a_run_without_a_mixture_keeps_its_id_and_one_with_it_has_its_own():
    assert run_id(a_run()) == "c93421b7bd42068d"
    weights = {run_id(a_run(Mixture(parts=AB, weights=(share, 1 - share)))) for share in (0.25, 0.5, 0.75)}
    assert len(weights) == 3


def test_where_parts_lie_and_what_is_allowed_are_not_hashed():
    there = tuple(replace(part, source=Source(kind="folder", path="/x"), most_epochs=4.0) for part in AB)
    assert run_id(a_run(Mixture(parts=AB))) == run_id(a_run(Mixture(parts=there)))
    limited = (replace(AB[0], most_tokens=1000), AB[1])
    assert run_id(a_run(Mixture(parts=AB))) != run_id(a_run(Mixture(parts=limited)))


def test_a_mixture_survives_plain_data():
    run = a_run(Mixture(parts=AB, weights=(1.0, 3.0), stages=(Stage(start=0.5, weights=(0.0, 1.0)),)))
    assert from_dict(RunConfig, to_dict(run), "here") == run


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda: Mixture(parts=()), "name at least one part"),
        (lambda: Mixture(parts=(*AB, AB[0])), "3 parts, but the name .'a'. twice: name each its own"),
        (lambda: Mixture(parts=AB, weights=(1.0,)), r"weights=\(1.0,\): give 2 numbers, one for each of a, b"),
        (lambda: Mixture(parts=AB, weights=(1.0, -0.5)), "finite and not negative"),
        (lambda: Mixture(parts=AB, weights=(1.0, math.nan)), "finite and not negative"),
        (lambda: Mixture(parts=AB, weights=(1.0, math.inf)), "finite and not negative"),
        (lambda: Mixture(parts=AB, weights=(0.0, 0.0)), "at least one weight must be above 0"),
        (lambda: Mixture(parts=AB, target=(0.0, 0.0)), r"Mixture.target=.*at least one weight must be above 0"),
        (lambda: Mixture(parts=AB, temperature=0.0), "Mixture.temperature=0.0: must be positive"),
        (lambda: Mixture(parts=AB, temperature=math.nan), "Mixture.temperature=nan: must be positive"),
        (lambda: Stage(start=0.0, weights=(1.0,)), r"Stage.start=0.0: must lie between 0 and 1"),
        (lambda: Stage(start=math.nan, weights=(1.0,)), r"Stage.start=nan: must lie between 0 and 1"),
        (
            lambda: Mixture(parts=AB, stages=(Stage(start=0.5, weights=(1.0, 1.0, 1.0)),)),
            r"Mixture.stages\[0\].weights=.*: give 2 numbers",
        ),
        (
            lambda: Mixture(parts=AB, stages=tuple(Stage(start=at, weights=(1.0, 0.0)) for at in (0.5, 0.2))),
            r"Mixture.stages start at \[0.5, 0.2\]: give them in order",
        ),
        (lambda: Part(name="my part"), "Part.name='my part': give a word of letters"),
        (lambda: Part(name="unique"), "Part.name='unique': .* none of .*unique"),
        (lambda: Part(name="a", most_tokens=0), "Part.most_tokens=0: must be positive"),
        (lambda: Part(name="a", most_epochs=-1.0), "Part.most_epochs=-1.0: must be positive"),
        (lambda: DataConfig(most_tokens=0), "DataConfig.most_tokens=0: must be positive"),
        (lambda: DataConfig(most_tokens=9, mixture=Mixture(parts=AB)), "beside a mixture: give it to each"),
        (
            lambda: DataConfig(source=Source(kind="folder", path="x"), mixture=Mixture(parts=AB)),
            "beside a mixture: make it one of its parts",
        ),
    ],
)
def test_what_makes_no_mixture_is_refused(make, message):
    with pytest.raises(ValueError, match=message):
        make()


@pytest.mark.parametrize("steps", [20, 33, 47, 101, 1000])
@pytest.mark.parametrize("fraction", [0.1, 0.2, 0.25, 0.5])
def test_a_stage_of_the_cooldowns_share_begins_with_it(steps, fraction):
    from scaling.sweeps.budgets import decay_start

    run = a_run(steps=steps)
    schedule = replace(run.schedule, decay_fraction=fraction)
    stage = Stage(start=1 - fraction, weights=(1.0,))
    assert stage.first_step(steps) * STEP == decay_start(run, schedule, run.tokens)


def test_a_branch_has_stages_only_after_it_leaves_its_trunk():
    mixture = Mixture(parts=AB, stages=(Stage(start=0.5, weights=(0.0, 1.0)),))
    a_run(mixture, trunk=Trunk(run_id="t", tokens=10 * STEP))
    with pytest.raises(ValueError, match=r"begins at 640 tokens, but its trunk is .* up to 704: start it at 0.55"):
        a_run(mixture, trunk=Trunk(run_id="t", tokens=11 * STEP))
