"""Parameters of one device, beside what the arrays of its mesh hold."""

from dataclasses import replace

import jax
import pytest

from scaling.config import Experts, NextToken, RecurrentConfig, ReplacedTokens, TransformerConfig
from scaling.counts import params
from scaling.counts.divided import share
from scaling.parallel.layout import ALONE, Layout
from scaling.parallel.tables import axes_of, specs_of
from scaling.training.losses import Task
from scaling.training.step import compiled_init

MODEL = TransformerConfig(vocab=512, dim=128, layers=4, heads=4, context=32)
MODELS = {
    "plain": MODEL,
    "untied": replace(MODEL, tied=False),
    "with learned positions": replace(MODEL, positions="learned"),
    "with experts": replace(MODEL, moe=Experts(experts=4, active=2, every=2)),
    "with biases": replace(MODEL, biases=True, norm="layernorm", activation="gelu"),
}
LAYOUTS = (
    Layout(fsdp=4),
    Layout(tensor=2, fsdp=2),
    Layout(pipe=2, tensor=2),
    Layout(expert=2, fsdp=2),
    Layout(data=2, context=2),
)


def by_the_tables(model: TransformerConfig, layout: Layout) -> int:
    """Parameters that one device holds at rest."""
    state = jax.eval_shape(compiled_init(Task(model, NextToken(), 0, smoothed=False), layout), 0)
    sizes = jax.tree.map(
        lambda leaf, spec: leaf.size // layout.ways(*axes_of(spec)), state.params, specs_of(state.params, layout)
    )
    return sum(jax.tree.leaves(sizes))


@pytest.mark.parametrize("model", MODELS.values(), ids=MODELS)
def test_a_device_holds_what_the_sharding_tables_give_it(model):
    for layout in LAYOUTS:
        if layout.expert == 1 or model.moe is not None:
            assert share(model, NextToken(), layout).held == by_the_tables(model, layout)


@pytest.mark.parametrize("model", [*MODELS.values(), RecurrentConfig(vocab=60, dim=8, layers=1)])
def test_one_device_holds_all_of_the_model(model):
    found = share(model, NextToken(), ALONE)
    assert found.held == found.whole == params(model).total
    assert found.gathered_layers == found.gathered_ends == 0


def test_fsdp_gathers_all_but_vectors():
    found = share(MODEL, NextToken(), Layout(fsdp=4))
    assert found.whole == params(MODEL).total
    assert found.gathered_ends == 512 * 128
    vectors = 9 * 128  # two norms a layer and the last
    assert found.gathered_layers + found.gathered_ends == found.whole - vectors
    assert found.held == found.whole - 3 * (found.whole - vectors) // 4


def test_a_generator_beside_the_model_is_divided_by_nothing():
    model = replace(MODEL, architecture="encoder")
    found = share(model, ReplacedTokens(), Layout(data=4))
    assert found.held == params(model, ReplacedTokens()).total
