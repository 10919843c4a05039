"""Fields of config.json: what decides the function is honoured or refused."""

import pytest

from scaling.config import RopeScaling, TransformerConfig
from scaling.interchange import fields
from scaling.interchange.llama import LLAMA
from scaling.interchange.theirs import ARCHITECTURES
from scaling.models.positions import rope_rates

KNOWN = {"size": 8, "eps": 1e-5, "flag": False, "name": "x", "sliding_window": 16}


def understood(given, fixed=None):
    return fields.understood("some", given, KNOWN, fixed or {})


def rope(**given):
    return fields.rope_from(dict(LLAMA.known) | given)


def test_absent_fields_take_the_values_of_transformers():
    assert understood({"size": 4}) == KNOWN | {"size": 4}


def test_fields_that_change_no_logit_may_have_any_value():
    given = {"attn_pdrop": 0.9, "hidden_dropout_prob": 0.1, "eos_token_id": 7, "use_cache": True, "id2label": {}}
    assert understood(given | {"initializer_range": 3.0, "task_specific_params": {}, "_name_or_path": "."}) == KNOWN


def test_a_field_that_is_not_understood_is_refused_by_name():
    with pytest.raises(ValueError, match="some field attention_sinks=4 is not understood here; remove it"):
        understood({"attention_sinks": 4})
    assert understood({"attention_sinks": None}) == KNOWN  # off


def test_a_fixed_field_is_refused_at_another_value():
    assert understood({"is_decoder": False, "layout": "a"}, {"layout": ("a", "b")}) == KNOWN
    with pytest.raises(ValueError, match="is_decoder=True cannot be expressed here"):
        understood({"is_decoder": True})
    with pytest.raises(ValueError, match="layout='c' cannot be expressed"):
        understood({"layout": "c"}, {"layout": ("a", "b")})
    with pytest.raises(ValueError, match="quantization_config="):
        understood({"quantization_config": {"bits": 4}})


@pytest.mark.parametrize(
    "wrong", [{"size": "8"}, {"size": 8.5}, {"size": True}, {"flag": 1}, {"name": 3}, {"size": None}, {"size": 0}]
)
def test_a_value_of_another_type_is_refused(wrong):
    field = next(iter(wrong))
    with pytest.raises(ValueError, match=f"some field {field}=.*: give a value like"):
        understood(wrong)


def test_whole_numbers_may_stand_where_any_number_may_and_null_where_an_option_is_off():
    assert understood({"eps": 1, "sliding_window": None}) == KNOWN | {"eps": 1, "sliding_window": None}


def test_every_known_default_passes_its_own_check():
    for architecture in ARCHITECTURES.values():
        known = dict(architecture.known)
        assert fields.understood(architecture.name, known, known, architecture.fixed) == known


def test_an_activation_that_we_lack_is_refused_with_those_that_we_have():
    assert fields.chosen("hidden_act", "gelu", fields.PLAIN) == "gelu_exact"
    assert fields.chosen("hidden_act", "gelu_new", fields.GATED) == "geglu"
    with pytest.raises(ValueError, match=r"hidden_act='quick_gelu' cannot be expressed here; gelu, .*relu can"):
        fields.chosen("hidden_act", "quick_gelu", fields.PLAIN)


def test_rope_is_read_as_transformers_4_and_5_write_it():
    llama3 = {"factor": 8.0, "low_freq_factor": 1.0, "high_freq_factor": 4.0, "original_max_position_embeddings": 64}
    wanted = RopeScaling(kind="llama3", factor=8.0, low_frequency=1.0, high_frequency=4.0, original_context=64)
    assert rope() == (10_000.0, None)
    assert rope(rope_theta=500.0) == (500.0, None)
    assert rope(rope_parameters={"rope_theta": 500.0, "rope_type": "default"}) == (500.0, None)
    assert rope(rope_theta=500.0, rope_scaling=llama3 | {"rope_type": "llama3"}) == (500.0, wanted)
    assert rope(rope_parameters=llama3 | {"rope_type": "llama3", "rope_theta": 500.0}) == (500.0, wanted)
    linear = RopeScaling(kind="linear", factor=2.0)
    assert rope(rope_scaling={"type": "linear", "factor": 2.0}) == (10_000.0, linear)


def test_llama3_scaling_without_its_context_takes_the_models():
    given = {"rope_type": "llama3", "factor": 8.0, "low_freq_factor": 1.0, "high_freq_factor": 4.0}
    assert rope(rope_scaling=given, max_position_embeddings=77)[1].original_context == 77


@pytest.mark.parametrize(
    ("given", "said"),
    [
        ({"rope_scaling": {"rope_type": "yarn", "factor": 4.0}}, "rope_type 'yarn' is not among default, linear"),
        ({"rope_scaling": {"type": "dynamic", "factor": 4.0}}, "rope_type 'dynamic'"),
        ({"rope_scaling": {"type": "linear"}}, "rope_type 'linear' takes factor"),
        ({"rope_parameters": {"full_attention": {}, "rope_theta": 9.0}}, "rope_type 'default' takes no more fields"),
        ({"rope_parameters": {"rope_theta": 9.0, "partial_rotary_factor": 0.5}}, "all features of a head rotate"),
        ({"rope_scaling": "linear"}, "rope_scaling='linear' .*: it is no object"),
        ({"partial_rotary_factor": 0.25}, "partial_rotary_factor=0.25"),
    ],
)
def test_another_rope_is_refused(given, said):
    with pytest.raises(ValueError, match=said):
        rope(**given)


@pytest.mark.parametrize("scaling", [None, RopeScaling(kind="linear", factor=3.0), RopeScaling(kind="llama3")])
def test_rope_written_is_rope_read(scaling):
    model = TransformerConfig(vocab=8, dim=16, layers=1, heads=2, rope_base=700.0, rope_scaling=scaling)
    assert rope(rope_parameters=fields.rope_to(model)) == (700.0, scaling)


def test_a_stretched_base_is_written_as_the_base_it_is():
    scaling = RopeScaling(kind="ntk", factor=3.0)
    model = TransformerConfig(vocab=8, dim=16, layers=1, heads=2, rope_scaling=scaling)
    base, nothing = rope(rope_parameters=fields.rope_to(model))
    assert nothing is None
    # A float64 power, computed twice.
    assert rope_rates(8, base) == pytest.approx(rope_rates(8, model.rope_base, scaling), rel=1e-12)


def test_windows_that_repeat_are_a_window_and_a_period():
    assert fields.windows_from([False, False], 8, "layer_types") == (None, None)
    assert fields.windows_from([True, True], None, "layer_types") == (None, None)
    assert fields.windows_from([True, True], 8, "layer_types") == (8, None)
    assert fields.windows_from([True, False, True, False, True], 8, "layer_types") == (8, 2)
    assert fields.windows_from([True, True, False], 8, "layer_types") == (8, 3)


def test_other_patterns_of_windows_are_refused():
    with pytest.raises(ValueError, match=r"layer_types: that layers \[0\] of 2 see everything cannot be expressed"):
        fields.windows_from([False, True], 8, "layer_types")


def test_layer_types_must_be_as_many_as_layers_and_known():
    assert fields.sliding_layers(["sliding_attention", "full_attention"], 2) == [True, False]
    with pytest.raises(ValueError, match=r"layer_types=.*: give 3 of sliding_attention and full_attention"):
        fields.sliding_layers(["full_attention"] * 2, 3)
    with pytest.raises(ValueError, match="chunked_attention"):
        fields.sliding_layers(["chunked_attention"], 1)
