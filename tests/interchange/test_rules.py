"""Rules between their tensors and our parameters, on arrays of known numbers."""

import numpy as np
import pytest

from scaling.interchange import rules
from scaling.interchange.rules import Leaf


def numbers(*shape):
    return np.arange(1, 1 + np.prod(shape), dtype=np.float32).reshape(shape)


ONE = {
    "copied": (rules.copied("w", Leaf("ours")), {"ours": numbers(3, 2)}),
    "transposed": (rules.transposed("w", Leaf("ours")), {"ours": numbers(3, 2)}),
    "flat": (rules.flat("w", Leaf("ours")), {"ours": numbers(5)}),
    "above one": (rules.above_one("w", Leaf("ours")), {"ours": numbers(5)}),
    "after rows": (rules.after_rows("w", Leaf("ours"), 2), {"ours": numbers(3, 2)}),
    "fused": (rules.fused("w", Leaf("q"), Leaf("k")), {"q": numbers(3, 2), "k": -numbers(3, 2)}),
    "stacked": (rules.stacked(["w0", "w1"], Leaf("ours")), {"ours": numbers(2, 3, 4)}),
}


@pytest.mark.parametrize("name", ONE)
def test_a_rule_undoes_itself(name):
    rule, params = ONE[name]
    shapes = {path: value.shape for path, value in params.items()}
    again = rules.load([rule], shapes, rules.store([rule], params, "theirs"), "file")
    for path, value in params.items():
        np.testing.assert_array_equal(again[path], value)


def test_rules_give_the_numbers_they_say():
    def stored(name):
        rule, params = ONE[name]
        return rules.store([rule], params, "theirs")

    np.testing.assert_array_equal(stored("transposed")["w"], [[1, 3, 5], [2, 4, 6]])
    np.testing.assert_array_equal(stored("flat")["w"], [[1, 2, 3, 4, 5]])
    np.testing.assert_array_equal(stored("above one")["w"], [0, 1, 2, 3, 4])
    np.testing.assert_array_equal(stored("after rows")["w"][:3], [[0, 0], [0, 0], [1, 2]])
    np.testing.assert_array_equal(stored("fused")["w"][0], [1, 2, -1, -2])
    np.testing.assert_array_equal(stored("stacked")["w1"], numbers(2, 3, 4)[1].T)


def test_layer_i_is_row_i_over_p_of_place_i_modulo_p():
    layer = rules.stacks(["decoder.blocks.0.a", "decoder.blocks.1.a", "encoder.blocks.0.a", "embedding"])
    assert [layer("decoder", index)("a") for index in range(4)] == [
        ("decoder.blocks.0.a", 0),
        ("decoder.blocks.1.a", 0),
        ("decoder.blocks.0.a", 1),
        ("decoder.blocks.1.a", 1),
    ]
    assert layer("encoder", 3)("a") == ("encoder.blocks.0.a", 3)


def test_layers_are_stacked_and_taken_apart():
    found = [rules.transposed(f"h.{row}", Leaf("blocks", row)) for row in range(3)]
    params = {"blocks": numbers(3, 2, 4)}
    tensors = rules.store(found, params, "theirs")
    assert tensors.keys() == {"h.0", "h.1", "h.2"} and tensors["h.2"].shape == (4, 2)
    np.testing.assert_array_equal(rules.load(found, {"blocks": (3, 2, 4)}, tensors, "file")["blocks"], params["blocks"])


def test_what_the_other_side_lacks_is_zero_here_and_must_be_zero_there():
    found = [rules.copied("w", Leaf("w")), rules.absent(Leaf("bias", 0)), rules.copied("bias", Leaf("bias", 1))]
    shapes = {"w": (2,), "bias": (2, 3)}
    params = rules.load(found, shapes, {"w": numbers(2), "bias": numbers(3)}, "file")
    np.testing.assert_array_equal(params["bias"], [[0, 0, 0], [1, 2, 3]])
    assert rules.store(found, params, "theirs").keys() == {"w", "bias"}
    params["bias"][0, 1] = 1
    with pytest.raises(ValueError, match="parameter bias, row 0, is not zero, and gemma2 has no tensor for it"):
        rules.store(found, params, "gemma2")


def test_missing_extra_and_misshapen_tensors_are_named_together():
    found = [rules.copied(name, Leaf(name)) for name in ("a", "b", "c")]
    shapes = {"a": (2,), "b": (3,), "c": (4,)}
    tensors = {"b": numbers(5), "c": numbers(4), "d": numbers(1)}
    with pytest.raises(ValueError) as error:
        rules.load(found, shapes, tensors, "some/folder")
    said = str(error.value)
    assert said.startswith("some/folder: tensors do not fit the config; ")
    assert "missing: a (2,)" in said and "extra: d" in said and "misshapen: b is (5,) and not (3,)" in said


def test_a_long_list_of_tensors_is_cut():
    found = [rules.copied(f"w{index}", Leaf(f"w{index}")) for index in range(9)]
    with pytest.raises(ValueError, match=r"missing: w0 \(1,\), .* and 3 more$"):
        rules.load(found, {f"w{index}": (1,) for index in range(9)}, {}, "folder")


def test_a_parameter_without_a_rule_is_our_own_mistake():
    with pytest.raises(AssertionError, match="forgotten"):
        rules.store([rules.copied("w", Leaf("w"))], {"w": numbers(2), "forgotten": numbers(2)}, "theirs")
