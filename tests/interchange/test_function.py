"""Equal functions have equal entries, other functions differ by name."""

from dataclasses import replace

import pytest

from scaling.config import Experts, Parametrisation, RopeScaling, TransformerConfig
from scaling.interchange.function import differences

MODEL = TransformerConfig(vocab=40, dim=16, layers=2, heads=4)


@pytest.mark.parametrize(
    "same",
    [
        replace(MODEL, kv_heads=4, head_size=4, mlp_dim=MODEL.hidden_dim, attention_scale=0.5, embedding_scale=1.0),
        replace(MODEL, logit_scale=1.0, init="normal"),
        replace(MODEL, position_buckets=8, position_distance=50),  # of positions that it does not have
        replace(MODEL, window=9, global_every=1),
        replace(MODEL, parametrisation=Parametrisation(width="standard", base_dim=4)),
    ],
)
def test_defaults_spelled_out_and_idle_options_change_nothing(same):
    assert not differences(MODEL, same)


@pytest.mark.parametrize(
    ("other", "said"),
    [
        (replace(MODEL, norm_eps=1e-5), "norm_eps=1e-06, not 1e-05"),
        (replace(MODEL, rope_base=500.0), "rope_base=10000.0, not 500.0"),
        (replace(MODEL, rope_scaling=RopeScaling(kind="linear")), "rope_scaling=None, not RopeScaling"),
        (replace(MODEL, window=9, global_every=2), "window=(None, None), not (9, None)"),
        (replace(MODEL, moe=Experts(experts=4)), "moe=(False, False), not (True, True)"),
        (replace(MODEL, positions="none"), "positions=rope, not none"),
        (replace(MODEL, parametrisation=Parametrisation(width="mup", base_dim=8)), "logit_scale=1.0, not 0.5"),
    ],
)
def test_differences_are_named(other, said):
    assert any(found.startswith(said) for found in differences(MODEL, other))


def test_experts_of_another_number_differ():
    one, other = (replace(MODEL, moe=Experts(experts=4, active=active)) for active in (1, 2))
    assert differences(one, other) == ["moe.active=1, not 2"]
