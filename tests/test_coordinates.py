from dataclasses import replace

import numpy as np
import pytest

from scaling.config import TransformerConfig
from scaling.coordinates import QUANTITIES, Coordinates, deeper, describe, wider

BASE = TransformerConfig(vocab=64, dim=32, layers=2, heads=2, context=16)
SIZES = (16, 32, 64, 128)


def powers(parametrisation="muP", *, growth=0.0, change=0.0, **one):
    """A check whose quantities are powers of the width; `one` is the (growth, change) of one of them."""
    sizes = np.array(SIZES, float)[:, None] / SIZES[0]
    steps = np.array([0.0, 1.0, 2.0])
    found = {name: one.get(name, (growth, change)) for name in QUANTITIES}
    return Coordinates(
        along="width",
        parametrisation=parametrisation,
        sizes=SIZES,
        values={name: sizes**grows * np.ones(3) for name, (grows, _) in found.items()},
        changes={name: sizes**moves * steps for name, (_, moves) in found.items()},
    )


def test_slopes_are_the_powers_of_the_size():
    found = powers(growth=0.5, change=-1.0)
    for name in QUANTITIES:
        assert found.growth(name) == pytest.approx(0.5, abs=1e-12)  # a line, up to rounding
        assert found.change(name) == pytest.approx(-1.0, abs=1e-12)
    assert found.steps == 2


def test_what_keeps_its_size_passes():
    assert powers().faults() == []
    assert powers(growth=0.2, change=-0.2).faults() == []


def test_a_size_may_fall_but_a_change_may_not():
    assert powers(logits=(-0.5, 0.0)).faults() == []
    assert powers(logits=(0.0, -0.5)).faults() == ["logits: change -0.50"]


def test_what_grows_is_named_with_its_slope():
    assert powers(stream=(1.0, 1.0)).faults() == [
        "residual stream at its end: size +1.00",
        "residual stream at its end: change +1.00",
    ]


def test_training_that_left_the_numbers_fails():
    found = powers()
    found.values["logits"][-1, -1] = np.inf
    found.changes["logits"][-1, -1] = np.nan
    assert found.faults() == ["logits: size +nan", "logits: change +nan"]


def test_the_table_says_both_slopes_and_both_verdicts():
    said = describe([powers("standard", mlp=(0.2, 1.0)), powers("muP")])
    assert "width 16, 32, 64, 128, after 2 steps" in said
    row = next(line for line in said.splitlines() if line.startswith("MLP output"))
    assert row.split() == ["MLP", "output", "+0.20", "+1.00", "+0.00", "+0.00"]
    assert "standard fails: MLP output: change +1.00" in said
    assert "muP passes" in said


def test_a_wider_model_has_more_heads_of_the_same_size():
    model = replace(BASE, kv_heads=1, mlp_dim=40)
    wide = wider(model, 128)
    assert (wide.dim, wide.heads, wide.kv_heads, wide.mlp_dim, wide.head_dim) == (128, 8, 4, 160, 16)
    assert wider(BASE, 128).hidden_dim / 128 == pytest.approx(BASE.hidden_dim / 32, rel=0.05)  # rounded up to 8


def test_a_width_that_would_cut_a_head_is_refused():
    with pytest.raises(ValueError, match=r"width 40 from a model of width 32: heads=2 would be 2.5; choose multiples"):
        wider(BASE, 40)


def test_a_deeper_model_begins_its_stream_at_size_one():
    assert (deeper(BASE, 8).layers, deeper(BASE, 8).embedding_scale) == (8, 50.0)
    assert deeper(replace(BASE, embedding_scale=3.0), 8).embedding_scale == 3.0
