"""What a transformer may be, and what it derives from its fields."""

from dataclasses import replace

import pytest

from scaling.config import Experts, Parametrisation, RopeScaling, TransformerConfig


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"heads": 3}, "heads=3 does not divide dim=16: choose a divisor of 16"),
        ({"heads": 4, "kv_heads": 3}, "kv_heads=3 does not divide heads=4"),
        ({"kv_heads": 0}, "kv_heads=0: must be positive"),
        ({"heads": 16}, "rope rotates pairs, but the head size is 1, odd"),
        ({"dim": 15, "heads": 5, "positions": "sinusoidal"}, "sinusoidal positions need an even dim"),
        ({"layers": 0}, "layers=0: must be positive"),
        ({"logit_softcap": -1.0}, "logit_softcap=-1.0"),
        ({"rope_base": 1.0}, "rope_base=1.0"),
        ({"global_every": 2}, "global_every=2 without a window"),
        ({"window": 0}, "window=0: must be positive"),
        ({"moe": Experts(experts=4, every=3)}, "moe.every=3 with layers=2: no layer would have experts"),
        ({"rope_scaling": RopeScaling(kind="linear"), "positions": "none"}, "rope_scaling with positions='none'"),
        ({"position_buckets": 5}, "position_buckets=5"),
        ({"encoder_layers": 2}, "belong to architecture='encoder_decoder'"),
        ({"architecture": "encoder_decoder", "shared_layers": True, "encoder_layers": 1}, "leave encoder_layers out"),
        ({"sentence_head": True}, "only an encoder has one"),
        ({"token_types": -1}, "token_types=-1"),
    ],
)
def test_an_impossible_model_is_refused(model, changes, message):
    with pytest.raises(ValueError, match=message):
        replace(model, **changes)


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda: Experts(experts=2, active=3), "active=3 of experts=2: a token cannot visit more experts"),
        (lambda: Experts(experts=2, capacity=0.0), "capacity=0.0: must be positive"),
        (lambda: Experts(experts=2, shared=-1), "shared=-1: must not be negative"),
        (lambda: RopeScaling(kind="ntk", factor=0.5), "factor=0.5: must be at least 1"),
        (lambda: RopeScaling(kind="llama3", low_frequency=4.0), "0 < low_frequency < high_frequency"),
        (lambda: Parametrisation(base_dim=0), "base_dim=0: must be positive"),
    ],
)
def test_an_impossible_part_is_refused(make, message):
    with pytest.raises(ValueError, match=message):
        make()


def test_swiglu_has_as_many_mlp_parameters_as_gelu():
    swiglu = TransformerConfig(vocab=260, dim=96, layers=1, heads=2)
    assert 3 * swiglu.hidden_dim == 2 * replace(swiglu, activation="gelu").hidden_dim


def test_local_and_global_layers_take_turns():
    model = TransformerConfig(vocab=9, dim=8, layers=6, heads=1, window=4, global_every=3)
    assert [model.window_of(layer) for layer in range(6)] == [4, 4, None, 4, 4, None]
    assert [replace(model, global_every=None).window_of(layer) for layer in range(2)] == [4, 4]
