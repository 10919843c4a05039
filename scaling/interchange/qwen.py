"""Qwen 2 (biases of queries, keys and values) and Qwen 3 (norms of queries and keys); some layers may slide."""

from scaling.config import TransformerConfig
from scaling.interchange.fields import Fields, layer_types_of, sliding_layers, windows_from
from scaling.interchange.llama import like_llama, read_like_llama, write_like_llama

SHAPE = {
    "vocab_size": 151936,
    "intermediate_size": 22016,
    "num_key_value_heads": 32,
    "max_position_embeddings": 32768,
    "use_sliding_window": False,
    "sliding_window": 4096,
    "max_window_layers": 28,
    "layer_types": None,
}


def _slides(fields: Fields) -> tuple[int | None, int | None]:
    """Window and global_every of Qwen: layers from max_window_layers on slide, unless they are named."""
    window = fields["sliding_window"] if fields["use_sliding_window"] else None
    layers = fields["num_hidden_layers"]
    if fields["layer_types"] is None:
        slides = [layer >= fields["max_window_layers"] for layer in range(layers)]
        return windows_from(slides, window, "max_window_layers")
    return windows_from(sliding_layers(fields["layer_types"], layers), window, "layer_types")


def _write_slides(model: TransformerConfig) -> Fields:
    windowed = model.window is not None
    return {"use_sliding_window": windowed, "sliding_window": model.window, "layer_types": layer_types_of(model)}


def _read_qwen2(fields: Fields) -> TransformerConfig:
    window, every = _slides(fields)
    return read_like_llama(fields, window=window, global_every=every, qkv_biases=True)


def _write_qwen2(model: TransformerConfig) -> Fields:
    return write_like_llama(model) | _write_slides(model)


def _read_qwen3(fields: Fields) -> TransformerConfig:
    window, every = _slides(fields)
    return read_like_llama(fields, window=window, global_every=every, biases=fields["attention_bias"], qk_norm=True)


def _write_qwen3(model: TransformerConfig) -> Fields:
    return write_like_llama(model) | _write_slides(model) | {"attention_bias": model.biases}


QWEN2 = like_llama("qwen2", "Qwen2ForCausalLM", SHAPE, _read_qwen2, _write_qwen2)
QWEN3 = like_llama(
    "qwen3", "Qwen3ForCausalLM", SHAPE | {"head_dim": 128, "attention_bias": False}, _read_qwen3, _write_qwen3
)
