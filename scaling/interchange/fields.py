"""Reading and writing the fields of a transformers config.json.

A field either decides what the model computes, and is then in its
architecture's table, or is listed here as one that does not, or is refused.
"""

import re
from collections.abc import Mapping, Sequence
from typing import Any, NoReturn

from scaling.config import RopeScaling, TransformerConfig

Fields = dict[str, Any]

# Activations, by the names that transformers gives them.
TANH_GELU = ("gelu_new", "gelu_pytorch_tanh", "gelu_python_tanh", "gelu_fast", "gelu_accurate")
PLAIN = dict.fromkeys(TANH_GELU, "gelu") | {"gelu": "gelu_exact", "gelu_python": "gelu_exact", "relu": "relu"}
GATED = dict.fromkeys(TANH_GELU, "geglu") | {"silu": "swiglu", "swish": "swiglu"}
PLAIN_NAMES = {"gelu": "gelu_new", "gelu_exact": "gelu", "relu": "relu"}
GATED_NAMES = {"geglu": "gelu_pytorch_tanh", "swiglu": "silu"}

# Fields of any architecture that change no logit: names, token ids, generation, labels, training (dropout among
# it: an imported model is compared and trained without), ways to compute the same.
HARMLESS = re.compile(
    r"_.*|architectures|model_type|transformers_version|(torch_)?dtype|tokenizer_class|auto_map"
    r"|.*_token_id|suppress_tokens|begin_suppress_tokens|bad_words_ids|forced_decoder_ids"
    r"|use_cache|cache_implementation|max_length|min_length|num_beams|num_beam_groups|early_stopping|length_penalty"
    r"|(encoder_)?no_repeat_ngram_size|do_sample|temperature|top_k|top_p|typical_p|repetition_penalty"
    r"|diversity_penalty|exponential_decay_length_penalty|num_return_sequences|remove_invalid_values|output_past"
    r"|output_(attentions|hidden_states|scores|router_logits)|return_dict(_in_generate)?|prefix|task_specific_params"
    r"|id2label|label2id|num_labels|problem_type|finetuning_task|summary_.*|force_bos_token_to_be_generated|save_step"
    r"|.*dropout(_prob|_rate)?|.*_pdrop|classif_dropout|.*layerdrop|initializer_(range|factor)|init_std"
    r"|gradient_checkpointing|router_jitter_noise|chunk_size_feed_forward|pretraining_tp|reorder_and_upcast_attn"
    r"|torchscript|tf_legacy_loss|use_bfloat16|n_ctx|n_special|predict_special_tokens|directionality|pooler_.*"
)

# Fields of any architecture that must have one of these values.
FIXED: dict[str, tuple[Any, ...]] = {
    "is_decoder": (False,),
    "add_cross_attention": (False,),
    "cross_attention_hidden_size": (None,),
    "tie_encoder_decoder": (False,),
    "pruned_heads": ({}, None),
    "quantization_config": (None,),
}


# Known fields that may be null: an option that is off, or a value that follows from others.
NULLABLE = re.compile(
    r"num_key_value_heads|head_dim|n_inner|num_decoder_layers|sliding_window|layer_types|.*_softcapping"
    r"|rope_parameters|rope_scaling|partial_rotary_factor|original_max_position_embeddings"
    r"|dense_act_fn|is_gated_act|scale_decoder_outputs|tie_word_embeddings|pad_token_id"
)

MAY_BE_ZERO = re.compile(r"max_window_layers|pad_token_id|type_vocab_size")  # the other whole numbers are sizes


def understood(name: str, given: Mapping[str, Any], known: Mapping[str, Any], fixed: Mapping[str, tuple]) -> Fields:
    """The known fields, with what transformers takes for an absent one.

    name: the architecture. Raises ValueError for a field that is neither
    known nor without effect, and for a fixed one of another value.
    """
    fixed = FIXED | dict(fixed)
    for field, value in given.items():
        if field in known or value is None or HARMLESS.fullmatch(field):
            continue
        if field not in fixed:
            raise ValueError(
                f"config.json: {name} field {field}={value!r} is not understood here; "
                "remove it if it changes nothing in what the model computes"
            )
        if value not in fixed[field]:
            raise ValueError(f"config.json: {name} with {field}={value!r} cannot be expressed here; {fixed[field]} can")
    found = dict(known) | {field: value for field, value in given.items() if field in known}
    for field, value in found.items():
        _check_type(name, field, value, known[field])
    return found


def _check_type(name: str, field: str, value: Any, default: Any) -> None:
    if value is None:
        fits = bool(NULLABLE.fullmatch(field))
    elif default is None:
        fits = True
    elif type(default) is int:  # Python's True is an int too
        fits = type(value) is int and (value > 0 or bool(MAY_BE_ZERO.fullmatch(field)))
    else:
        fits = type(value) in ((int, float) if isinstance(default, float) else (type(default),))
    if not fits:
        wanted = "a value" if default is None else f"a value like {default!r}"
        raise ValueError(f"config.json: {name} field {field}={value!r}: give {wanted}")


