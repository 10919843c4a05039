from dataclasses import replace

import pytest

from scaling.config import (
    DataConfig,
    Experts,
    Masked,
    NextToken,
    Prefix,
    RunConfig,
    SpanCorruption,
    TransformerConfig,
    lengths,
)
from scaling.parallel.layout import layout_of
from scaling.parallel.tiny import PLACEMENTS, axes_of, deep_enough, tiny

LARGE = TransformerConfig(vocab=4096, dim=512, layers=12, heads=8, context=512)
BOTH = replace(LARGE, architecture="encoder_decoder")
CASES = {
    "decoder": (LARGE, NextToken()),
    "grouped keys, windows": (replace(LARGE, kv_heads=2, window=128, global_every=6), NextToken()),
    "experts": (replace(LARGE, moe=Experts(experts=64, active=6, shared=2, every=3, capacity=1.25)), NextToken()),
    "T5": (replace(BOTH, positions="t5"), SpanCorruption()),
    "prefix": (replace(LARGE, architecture="prefix"), Prefix(prefix=200)),
    "encoder": (replace(LARGE, architecture="encoder"), Masked()),
}


def made(name):
    model, objective = CASES[name]
    found = lengths(model, objective)
    data = DataConfig(vocab=model.vocab - found.specials, specials=found.specials)
    return tiny(RunConfig(model=model, objective=objective, data=data, batch=64, tokens=64 * found.text))


@pytest.mark.parametrize("name", CASES)
def test_every_placement_fits_but_those_of_experts_and_of_more_keys(name):
    run, refused = made(name), []
    for placement in PLACEMENTS:
        devices = placement.data * placement.fsdp * placement.expert
        devices *= placement.pipe * placement.context * placement.tensor
        assert devices in (2, 4, 8)
        try:
            layout_of(deep_enough(run, placement), placement, devices)
        except ValueError:
            refused.append(placement)
    with_experts = [placement for placement in PLACEMENTS if placement.expert > 1]
    more_keys = [placement for placement in PLACEMENTS if placement.tensor == 4]
    assert refused == {"experts": [], "grouped keys, windows": [
        placement for placement in PLACEMENTS if placement in with_experts + more_keys
    ]}.get(name, with_experts)  # fmt: skip


def test_the_options_of_the_family_are_kept():
    model = made("experts").model
    assert (model.moe.experts, model.moe.active, model.moe.shared, model.moe.every) == (8, 4, 1, 2)
    assert model.moe.capacity is None
    windows = made("grouped keys, windows").model
    assert (windows.kv_heads, windows.window, windows.global_every, windows.layers) == (2, 8, 2, 4)
    assert made("T5").model.positions == "t5"


def test_a_placement_is_named_by_what_it_divides():
    names = [axes_of(placement) for placement in PLACEMENTS]
    assert len(set(names)) == len(names)
    assert names[0] == "data 2" and "pipe 2, repeats 2, microbatches 2" in names