def chosen(field: str, value: Any, known: Mapping[str, str]) -> str:
    """Our name of their value; ValueError if we have none."""
    if value not in known:
        raise ValueError(f"config.json: {field}={value!r} cannot be expressed here; {', '.join(sorted(known))} can")
    return known[value]


def refuse(field: str, value: Any, why: str) -> NoReturn:
    raise ValueError(f"config.json: {field}={value!r} cannot be expressed here: {why}")


def rope_from(fields: Mapping[str, Any]) -> tuple[float, RopeScaling | None]:
    """Base and scaling, from `rope_parameters` (since transformers 5) or `rope_theta` and `rope_scaling` (before)."""
    field = "rope_scaling" if fields["rope_scaling"] else "rope_parameters"
    if not isinstance(fields[field] or {}, Mapping):
        refuse(field, fields[field], "it is no object")
    given = dict(fields[field] or {})
    base = float(given.pop("rope_theta", None) or fields["rope_theta"])
    older = given.pop("type", None)
    kind = given.pop("rope_type", None) or older or "default"
    turned = given.pop("partial_rotary_factor", None) or fields["partial_rotary_factor"] or 1.0
    if turned != 1.0:
        refuse("partial_rotary_factor", turned, "all features of a head rotate")
    trained = given.pop("original_max_position_embeddings", None) or fields["max_position_embeddings"]
    trained = fields["original_max_position_embeddings"] or trained
    wanted = {
        "default": (),
        "linear": ("factor",),
        "llama3": ("factor", "low_freq_factor", "high_freq_factor"),
    }
    if kind not in wanted:
        refuse(field, fields[field], f"rope_type {kind!r} is not among {', '.join(wanted)}")
    if set(given) != set(wanted[kind]):
        refuse(field, fields[field], f"rope_type {kind!r} takes {', '.join(wanted[kind]) or 'no more fields'}")
    if kind == "default":
        return base, None
    if kind == "linear":
        return base, RopeScaling(kind="linear", factor=given["factor"])
    return base, RopeScaling(
        kind="llama3",
        factor=given["factor"],
        low_frequency=given["low_freq_factor"],
        high_frequency=given["high_freq_factor"],
        original_context=trained,
    )


def rope_to(model: TransformerConfig) -> Fields:
    """`rope_parameters`. A base that is stretched once and for all (ntk) is written as the larger base it is."""
    base, scaling = effective_rope(model)
    if scaling is None:
        return {"rope_type": "default", "rope_theta": base}
    fields = {"rope_type": scaling.kind, "rope_theta": base, "factor": scaling.factor}
    if scaling.kind == "llama3":
        fields |= {
            "low_freq_factor": scaling.low_frequency,
            "high_freq_factor": scaling.high_frequency,
            "original_max_position_embeddings": scaling.original_context,
        }
    return fields


def effective_rope(model: TransformerConfig) -> tuple[float, RopeScaling | None]:
    scaling = model.rope_scaling
    if scaling is None or scaling.kind != "ntk":
        return model.rope_base, scaling
    return model.rope_base * scaling.factor ** (model.head_dim / (model.head_dim - 2)), None


def sliding_layers(kinds: Sequence[str], layers: int) -> list[bool]:
    """Of `layer_types`: whether each layer slides."""
    known = {"sliding_attention": True, "full_attention": False}
    if len(kinds) != layers or not set(kinds) <= set(known):
        raise ValueError(f"config.json: layer_types={kinds!r}: give {layers} of {' and '.join(known)}")
    return [known[kind] for kind in kinds]


def windows_from(slides: Sequence[bool], window: int | None, field: str) -> tuple[int | None, int | None]:
    """window and global_every of layers that slide or see everything; field: where that was said."""
    if window is None or not any(slides):
        return None, None
    if all(slides):
        return window, None
    for every in range(2, len(slides) + 1):
        if all(slide == bool((layer + 1) % every) for layer, slide in enumerate(slides)):
            return window, every
    full = [layer for layer, slide in enumerate(slides) if not slide]
    raise ValueError(
        f"config.json: {field}: that layers {full} of {len(slides)} see everything cannot be expressed here: "
        "every n-th layer does, the n-th first"
    )


def layer_types_of(model: TransformerConfig) -> list[str]:
    return [
        "full_attention" if model.window_of(layer) is None else "sliding_attention" for layer in range(model.layers)
    ]


def unless(value: Any, default: Any) -> Any:
    """None where the value is what our config takes by default."""
    return None if value == default else value
